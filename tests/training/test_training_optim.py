"""The optimiser against Adam written out, and what it carries through a checkpoint."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mien.training.optim import OptimizerConfig, gradient_norm, moments, remember, set_rate


def adam(config: OptimizerConfig, weights: np.ndarray, gradients: list[np.ndarray], rate: float) -> np.ndarray:
    """Kingma and Ba 2015, algorithm 1; the decay apart from the gradient as Loshchilov and Hutter 2019, algorithm 2."""
    first = second = np.zeros_like(weights)
    decay = config.weight_decay if config.kind == "adamw" else 0
    for number, gradient in enumerate(gradients, 1):
        weights = weights - rate * decay * weights
        first = config.beta_1 * first + (1 - config.beta_1) * gradient
        second = config.beta_2 * second + (1 - config.beta_2) * gradient**2
        unbiased = second / (1 - config.beta_2**number)
        weights = weights - rate * first / (1 - config.beta_1**number) / (np.sqrt(unbiased) + config.eps)
    return weights


def step(module: nn.Linear, optimizer: torch.optim.Optimizer, gradient: torch.Tensor) -> None:
    module.weight.grad = gradient.clone()
    optimizer.step()


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_steps_are_those_of_the_paper(kind: str) -> None:
    module = nn.Linear(4, 3, bias=False).double()
    config = OptimizerConfig(kind=kind, weight_decay=0.1)  # type: ignore[arg-type]
    optimizer = config.build(module)
    gradients = [torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in range(9)]
    expected = adam(config, module.weight.detach().numpy().copy(), [g.numpy() for g in gradients], 0.01)
    set_rate(optimizer, 0.01)
    for gradient in gradients:
        step(module, optimizer, gradient)
    np.testing.assert_allclose(module.weight.detach().numpy(), expected, rtol=1e-10)


def test_what_is_frozen_is_not_moved() -> None:
    module = nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    assert [id(p) for group in OptimizerConfig().build(module).param_groups for p in group["params"]] == [
        id(module.weight)
    ]


def test_the_rate_follows_its_schedule_and_has_a_floor() -> None:
    config = OptimizerConfig(learning_rate=[1e-4, 1e-3, 0.0], min_learning_rate=1e-5)  # type: ignore[arg-type]
    assert config.rate_at(0, 10_000) == pytest.approx(1e-4)
    assert config.rate_at(3000, 10_000) == pytest.approx(1e-3)
    assert config.rate_at(6500, 10_000) == pytest.approx(5e-4)
    assert config.rate_at(10_000, 10_000) == 1e-5


@pytest.mark.parametrize(("clip_norm", "after"), [(None, 13.0), (2.0, 2.0), (20.0, 13.0)])
def test_the_norm_is_that_before_clipping(clip_norm: float | None, after: float) -> None:
    module = nn.Linear(2, 2)
    module.weight.grad, module.bias.grad = torch.tensor([[3.0, 4], [0, 0]]), torch.tensor([12.0, 0])
    assert gradient_norm(module, clip_norm).item() == pytest.approx(13)
    assert math.hypot(*module.weight.grad.flatten(), *module.bias.grad) == pytest.approx(after, rel=1e-5)


def test_a_gradient_that_is_no_number_shows_in_the_norm() -> None:
    module = nn.Linear(2, 2)
    module.weight.grad = torch.tensor([[math.nan, 0], [0, 0]])
    assert math.isnan(gradient_norm(module, None).item())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_after_a_checkpoint_are_those_without_one(dtype: torch.dtype) -> None:
    gradients = [torch.randn(3, 4, dtype=dtype, generator=torch.Generator().manual_seed(n)) for n in range(6)]
    module = nn.Linear(4, 3, bias=False, dtype=dtype)
    other = nn.Linear(4, 3, bias=False, dtype=dtype)
    optimizer, fresh = (OptimizerConfig().build(each) for each in (module, other))
    set_rate(optimizer, 0.01)
    set_rate(fresh, 0.01)
    for gradient in gradients[:3]:
        step(module, optimizer, gradient)
    other.load_state_dict(module.state_dict())
    kept = {name: value.clone() for name, value in moments(optimizer, module).items()}
    assert kept.keys() == {"weight/step", "weight/exp_avg", "weight/exp_avg_sq"}
    remember(fresh, other, kept)
    for gradient in gradients[3:]:
        step(module, optimizer, gradient)
        step(other, fresh, gradient)
    assert torch.equal(module.weight, other.weight)
    assert not torch.equal(kept["weight/exp_avg"], moments(fresh, other)["weight/exp_avg"]), "a copy is taken"


def test_moments_of_a_stranger_are_refused() -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(KeyError, match="other"):
        remember(OptimizerConfig().build(module), module, {"other/exp_avg": torch.zeros(2)})
