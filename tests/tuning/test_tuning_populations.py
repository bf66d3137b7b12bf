"""Populations on a real Ray Tune: whoever copies goes on from the donor's step with the donor's state."""

from pathlib import Path

import pytest

from mien.analysis.trials import BEST
from mien.config import read_yaml
from mien.losses.weights import Piecewise
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training import log
from mien.tuning import desk, tune
from mien.tuning.job import TuneConfig
from mien.tuning.synthetic import METRIC, State, SyntheticConfig, curve
from sweeps import WEIGHT, sweep, table_of, told
from training_backbones import make_whole
from training_runs import SMALL, difference, saved

pytestmark = pytest.mark.usefixtures("local_ray")


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pbt", "pb2"])
def test_a_population_follows_an_optimum_that_moves(tmp_path: Path, kind: str) -> None:
    """The best first weight goes from 0.2 to 0.8; any that stays misses it half of the time."""
    train = {"kind": "synthetic", "num_epochs": 60, "drift": 0.6, "learning_rate": 1e-2, "weights": {"second": 0.6}}
    scheduler = {"kind": kind, "every_steps": 4, "quantile": 0.4}
    config = sweep(tmp_path, scheduler=scheduler, train=train, space={"weights.first": WEIGHT}, num_trials=8)
    report = tune.run(config)
    fixed = min(
        curve(SyntheticConfig.parse(train | {"weights": {"first": level / 100, "second": 0.6}}, "fixed"), 0)[-1]
        for level in range(101)
    )
    print(f"{kind}: {report.value:.4f} against {fixed:.4f} of the best fixed weight")
    assert report.value < fixed
    best = SyntheticConfig.parse(read_yaml(tmp_path / BEST), "best")
    assert curve(best, 0)[-1] < fixed, "the config that is left does it again"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [{"num": 1}, {"num": 2, "num_cpus": 0.5}], ids=["one", "two"])
def test_a_training_that_exploits_goes_on_with_the_weights_of_its_donor(
    tmp_path: Path, workers: dict[str, float]
) -> None:
    whole = make_whole(tmp_path / "dataset", tmp_path / "backbone")
    values = {
        "dataset": whole.uri,
        "output": f"{tmp_path}/sweep",
        "train": SMALL | {"workers": workers, "num_steps": 12},
        "space": {"objective.weights.temporal": {"kind": "schedule", "low": 0.1, "high": 1.0, "warmup_steps": 3}},
        "metrics": {"reconstruction": "lowest"},
        "scheduler": {"kind": "pbt", "every_steps": 3, "quantile": 0.5},
        "num_trials": 4,
    }
    config = TuneConfig.parse(values, "test")
    tune.run(config)
    store = LocalStore(tmp_path / "sweep")
    book = desk.read_all(store)
    assert not book.failures
    adopted = [run for run in book.runs.values() if run.donor]
    assert adopted, "somebody exploits"
    for run in adopted:
        assert run.donor is not None
        own, giver = (desk.training_of(store, one) for one in (run, book.runs[run.donor[:2]]))
        assert difference(saved(own, run.donor.step), saved(giver, run.donor.step)) == 0
        lines = [line for line in log.read(own) if line["kind"] == "train"]
        assert [line["step"] for line in lines][:1] in ([], [run.donor.step + 1]), "no step is done again"
    assert all(trial.step == 12 for trial in table_of(config.output))
