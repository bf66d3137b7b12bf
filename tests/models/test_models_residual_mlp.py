"""The residual MLP: its size, its blocks against a plain formula, and that it knows no order of dimensions."""

import pytest
import torch
from torch import nn

from mien.models.residual_mlp import ModulatedBlock, ResidualMlp, ResidualMlpConfig
from mien.models.unet1d import Unet1dConfig


def small() -> ResidualMlp:
    return ResidualMlpConfig(embed_dim=6, hidden_dim=16, time_dim=8).build()


def randomised(net: nn.Module) -> nn.Module:
    """Without the zeros that close its gates when it is new."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net


def test_it_is_about_as_large_as_the_unet() -> None:
    with torch.device("meta"):
        mlp, unet = ResidualMlpConfig(embed_dim=512).build(), Unet1dConfig(embed_dim=512).build()
    sizes = [sum(parameter.numel() for parameter in net.parameters()) for net in (mlp, unet)]
    assert sizes[0] == 3_984_512
    assert abs(sizes[0] / sizes[1] - 1) < 0.05


def test_a_block_is_its_formula_and_begins_as_the_identity() -> None:
    block, x, time = ModulatedBlock(6, 2, 10), torch.randn(3, 6), torch.randn(3, 10)
    assert torch.equal(block(x, time), x)
    randomised(block)
    shift, scale, gate = block.modulation(time).split(6, dim=1)
    normed = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(block(x, time), x + gate * block.mlp(normed * (1 + scale) + shift), atol=1e-5)


def test_every_parameter_learns_and_time_matters() -> None:
    net, x = randomised(small()), torch.randn(2, 6)
    net(x, torch.tensor([3, 700])).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    assert not torch.allclose(net(x, torch.tensor([3, 700])), net(x, torch.tensor([4, 700])), rtol=1e-4)


def test_dimensions_have_no_order() -> None:
    net, x, t, order = randomised(small()), torch.randn(4, 6), torch.arange(4), torch.randperm(6)
    expected = net(x, t)[:, order]
    net.in_proj.weight.data = net.in_proj.weight.data[:, order]
    net.out_proj.weight.data, net.out_proj.bias.data = net.out_proj.weight.data[order], net.out_proj.bias.data[order]
    assert torch.allclose(net(x[:, order], t), expected, atol=1e-4)


def test_the_compiler_finds_one_graph() -> None:
    net, x, t = randomised(small()), torch.randn(2, 6), torch.tensor([3, 700])
    assert torch.allclose(torch.compile(net, backend="eager", fullgraph=True)(x, t), net(x, t), atol=1e-5)


def test_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x is \(2, 5\), but the config says embed_dim=6"):
        small()(torch.zeros(2, 5), torch.zeros(2))
