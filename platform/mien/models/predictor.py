"""The next expression token from those before it."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor, nn

from mien.models.layers import Encoder, TransformerConfig, evaluation, number_dropouts


class PredictorConfig(TransformerConfig):
    """A causal transformer over the tokens of a clip; 7,265,664 parameters as set."""

    kind: Literal["predictor"] = "predictor"
    """Kind of predictor."""
    num_heads: int = Field(8, ge=1, le=128)
    """Attention heads, each of embed_dim / num_heads."""
    num_layers: int = Field(4, ge=1, le=64)
    """Encoder layers."""
    max_length: int = Field(50, ge=1, le=65536)
    """Frames of the longest clip."""
    position_std: float = Field(1.0, ge=0)
    """Standard deviation of new positions. Tokens have entries of about 0.05, so at 1 positions speak loudest."""

    def build(self) -> "Predictor":
        """A new network with random parameters."""
        return Predictor(self)


class Predictor(nn.Module):
    """Reads the clip up to a frame and says what token follows, at every frame at once."""

    def __init__(self, config: PredictorConfig) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(
            config.position_std * torch.randn(1, config.max_length, config.embed_dim)
        )
        self.transformer_encoder = Encoder(config, config.num_layers)
        self.layer_norm = nn.LayerNorm(config.embed_dim)
        self.output_projection = nn.Linear(config.embed_dim, config.embed_dim)
        number_dropouts(self)

    def forward(
        self, tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"], keys: Int64[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b t d"]:
        """At each frame, the token of the frame after it.

        Args:
            tokens: Of the frames of b clips.
            mask: True where there is a frame; nobody looks at the others.
            keys: One per clip, where dropout is active.

        Raises:
            ValueError: Clips are longer than `max_length`, the mask is of another shape, or dropout has no keys.
        """
        length, longest = tokens.shape[1], self.position_embeddings.shape[1]
        if mask.shape != tokens.shape[:2]:
            raise ValueError(f"tokens {tuple(tokens.shape)} and mask {tuple(mask.shape)}: give [b, t, d] and [b, t]")
        if length > longest:
            raise ValueError(f"a clip of {length} frames is longer than max_length {longest}; cut it, or raise it")
        read = self.transformer_encoder(tokens + self.position_embeddings[:, :length], keys, _visible(mask))
        predicted: Tensor = self.output_projection(self.layer_norm(read))
        return predicted

    def predict_next(self, tokens: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """The token after the last valid frame of each clip, as in eval mode and without gradients.

        Raises:
            ValueError: As `forward`.
        """
        with evaluation(self):
            predicted = self.forward(tokens, mask)
        frame = torch.arange(mask.shape[1], device=mask.device)
        last = (frame * mask).argmax(1)
        return predicted[torch.arange(len(last), device=last.device), last]


def _visible(mask: Tensor) -> Tensor:
    """Who looks at whom, [b, t, t]: at valid frames that are not later, and always at oneself, lest a row be empty."""
    length = mask.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    oneself = torch.eye(length, dtype=torch.bool, device=mask.device)
    return causal & (mask[:, None] | oneself)
