"""Sweeps on a real Ray Tune: of an objective whose every number is known, and of small trainings."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.trials import BEST
from mien.config import read_yaml
from mien.errors import PreflightError, RefusedError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.storage.uri import open_store
from mien.training import train
from mien.training.job import TrainConfig
from mien.tuning import desk, tune
from mien.tuning.job import RepeatsConfig, TuneConfig
from mien.tuning.outcome import TuneReport
from mien.tuning.synthetic import METRIC, SyntheticConfig
from sweeps import RATE, WEIGHT, expected, sweep, table_of, told
from training_backbones import make_whole
from training_runs import SMALL

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, local_ray: None) -> tuple[TuneConfig, TuneReport]:
    """A random search that came to its end."""
    config = sweep(tmp_path_factory.mktemp("sweep"))
    return config, tune.run(config)


def test_a_random_search_tries_what_the_space_draws_and_names_the_best(finished: tuple[TuneConfig, TuneReport]) -> None:
    config, report = finished
    trials = table_of(config.output)
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    for trial in trials:
        assert told(trial) == pytest.approx(expected(config, trial.number))
        assert (trial.state, trial.flat) == ("done", config.build().sample(trial.number))
    ends = [expected(config, number)[-1] for number in range(5)]
    assert (report.best, report.value) == (ends.index(min(ends)), pytest.approx(min(ends)))
    assert report.trials == {"done": 5}
    output = Path(config.output)
    assert SyntheticConfig.parse(read_yaml(output / BEST), "best") == config.trial(
        config.build().sample(report.best), ""
    )
    names = {path.name for path in (output / "figures").iterdir()}
    assert {"learning_curves.png", "parallel_coordinates.png", "importance.png", "best_schedules.png"} <= names
    assert json.loads((output / "report.json").read_text())["best"] == report.best


def test_the_same_command_adds_nothing_and_another_one_is_refused(finished: tuple[TuneConfig, TuneReport]) -> None:
    config, report = finished
    stood = {path: path.stat().st_mtime_ns for path in (Path(config.output) / "trials").rglob("*.jsonl")}
    assert tune.run(config) == report
    assert {path: path.stat().st_mtime_ns for path in (Path(config.output) / "trials").rglob("*.jsonl")} == stood
    with pytest.raises(RefusedError, match="num_trials"):
        tune.run(sweep(config.output, num_trials=6))


def test_a_sweep_goes_on_from_what_its_trials_left(finished: tuple[TuneConfig, TuneReport], tmp_path: Path) -> None:
    """As after a driver that was killed: one trial half way, one not begun, one that reported less than it saved."""
    config = finished[0].model_copy(update={"output": str(tmp_path / "sweep")})
    shutil.copytree(finished[0].output, config.output)
    store = LocalStore(tmp_path / "sweep")
    store.delete("report.json")
    book = desk.read_all(store)
    half, behind = book.runs[1, 0], book.runs[2, 0]
    for run in (half, behind):
        desk.write_told(store, run, book.told[run.number, 0][:3])
    for name in checkpoint.names(desk.training_of(store, half))[3:]:
        checkpoint.remove(desk.training_of(store, half), name)
    shutil.rmtree(store.root / desk.folder(3))
    tune.run(config)
    for trial in table_of(config.output):
        if trial.number != behind.number:
            assert told(trial) == pytest.approx(expected(config, trial.number))
        assert trial.metrics[METRIC] == pytest.approx(expected(config, trial.number)[-1])


def test_the_winner_is_chosen_by_its_repeats(finished: tuple[TuneConfig, TuneReport], tmp_path: Path) -> None:
    """They are asked for when the sweep is over: nothing else is done again."""
    changes = {"output": str(tmp_path / "sweep"), "repeats": RepeatsConfig(num_configs=2, num_seeds=3)}
    config = finished[0].model_copy(update=changes)
    shutil.copytree(finished[0].output, config.output)
    report = tune.run(config)
    trials = table_of(config.output)
    assert trials[:5] == table_of(finished[0].output)
    repeats = trials[5:]
    assert sorted(trial.seed for trial in repeats) == [1, 1, 2, 2, 3, 3]
    chosen = {number for number in range(5) if expected(config, number)[-1] <= sorted(ends(config))[1]}
    assert {trial.repeat_of for trial in repeats} == chosen
    means = {
        number: sum(trial.metrics[METRIC] for trial in repeats if trial.repeat_of == number) / 3 for number in chosen
    }
    assert report.best == min(means, key=lambda number: means[number])
    assert report.value == pytest.approx(min(means.values()))
    assert report.interval is not None
    assert report.interval[0] < report.value < report.interval[1]


def ends(config: TuneConfig) -> list[float]:
    """What the trials come to."""
    return [expected(config, number)[-1] for number in range(config.num)]


def test_starting_over_removes_what_a_sweep_made_and_nothing_else(
    finished: tuple[TuneConfig, TuneReport], tmp_path: Path
) -> None:
    output = tmp_path / "sweep"
    shutil.copytree(finished[0].output, output)
    for name in ("thesis.txt", "report.json.bak", "figures.zip"):
        (output / name).write_text("mine")
    tune._remove(LocalStore(output))
    left = {path.name for path in output.rglob("*") if path.is_file() and "lease" not in path.name}
    assert left == {"thesis.txt", "report.json.bak", "figures.zip"}


def test_more_than_the_cluster_has_is_refused_before_the_start(tmp_path: Path) -> None:
    train = {"kind": "synthetic", "workers": {"num": 64}}
    with pytest.raises(PreflightError, match=r"a trial needs 64 CPU, but the cluster has"):
        tune.run(sweep(tmp_path, train=train, cluster={"address": "local"}))


@pytest.mark.slow
def test_a_sweep_in_a_bucket(emulator: Any) -> None:
    output = "gs://mien-test/sweep"
    config = sweep(output, scheduler={"kind": "pbt", "every_steps": 2}, num_trials=4, space={"weights.first": WEIGHT})
    tune.run(config)
    assert [trial.step for trial in table_of(output)] == [6, 6, 6, 6]
    assert not [entry.name for entry in open_store(output).list("ray/")]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [{"num": 1}, {"num": 2, "num_cpus": 0.5}], ids=["one", "two"])
def test_a_sweep_of_trainings_ends_with_one_that_can_be_trained(tmp_path: Path, workers: dict[str, float]) -> None:
    """Trials of one worker train in Ray Tune's processes, those of two start Ray Train; ASHA stops some of both."""
    whole = make_whole(tmp_path / "dataset", tmp_path / "backbone")
    values = {
        "dataset": whole.uri,
        "output": f"{tmp_path}/sweep",
        "train": SMALL | {"workers": workers},
        "space": {"objective.weights.temporal": WEIGHT, "optimizer.learning_rate": {**RATE, "high": 1e-2}},
        "metrics": {"reconstruction": "lowest", "effective_rank": "highest"},
        "scheduler": {"kind": "asha", "grace_steps": 3, "reduction_factor": 2},
        "num_trials": 4,
    }
    config = TuneConfig.parse(values, "test")
    report = tune.run(config)
    trials = table_of(config.output)
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert {trial.step for trial in trials} <= {3, 6}
    assert report.trials == dict(Counter("done" if trial.step == 6 else "stopped" for trial in trials))
    assert report.trials["stopped"]
    done = train.run(TrainConfig.load(Path(config.output) / BEST, [f"output={tmp_path}/again", "workers.num=1"]))
    assert done.metrics["reconstruction"] == pytest.approx(report.value, rel=1e-5)
