"""The config of a trial that moved follows all the curves it had, each while it had it."""

from typing import Any

import pytest

from mien.losses.weights import Piecewise
from mien.tuning.best import values_of
from mien.tuning.desk import Donor, Run, Stretch, Told
from mien.tuning.job import TuneConfig

CURVE = {"kind": "schedule", "low": 0.1, "high": 1.0, "warmup_steps": 10}
CONFIG = TuneConfig.parse(
    {
        "train": {"num_steps": 100, "validation": {"every_steps": 20}},
        "space": {
            "objective.weights.temporal": {"kind": "uniform", "low": 0.0, "high": 1.0},
            "objective.weights.diversity": CURVE,
            "optimizer.weight_decay": {"kind": "uniform", "low": 0.0, "high": 0.1},
        },
        "metrics": {"reconstruction": "lowest"},
        "num_trials": 4,
    },
    "test",
)


def values(temporal: float, first: float, last: float, decay: float) -> dict[str, Any]:
    anchors = {"kind": "anchors", "initial": first, "warmup": first, "final": last, "warmup_steps": 0}
    return {
        "objective.weights.temporal": temporal,
        "objective.weights.diversity": anchors,
        "optimizer.weight_decay": decay,
    }


def told(*steps: int) -> list[Told]:
    return [Told(step, {}, 0.0) for step in steps]


def test_a_trial_that_stayed_is_what_it_was() -> None:
    run = Run(3, 0, values(0.5, 0.2, 0.8, 0.01), {})
    assert values_of(CONFIG, [Stretch(run, told(20, 40))], 100) == run.values


def test_a_trial_that_moved_has_a_curve_of_each_weight_and_the_last_of_what_is_none() -> None:
    before = Run(3, 0, values(0.5, 0.2, 0.8, 0.01), {})
    after = Run(1, 1, values(0.9, 0.4, 0.4, 0.02), {}, donor=Donor(3, 0, 40))
    found = values_of(CONFIG, [Stretch(before, told(20, 40)), Stretch(after, told(60, 80, 100))], 100)
    trial = CONFIG.trial(found, "")
    weights = trial.objective.weights
    assert isinstance(weights.temporal, Piecewise)
    assert [weights.temporal.value(step, 100) for step in (0, 20, 39, 40, 99)] == [0.5, 0.5, 0.5, 0.9, 0.9]
    assert weights.diversity.value(39, 100) == pytest.approx(0.2 + 0.6 * 0.39)
    assert weights.diversity.value(40, 100) == pytest.approx(0.4)
    assert found["optimizer.weight_decay"] == 0.02
