"""The blocks of the U-Net against those of torch.nn and diffusers with the same weights."""

import pytest
import torch
from diffusers.models.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from torch import nn

from mien import draws
from mien.models.unet_blocks import Attention, Downsample, KeyedDropout, ResidualBlock, Upsample


def copy(source: nn.Module, target: nn.Module, names: dict[str, str]) -> None:
    """Weights of `target` from those of `source`; `names` maps theirs to ours where they differ."""
    ours = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        module, _, kind = name.rpartition(".")
        parameter.data = ours[f"{names.get(module, module)}.{kind}"].data


@pytest.mark.parametrize("out_channels", [32, 64])
def test_a_residual_block_is_that_of_diffusers(out_channels: int) -> None:
    ours = ResidualBlock(32, out_channels, 48, dropout=0.5).eval()
    theirs = ResnetBlock2D(in_channels=32, out_channels=out_channels, temb_channels=48, groups=32, eps=1e-6).eval()
    copy(ours, theirs, {"time_emb_proj": "time_proj", "conv_shortcut": "skip"})
    x, time = torch.randn(2, 32, 8, 8), torch.randn(2, 48)
    assert torch.allclose(ours(x, time, None), theirs(x, time), atol=1e-5)


def test_attention_is_that_of_torch_with_one_head() -> None:
    ours, theirs = Attention(64), nn.MultiheadAttention(64, 1, batch_first=True)
    for mine, other in [(ours.qkv, "in_proj_"), (ours.out, "out_proj.")]:
        theirs.get_parameter(f"{other}weight").data = mine.weight.data[:, :, 0, 0]
        theirs.get_parameter(f"{other}bias").data = mine.bias.data
    x = torch.randn(2, 64, 4, 6)
    places = ours.norm(x).flatten(2).transpose(1, 2)
    mixed = theirs(places, places, places)[0].transpose(1, 2).reshape(x.shape)
    assert torch.allclose(ours(x), x + mixed, atol=1e-5)


def test_sizes_change_as_in_diffusers() -> None:
    x = torch.randn(2, 32, 8, 8)
    down, up = Downsample(32), Upsample(32)
    their_down = Downsample2D(32, use_conv=True, padding=0, name="op")
    their_up = Upsample2D(32, use_conv=True)
    copy(down, their_down, {})
    copy(up, their_up, {})
    assert torch.allclose(down(x), their_down(x), atol=1e-5)
    assert torch.allclose(up(x), their_up(x), atol=1e-5)


def test_what_is_dropped_depends_on_the_sample_alone() -> None:
    dropout, keys = KeyedDropout(0.25), draws.keys(0, "dropout", torch.arange(8))
    x = torch.ones(8, 16, 10, 10)
    dropped = dropout(x, keys)
    assert torch.equal(dropped[5:], dropout(x[5:], keys[5:]))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((dropped == 0).float().mean().item() - 0.25) < 0.02
    dropout.number = 1
    assert not torch.equal(dropped, dropout(x, keys))


def test_dropout_in_training_alone_and_never_without_keys() -> None:
    dropout, x = KeyedDropout(0.25), torch.ones(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"dropout=0.25 needs keys .* mien.draws.keys"):
        dropout(x, None)
    assert torch.equal(dropout.eval()(x, None), x)
    assert torch.equal(KeyedDropout(0.0)(x, None), x)
