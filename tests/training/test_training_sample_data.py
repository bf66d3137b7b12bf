"""Runs on images: whole ones without Ray, of images, of faces; what resumes, and what does not fit together."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mien.errors import ConfigError
from mien.models import checkpoint
from mien.objectives.diffusion import Ddpm
from mien.objectives.load import load_objective
from mien.storage.local import LocalStore
from mien.storage.uri import open_store
from mien.training import log
from mien.training.job import TrainConfig
from mien.training.notice import NoNotices
from mien.training.prepare import prepare
from mien.training.worker import work
from mien.training.world import World
from training_runs import Team, difference, make_tokens, saved, train
from training_runs import trained as run_job

STAGES = [{"length": 1, "t_min": 0.5, "name": "coarse"}, {"length": 9}]
DDPM: dict[str, Any] = {
    "objective": {
        "kind": "ddpm",
        "network": {
            "image_size_px": 8,
            "base_channels": 32,
            "multipliers": [1],
            "attention_levels": [],
            "num_blocks": 1,
            "dropout": 0.1,
        },
        "sampler": {"kind": "ddim", "num_steps": 2},
        "timesteps": {"kind": "hard", "unit": "epoch", "stages": STAGES},
    },
    "data": {"kind": "images", "split": {"held_out": 0.3}},
    "batch": {"size": 4, "exact": False},
    "num_steps": 6,
    "optimizer": {"learning_rate": 1e-3},
    "ema": {},
    "log": {"every_steps": 1, "tensorboard": False},
    "validation": {"every_steps": 3, "max_windows": 8},
    "checkpoints": {"every_steps": 2, "keep": 100},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 256, (10 + number % 3, 12, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "png")
        (folder / f"{number:02d}.png").write_bytes(data.getvalue())
    return folder


def config(dataset: Path, output: Path, **changes: Any) -> TrainConfig:
    return TrainConfig.parse({**DDPM, "dataset": str(dataset), "output": str(output), **changes}, "test")


def trained(values: TrainConfig) -> dict[str, torch.Tensor]:
    """Weights after all steps, in this process."""
    job, weights = prepare(values, open_store(values.output))
    work(job, World(), NoNotices(), weights)
    found = checkpoint.newest(open_store(values.output))
    assert found is not None
    return found.tensors(checkpoint.MODEL)


def test_a_run_on_images_leaves_samples_errors_by_band_and_a_checkpoint(images: Path, tmp_path: Path) -> None:
    trained(config(images, tmp_path / "run"))
    trained_lines = [line for line in log.read(open_store(str(tmp_path / "run"))) if line["kind"] == "train"]
    assert [line["stage"] for line in trained_lines] == ["coarse"] * 4 + ["stage2"] * 2, "14 images, 4 a step"
    lines = [line for line in log.read(open_store(str(tmp_path / "run"))) if line["kind"] == "validation"]
    assert [line["step"] for line in lines] == [3, 6]
    assert {"error", "error_1_of_4", "error_4_of_4"} <= lines[0].keys()
    with Image.open(tmp_path / "run" / "figures" / "samples_step_6.png") as grid:
        assert grid.size == (8 * 8, 2 * 8)
    loaded = load_objective(str(tmp_path / "run"))
    assert isinstance(loaded.objective, Ddpm)
    assert loaded.facts["objective"]["timesteps"]["stages"][0]["name"] == "coarse"


def test_a_run_that_goes_on_ends_as_one_that_never_stopped(images: Path, tmp_path: Path) -> None:
    whole = trained(config(images, tmp_path / "whole"))
    trained(config(images, tmp_path / "parts", num_steps=4))
    resumed = trained(config(images, tmp_path / "parts"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize(
    "timesteps",
    [{"kind": "task_difficulty", "num_clusters": 4, "patience": 1}, {"kind": "loss_aware", "history": 1}],
    ids=lambda given: given["kind"],
)
def test_stages_that_follow_losses_are_the_same_on_two_workers_and_after_a_stop(
    team: Team, images: Path, tmp_path: Path, timesteps: dict[str, Any]
) -> None:
    """Exactly the same weights, so the same timesteps: the losses of all samples are heard everywhere, in one order."""
    objective = DDPM["objective"] | {"schedule": {"kind": "linear", "num_steps": 8}, "timesteps": timesteps}
    batch = {"size": 4, "exact": True}
    jobs = [
        prepare(config(images, tmp_path / name, objective=objective, batch=batch, num_steps=num), LocalStore(tmp_path))[
            0
        ]
        for name, num in (("one", 12), ("two", 6), ("two", 12))
    ]
    train(jobs[0])
    assert team(2, run_job, jobs[1]) == [6, 6]
    train(jobs[2])
    one, two = saved(tmp_path / "one"), saved(tmp_path / "two")
    assert any(name.startswith("carried/") for name in one)
    assert difference(one, two) == 0
    assert len({line["stage"] for line in log.read(open_store(str(tmp_path / "one"))) if line["kind"] == "train"}) > 1


def test_faces_of_a_dataset_are_images_too(tmp_path: Path) -> None:
    make_tokens(tmp_path / "dataset").close()
    data = {"kind": "crops", "split": {"by": "subject", "held_out": 0.2}}
    assert trained(config(tmp_path / "dataset", tmp_path / "run", data=data, num_steps=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"kind": "clips"}}, "data.kind=clips: ddpm learns from images or crops"),
        ({"objective": {"kind": "joint"}}, "data.kind=images: joint learns from clips"),
        ({"augment": {"flip": 0.5}}, "augment: is of clips"),
    ],
)
def test_data_that_an_objective_cannot_learn_from_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(Path("somewhere"), Path("run"), **changes)


def test_a_curriculum_that_ends_before_the_run_is_refused(images: Path, tmp_path: Path) -> None:
    values = config(images, tmp_path / "run", num_steps=40)
    with pytest.raises(ConfigError, match=r"end after 10 epochs, before a training of \d+ does; lengthen the last one"):
        prepare(values, open_store(values.output))
