"""Sweeps on a real Ray Tune: of an objective whose every number is known, and of small trainings."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mien.config import read_yaml
from mien.errors import PreflightError, RefusedError
from mien.losses.weights import Piecewise
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.storage.uri import open_store
from mien.tuning import desk, tune
from mien.tuning.job import TuneConfig
from mien.tuning.outcome import TuneReport
from mien.tuning.results import BEST, TABLE, Trial, trials_of
from mien.tuning.synthetic import METRIC, MISSED, State, SyntheticConfig, curve

pytestmark = pytest.mark.usefixtures("local_ray")

RATE = {"kind": "loguniform", "low": 1e-4, "high": 1e-1}
WEIGHT = {"kind": "uniform", "low": 0.0, "high": 1.0}


def sweep(output: Path | str, **changes: Any) -> TuneConfig:
    values = {
        "output": str(output),
        "train": {"kind": "synthetic", "num_epochs": 6},
        "space": {"learning_rate": RATE, "weights.first": WEIGHT, "weights.second": WEIGHT},
        "metrics": {METRIC: "lowest"},
        "num_trials": 5,
    }
    return TuneConfig.parse(values | changes, "sweep")


def table_of(output: Path | str) -> list[Trial]:
    return trials_of(pq.read_table(open_store(str(output)).fetch(TABLE)))


def expected(config: TuneConfig, number: int) -> list[float]:
    trial = config.trial(config.build().sample(number), "")
    assert isinstance(trial, SyntheticConfig)
    return curve(trial, number)


def told(trial: Trial) -> list[float]:
    assert [step for step, _ in trial.history] == list(range(1, len(trial.history) + 1)), "each step once"
    return [metrics[METRIC] for _, metrics in trial.history]


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


@pytest.mark.parametrize(
    "metrics",
    [{METRIC: "lowest", MISSED: "highest"}, pytest.param({METRIC: "lowest"}, marks=pytest.mark.slow)],
    ids=["front", "one"],
)
def test_optuna_proposes_and_proposes_the_same_again(tmp_path: Path, metrics: dict[str, str]) -> None:
    config = sweep(tmp_path, searcher={"kind": "optuna", "num_startup": 3}, num_trials=8, metrics=metrics)
    report = tune.run(config)
    trials = table_of(tmp_path)
    before = {trial.number: trial.flat for trial in trials}
    assert sorted(before) == list(range(8))
    assert before[0] != config.build().sample(0), "it draws by itself"
    if len(metrics) > 1:
        better = {(one.number, other.number) for one in trials for other in trials if _surpasses(one, other)}
        assert report.front == [trial.number for trial in trials if trial.number not in {b for _, b in better}]
        assert (tmp_path / "figures" / "pareto_front.png").is_file()
    if len(metrics) == 1:
        _goes_on(config, before)


def _goes_on(config: TuneConfig, before: dict[int, dict[str, Any]]) -> None:
    """A trial is lost, and the others are proposed as they were."""
    shutil.rmtree(Path(config.output) / desk.folder(7))
    Path(config.output, "report.json").unlink()
    tune.run(config)
    after = {trial.number: trial.flat for trial in table_of(config.output)}
    assert {number: after[number] for number in range(7)} == {number: before[number] for number in range(7)}


def _surpasses(one: Trial, other: Trial) -> bool:
    scores, misses = ([trial.metrics[name] for trial in (one, other)] for name in (METRIC, MISSED))
    return scores[0] <= scores[1] and misses[0] >= misses[1] and (scores[0] < scores[1] or misses[0] > misses[1])


@pytest.mark.parametrize("kind", ["pbt", pytest.param("pb2", marks=pytest.mark.slow)])
def test_who_exploits_goes_on_from_the_step_and_the_state_of_its_donor(tmp_path: Path, kind: str) -> None:
    space = {"weights.first": WEIGHT, "weights.second": WEIGHT}
    train = {"kind": "synthetic", "num_epochs": 12, "drift": 0.6, "learning_rate": 1e-2}
    config = sweep(tmp_path, scheduler={"kind": kind, "every_steps": 2}, train=train, space=space, num_trials=4)
    report = tune.run(config)
    store = LocalStore(tmp_path)
    book = desk.read_all(store)
    adopted = [run for run in book.runs.values() if run.donor]
    assert adopted, "somebody exploits"
    for run in adopted:
        assert run.donor is not None
        own, giver = (desk.training_of(store, one) for one in (run, book.runs[run.donor[:2]]))
        begun = checkpoint.read(own, checkpoint.names(own)[0])
        given = checkpoint.read(giver, f"step_{run.donor.step:09d}")
        assert begun.step == run.donor.step
        assert State.of(begun) == State.of(given)
        steps = [one.step for one in book.told[run.number, run.run]]
        assert steps == list(range(run.donor.step + 1, run.donor.step + 1 + len(steps))), "no step is done again"
        assert run.place != book.runs[run.donor[:2]].place
    for trial in table_of(tmp_path):
        assert told(trial)[-1] == trial.metrics[METRIC]
        assert trial.step == 12
    best = SyntheticConfig.parse(read_yaml(tmp_path / BEST), "best")
    way = book.way(report.best)
    if len(way) > 1:
        first = best.weights.first
        assert isinstance(first, Piecewise)
        for stretch in way:
            for one in stretch.told:
                assert first.value(one.step - 1, 12) == pytest.approx(stretch.run.values["weights.first"], abs=0.3)


def test_the_winner_is_chosen_by_its_repeats(tmp_path: Path) -> None:
    train = {"kind": "synthetic", "noise": 0.2, "num_epochs": 4}
    config = sweep(tmp_path, repeats={"num_configs": 2, "num_seeds": 3}, train=train, num_trials=3)
    report = tune.run(config)
    trials = table_of(tmp_path)
    repeats = [trial for trial in trials if trial.repeat_of is not None]
    assert len(repeats) == 6
    assert sorted(trial.seed for trial in repeats) == [1, 1, 2, 2, 3, 3]
    means = {
        number: sum(trial.metrics[METRIC] for trial in repeats if trial.repeat_of == number) / 3
        for number in {trial.repeat_of for trial in repeats}
    }
    assert report.best == min(means, key=lambda number: means[number])
    assert report.value == pytest.approx(min(means.values()))
    assert report.interval is not None
    assert report.interval[0] < report.value < report.interval[1]


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
