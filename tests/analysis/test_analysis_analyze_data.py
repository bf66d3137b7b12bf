"""A dataset becomes figures and numbers; what it lacks is told, and faces are shown on request only."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.analysis.analyze_data import DataFiguresConfig, run
from mien.datasets.dataset import Dataset
from mien.datasets.frames import Values
from mien.errors import ConfigError, DatasetError, RefusedError
from training_runs import make_tokens

FIGURES = ["overview.png", "normalisation.png", "normalisation_effect.png", "similarity.png"]
SMALL: dict[str, Any] = {
    "overview": {"dpi": 30},
    "normalisation": {"dpi": 30, "effect": {"dpi": 30, "lags": [1, 2], "bootstrap": {"num": 100}}},
    "similarity": {"dpi": 30, "bootstrap": {"num": 100}},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 clips of 5 people."""
    return make_tokens(tmp_path_factory.mktemp("tokens"))


def config_of(dataset: Dataset, output: Path, **changes: Any) -> DataFiguresConfig:
    return DataFiguresConfig.parse(SMALL | {"dataset": dataset.uri, "output": str(output), **changes}, "test")


def without_features(_: int, columns: dict[str, Values]) -> dict[str, Values]:
    return {name: values for name, values in columns.items() if name != "feature"}


def test_every_figure_has_its_numbers_and_no_face_is_shown(dataset: Dataset, tmp_path: Path) -> None:
    report = run(config_of(dataset, tmp_path / "out"))
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {*FIGURES, *(name.replace("png", "json") for name in FIGURES), "config.yaml", "analysis.json"}
    assert report.document["figures"] == FIGURES
    assert report.see == f"{tmp_path}/out/overview.png"
    vectors = [np.asarray(sample["feature"]).mean(1) for sample in dataset]
    values = np.concatenate([frames[np.isfinite(frames).all(1)] for frames in vectors])
    told = report.document["normalisation"]
    assert told["scales"]["none"]["std"] == pytest.approx(values.std(), rel=1e-6)
    assert told["num_frames"] == len(values)
    assert report.document["overview"]["num_frames"] == sum(len(sample) for sample in dataset)
    separation = report.document["similarity"]["separation"]
    assert separation == json.loads((tmp_path / "out" / "similarity.json").read_text())["separation"]
    assert report.text.splitlines()[0].startswith("overview: 20 clips with 20 face tracks from 5 videos")
    assert f"similarity: {dataset.uri}: column feature: Same person" in report.text
    assert f"{separation['margin']['value']:.3f}" in report.text


def test_faces_are_shown_on_request(dataset: Dataset, tmp_path: Path) -> None:
    report = run(config_of(dataset, tmp_path, figures=["overview"], include_faces=True, preview={"max_clips": 2}))
    assert report.document["figures"] == ["overview.png", "contact_sheet.png", "failures.png"]
    assert (tmp_path / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_another_column_is_another_picture(dataset: Dataset, tmp_path: Path) -> None:
    pictures = []
    for column, size in (("feature", 8), ("blendshapes", 52)):
        found = run(config_of(dataset, tmp_path / column, figures=["similarity"], vectors={"column": column}))
        assert found.document["similarity"]["num_dimensions"] == size
        pictures.append((tmp_path / column / "similarity.png").read_bytes())
    assert pictures[0] != pictures[1]


def test_a_dataset_without_features_tells_what_it_lacks(tmp_path: Path) -> None:
    bare = make_tokens(tmp_path / "bare", without_features)
    report = run(config_of(bare, tmp_path / "out"))
    assert report.document["figures"] == ["overview.png"]
    assert [*report.document["not_available"]] == ["normalisation", "similarity"]
    assert "similarity: not available: column feature: is not there, but box, landmarks, blendshapes; " in report.text
    with pytest.raises(DatasetError, match="bare: column feature: is not there"):
        run(config_of(bare, tmp_path / "none", figures=["similarity"]))
    assert not (tmp_path / "none").exists()


def test_nothing_is_written_of_what_cannot_be_read(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="dataset: is required"):
        run(DataFiguresConfig(output=str(out)))
    with pytest.raises(DatasetError, match="is not a dataset"):
        run(DataFiguresConfig(dataset=str(tmp_path / "absent"), output=str(out)))
    damaged = make_tokens(tmp_path / "damaged")
    for path in (tmp_path / "damaged" / "data").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="damaged"):
        run(config_of(damaged, out))
    assert not out.exists()


def test_an_output_has_one_config(dataset: Dataset, tmp_path: Path) -> None:
    few = {"figures": ["overview"]}
    first = run(config_of(dataset, tmp_path, **few))
    assert run(config_of(dataset, tmp_path, **few)).document == first.document
    with pytest.raises(RefusedError, match=r"these keys differ: overview\.bins"):
        run(config_of(dataset, tmp_path, **few, overview={"dpi": 30, "bins": 9}))
    run(config_of(dataset, tmp_path, figures=["normalisation"]), fresh=True)
    assert not (tmp_path / "overview.png").exists()
