"""A state goes into a checkpoint and comes back bit by bit; replicas that differ in one bit are noticed."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mien.errors import CheckpointError, TrainingError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training.ema import Ema, EmaConfig
from mien.training.optim import OptimizerConfig, set_rate
from mien.training.state import State, require_same
from mien.training.world import World
from training_runs import Team


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def fresh(module: nn.Module | None = None, ema: bool = True) -> State:
    module = module or network()
    state = State(module, OptimizerConfig().build(module), Ema(EmaConfig(), module) if ema else None)
    set_rate(state.optimizer, 0.01)
    return state


def step(state: State) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(state.step))
    state.optimizer.zero_grad()
    state.module(x).square().sum().backward()
    state.optimizer.step()
    state.step += 1
    if state.ema:
        state.ema.update()


def committed(state: State, store: LocalStore) -> checkpoint.Checkpoint:
    return checkpoint.write(store, state.step, state.parts(), state.facts())


def test_a_restored_state_goes_on_as_if_never_saved(tmp_path: Path) -> None:
    state, other = fresh(), fresh()
    for _ in range(3):
        step(state)
    other.restore(committed(state, LocalStore(tmp_path)))
    assert other.step == 3
    for _ in range(3):
        step(state)
        step(other)
    for part, tensors in state.parts().items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, other.parts()[part][name]), f"{part} {name}"
    assert other.facts() == {"ema_updates": 6}


def test_what_is_saved_is_not_changed_by_the_next_step() -> None:
    state = fresh()
    step(state)
    parts = state.parts()
    before = {part: {name: tensor.clone() for name, tensor in tensors.items()} for part, tensors in parts.items()}
    step(state)
    assert all(torch.equal(parts[part][name], tensor) for part in before for name, tensor in before[part].items())


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    found = committed(fresh(), LocalStore(tmp_path))
    with pytest.raises(CheckpointError, match=r"another architecture.*0\.weight is \[4, 3\], not \[5, 3\]"):
        fresh(nn.Sequential(nn.Linear(3, 5))).restore(found)


def test_a_checkpoint_without_an_average_is_refused_where_one_is_wanted(tmp_path: Path) -> None:
    found = committed(fresh(ema=False), LocalStore(tmp_path))
    with pytest.raises(CheckpointError, match="has no part 'ema'; it has model, optimizer"):
        fresh().restore(found)


def test_moments_of_a_parameter_that_is_not_there_are_refused(tmp_path: Path) -> None:
    state = fresh(ema=False)
    parts = state.parts() | {checkpoint.OPTIMIZER: {"other/exp_avg": torch.zeros(2)}}
    with pytest.raises(CheckpointError, match="does not fit this run: 'other'"):
        state.restore(checkpoint.write(LocalStore(tmp_path), 1, parts, state.facts()))


def compare(world: World, dtype: torch.dtype, flipped: int | None) -> str:
    state = fresh(network().to(dtype), ema=False)
    if world.rank == flipped:
        weights = [*state.module.parameters()][2].data
        bits = weights.view({torch.float32: torch.int32, torch.float64: torch.int64}[dtype])
        bits[0] ^= 1
    try:
        require_same(state, world)
    except TrainingError as error:
        return str(error)
    return "same"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_bit_that_differs_is_told_by_all(team: Team, dtype: torch.dtype) -> None:
    assert team(2, compare, dtype, None) == ["same"] * 2
    assert all("copies of the model differ" in said for said in team(2, compare, dtype, 1))
