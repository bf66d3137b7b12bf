"""What a sweep says while it runs."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from mien.tuning import progress
from mien.tuning.progress import Progress
from sweeps import sweep


def test_a_line_counts_the_trials_and_names_the_best(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    told = Progress(sweep(tmp_path), 5)
    trials = [SimpleNamespace(status=status, config={"trial": {"number": n}}) for n, status in enumerate("RRT")]
    caplog.set_level(logging.INFO, logger="mien")
    told.on_trial_result(0, trials, trials[1], {"score": 0.5, "step": 3})
    told.on_trial_result(0, trials, trials[2], {"score": float("nan"), "step": 4})
    assert caplog.messages == []
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    told.on_trial_result(0, trials, trials[0], {"score": 0.7, "step": 9})
    assert caplog.messages == ["trials   2 r, 1 t, of 5  best score 0.5 (trial 1, step 3)"]
