"""Sums of gradients whose order nobody can tell."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mien.training.gradients import ExactSum
from mien.training.world import World
from training_runs import Team

NUM = 9


def gradients_of(clip: int) -> list[torch.Tensor]:
    """Of one clip: numbers of very different sizes, whose sum in float32 depends on the order."""
    generator = torch.Generator().manual_seed(clip)
    scale = 10.0 ** (clip % 5 - 2)
    return [torch.randn(shape, generator=generator) * scale for shape in ((40, 30), (30,))]


def summed(world: World, clips: list[int], num_clips: int = NUM) -> list[torch.Tensor]:
    """The sum over all workers, of which this one has some clips."""
    module = nn.Linear(40, 30)
    module.weight = nn.Parameter(torch.zeros(40, 30))
    exact = ExactSum(module, num_clips)
    for clip in clips:
        for parameter, gradient in zip(module.parameters(), gradients_of(clip), strict=True):
            parameter.grad = gradient
        exact.take()
        assert all(parameter.grad is None for parameter in module.parameters())
    exact.give(world)
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


def of_team(world: World) -> list[torch.Tensor]:
    return summed(world, [*range(world.rank, NUM, world.size)])


def test_the_order_of_clips_does_not_show_where_it_shows_in_float32() -> None:
    forwards, backwards = summed(World(), [*range(NUM)]), summed(World(), [*range(NUM)][::-1])
    assert all(map(torch.equal, forwards, backwards))
    plain = [sum(gradients_of(clip)[0] for clip in order) for order in (range(NUM), reversed(range(NUM)))]
    assert not torch.equal(plain[0], plain[1])  # type: ignore[arg-type]
    exact = torch.stack([gradients_of(clip)[0].double() for clip in range(NUM)]).sum(0)
    assert torch.equal(forwards[0], exact.float())


@pytest.mark.parametrize("size", [2, 3, 4])
def test_workers_get_the_sum_of_one(team: Team, size: int) -> None:
    alone = summed(World(), [*range(NUM)])
    for found in team(size, of_team):
        assert all(map(torch.equal, found, alone))


def test_two_clips_need_no_wider_sum() -> None:
    module = nn.Linear(3, 2)
    assert ExactSum(module, 2)._flat.dtype == torch.float32
    assert ExactSum(module, 3)._flat.dtype == torch.float64


def test_a_sum_begins_anew_and_frozen_parameters_have_none() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    exact = ExactSum(module, 4)
    for _ in range(2):
        module.weight.grad = torch.ones(2, 2)
        exact.take()
        exact.give(World())
        assert torch.equal(module.weight.grad, torch.ones(2, 2))
    assert module.bias.grad is None


def test_a_step_of_many_clips_is_what_all_of_them_at_once_give(tokens: Path, tmp_path: Path) -> None:
    from training_runs import difference, job_of, saved, train

    for name, changes in {"exact": {}, "at_once": {"batch.exact": False}}.items():
        train(job_of(tokens, tmp_path / name, {"precision": "float64", **changes}))
    assert difference(saved(tmp_path / "exact"), saved(tmp_path / "at_once")) <= 1e-11
