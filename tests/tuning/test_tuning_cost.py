"""What a sweep costs, counted by hand and tried on a small training."""

from pathlib import Path

import pytest

from mien.tuning.cost import estimate
from mien.tuning.job import TuneConfig
from sweeps import sweep
from training_backbones import make_whole
from training_runs import SMALL


def test_rungs_are_counted(tmp_path: Path) -> None:
    """Of nine trials all do 3 epochs, three go on to 9, one to 12; two configs are done again three times each."""
    scheduler = {"kind": "asha", "grace_steps": 3, "reduction_factor": 3}
    config = sweep(
        tmp_path,
        scheduler=scheduler,
        num_trials=9,
        train={"kind": "synthetic", "num_epochs": 12},
        repeats={"num_configs": 2, "num_seeds": 3},
    )
    assert estimate(config, 12) == {"steps_at_most": (9 + 6) * 12, "steps_expected": 9 * 3 + 3 * 6 + 1 * 3 + 6 * 12}


def test_a_training_is_tried(tmp_path: Path) -> None:
    whole = make_whole(tmp_path / "dataset", tmp_path / "backbone")
    values = {
        "dataset": whole.uri,
        "train": SMALL,
        "space": {"objective.weights.temporal": {"kind": "uniform", "low": 0.0, "high": 1.0}},
        "metrics": {"reconstruction": "lowest"},
        "num_trials": 4,
    }
    found = estimate(TuneConfig.parse(values, "test"), 6)
    assert found["steps_expected"] == found["steps_at_most"] == 24
    assert found["trial_s"] == pytest.approx(6 * found["step_s"] + 2 * found["report_s"])
    assert found["core_hours"] == pytest.approx(4 * found["trial_s"] / 3600)
    assert found["step_s"] > 0
    values["train"] = SMALL | {"workers": {"num": 2}}
    assert "not measured" in estimate(TuneConfig.parse(values, "test"), 6)["hours"]
