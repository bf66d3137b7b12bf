"""U-Net over an embedding, read as a sequence with one channel: the network of Lee et al. (CVPR 2025)."""

import itertools
import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from mien.config import Config
from mien.models.time_embedding import Times, sinusoid

Embeddings = Float[Tensor, "b d"]
Sequences = Float[Tensor, "b c n"]
Widened = Float[Tensor, "b out n"]
Resized = Float[Tensor, "b out m"]
Time = Float[Tensor, "b e"]

_WIDTH_MULTIPLE = 8
"""The length is halved three times."""


class Unet1dConfig(Config):
    """A U-Net along the dimensions of an embedding."""

    kind: Literal["unet1d"] = "unet1d"
    """Kind of network."""

    embed_dim: int = Field(ge=_WIDTH_MULTIPLE, multiple_of=_WIDTH_MULTIPLE)
    """Dimensions of the embeddings; a multiple of 8, for the length is halved three times."""

    init_channels: int = Field(32, ge=1)
    """Channels before the multipliers."""

    multipliers: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (1, 2, 4, 8)
    """Channels after each level, in `init_channels`."""

    num_heads: int = Field(4, ge=1)
    """Heads of the attentions."""

    head_dim: int = Field(32, ge=1)
    """Width of a head."""

    def build(self) -> "Unet1d":
        """A network with fresh weights."""
        return Unet1d(self)


class Unet1d(nn.Module):
    """Predicts a clean embedding (or noise, or velocity) from a noisy one and its timestep."""

    def __init__(self, config: Unet1dConfig) -> None:
        """Fresh weights, by PyTorch's defaults."""
        super().__init__()
        self.config = config
        first, time_dim, heads = config.init_channels, 4 * config.init_channels, (config.num_heads, config.head_dim)
        channels = [first, *(first * multiplier for multiplier in config.multipliers)]
        pairs, last = list(itertools.pairwise(channels)), len(config.multipliers) - 1
        self.init_conv = nn.Conv1d(1, first, 7, padding=3)
        self.time_mlp = nn.Sequential(nn.Linear(config.embed_dim, time_dim), nn.GELU(), nn.Linear(time_dim, time_dim))
        self.downs = nn.ModuleList(
            DownLevel(above, below, time_dim, heads, halves=level < last) for level, (above, below) in enumerate(pairs)
        )
        self.mid_block1 = ResidualBlock(channels[-1], channels[-1], time_dim)
        self.mid_attention = Attention(channels[-1], *heads)
        self.mid_block2 = ResidualBlock(channels[-1], channels[-1], time_dim)
        self.ups = nn.ModuleList(
            UpLevel(below, above, time_dim, heads, doubles=level > 0)
            for level, (above, below) in reversed(list(enumerate(pairs)))
        )
        self.final_block = ResidualBlock(2 * first, first, time_dim)
        self.final_conv = nn.Conv1d(first, 1, 1)

    def forward(self, x: Embeddings, t: Times) -> Embeddings:
        """One prediction per embedding.

        Args:
            x: Noisy embeddings [b, embed_dim].
            t: Timesteps [b], whole or not.

        Raises:
            ValueError: The embeddings have another width than configured.
        """
        if x.shape[1:] != (self.config.embed_dim,):
            raise ValueError(f"x is {tuple(x.shape)}, but the config says embed_dim={self.config.embed_dim}")
        time = self.time_mlp(sinusoid(t, self.config.embed_dim).to(x.dtype))
        h = first = self.init_conv(x[:, None])
        skips: list[Tensor] = []
        for level in self.downs:
            h = level(h, time, skips)
        h = self.mid_block1(h, time)
        h = self.mid_block2(self.mid_attention(h), time)
        for level in self.ups:
            h = level(h, time, skips)
        out: Tensor = self.final_conv(self.final_block(torch.cat([h, first], dim=1), time))
        return out[:, 0]


class ChannelNorm(nn.Module):
    """RMS norm over the channels of each place, without eps (Zhang and Sennrich 2019)."""

    def __init__(self, channels: int) -> None:
        """One gain per channel."""
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1))
        self.scale = math.sqrt(channels)

    def forward(self, x: Sequences) -> Sequences:
        """Same shape."""
        return functional.normalize(x, dim=1) * self.gain * self.scale


