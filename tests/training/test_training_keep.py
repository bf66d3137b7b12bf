"""What is pointed to and what is kept after many checkpoints, and a disk that fills up."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mien.errors import StorageError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training.keep import CheckpointConfig, Saver
from mien.training.optim import OptimizerConfig
from mien.training.state import State


def state_at(step: int, num_values: int = 4) -> State:
    module = nn.Linear(num_values, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(step)
    return State(module, OptimizerConfig().build(module), None, step)


def run(store: LocalStore, config: CheckpointConfig, losses: list[float | None]) -> None:
    saver = Saver(store, config)
    for number, loss in enumerate(losses, 1):
        saver.save(state_at(number), {"metrics": {} if loss is None else {"loss": loss, "other": -loss}})
    saver.wait()
    saver.close()


def steps(store: LocalStore) -> list[int]:
    return [int(name.removeprefix("step_")) for name in checkpoint.names(store)]


def best(store: LocalStore) -> int | None:
    name = checkpoint.pointed(store, checkpoint.BEST).get("checkpoint")
    return None if name is None else int(name.removeprefix("step_"))


@pytest.mark.parametrize(
    ("config", "losses", "kept", "is_best"),
    [
        ({"keep": 2}, [5.0, 1.0, 3.0, 4.0, 6.0], [2, 4, 5], 2),
        ({"keep": 2, "best": "highest"}, [5.0, 1.0, 3.0, 4.0, 4.5], [1, 4, 5], 1),
        ({"keep": 1, "best_by": "other"}, [1.0, 3.0, 2.0], [2, 3], 2),
        ({"keep": 1}, [math.nan, 2.0, math.nan], [2, 3], 2),
        ({"keep": 1}, [math.nan, None, -math.inf], [3], None),
        ({"keep": 1}, [3.0, 2.0, 1.0], [3], 3),
        ({"keep": 2}, [2.0, 2.0, 2.0], [1, 2, 3], 1),
        ({"keep": 9}, [3.0, 2.0], [1, 2], 2),
    ],
)
def test_the_new_ones_and_the_best_are_kept(
    tmp_path: Path, config: dict[str, object], losses: list[float | None], kept: list[int], is_best: int | None
) -> None:
    store = LocalStore(tmp_path)
    run(store, CheckpointConfig.parse({"best_by": "loss"} | config, "test"), losses)
    assert (steps(store), best(store)) == (kept, is_best)
    assert checkpoint.pointed(store, checkpoint.LATEST)["checkpoint"] == f"step_{len(losses):09d}"
    files = {entry.name.partition("/")[2].partition(".")[0] for entry in store.list("checkpoints/")}
    assert files == {f"step_{step:09d}" for step in kept}, "the files of others are gone"
    for step in kept:
        assert checkpoint.read(store, f"step_{step:09d}").tensors("model")["weight"].eq(step).all()


def test_by_default_the_first_term_decides_for_the_loss_changes_with_its_weights(tmp_path: Path) -> None:
    run(LocalStore(tmp_path), CheckpointConfig(keep=9), [1.0, 2.0, 3.0])
    pointed = checkpoint.pointed(LocalStore(tmp_path), checkpoint.BEST)
    assert (pointed["metric"], pointed["value"], best(LocalStore(tmp_path))) == ("other", -3.0, 3)


def test_a_run_that_resumes_knows_the_best_so_far(tmp_path: Path) -> None:
    store, config = LocalStore(tmp_path), CheckpointConfig(keep=1, best_by="loss")
    run(store, config, [1.0, 2.0])
    saver = Saver(store, config)
    saver.save(state_at(7), {"metrics": {"loss": 1.5}})
    saver.close()
    assert (steps(store), best(store)) == ([1, 7], 1)


def test_training_goes_on_with_what_is_saved(tmp_path: Path) -> None:
    saver, state = Saver(LocalStore(tmp_path), CheckpointConfig()), state_at(1)
    saver.save(state, {"metrics": {}})
    with torch.no_grad():
        state.module.weight.fill_(99)  # type: ignore[operator, union-attr]
    saver.close()
    assert checkpoint.read(LocalStore(tmp_path), "step_000000001").tensors("model")["weight"].eq(1).all()


def test_a_full_disk_is_told_by_the_next_call_and_costs_no_earlier_checkpoint(
    small_disk: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(small_disk("size=1m") / "run")
    saver = Saver(store, CheckpointConfig())
    saver.save(state_at(1), {"metrics": {}})
    saver.wait()
    saver.save(state_at(2, 400_000), {"metrics": {}})
    with pytest.raises(StorageError, match=r"(?i)no space left"):
        saver.wait()
    assert steps(store) == [1]
    assert checkpoint.newest(store) is not None
    assert [*(store.root / "checkpoints").glob("step_000000002*/*")] == [], "a full disk needs the room"
    saver.save(state_at(3), {"metrics": {}})
    saver.save(state_at(4, 400_000), {"metrics": {}})
    saver.close()
    assert "the last checkpoint cannot be written" in caplog.text
    assert steps(store) == [1, 3]
