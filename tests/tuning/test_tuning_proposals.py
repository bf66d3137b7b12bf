"""Optuna on a real Ray Tune: it proposes places, several metrics make a front, and a resumed sweep hears the same."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.trials import Trial
from mien.tuning import desk, tune
from mien.tuning.job import TuneConfig
from mien.tuning.synthetic import METRIC, MISSED
from sweeps import sweep, table_of

pytestmark = pytest.mark.usefixtures("local_ray")


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
