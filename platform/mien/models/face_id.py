"""A vector that tells who a face is, from its patch tokens."""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from mien.models.layers import Attention, Dropout, TransformerConfig, number_dropouts


class FaceIdTransformerConfig(TransformerConfig):
    """A learnt query that reads the patches of a face."""

    kind: Literal["face_id_transformer"] = "face_id_transformer"
    """Kind of identity model."""
    num_layers: int = Field(2, ge=1, le=64)
    """Blocks of attention and feed-forward."""

    def build(self) -> "FaceIdTransformer":
        """A new network with random parameters."""
        return FaceIdTransformer(self)


class FaceIdBlock(nn.Module):
    """Attention, residual, norm; feed-forward with GELU, residual."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = Attention(config.embed_dim, config.num_heads, config.weight_dropout)
        self.norm = nn.LayerNorm(config.embed_dim)
        self.linear1 = nn.Linear(config.embed_dim, config.hidden_dim)
        self.dropout = Dropout(config.dropout)
        self.linear2 = nn.Linear(config.hidden_dim, config.embed_dim)

    def forward(
        self, x: Float[Tensor, "n q d"], memory: Float[Tensor, "n m d"], keys: Int64[Tensor, " n"] | None
    ) -> Float[Tensor, "n q d"]:
        """One block."""
        x = self.norm(x + self.attention(x, memory, keys))
        out: Tensor = x + self.linear2(self.dropout(F.gelu(self.linear1(x)), keys))
        return out


class FaceIdTransformer(nn.Module):
    """Identity vectors; layer-normed, not of unit length."""

    def __init__(self, config: FaceIdTransformerConfig) -> None:
        super().__init__()
        self.identity_query = nn.Parameter(0.02 * torch.randn(1, 1, config.embed_dim))
        self.layers = nn.ModuleList(FaceIdBlock(config) for _ in range(config.num_layers))
        self.output_projection = nn.Linear(config.embed_dim, config.embed_dim)
        self.layer_norm = nn.LayerNorm(config.embed_dim)
        number_dropouts(self)

    def forward(
        self, tokens: Float[Tensor, "n p d"], positions: Float[Tensor, "p d"], keys: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n d"]:
        """One vector per face, from its patch tokens and the positions that all faces share.

        Raises:
            ValueError: Dropout is active without keys.
        """
        memory = tokens + positions
        x = self.identity_query.expand(len(tokens), -1, -1)
        for layer in self.layers:
            x = layer(x, memory, keys)
        identity: Tensor = self.layer_norm(self.output_projection(x[:, 0]))
        return identity
