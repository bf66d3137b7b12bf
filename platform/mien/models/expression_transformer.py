"""From the patch tokens of a face to one expression token, in two designs.

`ExpressionTransformer` is told who the person is, by a learnt table, so that the token need not say it.
`SubjectInvariantTransformer` is not told: the reconstruction alone knows the subject.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from mien.models.layers import Decoder, TransformerConfig, evaluation, number_dropouts
from mien.models.positions import sinusoidal_grid
from mien.models.subjects import check_subjects


class QueryTransformerConfig(TransformerConfig):
    """Sizes that both designs share; 7,971,072 parameters as set, with the table of subjects."""

    num_layers: int = Field(4, ge=1, le=64)
    """Decoder layers."""
    ff_dim: int | None = Field(768, ge=1, le=65536)
    """Hidden width of the feed-forward part; null: four times embed_dim."""
    num_patches: int = Field(1369, ge=1, le=65536)
    """Patch tokens per face: 37 x 37 of 518 px."""


class ExpressionTransformerConfig(QueryTransformerConfig):
    """A token that is computed with the subject known."""

    kind: Literal["expression_transformer"] = "expression_transformer"
    """Kind of expression model."""
    max_subjects: int = Field(501, ge=1, le=10_000_000)
    """Rows of the table of subjects."""
    subject_std: float = Field(0.02, ge=0)
    """Standard deviation of a new table. Of 1, a row has length 19.6 and drowns the patch tokens beside it."""

    def build(self) -> "ExpressionTransformer":
        """A new network with random parameters."""
        return ExpressionTransformer(self)


class SubjectInvariantTransformerConfig(QueryTransformerConfig):
    """A token that is computed without knowing the subject."""

    kind: Literal["subject_invariant"] = "subject_invariant"
    """Kind of expression model."""
    delta_std: float = Field(0.001, ge=0)
    """Standard deviation of new offsets to the fixed positions."""

    def build(self) -> "SubjectInvariantTransformer":
        """A new network with random parameters."""
        return SubjectInvariantTransformer(self)


class QueryTransformer(nn.Module, ABC):
    """One learnt query reads the patches of a face, as in DETR (Carion et al. 2020), and becomes a unit vector."""

    def __init__(self, config: QueryTransformerConfig, delta_std: float) -> None:
        super().__init__()
        dim = config.embed_dim
        self.expression_query = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.delta_pos_embed = nn.Parameter(torch.empty(1, config.num_patches, dim))
        nn.init.trunc_normal_(self.delta_pos_embed, std=delta_std)
        self.transformer_decoder = Decoder(config, config.num_layers)
        self.output_projection = nn.Linear(dim, dim)
        self.layer_norm = nn.LayerNorm(dim)

    def positions(self, positions: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:
        """Positions of the backbone with the learnt offsets; gradients reach the offsets."""
        return positions + self.delta_pos_embed[0]

    @abstractmethod
    def memory(
        self, tokens: Float[Tensor, "n p d"], positions: Float[Tensor, "p d"], subjects: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n m d"]:
        """What the query reads; `subjects` is of no effect where the design is not told of them."""

    def forward(
        self,
        tokens: Float[Tensor, "n p d"],
        positions: Float[Tensor, "p d"],
        subjects: Int64[Tensor, " n"],
        keys: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n d"]:
        """Expression tokens of unit length.

        Args:
            tokens: Patch tokens of each face.
            positions: Position embeddings of the backbone, the same for every face.
            subjects: Row of each face's subject.
            keys: One per face, where dropout is active.

        Raises:
            ValueError: A subject has no row, or dropout is active without keys.
        """
        query = self.expression_query.expand(len(tokens), -1, -1)
        read = self.transformer_decoder(query, self.memory(tokens, positions, subjects), keys)[:, 0]
        return F.normalize(self.layer_norm(self.output_projection(read)), dim=-1)

    def inference(
        self, tokens: Float[Tensor, "n p d"], positions: Float[Tensor, "p d"], subjects: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n d"]:
        """`forward` as in eval mode and without gradients, whatever mode the network is in and stays in."""
        with evaluation(self):
            return self.forward(tokens, positions, subjects)


class ExpressionTransformer(QueryTransformer):
    """The subject's embedding stands in the memory, in front of the patches."""

    def __init__(self, config: ExpressionTransformerConfig) -> None:
        super().__init__(config, delta_std=0.02)
        self.subject_embeddings = nn.Embedding(config.max_subjects, config.embed_dim)
        nn.init.normal_(self.subject_embeddings.weight, std=config.subject_std)
        number_dropouts(self)

    def subject(self, subjects: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Embeddings of subjects; gradients reach the table.

        Raises:
            ValueError: A subject has no row.
        """
        check_subjects(subjects, self.subject_embeddings.num_embeddings)
        embedded: Tensor = self.subject_embeddings(subjects)
        return embedded

    def memory(
        self, tokens: Float[Tensor, "n p d"], positions: Float[Tensor, "p d"], subjects: Int64[Tensor, " n"]
    ) -> Float[Tensor, "n m d"]:
        """Subject, then patches: m = 1 + p."""
        return torch.cat([self.subject(subjects)[:, None], tokens + self.positions(positions)], dim=1)


class SubjectInvariantTransformer(QueryTransformer):
    """Patches alone, at fixed sinusoidal positions with small learnt offsets."""

    pos_base: Tensor

    def __init__(self, config: SubjectInvariantTransformerConfig) -> None:
        super().__init__(config, config.delta_std)
        self.register_buffer("pos_base", sinusoidal_grid(config.num_patches, config.embed_dim), persistent=False)
        number_dropouts(self)

    def positions(self, positions: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:  # noqa: ARG002  has its own
        """Positions of its own; those of the backbone are of no effect."""
        return super().positions(self.pos_base)

    def memory(
        self,
        tokens: Float[Tensor, "n p d"],
        positions: Float[Tensor, "p d"],
        subjects: Int64[Tensor, " n"],  # noqa: ARG002
    ) -> Float[Tensor, "n m d"]:
        """Patches: m = p."""
        return tokens + self.positions(positions)