class ResidualBlock(nn.Module):
    """Twice convolution, norm and SiLU, scaled and shifted by the time in between; plus the input."""

    def __init__(self, in_channels: int, out_channels: int, time_dim: int) -> None:
        """The skip is a convolution of width 1 where the channels change."""
        super().__init__()
        self.modulation = nn.Linear(time_dim, 2 * out_channels)
        self.conv1, self.norm1 = nn.Conv1d(in_channels, out_channels, 3, padding=1), ChannelNorm(out_channels)
        self.conv2, self.norm2 = nn.Conv1d(out_channels, out_channels, 3, padding=1), ChannelNorm(out_channels)
        self.skip = nn.Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Sequences, time: Time) -> Widened:
        """[b, in_channels, n] to [b, out_channels, n]."""
        scale, shift = self.modulation(functional.silu(time))[:, :, None].chunk(2, dim=1)
        h = functional.silu(self.norm1(self.conv1(x)) * (scale + 1) + shift)
        h = functional.silu(self.norm2(self.conv2(h)))
        out: Tensor = self.skip(x) + h
        return out


class Attention(nn.Module):
    """Self-attention over all places, plus the input."""

    def __init__(self, channels: int, num_heads: int, head_dim: int) -> None:
        """Queries, keys and values are one convolution of width 1."""
        super().__init__()
        self.num_heads = num_heads
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv1d(channels, 3 * num_heads * head_dim, 1, bias=False)
        self.out = nn.Conv1d(num_heads * head_dim, channels, 1)

    def forward(self, x: Sequences) -> Sequences:
        """Same shape."""
        q, k, v = (part.transpose(2, 3) for part in self._heads(x))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = x + self.out(mixed.transpose(2, 3).flatten(1, 2))
        return out

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, [b, heads, head_dim, n] each."""
        qkv: Tensor = self.qkv(self.norm(x))
        return tuple(part.reshape(len(x), self.num_heads, -1, x.shape[2]) for part in qkv.chunk(3, dim=1))


class LinearAttention(Attention):
    """Attention whose cost grows with the length alone (Shen et al. 2021), with a norm at the end."""

    def __init__(self, channels: int, num_heads: int, head_dim: int) -> None:
        """As the other attention, and a norm."""
        super().__init__(channels, num_heads, head_dim)
        self.scale = head_dim**-0.5
        self.out_norm = ChannelNorm(channels)

    def forward(self, x: Sequences) -> Sequences:
        """Same shape."""
        q, k, v = self._heads(x)
        context = k.softmax(dim=3) @ v.transpose(2, 3)  # [b, heads, head_dim of k, head_dim of v]
        mixed = context.transpose(2, 3) @ (q.softmax(dim=2) * self.scale)
        out: Tensor = x + self.out_norm(self.out(mixed.flatten(1, 2)))
        return out


class DownLevel(nn.Module):
    """A level on the way down: two blocks, of which the second has attention, and a convolution."""

    def __init__(self, channels: int, below: int, time_dim: int, heads: tuple[int, int], halves: bool) -> None:
        """The last level keeps the length."""
        super().__init__()
        self.block1 = ResidualBlock(channels, channels, time_dim)
        self.block2 = ResidualBlock(channels, channels, time_dim)
        self.attention = LinearAttention(channels, *heads)
        self.down = (
            nn.Conv1d(channels, below, 4, stride=2, padding=1) if halves else nn.Conv1d(channels, below, 3, padding=1)
        )

    def forward(self, x: Sequences, time: Time, skips: list[Tensor]) -> Resized:
        """Adds the outputs of both blocks to the skips."""
        skips.append(self.block1(x, time))
        skips.append(self.attention(self.block2(skips[-1], time)))
        out: Tensor = self.down(skips[-1])
        return out


class UpLevel(nn.Module):
    """A level on the way up: two blocks that take a skip each, attention, and a convolution."""

    def __init__(self, channels: int, above: int, time_dim: int, heads: tuple[int, int], doubles: bool) -> None:
        """The last level keeps the length."""
        super().__init__()
        self.block1 = ResidualBlock(channels + above, channels, time_dim)
        self.block2 = ResidualBlock(channels + above, channels, time_dim)
        self.attention = LinearAttention(channels, *heads)
        self.up_factor = 2.0 if doubles else 1.0
        self.up_conv = nn.Conv1d(channels, above, 3, padding=1)

    def forward(self, x: Sequences, time: Time, skips: list[Tensor]) -> Resized:
        """Takes, and removes, the last two of the skips."""
        x = self.block1(torch.cat([x, skips.pop()], dim=1), time)
        x = self.block2(torch.cat([x, skips.pop()], dim=1), time)
        x = functional.interpolate(self.attention(x), scale_factor=self.up_factor, mode="nearest")
        out: Tensor = self.up_conv(x)
        return out
