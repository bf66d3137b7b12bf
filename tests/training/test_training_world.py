"""Sums, rows and values of several processes against what one process computes of all of them."""

import pytest
import torch

from mien.training.world import World
from training_runs import Team

SIZE = 3


def rows(rank: int) -> torch.Tensor:
    """As many rows as the rank, one more for each."""
    return torch.arange(2.0 * (rank + 1)).view(rank + 1, 2) + 10 * rank


def meet(world: World) -> dict[str, object]:
    mine = rows(world.rank).requires_grad_()
    gathered = world.gather(mine)
    scale = torch.arange(1.0, 1 + len(gathered))[:, None] * (world.rank + 1)
    (gathered * scale).sum().backward()
    return {
        "first": world.is_first,
        "sum": world.sum(torch.tensor([1.0, world.rank])).tolist(),
        "largest": world.largest(torch.tensor([world.rank, -world.rank])).tolist(),
        "objects": world.objects({"rank": world.rank}),
        "gathered": gathered.tolist(),
        "whole": world.gather(torch.full((1,), world.rank)).tolist(),
        "truths": world.gather(torch.tensor([world.rank == 1])).tolist(),
        "gradient": None if mine.grad is None else mine.grad.tolist(),
    }


def test_several_workers_agree(team: Team) -> None:
    found = team(SIZE, meet)
    everything = torch.cat([rows(rank) for rank in range(SIZE)])
    start = 0
    for rank, told in enumerate(found):
        assert told["first"] == (rank == 0)
        assert told["sum"] == [3, 3]
        assert told["largest"] == [2, 0]
        assert told["objects"] == [{"rank": each} for each in range(SIZE)]
        assert told["gathered"] == everything.tolist()
        assert (told["whole"], told["truths"]) == ([0, 1, 2], [False, True, False])
        of_all_ranks = torch.arange(start + 1.0, start + rank + 2)[:, None].expand(-1, 2) * (1 + 2 + 3)
        assert told["gradient"] == of_all_ranks.tolist(), "gradients of all workers flow back"
        start += rank + 1


def test_alone_nothing_is_sent() -> None:
    world, value = World(), torch.tensor([1.0, 2])
    assert world.sum(value) is world.gather(value) is world.largest(value) is value
    assert (world.objects("x"), world.is_first, world.device.type) == (["x"], True, "cpu")


def test_a_worker_does_not_change() -> None:
    with pytest.raises(AttributeError):
        World().rank = 1  # type: ignore[misc]
