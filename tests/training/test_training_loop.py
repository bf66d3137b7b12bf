"""The same run on any number of workers, from the start or from any step, and an end that everybody hears of."""

import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.datasets.frames import Values
from mien.errors import DatasetError, MienError, TrainingError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training import log, loop
from mien.training.world import World
from training_runs import (
    DIM,
    Changes,
    Team,
    begun,
    difference,
    job_of,
    make_tokens,
    saved,
    stopped_after,
    train,
    trained,
)

QUIET = {"validation.every_steps": 1000, "checkpoints.every_steps": 1000}
INVARIANT = {**QUIET, "ema": {"decay": 0.9}, "optimizer": {}}
BOUND = {"float32": 1e-5, "float64": 1e-11}
FACE_ID = {"kind": "face_id", "model": {"embed_dim": DIM, "num_heads": 2, "ff_dim": 12, "dropout": 0.2}}


def run_on(team: Team, size: int, tokens: Path, output: Path, changes: Changes) -> dict[str, Any]:
    job = job_of(tokens, output, changes)
    if size == 1:
        train(job)
    else:
        assert team(size, trained, job) == [job.num_steps] * size
    return saved(output)


Case = tuple[int, bool, int | None]
"""Workers, whether clips are exact, clips of a forward pass."""

EXACT: list[Case] = [(2, True, None), (3, True, None), (4, True, None)]
INEXACT: list[Case] = [(size, False, each) for size in (1, 2, 4) for each in (1, 2, None)]


def assert_invariant(team: Team, tokens: Path, folder: Path, changes: Changes, cases: list[Case]) -> None:
    """The model with its running averages, the averaged weights and the moments, all within the bound."""
    whole = run_on(team, 1, tokens, folder / "whole", changes)
    assert {name.partition("/")[0] for name in whole} == {"model", "ema", "optimizer"}
    assert any("running_mean" in name for name in whole)
    precision = changes.get("precision", "float32")
    for size, is_exact, each in cases:
        given = {**changes, "batch.exact": is_exact, "batch.per_forward": each}
        other = run_on(team, size, tokens, folder / f"{size}_{is_exact}_{each}", given)
        found = difference(whole, other)
        print(f"{precision}, {changes['num_steps']} steps, {size} workers, exact {is_exact}, {each} each: {found:.2g}")
        assert found <= BOUND[precision]


@pytest.mark.parametrize(
    ("precision", "cases"),
    [("float32", [(3, True, None)]), ("float64", [(4, True, None), (1, False, 2), (2, False, None), (4, False, 1)])],
)
def test_workers_change_nothing(team: Team, tokens: Path, tmp_path: Path, precision: str, cases: list[Case]) -> None:
    assert_invariant(team, tokens, tmp_path, {**INVARIANT, "num_steps": 15, "precision": precision}, cases)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "cases", "rate"),
    [("float32", EXACT, 5e-5), ("float32", EXACT, 1e-3), ("float64", [*EXACT, *INEXACT], 5e-5)],
)
def test_workers_change_nothing_in_many_steps(
    team: Team, tokens: Path, tmp_path: Path, precision: str, cases: list[Case], rate: float
) -> None:
    changes = {**INVARIANT, "num_steps": 200, "precision": precision, "optimizer.learning_rate": rate}
    assert_invariant(team, tokens, tmp_path, changes, cases)


def test_clips_that_are_compared_with_each_other_may_be_on_several_workers(
    team: Team, tokens: Path, tmp_path: Path
) -> None:
    changes = {**QUIET, "objective": FACE_ID, "num_steps": 10, "precision": "float64", "batch.size": 7}
    whole = run_on(team, 1, tokens, tmp_path / "1", changes)
    assert difference(whole, run_on(team, 3, tokens, tmp_path / "3", changes)) <= BOUND["float64"]


def test_a_run_that_stops_after_any_step_ends_as_if_it_had_not(tokens: Path, tmp_path: Path) -> None:
    changes = {"ema": {"decay": 0.9}, "checkpoints.every_steps": 1, "optimizer.clip_norm": 0.5}
    train(job_of(tokens, tmp_path / "whole", changes))
    whole = saved(tmp_path / "whole")
    for step in range(1, 6):
        copy = stopped_after(step, tmp_path / "whole", tmp_path / f"after_{step}")
        train(job_of(tokens, copy, changes))
        assert difference(whole, saved(copy)) == 0, f"stopped after step {step}"


