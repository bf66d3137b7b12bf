"""One trial without Ray Tune: what it tells first, whose checkpoint it goes on from, how it fails."""

import math
from pathlib import Path
from typing import Any

import pytest

from mien.errors import NoSpace, StorageError, Unavailable
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.tuning import desk
from mien.tuning.desk import Donor
from mien.tuning.job import TuneConfig
from mien.tuning.synthetic import METRIC, State
from mien.tuning.trial import TrialActor
from sweeps import expected, sweep


def actor(config: TuneConfig, number: int, pointer: Donor | None = None, **trial: Any) -> TrialActor:
    """As Ray Tune makes it, without what belongs to Ray."""
    made: TrialActor = TrialActor.__new__(TrialActor)
    made.setup(given(config, number, **trial), config)
    made.load_checkpoint(pointer._asdict() if pointer else None)
    return made


def given(config: TuneConfig, number: int, **trial: Any) -> dict[str, Any]:
    return {"trial": {"number": number, "place": config.build().place(number), **trial}}


def population(output: Path) -> TuneConfig:
    space = {"weights.first": {"kind": "uniform", "low": 0.0, "high": 1.0}}
    return sweep(output, scheduler={"kind": "pbt", "every_steps": 2}, space=space)


def test_a_trial_tells_every_epoch_and_ends_with_the_last(tmp_path: Path) -> None:
    config = sweep(tmp_path)
    trial = actor(config, 2)
    results = [trial.step() for _ in range(6)]
    assert [result[METRIC] for result in results] == pytest.approx(expected(config, 2))
    assert [(result["step"], result["report"], result["done"]) for result in results] == [
        (step, step, step == 6) for step in range(1, 7)
    ]


def test_what_was_told_is_told_again_and_not_done_again(tmp_path: Path) -> None:
    config = sweep(tmp_path)
    first = actor(config, 2)
    results = [first.step() for _ in range(3)]
    first.cleanup()
    second = actor(config, 2)
    again = [second.step() for _ in range(6)]
    assert again[:3] == results
    assert [result[METRIC] for result in again] == pytest.approx(expected(config, 2))


def test_one_process_runs_one_trial_after_the_other(tmp_path: Path) -> None:
    config = sweep(tmp_path)
    trial = actor(config, 0)
    trial.step()
    assert trial.reset_config(given(config, 1))
    assert trial.step()[METRIC] == pytest.approx(expected(config, 1)[0])


def test_a_trial_goes_on_from_another_one_with_other_values(tmp_path: Path) -> None:
    config, store = population(tmp_path), LocalStore(tmp_path)
    giver, taker = actor(config, 0), actor(config, 1)
    for _ in range(4):
        giver.step()
    taker.step()
    pointer = Donor(**giver.save_checkpoint(""))
    assert pointer == Donor(0, 0, 4)
    moved = {"weights.first": 0.123}
    taken = actor(config, 1, pointer, place=moved)
    result = taken.step()
    run = desk.newest(store, 1)
    assert run is not None
    assert (result["step"], run.run, run.donor, run.place) == (5, 1, pointer, moved)
    begun = checkpoint.read(desk.training_of(store, run), "step_000000004")
    given_ = checkpoint.read(desk.training_of(store, desk.Run(0, 0, {}, {})), "step_000000004")
    assert State.of(begun) == State.of(given_)
    taken.cleanup()
    assert actor(config, 1, pointer, place=moved).step()["step"] == 6, "its process died, and nothing is taken twice"
    assert desk.newest(store, 1) == run


def test_a_checkpoint_that_is_gone_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    config, store = population(tmp_path), LocalStore(tmp_path)
    giver = actor(config, 0)
    for _ in range(4):
        giver.step()
    training = desk.training_of(store, desk.Run(0, 0, {}, {}))
    for name in checkpoint.names(training)[:2]:
        checkpoint.remove(training, name)
    actor(config, 1).step()
    assert actor(config, 1, Donor(0, 0, 2), place={"weights.first": 0.5}).step()["step"] == 4
    run = desk.newest(store, 1)
    assert run is not None
    assert run.donor == Donor(0, 0, 3)


def test_a_metric_that_is_not_there_fails_the_trial_at_its_first_report(tmp_path: Path) -> None:
    result = actor(sweep(tmp_path, metrics={"scroe": "lowest"}), 0).step()
    assert result["done"]
    assert math.isnan(result["scroe"])
    assert "scroe is not reported; there are missed, score" in desk.failure(LocalStore(tmp_path), 0)
    assert actor(sweep(tmp_path, metrics={"scroe": "lowest"}), 0).step()["done"], "it stays failed"


@pytest.mark.parametrize("error", [Unavailable("gs://bucket: does not answer"), NoSpace("/disk: is full")])
def test_a_store_that_does_not_take_it_is_no_failure_of_the_trial(tmp_path: Path, error: StorageError) -> None:
    trial = actor(sweep(tmp_path), 0)

    def silent() -> Any:
        raise error
        yield

    trial._telling = silent()
    with pytest.raises(type(error)):
        trial.step()
    assert desk.failure(LocalStore(tmp_path), 0) == ""


def test_a_repeat_has_the_values_of_its_trial_and_a_seed_of_its_own(tmp_path: Path) -> None:
    config = sweep(tmp_path)
    values = config.build().sample(3)
    actor(config, 7, place={}, values=values, repeat=2, repeat_of=3).step()
    run = desk.newest(LocalStore(tmp_path), 7)
    assert run is not None
    assert (run.values, run.repeat, run.repeat_of) == (values, 2, 3)
