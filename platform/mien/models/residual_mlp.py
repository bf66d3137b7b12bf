"""Residual MLP over an embedding: the dimensions of an embedding have no order that a convolution could use."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mien.config import Config
from mien.models.time_embedding import Times, sinusoid

Embeddings = Float[Tensor, "b d"]
Hidden = Float[Tensor, "b h"]
Time = Float[Tensor, "b e"]


class ResidualMlpConfig(Config):
    """A residual MLP; at 512 dimensions about as large as the one-dimensional U-Net."""

    kind: Literal["residual_mlp"] = "residual_mlp"
    """Kind of network."""

    embed_dim: int = Field(ge=1)
    """Dimensions of the embeddings."""

    hidden_dim: int = Field(512, ge=1)
    """Width between the blocks."""

    num_blocks: int = Field(3, ge=1)
    """Residual blocks."""

    expansion: int = Field(2, ge=1)
    """Width within a block, in `hidden_dim`."""

    time_dim: int = Field(64, ge=4, multiple_of=2)
    """Width of the timestep."""

    def build(self) -> "ResidualMlp":
        """A network with fresh weights."""
        return ResidualMlp(self)


class ResidualMlp(nn.Module):
    """Predicts a clean embedding (or noise, or velocity) from a noisy one and its timestep."""

    def __init__(self, config: ResidualMlpConfig) -> None:
        """Fresh weights: every block begins as the identity."""
        super().__init__()
        self.config = config
        self.time_mlp = nn.Sequential(
            nn.Linear(config.time_dim, config.time_dim), nn.SiLU(), nn.Linear(config.time_dim, config.time_dim)
        )
        self.in_proj = nn.Linear(config.embed_dim, config.hidden_dim)
        self.blocks = nn.ModuleList(
            ModulatedBlock(config.hidden_dim, config.expansion, config.time_dim) for _ in range(config.num_blocks)
        )
        self.out_norm = nn.LayerNorm(config.hidden_dim)
        self.out_proj = nn.Linear(config.hidden_dim, config.embed_dim)

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
        time = functional.silu(self.time_mlp(sinusoid(t, self.config.time_dim).to(x.dtype)))
        h = self.in_proj(x)
        for block in self.blocks:
            h = block(h, time)
        out: Tensor = self.out_proj(self.out_norm(h))
        return out


class ModulatedBlock(nn.Module):
    """Norm, modulated by the time, and MLP, gated by the time: adaLN-Zero (Peebles and Xie 2023, section 3.2)."""

    def __init__(self, dim: int, expansion: int, time_dim: int) -> None:
        """The modulation begins at 0, and so the block as the identity."""
        super().__init__()
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.modulation = nn.Linear(time_dim, 3 * dim)
        self.mlp = nn.Sequential(nn.Linear(dim, expansion * dim), nn.SiLU(), nn.Linear(expansion * dim, dim))
        torch.nn.init.zeros_(self.modulation.weight)
        torch.nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Hidden, time: Time) -> Hidden:
        """Same shape."""
        shift, scale, gate = self.modulation(time).chunk(3, dim=-1)
        out: Tensor = x + gate * self.mlp(self.norm(x) * (1 + scale) + shift)
        return out