@pytest.mark.parametrize("precision", BOUND)
def test_a_run_may_go_on_with_more_workers_or_fewer(team: Team, tokens: Path, tmp_path: Path, precision: str) -> None:
    changes = {"ema": {"decay": 0.9}, "optimizer": {}, "num_steps": 12, "precision": precision}
    whole = run_on(team, 2, tokens, tmp_path / "whole", changes)
    for size, step in ((1, 4), (4, 8)):
        copy = stopped_after(step, tmp_path / "whole", tmp_path / f"{size}")
        assert difference(whole, run_on(team, size, tokens, copy, changes)) <= BOUND[precision]


def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(tokens: Path, tmp_path: Path) -> None:
    changes = {"num_steps": 16, "checkpoints.every_steps": 1, "validation.every_steps": 1000}
    train(job_of(tokens, tmp_path / "whole", {**changes, "checkpoints.every_steps": 16}))
    job, store = job_of(tokens, tmp_path / "killed", changes), LocalStore(tmp_path / "killed")
    process = multiprocessing.get_context("forkserver").Process(target=train, args=(job,))
    process.start()
    at_least = int(np.random.default_rng().integers(1, 10))
    while len(checkpoint.names(store)) < at_least:
        process.join(0.01)
        assert process.is_alive(), "the run ended by itself"
    process.kill()
    process.join()
    assert len(checkpoint.names(store)) < 16
    train(job)
    assert difference(saved(tmp_path / "whole"), saved(store)) == 0
    steps = [line["step"] for line in log.read(store) if line["kind"] == "train"]
    assert steps == [*range(1, 17)], f"every line once, killed after {at_least} checkpoints"


def test_what_is_changed_by_chance_is_another_thing_with_another_seed(tokens: Path, tmp_path: Path) -> None:
    runs = {}
    for name, changes in {"a": {}, "again": {}, "seed": {"seed": 1}, "frames": {"augment.drop_frames": 0}}.items():
        train(job_of(tokens, tmp_path / name, {**QUIET, "num_steps": 2, **changes}))
        runs[name] = saved(tmp_path / name)
    assert difference(runs["a"], runs["again"]) == 0
    assert difference(runs["a"], runs["seed"]) > 1e-3
    assert difference(runs["a"], runs["frames"]) > 1e-5


def test_the_loss_falls(tokens: Path, tmp_path: Path) -> None:
    weights = {"reconstruction": 1.0, "temporal": 0.0, "diversity": 0.0}
    changes = {**QUIET, "objective.weights": weights, "num_steps": 40, "optimizer.learning_rate": 3e-3}
    train(job_of(tokens, tmp_path / "run", changes))
    losses = [line["loss"] for line in log.read(LocalStore(tmp_path / "run")) if line["kind"] == "train"]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_narrow_forward_pass_leaves_weights_wide(tokens: Path, tmp_path: Path) -> None:
    train(job_of(tokens, tmp_path / "run", {**QUIET, "num_steps": 2, "precision": "bfloat16"}))
    train(job_of(tokens, tmp_path / "wide", {**QUIET, "num_steps": 2}))
    narrow, wide = saved(tmp_path / "run"), saved(tmp_path / "wide")
    assert {str(tensor.dtype) for tensor in narrow.values()} == {"torch.float32", "torch.int64"}
    assert 0 < difference(narrow, wide, "model") < 0.1


def spoil(number: int, columns: dict[str, Values]) -> dict[str, Values]:
    """A stored token that is no number, in one frame that has a face."""
    if number == 7:
        feature = np.array(columns["feature"])
        feature[1, 0, 0] = np.nan
        return {**columns, "feature": feature}
    return columns


def test_tokens_that_are_no_numbers_end_the_run_and_are_named(tmp_path: Path) -> None:
    dataset = make_tokens(tmp_path / "dataset", spoil)
    spoiled = dataset.clip_ids[
        [sample.row["source_uri"] + str(sample.row["start_s"]) for sample in dataset].index("/videos/2.mp410.0")
    ]
    changes = {"data.split": {"by": "source_end", "held_out": 0.2}, "checkpoints.every_steps": 1, "num_steps": 50}
    job, store = (
        job_of(tmp_path / "dataset", tmp_path / "run", {**changes, "batch.size": 2}),
        LocalStore(tmp_path / "run"),
    )
    with pytest.raises(
        TrainingError, match=r"step \d+: the gradient is nan; the clips of the batch are in .*json"
    ) as told:
        train(job)
    (path,) = (tmp_path / "run").glob("nonfinite_step_*.json")
    said = json.loads(path.read_text())
    assert str(path) in str(told.value)
    assert len(said["clips"]) == 2
    assert spoiled in {clip["clip_id"] for clip in said["clips"]}
    done = said["step"]
    assert [int(name[5:]) for name in checkpoint.names(store)] == [*range(1, done + 1)], "none is written after"
    assert checkpoint.newest(store) is not None or not done
    assert [line["step"] for line in log.read(store) if line["kind"] == "train"] == [*range(1, done + 1)]
    dataset.close()


