"""The U-Net against published counts, the table of its shapes, and that of diffusers with the same weights."""

from collections.abc import Iterator

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn

from mien import draws
from mien.config import ConfigError
from mien.models.unet import Unet, UnetConfig

SMALL = UnetConfig(image_size_px=16, base_channels=32)


def randomised(net: Unet) -> Unet:
    """Without the zeros that end its branches when it is new."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    return net


def test_it_has_the_parameters_of_ddpm() -> None:
    with torch.device("meta"):
        net = UnetConfig().build()
    assert sum(parameter.numel() for parameter in net.parameters()) == 35_746_307
    assert list(net.buffers()) == []


@pytest.mark.parametrize(("downsample_after_last", "bottleneck"), [(True, (256, 4, 4)), (False, (256, 8, 8))])
def test_taps_read_what_a_level_makes_before_it_is_halved(
    downsample_after_last: bool, bottleneck: tuple[int, int, int]
) -> None:
    shapes = {}
    with torch.device("meta"):
        net = UnetConfig(downsample_after_last=downsample_after_last).build()
        for name, module in net.taps.items():
            module.register_forward_hook(lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
        out = net(torch.zeros(1, 3, 64, 64), torch.zeros(1))
    assert out.shape == (1, 3, 64, 64)
    assert shapes == {
        "in_conv": (128, 64, 64),
        "encoder_level_0": (128, 64, 64),
        "encoder_level_1": (256, 32, 32),
        "encoder_level_2": (256, 16, 16),
        "encoder_level_3": (256, 8, 8),
        "bottleneck": bottleneck,
    }


def test_the_tap_of_a_level_with_attention_is_behind_it() -> None:
    net, seen = randomised(SMALL.build()), []
    tap = net.taps["encoder_level_2"]
    tap.register_forward_hook(lambda _, __, out: seen.append(out))
    net.get_submodule("downsamples.level_2.downsample").register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    net(torch.randn(1, 3, 16, 16), torch.tensor([3]))
    assert torch.equal(seen[0], seen[1])


def resnet(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    names = {"time_emb_proj": "time_proj", "conv_shortcut": "skip"}
    for name in ("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"):
        yield f"{ours}.{names.get(name, name)}", f"{theirs}.{name}"


def names() -> Iterator[tuple[str, str]]:
    """Our modules and those of diffusers, for four levels, the attentions apart."""
    yield from [("in_conv", "conv_in"), ("out_conv.0", "conv_norm_out"), ("out_conv.2", "conv_out")]
    yield from [("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2")]
    yield from resnet("middle.first.residual", "mid_block.resnets.0")
    yield from resnet("middle.second", "mid_block.resnets.1")
    for level in range(4):
        for block in range(3):
            down, up = f"downsamples.level_{level}", f"upsamples.level_{level}"
            yield from resnet(f"{down}.blocks.{block}.residual", f"down_blocks.{level}.resnets.{block}")
            yield from resnet(f"{up}.blocks.{block}.residual", f"up_blocks.{3 - level}.resnets.{block}")
        yield f"downsamples.level_{level}.downsample.conv", f"down_blocks.{level}.downsamplers.0.conv"
        yield f"upsamples.level_{level}.upsample.conv", f"up_blocks.{2 - level}.upsamplers.0.conv"


def attentions() -> Iterator[tuple[str, str]]:
    yield "middle.first.attention", "mid_block.attentions.0"
    for block in range(3):
        yield f"downsamples.level_2.blocks.{block}.attention", f"down_blocks.2.attentions.{block}"
        yield f"upsamples.level_2.blocks.{block}.attention", f"up_blocks.1.attentions.{block}"


def translated(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our weights by the names of diffusers, where the attention is made of linear layers."""
    out = {}
    for kind in ("weight", "bias"):
        out |= {f"{b}.{kind}": weights[f"{a}.{kind}"] for a, b in names() if f"{a}.{kind}" in weights}
        for ours, theirs in (pair for pair in attentions() if f"{pair[0]}.qkv.weight" in weights):
            q, k, v = weights[f"{ours}.qkv.{kind}"].chunk(3)
            out[f"{theirs}.group_norm.{kind}"] = weights[f"{ours}.norm.{kind}"]
            parts = {"to_q": q, "to_k": k, "to_v": v, "to_out.0": weights[f"{ours}.out.{kind}"]}
            out |= {f"{theirs}.{name}.{kind}": part.squeeze() for name, part in parts.items()}
    return out


