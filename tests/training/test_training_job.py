"""Configs that would not run are refused, and what decides a step is told from what does not."""

from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.training.job import TrainConfig
from training_runs import Changes, config_of


def test_a_config_is_valid_input_of_itself() -> None:
    config = config_of("dataset", "run", {"ema": {"decay": 0.9}, "workers.num": [1, 4]})
    assert TrainConfig.parse(config.dump(), "dump") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch.size": 3, "workers.num": 4}, "batch.size: 3 clips cannot be divided among 4 workers"),
        ({"batch.size": 3, "workers.num": [1, 4]}, "among 4 workers"),
        ({"workers.num": [3, 2]}, "needs 1 ≤ least ≤ most"),
        ({"workers.num": 0}, "needs 1 ≤ least ≤ most"),
        ({"augment.flip": 0.5}, "changes of pixels need data.tokens=online"),
        ({"data.tokens": "online"}, "online needs data.backbone"),
        ({"data.backbone": {"kind": "dinov2", "output": "cls"}}, "data.backbone.output: must be patch, not cls"),
        ({"objective": {"kind": "face_id"}, "batch.per_forward": 1}, "face_id compares the clips of a step"),
        ({"batch.per_forward": 2}, "batch.per_forward=2 needs batch.exact=false"),
        ({"optimizer.learnin_rate": 1}, "did you mean optimizer.learning_rate"),
    ],
)
def test_what_cannot_run_is_refused(changes: Changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of("dataset", "run", changes)


def test_the_seed_is_the_default() -> None:
    config = TrainConfig(dataset="dataset")
    assert (config.batch.size, config.num_epochs, config.data.length, config.workers.bounds) == (1, 3.0, 30, (1, 1))
    assert config.optimizer.rate_at(0, 10_000) == 5e-5


@pytest.mark.parametrize("key", ["workers.num", "log.every_steps", "checkpoints.keep", "num_steps", "max_failures"])
def test_where_and_how_long_may_differ_when_a_run_resumes(key: str, tmp_path: Path) -> None:
    assert config_of("dataset", "run", {key: 2}).identity() == config_of("dataset", tmp_path).identity()


@pytest.mark.parametrize("key", ["batch.size", "seed", "data.length", "batch.per_forward", "validation.max_windows"])
def test_what_a_step_does_may_not(key: str) -> None:
    given = {"batch.exact": False}
    assert config_of("dataset", "run", {**given, key: 5}).identity() != config_of("dataset", "run", given).identity()


def test_what_is_exact_may_not() -> None:
    assert config_of("dataset", "run", {"batch.exact": False}).identity() != config_of("dataset", "run").identity()