def ended(world: World, job: Any, damaged_on: int) -> tuple[int, MienError]:
    """How a run ends on each worker when the shards of one cannot be read from its fourth step on."""
    setup, made, _ = begun(job, world)
    read = setup.reader.read

    def failing(places: Any) -> Any:
        if world.rank == damaged_on and min(places) >= 3 * job.config.batch.size:
            raise DatasetError("data/s4.parquet: is damaged")
        return read(places)

    setup.reader.read = failing  # type: ignore[method-assign]
    try:
        made.run()
    except MienError as error:
        return setup.state.step, error
    raise AssertionError("it went on")


@pytest.mark.parametrize("objective", ["joint", "face_id"])
def test_a_damaged_shard_of_one_worker_ends_all_at_the_same_step(
    team: Team, tokens: Path, tmp_path: Path, objective: str
) -> None:
    changes = {"objective": FACE_ID} if objective == "face_id" else {}
    job = job_of(tokens, tmp_path / "run", {"validation.every_steps": 1000, "num_steps": 9, **changes})
    found = team(2, ended, job, 1)
    assert [step for step, _ in found] == [3, 3]
    assert all(isinstance(error, DatasetError) and "s4.parquet: is damaged" in str(error) for _, error in found)
    assert checkpoint.newest(LocalStore(tmp_path / "run")).step == 2  # type: ignore[union-attr]


class Told:
    """Notices that come at a step of the run."""

    def __init__(self, job: Any, *, hold_at: int = -1, notice_at: int = -1, left_s: float = 1000.0) -> None:
        self.store, self.asked = LocalStore(Path(job.config.output)), 0
        self.hold_at, self.notice_at, self.left_s = hold_at, notice_at, left_s

    def wants_hold(self) -> bool:
        return self.asked - 1 == self.hold_at

    def deadline_s(self) -> float | None:
        self.asked += 1
        return time.time() + self.left_s if 0 <= self.notice_at <= self.asked - 1 else None


def test_a_notice_saves_at_once_and_the_run_goes_on(tokens: Path, tmp_path: Path) -> None:
    job = job_of(tokens, tmp_path / "run", {**QUIET, "num_steps": 6})
    train(job, notices=Told(job, notice_at=3))
    assert checkpoint.names(LocalStore(tmp_path / "run")) == ["step_000000003", "step_000000006"]


@pytest.mark.parametrize("notice", [{"notice_at": 4, "left_s": 1.0}, {"hold_at": 4}], ids=["deadline", "resize"])
def test_the_last_moment_saves_and_stops_and_no_step_is_lost(
    tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notice: dict[str, Any]
) -> None:
    held = []
    monkeypatch.setattr(loop, "HOLD_S", 0.01)
    monkeypatch.setattr(loop.HOLDING, "hold", lambda seconds: held.append((seconds, checkpoint.names(store))))
    store, job = LocalStore(tmp_path / "run"), job_of(tokens, tmp_path / "run", {**QUIET, "num_steps": 6})
    train(job, notices=Told(job, **notice))
    assert held == [(0.01, ["step_000000004"])], "saved before it waits, and waits once"
    train(job_of(tokens, tmp_path / "whole", {**QUIET, "num_steps": 6}))
    assert difference(saved(store), saved(tmp_path / "whole")) == 0


def held_together(world: World, job: Any) -> list[str]:
    loop.HOLD_S = 0.01
    train(job, world, Told(job, hold_at=3) if world.rank == 1 else None)
    return checkpoint.names(LocalStore(Path(job.config.output)))


def test_what_one_worker_is_told_all_do(team: Team, tokens: Path, tmp_path: Path) -> None:
    job = job_of(tokens, tmp_path / "run", {**QUIET, "num_steps": 5})
    assert team(2, held_together, job)[0] == ["step_000000003", "step_000000005"]


def test_a_checkpoint_that_cannot_be_written_ends_the_run(
    tokens: Path, tmp_path: Path, small_disk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    output = small_disk("size=400k") / "run"
    job = job_of(tokens, output, {"num_steps": 20, "checkpoints.every_steps": 2, "validation.every_steps": 1000})
    with pytest.raises(MienError, match=r"(?i)no space left"):
        train(job)
    there = checkpoint.newest(LocalStore(output))
    assert there is not None
    assert 0 < there.step < 20
    small_disk("size=20m")
    train(job)
    train(job_of(tokens, tmp_path / "whole", {"num_steps": 20, **QUIET}))
    assert difference(saved(output), saved(tmp_path / "whole")) == 0
