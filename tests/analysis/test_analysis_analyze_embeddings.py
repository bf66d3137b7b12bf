"""An analysis claims its output after its input was read; started over, nothing of the earlier one is left."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_scenes import bridge_of_texts, embeddings, write_bridge, write_sets
from mien.analysis.analyze_embeddings import EmbeddingsConfig, run, status
from mien.config import COMMAND_LINE
from mien.errors import ConfigError, DatasetError, RefusedError
from mien.storage.local import LocalStore
from said_datasets import make_said
from tiny_clip import SIZE_PX, write_clip

SMALL: dict[str, Any] = {
    "tsne": "skip",
    "alignment": {"num_directions": 8, "bootstrap": {"num": 200}},
    **{name: {"dpi": 40} for name in ("distribution", "effect", "class_figure")},
}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_bridge(tmp_path_factory.mktemp("run"), bridge_of_texts())


def config(folder: Path, output: Path, **more: Any) -> EmbeddingsConfig:
    return EmbeddingsConfig.parse({**write_sets(folder), **SMALL, "output": str(output), **more}, "test")


def names(folder: Path) -> set[str]:
    return {entry.name for entry in LocalStore(folder).list()}


def test_a_bridge_is_judged_and_the_report_is_what_a_person_reads(tmp_path: Path, bridge: str) -> None:
    found = run(config(tmp_path, tmp_path / "out", bridges=[bridge]))
    assert found.document["verdicts"]["bridge"] in {"good", "mixed"}
    assert found.text.startswith((tmp_path / "out" / "summary_report.txt").read_text())
    assert "bridge: " + found.document["summary"]["bridge"] in found.text
    assert found.following == f"see {tmp_path}/out/README.md"
    assert {*found.document["files"]} | {"config.yaml", "analysis.json"} <= names(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "analysis.json").read_text()) == found.document
    rows, text, answer = embeddings()
    np.savez(
        tmp_path / "after.npz", embeddings=rows - 3 * text[answer], names=np.load(tmp_path / "visual.npz")["names"]
    )
    away = run(config(tmp_path, tmp_path / "away", after=str(tmp_path / "after.npz")))
    assert away.document["verdicts"]["after"] == "poor", "and not by whatever is given"


def test_started_over_nothing_of_the_earlier_analysis_is_left(tmp_path: Path, bridge: str) -> None:
    out = tmp_path / "out"
    run(config(tmp_path, out, bridges=[bridge, bridge], uncertain_share=0.5))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RefusedError, match="these keys differ: bridges, uncertain_share"):
        run(config(tmp_path, out))
    run(config(tmp_path, out), fresh=True)
    run(config(tmp_path, tmp_path / "other"))
    assert names(out) == names(tmp_path / "other") | {"notes.txt"}


def test_the_recorded_config_does_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sets(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = run(config(tmp_path, tmp_path / "out", visual="visual.npz", bridges=["nowhere"]))
    standing = EmbeddingsConfig.load(tmp_path / "out" / "config.yaml")
    assert (standing.visual, standing.bridges) == (f"{tmp_path}/visual.npz", (f"{tmp_path}/nowhere",))
    assert "is left out" in found.document["notes"][0]
    assert EmbeddingsConfig.parse(standing.dump(), COMMAND_LINE) == standing


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"text": ""}, ConfigError, "text: is required, a file of embeddings"),
        ({"tsne": {"perplexity": 320}}, ConfigError, "needs more points than that, there are 310"),
        ({"classes": {"unseen": ["walking"]}}, ConfigError, "'walking' is no text"),
        ({"sweep": {"start_steps": [2]}}, ConfigError, "sweep: no start step is between"),
        ({"after": "text"}, ConfigError, "give the same rows in the same order"),
        ({"rows": np.ones((150, 1, 32), np.float32)}, DatasetError, "take the axis of 1 away"),
        ({"rows": np.full((150, 32), np.nan, np.float32)}, DatasetError, "150 of 150 embeddings are NaN"),
    ],
)
def test_what_does_not_fit_leaves_nothing_behind(
    tmp_path: Path, bridge: str, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    files = write_sets(tmp_path, **{key: value for key, value in changed.items() if key == "rows"})
    given = {key: files.get(str(value), value) for key, value in changed.items() if key != "rows"}
    wanted = {**files, **SMALL, "output": str(tmp_path / "out"), "bridges": [bridge], **given}
    with pytest.raises(error, match=message):
        run(EmbeddingsConfig.parse(wanted, "test"))
    assert not (tmp_path / "out").exists()


def test_the_steps_are_told_before_and_after(tmp_path: Path) -> None:
    given = config(tmp_path, tmp_path / "out")
    assert [one.is_done for one in status(given)] == [False] * 4
    run(given)
    assert [one.name for one in status(given) if one.is_done] == ["figures", "report"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def of_dataset(folder: Path, model: Path, **more: Any) -> EmbeddingsConfig:
    features = {"model": str(model), "size_px": SIZE_PX, **more.pop("features", {})}
    values = {"dataset": str(folder / "said"), "clips": {"features": features}, "output": str(folder / "out")}
    return EmbeddingsConfig.parse({**SMALL, **values, **more}, "test")


def test_a_dataset_is_embedded_and_its_file_stays(tmp_path: Path, model: Path, bridge: str) -> None:
    make_said(tmp_path / "said")
    with pytest.raises(ConfigError, match="needs more points than that, there are 15"):
        run(of_dataset(tmp_path, model, tsne={"perplexity": 20}))
    with pytest.raises(ConfigError, match="dataset and text: give one of them"):
        run(of_dataset(tmp_path, model, text="text.npz"))
    with pytest.raises(ConfigError, match="is of 32 dimensions, the embeddings of 16"):
        run(of_dataset(tmp_path, model, bridges=[bridge]))
    with pytest.raises(ConfigError, match=r"mean_of=.*has 32 dimensions, the rows 16"):
        run(of_dataset(tmp_path, model, mean_of=write_sets(tmp_path)["visual"]))
    assert not (tmp_path / "out").exists()
    found = run(of_dataset(tmp_path, model))
    assert found.document["notes"] == ["1 face tracks have no keyword and are left out"]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["data"] == {"visual": "[12, 16]", "images": 6, "text": "[3, 16]", "dimension": 16}
    given = {**SMALL, "embeddings": str(tmp_path / "out" / "embeddings.parquet"), "output": str(tmp_path / "again")}
    run(EmbeddingsConfig.parse(given, "test"))
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert again["systems"] == metrics["systems"]
    assert [one.is_done for one in status(of_dataset(tmp_path, model))] == [True] * 4


def test_pictures_of_random_weights_say_so(tmp_path: Path, model: Path) -> None:
    make_said(tmp_path / "said")
    found = run(of_dataset(tmp_path, model, features={"weights": "random", "seed": 3}))
    assert found.document["notes"][0].startswith("RANDOM weights")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["config"]["distribution"]["title"] == "RANDOM weights: "
    assert "RANDOM weights" in (tmp_path / "out" / "summary_report.txt").read_text()
    assert metrics["config"]["tsne"]["title"].startswith("RANDOM weights: Embedding Space")
