"""Reports of real small trainings: in this process, from a checkpoint, measured as `mien evaluate` does."""

import math
from pathlib import Path
from typing import Any

import pytest

from mien.datasets.dataset import Dataset
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training import evaluate
from mien.training.evaluate import EvaluateConfig
from mien.training.job import TrainConfig
from mien.training.mail import Report
from mien.training.setup import shards_folder
from mien.tuning.course import course
from mien.tuning.job import TuneConfig
from training_backbones import make_whole
from training_runs import SMALL, difference, saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset whose tokens come from a tiny backbone."""
    folder = tmp_path_factory.mktemp("whole")
    return make_whole(folder / "dataset", folder / "backbone")


def sweep(whole: Dataset, output: Path, **changes: Any) -> TuneConfig:
    values = {
        "dataset": whole.uri,
        "output": str(output),
        "train": SMALL | {"data": {"length": 6, "split": {"by": "source_end", "held_out": 0.2}}},
        "space": {"objective.weights.temporal": {"kind": "uniform", "low": 0.0, "high": 1.0}},
        "metrics": {"reconstruction": "lowest"},
        "num_trials": 2,
    }
    return TuneConfig.parse(values | changes, "sweep")


def reports(config: TuneConfig, run: Path, num: int | None = None) -> list[Report]:
    trial = config.trial({"objective.weights.temporal": 0.5}, str(run))
    num_steps, told = course(config, trial, 0, LocalStore(run))
    assert num_steps == SMALL["num_steps"]
    found = []
    for report in told:
        found.append(report)
        assert checkpoint.names(LocalStore(run))[-1] == f"step_{report.step:09d}", "committed before it is told"
        if len(found) == num:
            told.close()
    return found


def test_a_training_tells_of_each_validation_and_goes_on_from_where_it_was_left(whole: Dataset, tmp_path: Path) -> None:
    config = sweep(whole, tmp_path)
    straight = reports(config, tmp_path / "straight")
    assert [report.step for report in straight] == [3, 6]
    assert {"reconstruction", "effective_rank", "similarity_mean"} <= straight[0].metrics.keys()
    assert [report.step for report in reports(config, tmp_path / "left", 1)] == [3]
    left = config.trial({"objective.weights.temporal": 0.5}, str(tmp_path / "left"))
    assert isinstance(left, TrainConfig)
    assert not shards_folder(left).exists(), "a trial that is stopped leaves no decoded shards behind"
    resumed = reports(config, tmp_path / "left")
    assert [report.step for report in resumed] == [3, 6], "the first is what its checkpoint says"
    assert resumed == straight
    assert difference(saved(tmp_path / "straight"), saved(tmp_path / "left")) == 0


def test_a_metric_of_mien_evaluate_is_measured_at_each_report(whole: Dataset, tmp_path: Path) -> None:
    config = sweep(whole, tmp_path, metrics={"leakage.tokens": "lowest"}, evaluation={"max_frames": 1000})
    told = reports(config, tmp_path / "run")
    asked = EvaluateConfig(checkpoint=f"{tmp_path}/run", max_frames=1000, evaluation=config.evaluation.measures)
    expected = evaluate.numbers(asked)
    assert {"probe.tokens.mean", "leakage.tokens", "images.psnr_db.reconstruction"} <= expected.keys()
    for name, value in expected.items():
        assert told[-1].metrics[name] == pytest.approx(value, nan_ok=True), name
    assert any(told[0].metrics[name] != told[-1].metrics[name] for name in expected if not math.isnan(expected[name]))


@pytest.mark.slow
def test_two_workers_tell_what_one_does(whole: Dataset, tmp_path: Path, local_ray: None) -> None:
    train = sweep(whole, tmp_path).train.dump() | {"dataset": "", "precision": "float64"}
    one = reports(sweep(whole, tmp_path, train=train), tmp_path / "one")
    train["workers"] = {"num": 2, "num_cpus": 0.5}
    two = reports(sweep(whole, tmp_path, train=train), tmp_path / "two")
    assert [report.step for report in two] == [3, 6]
    assert difference(saved(tmp_path / "one"), saved(tmp_path / "two")) <= 1e-11
    for first, second in zip(one, two, strict=True):
        assert first.metrics == pytest.approx(second.metrics, rel=1e-6, nan_ok=True)
    stopped = reports(sweep(whole, tmp_path, train=train), tmp_path / "stopped", 1)
    assert [report.step for report in stopped] == [3]
    assert checkpoint.names(LocalStore(tmp_path / "stopped")) == ["step_000000002", "step_000000003"]
