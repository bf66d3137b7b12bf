"""`mien tune` as a person types and mistypes it; what a sweep does is tested in tests/tuning."""

import json
from pathlib import Path

import pytest

from command_line import assert_refused, run_here

FILE = str(Path(__file__).parent.parent.parent / "configs" / "tune" / "synthetic.yaml")


def test_a_dry_run_shows_the_first_trials_and_the_cost(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ended = run_here(capfd, "tune", FILE, f"output={tmp_path}/sweep", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    told = json.loads(ended.out)
    assert len(told["first_trials"]) == 10
    assert told["steps_at_most"] == 64 * 81
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_ends_with_its_best(capfd: pytest.CaptureFixture[str], tmp_path: Path, local_ray: None) -> None:
    words = ["tune", FILE, f"output={tmp_path}/sweep", "num_trials=3", "train.num_epochs=4", "scheduler={kind: fifo}"]
    ended = run_here(capfd, *words, "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert sum(report["trials"].values()) == 3
    assert ended.err.strip().splitlines()[-1].split()[0] == "next"
    again = run_here(capfd, *words)  # adds nothing
    assert again.code == 0, again.err
    assert f"best    {report['best']}" in again.out
    refused = run_here(capfd, *words, "seed=1")
    assert refused.code == 5
    assert "these keys differ: seed" in refused.err


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("space.learning_rate.low=0", ("learning_rate.low", "greater than 0")),
        ("space.weights.first.low=2", ("low=2 must be below high=1",)),
        ("space.weights.frist={kind: uniform, low: 0, high: 1}", ("no such key", "did you mean weights.first")),
        ("metrics.loss=lowest", ("metrics.loss", "changes its meaning")),
        ("num_trials=0", ("num_trials", "greater than or equal to 1")),
        ("scheduler.grace_steps=81", ("scheduler.grace_steps", "nothing would happen")),
    ],
)
def test_a_key_that_does_not_fit_is_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, word: str, parts: tuple[str, ...]
) -> None:
    ended = run_here(capfd, "tune", FILE, f"output={tmp_path}/sweep", word)
    assert_refused(ended, 2, *parts)


def test_failing_trials_end_the_sweep_with_the_first_reason(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, local_ray: None
) -> None:
    words = ["tune", FILE, f"output={tmp_path}/sweep", "num_trials=2", "metrics={misd: lowest}"]
    ended = run_here(capfd, *words)
    assert_refused(ended, 1, "all 2 trials failed", "misd is not reported", "of 2 of them")
