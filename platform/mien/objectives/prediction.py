"""Expression tokens that can be foretold, and the network that foretells them."""

from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from mien.config import Config
from mien.losses import terms
from mien.losses.terms import Term
from mien.losses.weights import Anchors, Schedule
from mien.models.expression_transformer import ExpressionTransformerConfig
from mien.models.layers import number_dropouts
from mien.models.predictor import PredictorConfig
from mien.objectives.batch import Batch
from mien.objectives.expression import ExpressionConfig
from mien.objectives.objective import Gather, Objective, Outcome, from_one_rank


class PredictionWeights(Config):
    """Importance of each term."""

    prediction: Schedule = Anchors(initial=0.01, warmup=0.15, final=0.5)
    """Of the angle between the foretold token and the one that came."""
    temporal: Schedule = Anchors(initial=0.1, warmup=0.3, final=0.2)
    """Of neighbouring tokens that differ."""
    diversity: Schedule = Anchors(initial=0.5, warmup=0.4, final=0.2)
    """Of tokens of a clip that are alike."""


class PredictionConfig(Config):
    """Tokens of a clip, and at each frame the token of the next."""

    kind: Literal["prediction"] = "prediction"
    """Kind of objective."""
    expression: ExpressionConfig = ExpressionTransformerConfig(num_heads=8, ff_dim=1536, max_subjects=3011)
    """Network that makes the tokens."""
    predictor: PredictorConfig = PredictorConfig()
    """Network that foretells them."""
    weights: PredictionWeights = PredictionWeights()
    """Of the terms."""
    detach_target: bool = True
    """No gradient through the token that is foretold. With one, tokens learn to be the same at every frame, which is
    the easiest to foretell."""
    diversity_stride: int = Field(1, ge=1)
    """Frames from one token to the next that diversity compares."""

    @model_validator(mode="after")
    def _models_fit(self) -> "PredictionConfig":
        ours, theirs = self.expression.embed_dim, self.predictor.embed_dim
        if ours != theirs:
            raise ValueError(f"embed_dim is {ours} in expression and {theirs} in predictor; give both the same")
        return self

    def build(self) -> "Prediction":
        """Both networks with random parameters."""
        return Prediction(self)


class Prediction(Objective):
    """Error of the foretold token, temporal coherence and diversity of tokens."""

    def __init__(self, config: PredictionConfig) -> None:
        super().__init__(config.weights)
        self.config = config
        self.expression_transformer = config.expression.build()
        self.transformer_decoder = config.predictor.build()  # named as checkpoints of the first tools name it
        number_dropouts(self)

    def forward(self, batch: Batch, gather: Gather = from_one_rank) -> Outcome:  # noqa: ARG002  compares no two clips
        """Terms of a batch.

        Raises:
            ValueError: Clips are longer than the predictor's `max_length`, or a shape or subject does not fit.
        """
        tokens = self.expression_transformer(batch.frames, batch.positions, batch.frame_subjects, batch.frame_keys)
        tokens = tokens.view(*batch.mask.shape, -1)
        predicted = self.transformer_decoder(tokens, batch.mask, batch.keys)
        return Outcome(self._terms(predicted, tokens, batch.mask), tokens, predicted=predicted)

    def counts(self, batch: Batch, gather: Gather = from_one_rank) -> dict[str, Tensor]:  # noqa: ARG002
        """Clips with a pair of neighbouring frames, and with two frames `diversity_stride` apart."""
        blank = batch.mask[..., None].float()
        return {name: term.count for name, term in self._terms(blank, blank, batch.mask).items()}

    def _terms(self, predicted: Tensor, tokens: Tensor, mask: Tensor) -> dict[str, Term]:
        return {
            "prediction": terms.prediction(predicted, tokens, mask, self.config.detach_target),
            "temporal": terms.coherence(tokens, mask),
            "diversity": terms.diversity(tokens, mask, self.config.diversity_stride, clamp=False),
        }
