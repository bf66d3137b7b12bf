"""A sweep that cannot run is refused when its file is loaded, and what it draws is a training."""

from pathlib import Path
from typing import Any

import pytest

from mien.errors import ConfigError, PreflightError
from mien.losses.weights import Anchors
from mien.training.job import TrainConfig
from mien.tuning.job import TuneConfig

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "configs" / "tune" / "joint_small.yaml"
RATE = {"kind": "loguniform", "low": 1e-4, "high": 1e-2}
CURVE = {"kind": "schedule", "low": 0.1, "high": 1.0, "warmup_steps": 10}
GRID = {"kind": "grid", "values": [1, 2, 4]}


def values(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": "dataset",
        "train": {"num_steps": 100, "validation": {"every_steps": 10}},
        "space": {"optimizer.learning_rate.warmup": RATE, "objective.weights.temporal": CURVE},
        "metrics": {"reconstruction": "lowest", "effective_rank": "highest"},
        "num_trials": 8,
    } | changes


def refusal(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        TuneConfig.parse(values(**changes), "file")
    return str(caught.value).splitlines()


def test_a_config_is_valid_input_of_itself() -> None:
    config = TuneConfig.parse(values(), "file")
    assert TuneConfig.parse(config.dump(), "dump") == config
    assert config.first == ("reconstruction", "lowest")
    assert config.num == 8


def test_a_trial_is_a_training_of_its_own() -> None:
    config = TuneConfig.parse(values(cluster={"address": "local"}), "file")
    drawn = config.build().sample(3)
    trial = config.trial(drawn, "sweep/trial_3")
    assert (trial.dataset, trial.output, trial.cluster.address) == ("dataset", "sweep/trial_3", "local")
    assert isinstance(trial.optimizer.learning_rate, Anchors)
    assert trial.optimizer.learning_rate.warmup == drawn["optimizer.learning_rate.warmup"]
    assert trial.objective.weights.temporal == Anchors.model_validate(drawn["objective.weights.temporal"])
    repeat = config.trial(drawn, "sweep/trial_3", repeat=2)
    assert (trial.seed, repeat.seed) == (0, 2)
    assert repeat.model_copy(update={"seed": 0}) == trial


def test_a_field_of_a_dimension_can_be_given_on_the_command_line() -> None:
    words = ["dataset=d", "space.optimizer.learning_rate.peak.high=0.5"]
    assert TuneConfig.load(FILE, words).space["optimizer.learning_rate.peak"].high == 0.5
    with pytest.raises(ConfigError) as caught:
        TuneConfig.load(FILE, ["dataset=d", "space.optimizer.learning_rate.peak.high=x"])
    assert str(caught.value).startswith("command line: space.optimizer.learning_rate.peak.high: ")


def test_a_grid_has_as_many_trials_as_points() -> None:
    grids = {"batch.size": GRID, "optimizer.kind": {"kind": "grid", "values": ["adam", "adamw"]}}
    config = TuneConfig.parse(values(searcher={"kind": "grid"}, space=grids, num_trials=None), "file")
    assert config.num == 6
    trials = [config.trial(config.build().sample(n), "") for n in range(6)]
    assert [(trial.batch.size, trial.optimizer.kind) for trial in trials[:3]] == [
        (1, "adam"),
        (1, "adamw"),
        (2, "adam"),
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"space": {}}, "space: is empty; name a key of the config, and what is drawn for it"),
        ({"space": None}, "space: input should be a valid dictionary (got None)"),
        ({"space": {"x": 3}}, "space.x: input should be a valid dictionary or object to extract fields from (got 3)"),
        (
            {"space": {"seed": {"low": 1}}},
            "space.seed.kind: is required; add it to the file or as space.seed.kind=KIND",
        ),
        (
            {"space": {"objective.weights.tmporal": CURVE}},
            "space.objective.weights.tmporal: no such key; did you mean objective.weights.temporal?",
        ),
        (
            {"space": {"optimizer.learning_rate": {**RATE, "low": 1}}},
            "space.optimizer.learning_rate: low=1 must be below high=0.01",
        ),
        ({"space": {"seed": GRID}}, "space.seed: is no matter of a trial; leave it out"),
        (
            {"space": {"objective.weights.temporal": {**CURVE, "warmup_steps": 100}}},
            "space.objective.weights.temporal.warmup_steps: 100 of 100 steps leave none for the last anchor",
        ),
        ({"metrics": {}}, "metrics: is empty; name what is sought, as {reconstruction: lowest}"),
        ({"metrics": {"a": "best"}}, "metrics.a: input should be 'lowest' or 'highest' (got 'best')"),
        (
            {"metrics": {"loss": "lowest"}},
            "metrics.loss: changes its meaning with the weights; name a term or a measure that has none",
        ),
        ({"train": {"dataset": "other"}}, "train.dataset: is that of the sweep; give it as dataset"),
        (
            {"train": {"optimizer": {"learning_rte": 1}}},
            "train.optimizer.learning_rte: no such key; did you mean train.optimizer.learning_rate?",
        ),
        ({"num_trials": None}, "num_trials: is required for searchers other than grid"),
        ({"repeats": {"num_configs": 9}}, "repeats.num_configs: 9 is more than there are trials"),
        (
            {"searcher": {"kind": "grid"}},
            "space.optimizer.learning_rate.warmup: the searcher grid takes kind grid alone; use that, or "
            "searcher.kind=random",
        ),
        (
            {"searcher": {"kind": "grid"}, "space": {"batch.size": GRID}},
            "num_trials: 8 is not the 3 of the grid; leave it out",
        ),
        (
            {"searcher": {"kind": "optuna"}, "space": {"batch.size": GRID}},
            "space.batch.size: optuna walks through no grid; use kind choice",
        ),
        (
            {"scheduler": {"kind": "asha", "grace_steps": 10}, "train": {}},
            "train.num_steps: is required for asha, which compares trials by their steps",
        ),
        (
            {"scheduler": {"kind": "asha", "grace_steps": 100}},
            "scheduler.grace_steps: 100 steps are all 100 of a training or more: nothing would happen",
        ),
        (
            {"scheduler": {"kind": "hyperband"}, "train": {"num_steps": 100}},
            "train.validation.every_steps: 600 leaves hyperband nothing to see before the end",
        ),
        (
            {"scheduler": {"kind": "asha"}},
            "scheduler.grace_steps: is required; add it to the file or as scheduler.grace_steps=VALUE",
        ),
        (
            {"scheduler": {"kind": "pbt", "every_steps": 20}, "num_trials": 3},
            "num_trials: 3 trials are no population; give pbt 4 or more",
        ),
        (
            {"scheduler": {"kind": "pb2", "every_steps": 20}, "searcher": {"kind": "optuna"}},
            "searcher.kind: pb2 moves its trials itself; use random",
        ),
        (
            {"scheduler": {"kind": "pbt", "every_steps": 20}, "space": {"batch.size": GRID}},
            "space.batch.size: cannot change halfway, as pbt would; pbt takes objective.weights, "
            "optimizer.learning_rate, optimizer.min_learning_rate, optimizer.weight_decay",
        ),
        (
            {
                "scheduler": {"kind": "pb2", "every_steps": 20},
                "space": {"optimizer.weight_decay": {"kind": "choice", "values": [0.1, 0.2]}},
            },
            "space.optimizer.weight_decay: pb2 models numbers, and choice has none; use uniform or quniform",
        ),
    ],
)
def test_what_cannot_run_is_told_by_one_line(changes: dict[str, Any], line: str) -> None:
    assert f"file: {line}" in refusal(**changes)


