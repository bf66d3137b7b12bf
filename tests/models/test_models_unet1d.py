"""The one-dimensional U-Net against known counts and its parts against plain formulas."""

import pytest
import torch
from torch import nn

from mien.config import ConfigError
from mien.models.unet1d import Attention, ChannelNorm, LinearAttention, ResidualBlock, Unet1d, Unet1dConfig


def small() -> Unet1d:
    return Unet1dConfig(embed_dim=16, init_channels=8).build()


@pytest.mark.parametrize(("embed_dim", "expected"), [(384, 4_020_929), (512, 4_037_313), (768, 4_070_081)])
def test_it_has_the_parameters_of_the_published_network(embed_dim: int, expected: int) -> None:
    with torch.device("meta"):
        net = Unet1dConfig(embed_dim=embed_dim).build()
        assert net(torch.zeros(2, embed_dim), torch.zeros(2)).shape == (2, embed_dim)
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_the_length_is_halved_three_times_and_doubled_again() -> None:
    lengths: list[int] = []
    with torch.device("meta"):
        net = Unet1dConfig(embed_dim=512).build()
        for level in [*net.downs, *net.ups]:
            level.register_forward_hook(lambda _, __, out: lengths.append(out.shape[2]))
        net(torch.zeros(1, 512), torch.zeros(1))
    assert lengths == [256, 128, 64, 64, 128, 256, 512, 512]


def test_every_parameter_learns_and_time_matters() -> None:
    net, x = small(), torch.randn(2, 16)
    net(x, torch.tensor([3, 700])).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    assert not torch.allclose(net(x, torch.tensor([3, 700])), net(x, torch.tensor([3, 701])), rtol=1e-4)


def test_a_neighbour_changes_nothing() -> None:
    net, x, t = small(), torch.randn(4, 16), torch.tensor([3, 50, 700, 999])
    assert torch.allclose(net(x, t)[2:3], net(x[2:3], t[2:3]), atol=1e-6)


def test_the_norm_is_over_channels() -> None:
    norm, x = ChannelNorm(6), torch.randn(2, 6, 5)
    norm.gain.data.uniform_(0.5, 2)
    expected = nn.RMSNorm(6, eps=0.0)
    expected.weight.data = norm.gain.data[:, 0]
    assert torch.allclose(norm(x), expected(x.transpose(1, 2)).transpose(1, 2), atol=1e-6)


def test_a_residual_block_is_its_formula() -> None:
    block, x, time = ResidualBlock(4, 6, 10), torch.randn(2, 4, 5), torch.randn(2, 10)
    scale, shift = block.modulation(nn.SiLU()(time)).unsqueeze(2).split(6, dim=1)
    h = nn.SiLU()(block.norm1(block.conv1(x)) * (1 + scale) + shift)
    expected = nn.SiLU()(block.norm2(block.conv2(h))) + block.skip(x)
    assert torch.allclose(block(x, time), expected, atol=1e-6)


def test_attention_is_that_of_torch() -> None:
    ours, theirs = Attention(32, 4, 8), nn.MultiheadAttention(32, 4, batch_first=True)
    theirs.in_proj_weight.data = ours.qkv.weight.data[:, :, 0]
    theirs.out_proj.weight.data = ours.out.weight.data[:, :, 0]
    theirs.out_proj.bias.data = ours.out.bias.data
    x = torch.randn(2, 32, 7)
    places = ours.norm(x).transpose(1, 2)
    assert torch.allclose(ours(x), x + theirs(places, places, places)[0].transpose(1, 2), atol=1e-5)


def test_linear_attention_is_attention_with_a_kernel_of_two_softmaxes() -> None:
    ours, x = LinearAttention(32, 4, 8), torch.randn(2, 32, 7)
    mixed = torch.zeros(2, 32, 7)
    qkv = ours.qkv(ours.norm(x)).view(2, 3, 4, 8, 7)
    for head in range(4):
        q, k, v = qkv[:, :, head].unbind(1)
        weights = torch.einsum("bdi,bdj->bij", q.softmax(1) / 8**0.5, k.softmax(2))  # of place j for place i
        mixed[:, 8 * head : 8 * head + 8] = torch.einsum("bij,bdj->bdi", weights, v)
    assert torch.allclose(ours(x), x + ours.out_norm(ours.out(mixed)), atol=1e-5)


def test_the_compiler_finds_one_graph() -> None:
    net, x, t = small(), torch.randn(2, 16), torch.tensor([3, 700])
    assert torch.allclose(torch.compile(net, backend="eager", fullgraph=True)(x, t), net(x, t), atol=1e-6)


def test_widths_that_cannot_be_halved_or_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"embed_dim: .*multiple of 8"):
        Unet1dConfig.parse({"embed_dim": 100}, "test")
    with pytest.raises(ConfigError, match="embed_dim: is required"):
        Unet1dConfig.parse({}, "test")
    with pytest.raises(ValueError, match=r"x is \(2, 24\), but the config says embed_dim=16"):
        small()(torch.zeros(2, 24), torch.zeros(2))
