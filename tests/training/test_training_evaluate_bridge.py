"""A bridge from files to verdict: trained by the loop on one file of embeddings, judged on pairs of two."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.errors import ConfigError, PreflightError
from mien.models import checkpoint
from mien.objectives.bridge import EmbeddingBridge
from mien.objectives.load import load_objective
from mien.storage.uri import open_store
from mien.training import evaluate
from mien.training.evaluate import EvaluateConfig
from mien.training.job import TrainConfig
from mien.training.notice import NoNotices
from mien.training.prepare import prepare
from mien.training.worker import work
from mien.training.world import World
from modalities import DIM, Gap, modalities

BRIDGE: dict[str, Any] = {
    "objective": {
        "kind": "bridge",
        "network": {"embed_dim": DIM, "hidden_dim": 64, "num_blocks": 2},
        "modality": "text",
    },
    "data": {"kind": "embeddings", "split": {"held_out": 0.1}},
    "batch": {"size": 128, "exact": False},
    "num_steps": 200,
    "optimizer": {"learning_rate": {"kind": "cosine", "peak": 3e-3}, "clip_norm": 1.0},
    "log": {"every_steps": 100, "tensorboard": False},
    "validation": {"every_steps": 1000},
    "checkpoints": {"every_steps": 100},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Source and target of a known gap, row by row under one name."""
    folder = tmp_path_factory.mktemp("embeddings")
    training, held_out = modalities(Gap(angle=0.6, offset=1.0))
    source = torch.cat([training.source, held_out.source]).numpy()
    target = torch.cat([training.target, held_out.gallery]).numpy()
    names = np.array([f"image {number}" for number in range(len(source))])
    for name, values in (("source", source), ("target", target)):
        np.savez(folder / f"{name}.npz", embeddings=values, names=names)
    return str(folder / "source.npz"), str(folder / "target.npz")


@pytest.fixture(scope="module")
def run(files: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bridge that is trained on the target."""
    output = str(tmp_path_factory.mktemp("bridge"))
    config = TrainConfig.parse({**BRIDGE, "dataset": files[1], "output": output}, "test")
    job, weights = prepare(config, open_store(output))
    work(job, World(), NoNotices(), weights)
    return output


def test_the_mean_of_the_training_side_is_in_the_checkpoint(run: str, files: tuple[str, str]) -> None:
    objective = load_objective(run).objective
    assert isinstance(objective, EmbeddingBridge)
    values = np.load(files[1])["embeddings"]
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    np.testing.assert_allclose(objective.mean.numpy(), unit.mean(0), atol=0.02)
    found = checkpoint.newest(open_store(run))
    assert found is not None
    assert found.step == 200


def test_a_bridge_is_judged_beside_its_controls_and_what_learns_from_pairs(
    run: str, files: tuple[str, str], tmp_path: Path
) -> None:
    bridging = {"source": files[0], "target": files[1], "others": [run], "fit": {"num_steps": 50}}
    config = EvaluateConfig.parse({"checkpoint": run, "output": str(tmp_path), "bridging": bridging}, "test")
    report = evaluate.run(config)
    assert report.summary["bridge"].startswith("helps: ")
    assert report.summary["linear map"].startswith("helps: ")
    assert not report.summary["noise"].startswith("helps")
    assert report.summary["bridge 2 (residual_mlp)"] == report.summary["bridge"]
    assert report.document["modality"] == "text"
    assert "trained on text" in (tmp_path / "evaluation.md").read_text()


@pytest.mark.parametrize(
    ("bridging", "message"),
    [
        ({}, "bridging.source and bridging.target: are required"),
        (
            {"target_columns": {"names_column": "nothing"}},
            r"1600 of 1600 rows have no target of their name \('image 0'",
        ),
    ],
)
def test_pairs_that_do_not_fit_are_told(
    run: str, files: tuple[str, str], tmp_path: Path, bridging: dict[str, Any], message: str
) -> None:
    given = {"source": files[0], "target": files[1], **bridging} if bridging else {}
    config = EvaluateConfig.parse({"checkpoint": run, "output": str(tmp_path), "bridging": given}, "test")
    with pytest.raises(ConfigError, match=message):
        evaluate.run(config)


def test_an_output_that_cannot_be_written_is_told_before_anything_is_measured(run: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    output = str(tmp_path / "file" / "report")
    with pytest.raises(PreflightError, match=rf"output={output}: write: "):
        evaluate.run(EvaluateConfig.parse({"checkpoint": run, "output": output}, "test"))


def test_embeddings_of_another_width_are_refused_before_a_worker_starts(files: tuple[str, str], tmp_path: Path) -> None:
    objective = {**BRIDGE["objective"], "network": {"embed_dim": 48}}
    values = {**BRIDGE, "objective": objective, "dataset": files[1], "output": str(tmp_path)}
    with pytest.raises(ConfigError, match=r"target\.npz: .*32.*48"):
        prepare(TrainConfig.parse(values, "test"), open_store(str(tmp_path)))
