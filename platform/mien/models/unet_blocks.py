"""The blocks and levels of the U-Net of DDPM (Ho et al. 2020, appendix B)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mien import draws

Maps = Float[Tensor, "b c h w"]
Widened = Float[Tensor, "b out h w"]
Halved = Float[Tensor, "b c h//2 w//2"]
Doubled = Float[Tensor, "b c 2*h 2*w"]
Raised = Float[Tensor, "b out i j"]
"""As high and wide as the level's skips."""

Time = Float[Tensor, "b e"]
Keys = Int[Tensor, "b"]

NUM_GROUPS = 32
"""Of every group norm."""


def group_norm(channels: int) -> nn.GroupNorm:
    """The norm of the network."""
    return nn.GroupNorm(NUM_GROUPS, channels, eps=1e-6)


def conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class KeyedDropout(nn.Module):
    """Dropout whose mask is a function of each sample's key, and so of no neighbour in the batch."""

    def __init__(self, rate: float) -> None:
        """`number` sets the layer apart from the others of a network."""
        super().__init__()
        self.rate, self.number = rate, 0

    def forward(self, x: Maps, keys: Keys | None) -> Maps:
        """Drop in training alone.

        Raises:
            ValueError: There is something to drop and no key to draw with.
        """
        if not self.training or self.rate == 0:
            return x
        if keys is None:
            raise ValueError(f"dropout={self.rate} needs keys in training, one int64 per sample: see mien.draws.keys")
        kept = draws.keep(draws.fold(keys, self.number), x.shape[1:], 1 - self.rate)
        return x * kept / (1 - self.rate)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution; plus the time; norm, SiLU, dropout, convolution; plus the input."""

    def __init__(self, in_channels: int, out_channels: int, embed_dim: int, dropout: float) -> None:
        """The skip is a 1 x 1 convolution where the channels change."""
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = conv3(in_channels, out_channels)
        self.time_proj = nn.Linear(embed_dim, out_channels)
        self.norm2 = group_norm(out_channels)
        self.dropout = KeyedDropout(dropout)
        self.conv2 = conv3(out_channels, out_channels)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Maps, time: Time, keys: Keys | None) -> Widened:
        """[b, in_channels, h, w] to [b, out_channels, h, w]."""
        h = self.conv1(functional.silu(self.norm1(x)))
        h = h + self.time_proj(functional.silu(time))[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h)), keys))
        out: Tensor = self.skip(x) + h
        return out


class Attention(nn.Module):
    """Self-attention over all places, one head as wide as the channels, plus the input."""

    def __init__(self, channels: int) -> None:
        """Queries, keys and values are one 1 x 1 convolution."""
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Maps) -> Maps:
        """Same shape."""
        qkv = self.qkv(self.norm(x)).flatten(2).transpose(1, 2)  # [b, h·w, 3c]: contiguous where x is channels_last
        q, k, v = qkv[:, None].chunk(3, dim=-1)  # one head
        mixed = functional.scaled_dot_product_attention(q, k, v)[:, 0]
        out: Tensor = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return out


class Block(nn.Module):
    """A residual block, and attention at the levels that have it."""

    def __init__(self, residual: ResidualBlock, attention: Attention | None) -> None:
        """One of the blocks of a level."""
        super().__init__()
        self.residual = residual
        self.attention = attention or nn.Identity()

    def forward(self, x: Maps, time: Time, keys: Keys | None) -> Widened:
        """[b, in_channels, h, w] to [b, out_channels, h, w]."""
        out: Tensor = self.attention(self.residual(x, time, keys))
        return out


class Downsample(nn.Module):
    """Halves the side by a convolution of stride 2, padded as TensorFlow's SAME: at the right and below alone."""

    def __init__(self, channels: int) -> None:
        """Channels stay."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Maps) -> Halved:
        """[b, c, h, w] to [b, c, h/2, w/2]."""
        out: Tensor = self.conv(functional.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Doubles the side: nearest neighbour, then a convolution; both at once, without the doubled maps.

    A pixel that was doubled is seen by 4 x 4 outputs, so that a transposed convolution of stride 2 with sums of the
    3 x 3 weights does the same by 4 products for each output in place of 9.
    """

    def __init__(self, channels: int) -> None:
        """Channels stay."""
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Maps) -> Doubled:
        """[b, c, h, w] to [b, c, 2h, 2w]."""
        turned = self.conv.weight.flip(2, 3).transpose(0, 1)
        weight = functional.avg_pool2d(turned, 2, stride=1, padding=1, divisor_override=1)
        out: Tensor = functional.conv_transpose2d(x, weight, self.conv.bias, stride=2, padding=1)
        return out


class DownLevel(nn.Module):
    """A level of the encoder."""

    def __init__(self, blocks: list[Block], downsample: Downsample | None) -> None:
        """The last level has no down-sampling."""
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Maps, time: Time, keys: Keys | None) -> list[Tensor]:
        """What the decoder needs: the output of each block and, last, the down-sampled one."""
        outputs = []
        for block in self.blocks:
            x = block(x, time, keys)
            outputs.append(x)
        return outputs if self.downsample is None else [*outputs, self.downsample(x)]


class Middle(nn.Module):
    """The bottleneck: block, attention, block."""

    def __init__(self, channels: int, embed_dim: int, dropout: float, shrinks: bool) -> None:
        """Where it shrinks, the side is halved first."""
        super().__init__()
        self.downsample = Downsample(channels) if shrinks else nn.Identity()
        self.first = Block(ResidualBlock(channels, channels, embed_dim, dropout), Attention(channels))
        self.second = ResidualBlock(channels, channels, embed_dim, dropout)

    def forward(self, x: Maps, time: Time, keys: Keys | None) -> Maps | Halved:
        """Same shape, or half the side."""
        out: Tensor = self.second(self.first(self.downsample(x), time, keys), time, keys)
        return out


class UpLevel(nn.Module):
    """A level of the decoder."""

    def __init__(self, upsample: Upsample | None, blocks: list[Block]) -> None:
        """The level that the middle has the size of needs no up-sampling."""
        super().__init__()
        self.upsample = upsample or nn.Identity()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Maps, skips: list[Tensor], time: Time, keys: Keys | None) -> Raised:
        """Each block takes, and removes, the last of the skips."""
        x = self.upsample(x)
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), time, keys)
        return x
