"""Layers whose result for one sample depends on that sample, its key and the parameters, never on its neighbours.

They bear the parameter names of their torch counterparts, so state dicts fit both. What differs is the randomness:
a mask is drawn from the sample's key (`mien.draws`), not from a generator that all samples of a process share. So
`keys` are one per sample wherever a layer is called, and None where nothing is dropped.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from jaxtyping import Bool, Float, Int64
from pydantic import Field, model_validator
from torch import Tensor, nn

from mien import draws
from mien.config import Config


class TransformerConfig(Config):
    """Sizes that every layer of a stack shares."""

    embed_dim: int = Field(384, ge=2, le=8192)
    """Width of tokens; a multiple of num_heads."""
    num_heads: int = Field(4, ge=1, le=128)
    """Attention heads, each of embed_dim / num_heads."""
    ff_dim: int | None = Field(None, ge=1, le=65536)
    """Hidden width of the feed-forward part; null: four times embed_dim."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of activations that training drops."""
    attention_dropout: float | None = Field(None, ge=0, lt=1)
    """Share of attention weights that training drops; null: as dropout. 0 allows the fused kernel, which holds no
    [queries, keys] matrix."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "TransformerConfig":
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}; change one")
        return self

    @property
    def hidden_dim(self) -> int:
        """Resolved `ff_dim`."""
        return self.ff_dim or 4 * self.embed_dim

    @property
    def weight_dropout(self) -> float:
        """Resolved `attention_dropout`."""
        return self.dropout if self.attention_dropout is None else self.attention_dropout


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014) whose mask is a function of the sample's key and this layer."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.site = 0  # set by number_dropouts

    @property
    def is_active(self) -> bool:
        """Whether a forward pass drops anything."""
        return self.training and self.p > 0

    def forward(self, x: Float[Tensor, "..."], keys: Int64[Tensor, "..."] | None) -> Float[Tensor, "..."]:
        """Mask in train mode, else the input itself.

        The mask of a shorter x is the beginning of that of a longer one, so what comes after a sample, as padding does,
        changes nothing within it.

        Args:
            x: [*keys.shape, ...].
            keys: Of samples, or of parts of samples.

        Raises:
            ValueError: Something is to be dropped and there are no keys.
        """
        if not self.is_active:
            return x
        if keys is None:
            raise ValueError("dropout in train mode draws from keys, and got none; give one per sample or call eval()")
        kept = draws.keep(draws.fold(keys, self.site), x.shape[keys.ndim :], 1 - self.p)
        return x * kept / (1 - self.p)


def number_dropouts(module: nn.Module) -> None:
    """Give each dropout below its own site, so that no two draw the same mask; the outermost call decides."""
    for site, layer in enumerate(layer for layer in module.modules() if isinstance(layer, Dropout)):
        layer.site = site


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Within: eval mode and no gradients. After: every submodule is in the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2), batch first; parameters as nn.MultiheadAttention."""

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        self.out_proj = nn.Linear(embed_dim, embed_dim)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Float[Tensor, "b q d"],
        memory: Float[Tensor, "b k d"],
        keys: Int64[Tensor, " b"] | None,
        visible: Bool[Tensor, "b q k"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """What each query finds in memory; `visible` says which places it may look at, all by default.

        Raises:
            ValueError: Query or memory has another number of dimensions, or dropout is active without keys.
        """
        if query.ndim != 3 or memory.ndim != 3:
            shapes = f"query {tuple(query.shape)}, memory {tuple(memory.shape)}"
            raise ValueError(f"{shapes}: give three dimensions each, samples, places and embed_dim")
        value = self._heads(memory, 2)
        if memory.shape[1] == 1:  # a softmax over one place is 1: scores would add only rounding noise to gradients
            attended = self._drop(value.new_ones(*value.shape[:2], query.shape[1], 1), keys) @ value
        else:
            attended = self._attend(query, memory, value, keys, visible)
        joined: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return joined

    def _attend(
        self, query: Tensor, memory: Tensor, value: Tensor, keys: Tensor | None, visible: Tensor | None
    ) -> Tensor:
        q, k = self._heads(query, 0), self._heads(memory, 1)
        visible = None if visible is None else visible[:, None]  # the same for all heads
        if not self.dropout.is_active:
            return F.scaled_dot_product_attention(q, k, value, visible)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if visible is not None:
            scores = scores.masked_fill(~visible, -math.inf)
        return self._drop(scores.softmax(-1), keys) @ value

    def _drop(self, weights: Tensor, keys: Tensor | None) -> Tensor:
        """Dropout of weights [b, h, q, k], drawn query by query and place by place, so that neither number counts."""
        if keys is not None:
            keys = draws.fold(keys[:, None], torch.arange(weights.shape[2], device=keys.device))
        dropped: Tensor = self.dropout(weights.permute(0, 2, 3, 1), keys)
        return dropped.permute(0, 3, 1, 2)

    def _heads(self, x: Tensor, part: int) -> Tensor:
        """Project to queries (0), keys (1) or values (2): [b, h, n, d/h].

        The bias of keys adds one number to all scores of a query, which a softmax ignores. It is left out, so that its
        gradient is exactly zero: of rounding noise, Adam would make steps of full size.
        """
        bias = None if part == 1 else self.in_proj_bias.chunk(3)[part]
        projected = F.linear(x, self.in_proj_weight.chunk(3)[part], bias)
        return projected.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, post-norm with ReLU; parameters as nn.TransformerEncoderLayer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config.embed_dim, config.num_heads, config.weight_dropout)
        self.linear1 = nn.Linear(config.embed_dim, config.hidden_dim)
        self.dropout = Dropout(config.dropout)
        self.linear2 = nn.Linear(config.hidden_dim, config.embed_dim)
        self.norm1 = nn.LayerNorm(config.embed_dim)
        self.norm2 = nn.LayerNorm(config.embed_dim)
        self.dropout1 = Dropout(config.dropout)
        self.dropout2 = Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "b n d"], keys: Int64[Tensor, " b"] | None, visible: Bool[Tensor, "b n n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """One layer; `visible[b, q, k]` lets token q look at token k."""
        x = self.norm1(x + self.dropout1(self.self_attn(x, x, keys, visible), keys))
        out: Tensor = self.norm2(x + self.dropout2(self.feed_forward(x, keys), keys))
        return out

    def feed_forward(self, x: Float[Tensor, "b n d"], keys: Int64[Tensor, " b"] | None) -> Float[Tensor, "b n d"]:
        """Two linear maps of each token alone, Vaswani et al. 2017, equation 2."""
        out: Tensor = self.linear2(self.dropout(self.linear1(x).relu(), keys))
        return out


class DecoderLayer(EncoderLayer):
    """As the encoder layer, with attention to a memory in between; parameters as nn.TransformerDecoderLayer."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.multihead_attn = Attention(config.embed_dim, config.num_heads, config.weight_dropout)
        self.norm3 = nn.LayerNorm(config.embed_dim)
        self.dropout3 = Dropout(config.dropout)

    def forward(  # type: ignore[override]  # a memory is what makes it a decoder
        self, x: Float[Tensor, "b n d"], memory: Float[Tensor, "b m d"], keys: Int64[Tensor, " b"] | None
    ) -> Float[Tensor, "b n d"]:
        """One layer."""
        x = self.norm1(x + self.dropout1(self.self_attn(x, x, keys), keys))
        x = self.norm2(x + self.dropout2(self.multihead_attn(x, memory, keys), keys))
        out: Tensor = self.norm3(x + self.dropout3(self.feed_forward(x, keys), keys))
        return out


class Encoder(nn.Module):
    """A stack of encoder layers; parameters as nn.TransformerEncoder."""

    def __init__(self, config: TransformerConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(num_layers))

    def forward(
        self, x: Float[Tensor, "b n d"], keys: Int64[Tensor, " b"] | None, visible: Bool[Tensor, "b n n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """All layers, one after the other."""
        for layer in self.layers:
            x = layer(x, keys, visible)
        return x


class Decoder(nn.Module):
    """A stack of decoder layers that share one memory; parameters as nn.TransformerDecoder."""

    def __init__(self, config: TransformerConfig, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(num_layers))

    def forward(
        self, x: Float[Tensor, "b n d"], memory: Float[Tensor, "b m d"], keys: Int64[Tensor, " b"] | None
    ) -> Float[Tensor, "b n d"]:
        """All layers, one after the other."""
        for layer in self.layers:
            x = layer(x, memory, keys)
        return x
