"""Held-out numbers do not depend on who sees which window, and leave no trace in the model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.losses.collapse import collapse_metrics
from mien.training.setup import set_up
from mien.training.validate import Validator
from mien.training.world import World
from training_runs import Team, job_of

WEIGHTS = {"reconstruction": 1.0, "temporal": 0.5, "diversity": 0.25}
CHANGES = {"precision": "float64", "data.split.held_out": 0.6}


def validated(world: World, job: Any, batch: int, num_windows: int) -> dict[str, float]:
    setup = set_up(job, world)
    validator = Validator(setup.held_out, lambda clips: setup.batches.make(clips, None), world, num_windows)
    return validator(setup.objective, WEIGHTS, batch).metrics


@pytest.mark.parametrize("num_windows", [7, 1])
def test_numbers_are_the_same_on_any_number_of_workers(
    team: Team, tokens: Path, tmp_path: Path, num_windows: int
) -> None:
    job = job_of(tokens, tmp_path / "run", CHANGES)
    alone = validated(World(), job, 3, num_windows)
    assert {"loss", *WEIGHTS, "similarity_mean", "effective_rank"} <= alone.keys()
    for found in [*team(3, validated, job, 3, num_windows), validated(World(), job, 1, num_windows)]:
        assert found == pytest.approx(alone, rel=1e-5, abs=1e-9, nan_ok=True)


def test_a_loss_is_the_mean_over_the_windows_that_count(tokens: Path, tmp_path: Path) -> None:
    setup = set_up(job_of(tokens, tmp_path / "run", CHANGES), World())
    made = Validator(setup.held_out, lambda clips: setup.batches.make(clips, None), World(), 5)
    seen = made(setup.objective, WEIGHTS, 2)
    setup.objective.eval()
    sums, counts, tokens_of = dict.fromkeys(WEIGHTS, 0.0), dict.fromkeys(WEIGHTS, 0.0), []
    with torch.no_grad():
        for place in range(5):
            batch = setup.batches.make(setup.held_out.read([place]), None)
            outcome = setup.objective(batch)
            tokens_of.append(outcome.tokens[batch.mask])
            for name, term in outcome.terms.items():
                sums[name] += float(term.sum)
                counts[name] += float(term.count)
    means = {name: sums[name] / counts[name] for name in WEIGHTS}
    for name, mean in means.items():
        assert seen.metrics[name] == pytest.approx(mean, rel=1e-6)
    assert seen.metrics["loss"] == pytest.approx(sum(WEIGHTS[name] * means[name] for name in WEIGHTS), rel=1e-6)
    assert seen.metrics["effective_rank"] == pytest.approx(
        collapse_metrics(torch.cat(tokens_of))["effective_rank"], 1e-4
    )
    assert seen.tokens.shape[:2] == seen.mask.shape == (5, 6)
    assert seen.tokens.dtype == torch.float32


def test_a_model_is_afterwards_as_it_was(tokens: Path, tmp_path: Path) -> None:
    setup = set_up(job_of(tokens, tmp_path / "run"), World())
    before = {name: tensor.clone() for name, tensor in setup.objective.state_dict().items()}
    validator = Validator(setup.held_out, lambda clips: setup.batches.make(clips, None), World(), 4)
    for mode in (True, False):
        setup.objective.train(mode)
        first, second = (validator(setup.objective, WEIGHTS, 4).metrics for _ in range(2))
        assert setup.objective.training is mode
        assert first == second, "nothing is drawn"
    assert all(torch.equal(before[name], tensor) for name, tensor in setup.objective.state_dict().items())
    assert not any(p.grad is not None for p in setup.objective.parameters())


def test_a_failure_leaves_the_mode_too(tokens: Path, tmp_path: Path) -> None:
    setup = set_up(job_of(tokens, tmp_path / "run"), World())

    def make(clips: Any) -> Any:
        raise ValueError("no batch")

    with pytest.raises(ValueError, match="no batch"):
        Validator(setup.held_out, make, World(), 4)(setup.objective, WEIGHTS, 4)
    assert setup.objective.training


def test_similarities_are_those_of_the_tokens(tokens: Path, tmp_path: Path) -> None:
    setup = set_up(job_of(tokens, tmp_path / "run", CHANGES), World())
    seen = Validator(setup.held_out, lambda clips: setup.batches.make(clips, None), World(), 6)(
        setup.objective, WEIGHTS, 4
    )
    found = []
    for clip, kept in zip(seen.tokens.numpy(), seen.mask.numpy(), strict=True):
        clip = clip[kept] / np.linalg.norm(clip[kept], axis=1, keepdims=True)
        found += [clip[i] @ clip[j] for i in range(len(clip)) for j in range(i)]
    assert seen.metrics["similarity_count"] == len(found)
    assert seen.metrics["similarity_mean"] == pytest.approx(np.mean(found), abs=1e-5)