def test_every_fault_has_its_line() -> None:
    lines = refusal(metrics={}, num_trials=None, space={"batch.siz": GRID, "optimizer.rate": RATE})
    assert len(lines) == 4
    assert all(line.startswith("file: ") for line in lines)


def test_values_that_do_not_fit_each_other_are_found_before_the_trial() -> None:
    sizes = {"kind": "choice", "values": [1, 2, 3, 4]}
    space = {"batch.size": sizes, "workers.num": {"kind": "choice", "values": [1, 2]}}
    (line,) = refusal(space=space, train={"batch": {"size": 2}}, num_trials=20)
    assert line.startswith("file: space: trial ")
    assert "would have batch.size=1, workers.num=2: batch.size: 1 clips cannot be divided among 2 workers" in line


def test_more_than_the_cluster_has_is_told_before_the_start() -> None:
    workers = {"num": [2, 4], "num_cpus": 1.5, "resources": {"face": 1}}
    config = TuneConfig.parse(values(train={"num_steps": 100, "batch": {"size": 4}, "workers": workers}), "file")
    config.require_room({"CPU": 3, "face": 2})
    with pytest.raises(PreflightError, match="a trial needs 3 CPU, but the cluster has 2;"):
        config.require_room({"CPU": 2, "face": 2})
    with pytest.raises(PreflightError, match="a trial needs 2 face, but the cluster has 0;"):
        config.require_room({"CPU": 8})


def test_the_shipped_sweep_trains_what_the_shipped_training_trains() -> None:
    ours = TuneConfig.load(FILE, ["dataset=d"]).train
    theirs = TrainConfig.load(ROOT / "configs" / "train" / "joint_small.yaml", ["dataset=d"])
    assert ours.objective.expression == theirs.objective.expression
    assert ours.objective.reconstruction == theirs.objective.reconstruction
    assert (ours.data, ours.batch, ours.ema) == (theirs.data, theirs.batch, theirs.ema)
