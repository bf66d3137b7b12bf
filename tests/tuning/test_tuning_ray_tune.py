"""Sweeps whose processes and machines die: no trial is lost, none is counted twice."""

import contextlib
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from command_line import start_job
from mien.storage.local import LocalStore
from mien.tuning import desk
from mien.tuning.ray_tune import _at_once
from sweeps import expected, sweep, table_of, told
from training_scenes import cluster_of

FILE = Path(__file__).parent.parent.parent / "configs" / "tune" / "synthetic.yaml"
WORDS = ["num_trials=6", "train.num_epochs=8", "train.epoch_s=0.25", "scheduler={kind: fifo}", "cluster.address=local"]


def test_trials_of_several_workers_run_as_many_at_a_time_as_fit(local_ray: None, tmp_path: Path) -> None:
    alone = sweep(tmp_path, train={"kind": "synthetic"})
    assert _at_once(alone) is None, "Ray Tune counts their CPUs"
    two = sweep(tmp_path, train={"kind": "synthetic", "workers": {"num": 2, "num_cpus": 0.5}})
    assert _at_once(two) == 2
    assert _at_once(two.model_copy(update={"max_concurrent": 1})) == 1


def num_told(output: Path) -> int:
    """Reports of all trials so far."""
    if not (output / "trials").is_dir():
        return 0
    return sum(len(reports) for reports in desk.read_all(LocalStore(output)).told.values())


def wait_until(output: Path, num: int, timeout_s: float = 120) -> None:
    """Until so many reports are there."""
    until = time.monotonic() + timeout_s
    while num_told(output) < num:
        assert time.monotonic() < until, "the sweep does not go on"
        time.sleep(0.1)


def kill_tree(pid: int) -> None:
    """A driver and the Ray that it brought."""
    process = psutil.Process(pid)
    for each in [*process.children(recursive=True), process]:
        each.kill()


def kill_a_trial(driver: int) -> None:
    """One of the processes that train."""
    running = [each for each in psutil.Process(driver).children(recursive=True) if _is_trial(each)]
    os.kill(running[0].pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    output, words = tmp_path / "sweep", [str(FILE), f"output={tmp_path}/sweep", *WORDS]
    for num in (5, 20, 33):
        job = start_job(*words, "--take-over", script="tune")
        wait_until(output, num)
        kill_tree(job.pid)
        job.communicate()
    job = start_job(*words, "--take-over", script="tune")
    _, err = job.communicate()
    assert job.returncode == 0, err
    _assert_whole(output)


@pytest.mark.slow
def test_a_killed_trial_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    output = tmp_path / "sweep"
    job = start_job(str(FILE), f"output={output}", *WORDS, script="tune")
    for num in (5, 15):
        wait_until(output, num)
        kill_a_trial(job.pid)
    _, err = job.communicate()
    assert job.returncode == 0, err
    _assert_whole(output)


@pytest.mark.slow
def test_a_trial_that_dies_too_often_is_shown_with_the_reason_and_tried_again_when_asked(tmp_path: Path) -> None:
    output, words = tmp_path / "sweep", [str(FILE), f"output={tmp_path}/sweep", *WORDS]
    job = start_job(*words, "max_failures=0", script="tune")
    wait_until(output, 5)
    kill_a_trial(job.pid)
    _, err = job.communicate()
    assert job.returncode == 0, err
    failed = [trial for trial in table_of(output) if trial.state == "failed"]
    assert len(failed) == 1
    assert "died more often than max_failures allows" in failed[0].reason
    job = start_job(*words, "--retry-failed", script="tune")
    _, err = job.communicate()
    assert job.returncode == 0, err
    _assert_whole(output)


@pytest.mark.slow
@pytest.mark.cluster
def test_a_machine_that_dies_takes_no_trial_with_it(tmp_path: Path) -> None:
    """Two machines with two trials each at a time; one is killed, and what it ran goes on at the other."""
    output = tmp_path / "sweep"
    with cluster_of(2) as cluster:
        words = [word for word in WORDS if not word.startswith("cluster.")] + [f"cluster.address={cluster.address}"]
        settings = ["train.workers.num_cpus=0.5", f"output={output}"]
        job = start_job(str(FILE), *words, *settings, script="tune", RAY_ADDRESS=cluster.address)
        wait_until(output, 8)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        _, err = job.communicate()
        assert job.returncode == 0, err
    _assert_whole(output)


def _is_trial(process: psutil.Process) -> bool:
    """By the name that Ray gives to a process while it trains."""
    with contextlib.suppress(psutil.Error):
        return "Trainable.train" in " ".join(process.cmdline())
    return False


def _assert_whole(output: Path) -> None:
    config = sweep(output, **_values())
    trials = table_of(output)
    assert [trial.number for trial in trials] == list(range(6))
    for trial in trials:
        assert trial.state == "done"
        assert told(trial) == pytest.approx(expected(config, trial.number))


def _values() -> dict[str, object]:
    rate = {"kind": "loguniform", "low": 1e-4, "high": 1e-1}
    weight = {"kind": "uniform", "low": 0.0, "high": 1.0}
    space = {"learning_rate": rate, "weights.first": weight, "weights.second": weight}
    return {"space": space, "train": {"kind": "synthetic", "num_epochs": 8}, "num_trials": 6}
