"""What a sweep leaves, from the records of its trials alone."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mien.analysis.trials import trials_of
from mien.config import read_yaml
from mien.errors import TrainingError
from mien.losses.weights import Constant
from mien.storage.local import LocalStore
from mien.training.job import TrainConfig
from mien.tuning import desk, outcome
from mien.tuning.desk import Run, Told
from mien.tuning.job import TuneConfig

CONFIG = TuneConfig.parse(
    {
        "dataset": "gs://faces/dataset",
        "train": {"num_steps": 40, "validation": {"every_steps": 20}},
        "space": {"objective.weights.temporal": {"kind": "uniform", "low": 0.0, "high": 1.0}},
        "metrics": {"reconstruction": "lowest", "effective_rank": "highest"},
        "num_trials": 3,
    },
    "test",
)
FOUND = [(0.5, 3.0), (0.2, 2.0), (0.4, 1.0)]
"""Of each trial, at its end: the second has the lowest reconstruction, the third is surpassed in both."""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path)
    for number, (reconstruction, rank) in enumerate(FOUND):
        run = desk.begin(store, Run(number, 0, {"objective.weights.temporal": 0.1 * number}, {}))
        metrics = [{"reconstruction": value, "effective_rank": rank} for value in (0.9, reconstruction)]
        told = [Told(20, metrics[0], 1.0), Told(40, metrics[1], 2.0, is_last=True)]
        desk.write_told(store, run, told)
    return store


def test_a_sweep_leaves_a_table_a_config_figures_and_numbers(store: LocalStore) -> None:
    report = outcome.write(store, CONFIG, desk.read_all(store), 40)
    assert (report.best, report.value, report.interval, report.front) == (1, 0.2, None, [0, 1])
    trials = trials_of(pq.read_table(store.fetch("trials.parquet")))
    assert [trial.metrics["reconstruction"] for trial in trials] == [0.5, 0.2, 0.4]
    best = TrainConfig.parse(read_yaml(store.fetch("best.yaml")), "best")
    assert best.dataset == "gs://faces/dataset"
    assert best.output == ""
    assert best.objective.weights.temporal == Constant(level=0.1)
    written = json.loads(store.read("report.json"))
    assert [one["number"] for one in written["ranked"]] == [1, 2, 0]
    assert {"temporal", "diversity", "reconstruction"} <= written["schedules"].keys()
    figures = {entry.name.removeprefix("figures/") for entry in store.list("figures/")}
    names = ("parallel_coordinates", "metric_against", "learning_curves", "importance", "best_schedules")
    assert figures == {f"{name}.png" for name in (*names, "pareto_front")}
    assert all(store.read(f"figures/{name}").startswith(b"\x89PNG") for name in figures)


def test_a_sweep_whose_trials_all_failed_leaves_its_table(store: LocalStore) -> None:
    for number in range(3):
        desk.fail(store, number, "no disk" if number else "no luck")
    with pytest.raises(TrainingError, match="all 3 trials failed; the first reason, of 1 of them: no luck"):
        outcome.write(store, CONFIG, desk.read_all(store), 40)
    assert {trial.state for trial in trials_of(pq.read_table(store.fetch("trials.parquet")))} == {"failed"}
    assert not outcome.is_there(store)
