"""Averages against torch's own averaged model and against closed forms."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mien.training.ema import Ema, EmaConfig


def step(module: nn.Module, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_without_warmup_it_is_the_average_of_torch() -> None:
    module = nn.Linear(3, 2)
    ours, theirs = (
        Ema(EmaConfig(decay=0.9, warmup="none"), module),
        AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    )
    theirs.update_parameters(module)  # its first call copies
    for number in range(20):
        step(module, number)
        ours.update()
        theirs.update_parameters(module)
    for name, parameter in theirs.module.named_parameters():
        torch.testing.assert_close(ours.averages[name], parameter.detach())


@pytest.mark.parametrize(("num_updates", "decay"), [(0, 0.1), (1, 2 / 11), (90, 0.91), (10**6, 0.999)])
def test_a_young_average_forgets_faster(num_updates: int, decay: float) -> None:
    assert EmaConfig(decay=0.999).decay_at(num_updates) == pytest.approx(decay)


def test_weights_of_all_steps_add_up_to_one() -> None:
    module = nn.Linear(1, 1, bias=False)
    config = EmaConfig(decay=0.5)
    ema = Ema(config, module)
    expected = module.weight.item()
    for number in range(12):
        step(module, number)
        ema.update()
        kept = min(0.5, (1 + number) / (10 + number))
        expected = kept * expected + (1 - kept) * module.weight.item()
    assert ema.averages["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert ema.num_updates == 12


def test_two_swaps_are_none_and_one_shows_the_average() -> None:
    module = nn.Linear(3, 2)
    ema = Ema(EmaConfig(), module)
    step(module, 0)
    weights, averages = module.weight.detach().clone(), ema.averages["weight"].clone()
    ema.swap()
    assert torch.equal(module.weight, averages)
    ema.swap()
    assert torch.equal(module.weight, weights)
    assert torch.equal(ema.averages["weight"], averages)


def test_averages_are_wide_and_only_of_what_learns() -> None:
    module = nn.Linear(3, 2).bfloat16()
    module.bias.requires_grad_(False)
    ema = Ema(EmaConfig(decay=0.9999, warmup="none"), module)
    before = ema.averages["weight"].clone()
    with torch.no_grad():
        module.weight += 1
    ema.update()
    assert ema.averages.keys() == {"weight"}
    assert ema.averages["weight"].dtype == torch.float32
    torch.testing.assert_close(ema.averages["weight"] - before, torch.full((2, 3), 1e-4), rtol=0.05, atol=1e-6)
    assert Ema(EmaConfig(), nn.Linear(1, 1).double()).averages["weight"].dtype == torch.float64


def test_it_goes_on_from_what_was_saved() -> None:
    module = nn.Linear(3, 2)
    first = Ema(EmaConfig(), module)
    step(module, 0)
    first.update()
    second = Ema(EmaConfig(), module)
    second.load({name: average.clone() for name, average in first.averages.items()}, first.num_updates)
    step(module, 1)
    first.update()
    second.update()
    assert all(torch.equal(first.averages[name], second.averages[name]) for name in first.averages)
    with pytest.raises(KeyError, match="bias"):
        second.load({"weight": module.weight.detach()}, 1)
