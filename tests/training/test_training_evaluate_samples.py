"""Made images against held-out ones: what is compared with what, and what a report says."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inception_weights import drawn, pin, saved
from mien import assets
from mien.errors import AssetError, CheckpointError, ConfigError
from mien.evaluation.distribution_scores import frechet_distance, kernel_distance
from mien.evaluation.generation import GenerationResult
from mien.features.inception import Inception
from mien.features.registry import resolve
from mien.objectives.load import load_objective
from mien.storage.uri import open_store
from mien.training import evaluate, evaluate_samples
from mien.training.evaluate import EvaluateConfig
from mien.training.evaluate_samples import SamplesConfig, SamplesJob
from mien.training.job import TrainConfig
from mien.training.notice import NoNotices
from mien.training.prepare import prepare
from mien.training.samples import readers
from mien.training.setup import open_samples
from mien.training.worker import work
from mien.training.world import World
from training_backbones import make_whole, tiny_backbone

DDPM: dict[str, Any] = {
    "objective": {
        "kind": "ddpm",
        "network": {
            "image_size_px": 8,
            "base_channels": 32,
            "multipliers": [1],
            "attention_levels": [],
            "num_blocks": 1,
        },
        "sampler": {"kind": "ddim", "num_steps": 2},
    },
    "data": {"kind": "crops", "split": {"held_out": 0.4}},
    "batch": {"size": 4, "exact": False},
    "num_steps": 2,
    "log": {"tensorboard": False, "figures": False},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A model that has seen two batches of faces."""
    folder = tmp_path_factory.mktemp("samples")
    make_whole(folder / "dataset", folder / "backbone").close()
    values = {**DDPM, "dataset": str(folder / "dataset"), "output": str(folder / "run")}
    config = TrainConfig.parse(values, "test")
    job, weights = prepare(config, open_store(config.output))
    work(job, World(), NoNotices(), weights)
    return config


def config_of(run: TrainConfig, tmp_path: Path, **samples: Any) -> EvaluateConfig:
    given = {"num_samples": 12, "batch": 5, "num_neighbours": 3, **samples}
    return EvaluateConfig.parse({"checkpoint": run.output, "output": str(tmp_path), "samples": given}, "test")


def test_made_images_are_compared_with_held_out_and_training_ones_of_whole_clips(
    run: TrainConfig, tmp_path: Path
) -> None:
    backbone = tiny_backbone(tmp_path / "backbone").model_copy(update={"output": "cls"})
    resolved = resolve(backbone)
    config = SamplesConfig(num_samples=12, batch=5, num_neighbours=3)
    job = SamplesJob(run.output, "ema", run, config, resolved)
    found = evaluate_samples._measured(job, resolved.read_weights(), b"", 1)
    result = found.result
    assert found.by_inception is None
    assert not any(name.startswith(("FID", "KID")) for name in evaluate_samples.summary(found))
    assert isinstance(result, evaluate_samples.GenerationResult)
    conditions = result.scores.frechet.conditions
    assert conditions.num_images == 12
    assert 2 <= conditions.num_held_out <= 12, "frames without a face are not among them"
    assert conditions.features["sha256"] == resolved.provenance["sha256"]
    assert len(result.nearest) == 3
    with Image.open(io.BytesIO(found.copies)) as picture:
        assert picture.size == (3 * 8, 2 * 8)
    train, _ = evaluate_samples.readers(evaluate_samples.open_samples(run), run.seed)
    places = evaluate_samples._spread(train, 12)
    clips = evaluate_samples._clips(train, places)
    assert clips is not None
    assert len(clips) == len(places)
    assert train.read(places).mask.all()
    np.testing.assert_array_equal(places, sorted({*places}))


def test_fid_is_measured_beside_it_on_the_same_images(
    run: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = saved(drawn())
    pin(monkeypatch, weights)
    resolved = resolve(tiny_backbone(tmp_path / "backbone").model_copy(update={"output": "cls"}))
    config = SamplesConfig(num_samples=6, batch=5, num_neighbours=2, fid=True)
    job = SamplesJob(run.output, "ema", run, config, resolved)
    found = evaluate_samples._measured(job, resolved.read_weights(), weights, 1)
    assert isinstance(found.by_inception, GenerationResult)
    assert isinstance(found.result, GenerationResult)
    scores = found.by_inception.scores

    objective = load_objective(run.output, "ema").objective
    made = np.concatenate([*evaluate_samples._made(objective, config)])
    _, held_out = readers(open_samples(run), run.seed)
    true = held_out.read(evaluate_samples._spread(held_out, 6)).values.numpy()
    network = Inception(weights)
    assert scores.frechet.value == pytest.approx(frechet_distance(network(made), network(true)), rel=1e-4)
    assert scores.kernel.value == pytest.approx(kernel_distance(network(made), network(true)), rel=1e-4)

    said = evaluate_samples.summary(found)
    assert said["FID"] == str(scores.frechet).removeprefix("FID ")
    assert {"KID", "FID of training images", "KID of training images", "FD-random-DINOv2"} <= said.keys()
    (sha256,) = assets.ASSETS["inception"].sums
    counts = found.result.scores.frechet.conditions
    assert said["FID and KID under"] == (
        f"inception-2015-12-05, sha256 {sha256:.12}, resized (bilinear of TensorFlow 1) to 299 px; "
        f"{counts.num_images} images, {counts.num_held_out} held out; seed 0"
    )


def test_fid_without_its_weights_ends_before_any_work(
    run: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    output = tmp_path / "report"
    nowhere = {"kind": "dinov2", "model": "no/such-model", "output": "cls"}
    with pytest.raises(AssetError, match="run `mien assets pull inception`, or set MIEN_ASSETS") as failure:
        evaluate.run(config_of(run, output, fid=True, backbone=nowhere))
    assert failure.value.exit_code == 4
    assert not output.exists()
    (tmp_path / assets.ASSETS["inception"].file).write_bytes(b"damaged")
    with pytest.raises(AssetError, match=r"sha256 is .*, expected 6726825d"):
        evaluate.run(config_of(run, output, fid=True, backbone=nowhere))


def test_the_features_of_the_dataset_are_those_that_images_are_compared_in(run: TrainConfig) -> None:
    found = evaluate_samples.backbone_of(SamplesConfig(), run)
    assert found.config.output == "cls"
    assert found.config.model.endswith("backbone")


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ({"backbone": {"kind": "dinov2", "output": "patch"}}, ConfigError, "must be cls or mean"),
        ({"num_samples": 1}, ConfigError, "samples.num_samples"),
    ],
)
def test_what_cannot_be_compared_is_told(
    run: TrainConfig, tmp_path: Path, samples: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate.run(config_of(run, tmp_path, **samples))


def test_a_model_without_images_is_no_clip_model(run: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not measured by clips"):
        evaluate.prepare(config_of(run, tmp_path))


def test_the_command_writes_a_report_over_ray(local_ray: None, run: TrainConfig, tmp_path: Path) -> None:
    report = evaluate.run(config_of(run, tmp_path))
    assert "inception" not in report.document
    assert "FID" not in (tmp_path / "evaluation.md").read_text()
    assert "FD-random-DINOv2" in report.summary
    assert report.document["generation"]["scores"]["kernel"]["conditions"]["num_images"] == 12
    assert "RANDOM weights" in (tmp_path / "evaluation.md").read_text()
    assert (tmp_path / "evaluation.png").exists()