def test_it_predicts_what_that_of_diffusers_predicts() -> None:
    ours = randomised(SMALL.build()).eval()
    theirs = UNet2DModel(
        sample_size=16,
        freq_shift=1,
        flip_sin_to_cos=False,
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        downsample_padding=0,
        attention_head_dim=64,
        norm_eps=1e-6,
    ).eval()
    theirs.load_state_dict(translated(ours.state_dict()))
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 700])
    with torch.no_grad():
        out, expected = ours(x, t), theirs(x, t).sample
    assert torch.allclose(out, expected, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize("downsample_after_last", [False, True])
def test_a_new_network_predicts_zero_and_learns(downsample_after_last: bool) -> None:
    net = SMALL.model_copy(update={"downsample_after_last": downsample_after_last}).build()
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 700])
    assert not net(x, t).any()
    randomised(net)(x, t).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())


def test_weights_begin_xavier_uniform() -> None:
    weight = SMALL.build().get_parameter("downsamples.level_1.blocks.1.residual.conv1.weight")
    bound = (6 / (2 * 64 * 9)) ** 0.5
    assert weight.abs().max() <= bound
    assert abs(weight.std().item() - bound / 3**0.5) < 0.02 * bound


def test_memory_format_and_compiler_change_nothing() -> None:
    levels = {"multipliers": (1, 2), "num_blocks": 1, "attention_levels": (1,)}
    net = randomised(UnetConfig(image_size_px=8, base_channels=32, dropout=0.1, **levels).build())
    x, t, keys = torch.randn(2, 3, 8, 8), torch.tensor([3, 700]), draws.keys(0, "dropout", torch.arange(2))
    expected = net(x, t, keys)
    atol = 1e-4 * expected.abs().max().item()
    whole_graph = torch.compile(net, backend="eager", fullgraph=True)  # raises where the graph breaks
    assert torch.allclose(whole_graph(x, t, keys), expected, atol=atol)
    net.to(memory_format=torch.channels_last)
    assert torch.allclose(net(x.contiguous(memory_format=torch.channels_last), t, keys), expected, atol=atol)


def test_each_dropout_has_a_mask_of_its_own_that_a_neighbour_does_not_change() -> None:
    net = randomised(SMALL.model_copy(update={"dropout": 0.5}).build())
    numbers = [module.number for module in net.modules() if hasattr(module, "rate")]
    assert sorted(numbers) == list(range(22))  # 8 blocks down, 2 in the middle, 12 up
    x, t, keys = torch.randn(3, 3, 16, 16), torch.tensor([3, 5, 700]), draws.keys(0, "dropout", torch.arange(3))
    together, alone = net(x, t, keys), net(x[1:2], t[1:2], keys[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-4 * alone.abs().max().item())
    assert not torch.allclose(together[1:2], net(x[1:2], t[1:2], keys[:1]), rtol=0.1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size_px": 36}, "image_size_px=36 cannot be halved 3 times"),
        ({"image_size_px": 8, "downsample_after_last": True}, "image_size_px=8 cannot be halved 4 times"),
        ({"attention_levels": [2, 4]}, r"attention_levels: \[4\] do not exist; levels are 0 to 3"),
        ({"base_channels": 48}, r"base_channels: .*multiple of 32"),
    ],
)
def test_networks_that_do_not_exist(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UnetConfig.parse(values, "test")


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x is \(1, 3, 32, 32\), but the config says \[b, 3, 16"):
        SMALL.build()(torch.zeros(1, 3, 32, 32), torch.zeros(1))
