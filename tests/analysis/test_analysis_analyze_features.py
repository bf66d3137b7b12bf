"""Two runs to their figures and a verdict; what cannot be compared is told before a file is made."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from evaluated_runs import save
from feature_pairs import NETWORK, denoiser
from mien.analysis.analyze_features import FeaturesConfig, run
from mien.analysis.output import AnalysisReport
from mien.datasets.image_split import ImageSplitConfig, divide
from mien.datasets.split import HELD_OUT
from mien.errors import CheckpointError, ConfigError, PreflightError, RefusedError
from mien.models.unet import UnetConfig
from mien.storage.local import LocalStore

LAYERS = ["in_conv", "bottleneck"]
SMALL = {
    "num_samples": 2,
    "timesteps": [300],
    "layers": LAYERS,
    "device": "cpu",
    "grid": {"num_channels": 9, "grid_size": 3},
}


def make_run(place: Path, seed: int, images: Path, network: UnetConfig = NETWORK, step: int = 10) -> Path:
    model = denoiser(seed, network)
    config = {"dataset": str(images), "data": {"kind": "images", "split": {"by": "name", "held_out": 0.5}}}
    save(place, model, {"objective": model.config.dump(), "config": config}, step)
    return place


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with images, and two runs that held out the same half of them."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / "images" / f"{number}.png")
    for seed, name in ((1, "base"), (2, "other")):
        make_run(folder / name, seed, folder / "images")
    return folder


def config(runs: Path, place: Path, **values: Any) -> FeaturesConfig:
    sides = {"baseline": str(runs / "base"), "curriculum": str(runs / "other")}
    return FeaturesConfig.parse({**sides, **SMALL, "output": str(place), **values}, "test")


@pytest.fixture(scope="module")
def made(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, AnalysisReport]:
    """A finished analysis, to be read."""
    place = tmp_path_factory.mktemp("made") / "out"
    return place, run(config(runs, place))


def names(place: Path) -> set[str]:
    return {entry.name for entry in LocalStore(place).list()}


def rows(place: Path, number: int = 0) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(place / f"activations/sample_{number}.parquet").to_pylist()
    return found


def test_the_defaults_are_those_of_the_seed() -> None:
    one = FeaturesConfig()
    assert (one.num_samples, one.timesteps, one.clean, one.noisy, one.weights) == (
        5,
        (100, 500, 900),
        True,
        True,
        "ema",
    )
    assert (one.grid.num_channels, one.grid.grid_size, one.output) == (64, 8, "feature_visualizations")


def test_figures_numbers_and_a_verdict_of_the_images_that_were_held_out(
    runs: Path, made: tuple[Path, AnalysisReport]
) -> None:
    place, report = made
    pictures = {name for name in names(place) if name.startswith("sample_")}
    folders = ("clean_t0", "noisy_t300")
    expected = {f"sample_{n}/{folder}/{layer}.png" for n in (0, 1) for folder in folders for layer in LAYERS}
    assert pictures == expected | {f"sample_{n}/input_{which}.png" for n in (0, 1) for which in ("clean", "noisy_t300")}
    assert report.document["num_pictures"] == len(pictures) == 12
    assert {*report.document["verdicts"]} == {
        one["measure"] for one in json.loads((place / "consistency.json").read_text())["consistency"]
    }
    kept = FeaturesConfig.load(place / "config.yaml")
    assert kept.baseline == f"{runs}/base/checkpoints/step_000000010.json"
    assert kept.data is not None
    assert kept.data.dump()["place"] == f"{runs}/images"
    assert {row["image"] for row in rows(place)} == {held_out(runs)[0]}


def held_out(runs: Path) -> list[str]:
    listed = sorted(path.name for path in (runs / "images").iterdir())
    parts = divide(listed, ImageSplitConfig(held_out=0.5))
    return [name for name, part in zip(listed, parts, strict=True) if part == HELD_OUT]


def test_swapped_runs_swap_their_numbers_and_other_weights_are_others(
    runs: Path, made: tuple[Path, AnalysisReport], tmp_path: Path
) -> None:
    run(config(runs, tmp_path / "b", num_samples=1, baseline=str(runs / "other"), curriculum=str(runs / "base")))
    run(config(runs, tmp_path / "c", num_samples=1, weights="model"))
    a, b, c = (
        {(r["condition"], r["layer"], r["side"]): r["std"] for r in rows(place)}
        for place in (made[0], tmp_path / "b", tmp_path / "c")
    )
    swap = {"baseline": "curriculum", "curriculum": "baseline"}
    assert all(b[condition, layer, swap[side]] == std for (condition, layer, side), std in a.items())
    assert all(c[key] != std for key, std in a.items())


def test_an_interrupted_run_goes_on_and_finished_images_stay(
    runs: Path, made: tuple[Path, AnalysisReport], tmp_path: Path
) -> None:
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    (tmp_path / "analysis.json").unlink()
    (tmp_path / "activations/sample_1.parquet").unlink()
    kept = tmp_path / "sample_0/clean_t0/in_conv.png"
    kept.write_bytes(b"as it was")
    (tmp_path / "sample_1/clean_t0/in_conv.png").unlink()
    run(config(runs, tmp_path))
    assert kept.read_bytes() == b"as it was"
    assert (tmp_path / "sample_1/clean_t0/in_conv.png").exists()
    assert (tmp_path / "analysis.json").exists()


def test_a_run_that_went_on_meanwhile_is_another_config(runs: Path, tmp_path: Path) -> None:
    base = make_run(tmp_path / "base", 1, runs / "images")
    one = {"baseline": str(base), "num_samples": 1, "noisy": False, "layers": LAYERS[:1]}
    run(config(runs, tmp_path / "out", **one))
    make_run(base, 3, runs / "images", step=20)
    with pytest.raises(RefusedError, match="these keys differ: baseline"):
        run(config(runs, tmp_path / "out", **one))
    run(config(runs, tmp_path / "out", **one), fresh=True)


def test_runs_that_held_out_other_images_are_told(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    other = make_run(tmp_path / "other", 2, tmp_path / "others")
    report = run(config(runs, tmp_path / "out", curriculum=str(other), num_samples=9, noisy=False))
    said = " ".join(report.document["notes"])
    assert "held out other images (dataset differ)" in said
    assert "there are 3 images, not 9" in said


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"baseline": ""}, ConfigError, "baseline: is required"),
        ({"curriculum": "NONE"}, CheckpointError, "holds no checkpoint"),
        ({"timesteps": [1000]}, ConfigError, "timesteps: 1000 is not below 1000"),
        ({"layers": ["in_con"]}, ConfigError, "in_con: no such module; the nearest are in_conv"),
        ({"data": {"kind": "images", "place": "NONE"}}, PreflightError, "does not exist"),
    ],
)
def test_what_cannot_be_shown_leaves_nothing_behind(
    runs: Path, tmp_path: Path, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    text = json.dumps(changes).replace("NONE", str(tmp_path / "none"))
    with pytest.raises(error, match=words):
        run(config(runs, tmp_path / "out", **json.loads(text)))
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_is_not_there_leaves_nothing_behind(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="there is no GPU"):
        run(config(runs, tmp_path / "out", device="cuda"))
    assert not (tmp_path / "out").exists()


def test_models_that_cannot_be_compared_are_refused(runs: Path, tmp_path: Path) -> None:
    wide = make_run(tmp_path / "wide", 1, runs / "images", NETWORK.model_copy(update={"base_channels": 64}))
    with pytest.raises(CheckpointError, match="different architectures: base_channels is 32 and 64"):
        run(config(runs, tmp_path / "out", curriculum=str(wide)))
    model = denoiser(1)
    with torch.no_grad():
        model.network.get_parameter("in_conv.weight").fill_(torch.nan)
    save(tmp_path / "nan", model, {"objective": model.config.dump()}, 1)
    with pytest.raises(CheckpointError, match="values that are no numbers"):
        run(config(runs, tmp_path / "out", curriculum=str(tmp_path / "nan")))
    assert not (tmp_path / "out").exists()
