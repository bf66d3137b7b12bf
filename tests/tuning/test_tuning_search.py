"""Schedulers on a real Ray Tune: who is stopped, and that nobody does a step twice."""

from pathlib import Path

import pytest

from mien.tuning import tune
from mien.tuning.job import TuneConfig
from sweeps import expected, sweep, table_of, told

FILE = Path(__file__).parent.parent.parent / "configs" / "tune" / "synthetic.yaml"

pytestmark = pytest.mark.usefixtures("local_ray")


def test_asha_stops_the_bad_ones_and_is_heard_again(tmp_path: Path) -> None:
    scheduler = {"kind": "asha", "grace_steps": 1, "reduction_factor": 3}
    config = sweep(tmp_path, scheduler=scheduler, num_trials=12, train={"kind": "synthetic", "num_epochs": 9})
    first = tune.run(config)
    trials = table_of(tmp_path)
    stopped = [trial for trial in trials if trial.state == "stopped"]
    assert stopped
    for trial in trials:
        assert told(trial) == pytest.approx(expected(config, trial.number)[: len(trial.history)])
        assert (trial.state == "done") == (trial.step == 9)
    assert all(trial.step in {1, 3} for trial in stopped), "rungs"
    assert first.trials == {"done": 12 - len(stopped), "stopped": len(stopped)}


@pytest.mark.slow
def test_hyperband_waits_for_its_brackets(tmp_path: Path) -> None:
    config = sweep(
        tmp_path, scheduler={"kind": "hyperband"}, num_trials=9, train={"kind": "synthetic", "num_epochs": 9}
    )
    report = tune.run(config)
    trials = table_of(tmp_path)
    assert report.trials["done"] < 9
    assert sum(report.trials.values()) == 9
    for trial in trials:
        assert told(trial) == pytest.approx(expected(config, trial.number)[: len(trial.history)])


@pytest.mark.slow
def test_asha_finds_what_a_full_random_search_finds_in_a_third_of_its_epochs(tmp_path: Path) -> None:
    """The shipped sweep: 64 trials of 81 epochs, of a noise of 0.001."""
    config = TuneConfig.load(FILE, [f"output={tmp_path}"])
    report = tune.run(config)
    done = sum(trial.step for trial in table_of(tmp_path))
    full = min(expected(config, number)[-1] for number in range(config.num))
    print(f"asha: {report.value:.4f} against {full:.4f} of a full search, epochs {done / (64 * 81):.3f}")
    assert report.value <= 1.02 * full
    assert done <= 0.35 * 64 * 81
