"""Vectors that are the same for every frame of a person, and differ between persons."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from mien.config import Config
from mien.losses import terms
from mien.losses.terms import Term
from mien.losses.weights import Constant, Schedule
from mien.models.face_id import FaceIdTransformerConfig
from mien.objectives.batch import Batch
from mien.objectives.objective import Gather, Objective, Outcome, from_one_rank


class FaceIdWeights(Config):
    """Importance of each term."""

    consistency: Schedule = Constant(level=1.0)
    """Of the variance within a clip."""
    contrastive: Schedule = Constant(level=1.0)
    """Of clips of one subject that differ, and of two that do not."""


class FaceIdConfig(Config):
    """A vector per face that tells who it is."""

    kind: Literal["face_id"] = "face_id"
    """Kind of objective."""
    model: FaceIdTransformerConfig = FaceIdTransformerConfig()
    """Network that makes the vector."""
    weights: FaceIdWeights = FaceIdWeights()
    """Of the terms."""
    temperature: float = Field(0.5, gt=0)
    """Divides the cosine of two clips."""
    max_pairs: int = Field(50, ge=1)
    """Pairs of clips of one subject, and of two, that a step compares."""

    def build(self) -> "FaceId":
        """A network with random parameters."""
        return FaceId(self)


class FaceId(Objective):
    """Variance within a clip, and cross-entropy of which clips show the same subject."""

    couples_clips: ClassVar[bool] = True

    def __init__(self, config: FaceIdConfig) -> None:
        super().__init__(config.weights)
        self.config = config
        self.face_id_model = config.model.build()

    def forward(self, batch: Batch, gather: Gather = from_one_rank) -> Outcome:
        """Terms of a batch; the contrastive one is of the clips of all ranks.

        Raises:
            ValueError: A shape does not fit.
        """
        tokens = self.face_id_model(batch.frames, batch.positions, batch.frame_keys).view(*batch.mask.shape, -1)
        return Outcome(self._terms(tokens, batch, gather), tokens)

    def counts(self, batch: Batch, gather: Gather = from_one_rank) -> dict[str, Tensor]:
        """Clips with two frames, and pairs of clips of all ranks."""
        blank = batch.mask[..., None].float()
        return {name: term.count for name, term in self._terms(blank, batch, gather).items()}

    def _terms(self, tokens: Tensor, batch: Batch, gather: Gather) -> dict[str, Term]:
        mask = batch.mask
        first = tokens[torch.arange(len(mask), device=mask.device), mask.int().argmax(1)]
        gathered = gather(first), gather(batch.subjects), gather(mask.any(1))
        return {
            "consistency": terms.identity_consistency(tokens, mask),
            "contrastive": terms.contrastive(*gathered, self.config.temperature, self.config.max_pairs),
        }
