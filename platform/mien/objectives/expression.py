"""Expression token and reconstruction, trained together: the picture keeps the token honest, the token stays calm."""

from typing import Annotated, Literal, Protocol, cast, runtime_checkable

from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Tensor

from mien.config import Config
from mien.losses import terms
from mien.losses.terms import Term
from mien.losses.weights import Anchors, Schedule
from mien.models.expression_transformer import ExpressionTransformerConfig, SubjectInvariantTransformerConfig
from mien.models.layers import number_dropouts
from mien.models.reconstruction import ReconstructionConfig, SubjectReconstructionConfig
from mien.objectives.batch import Batch
from mien.objectives.objective import Gather, Objective, Outcome, from_one_rank

ExpressionConfig = Annotated[
    ExpressionTransformerConfig | SubjectInvariantTransformerConfig, Field(discriminator="kind")
]
"""Every kind of expression model."""


class JointWeights(Config):
    """Importance of each term; 1, 0, 0 for fine-tuning a reconstruction on frozen tokens."""

    reconstruction: Schedule = Anchors(initial=0.01, warmup=0.2, final=0.5)
    """Of the error of pixels."""
    temporal: Schedule = Anchors(initial=0.4, warmup=0.3, final=0.2)
    """Of neighbouring tokens that differ, and of tokens five frames apart that do not."""
    diversity: Schedule = Anchors(initial=0.3, warmup=0.2, final=0.2)
    """Of tokens of a clip that are alike."""


class JointConfig(Config):
    """From patch tokens to an expression token, and from there back to pixels."""

    kind: Literal["joint"] = "joint"
    """Kind of objective."""
    expression: ExpressionConfig = ExpressionTransformerConfig()
    """Network that makes the token."""
    reconstruction: Annotated[ReconstructionConfig | SubjectReconstructionConfig, Field(discriminator="kind")] = (
        ReconstructionConfig()
    )
    """Network that makes the picture."""
    weights: JointWeights = JointWeights()
    """Of the terms."""
    freeze_expression_transformer: bool = False
    """Train the reconstruction alone, on tokens that stay what they are."""
    coherence_weight: float = Field(0.7, ge=0)
    """Within the temporal term, of neighbouring frames."""
    contrast_weight: float = Field(0.3, ge=0)
    """Within the temporal term, of frames five apart."""
    diversity_stride: int = Field(5, ge=1)
    """Frames from one token to the next that diversity compares."""

    @model_validator(mode="after")
    def _models_fit(self) -> "JointConfig":
        for name in ("embed_dim", "num_patches"):
            ours, theirs = getattr(self.expression, name), getattr(self.reconstruction, name)
            if ours != theirs:
                raise ValueError(f"{name} is {ours} in expression and {theirs} in reconstruction; give both the same")
        if self.expression.kind == "subject_invariant" and not self.reconstruction.owns_subjects:
            raise ValueError(
                "nobody knows the subject; with a subject_invariant expression, make the kind of "
                "reconstruction subject_reconstruction"
            )
        return self

    def build(self) -> "Joint":
        """Both networks with random parameters."""
        return Joint(self)


@runtime_checkable
class Conditions(Protocol):
    """A network that knows who the subjects are and where the patches lie."""

    def subject(self, subjects: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Embeddings of subjects."""

    def positions(self, positions: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:
        """Positions with learnt offsets."""


class Joint(Objective):
    """Error of pixels, temporal coherence and diversity of tokens.

    The reconstruction's gradients reach the table of subjects and the offsets of positions, whoever owns them.
    """

    def __init__(self, config: JointConfig) -> None:
        super().__init__(config.weights)
        self.config = config
        self.expression_transformer = config.expression.build()
        self.expression_reconstruction = config.reconstruction.build()
        number_dropouts(self)
        if config.freeze_expression_transformer:
            self.term_names = ("reconstruction",)
            self.freeze("expression_transformer")

    def forward(self, batch: Batch, gather: Gather = from_one_rank) -> Outcome:  # noqa: ARG002  compares no two clips
        """Terms of a batch, all frames of all clips at once.

        Raises:
            ValueError: The batch has no images, or a shape or subject that does not fit.
        """
        if batch.images is None:
            raise ValueError("images: are missing, and the reconstruction is compared with them; load the crops")
        tokens, images = self.rendered(batch)
        return Outcome(self._terms(tokens, images.view_as(batch.images), batch.images, batch.mask), tokens)

    def rendered(self, batch: Batch) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "n 3 s s"]]:
        """Expression tokens of clips, and the picture of each frame that is made of its token, n = b·t."""
        keys = batch.frame_keys
        tokens = self.expression_transformer(batch.frames, batch.positions, batch.frame_subjects, keys)
        subject = self.conditions.subject(batch.frame_subjects)
        positions = self.conditions.positions(batch.positions)
        images = self.expression_reconstruction(subject, tokens, positions, batch.mask, keys)
        return tokens.view(*batch.mask.shape, -1), images

    def counts(self, batch: Batch, gather: Gather = from_one_rank) -> dict[str, Tensor]:  # noqa: ARG002
        """Clips with a frame, with a pair of frames, and with two frames `diversity_stride` apart."""
        blank = batch.mask[..., None].float()
        pixel = blank[..., None, None]
        return {name: term.count for name, term in self._terms(blank, pixel, pixel, batch.mask).items()}

    @property
    def conditions(self) -> Conditions:
        """The network that knows subjects and positions."""
        owns = self.config.reconstruction.owns_subjects
        return cast("Conditions", self.expression_reconstruction if owns else self.expression_transformer)

    def _terms(self, tokens: Tensor, images: Tensor, targets: Tensor, mask: Tensor) -> dict[str, Term]:
        config = self.config
        found = {
            "reconstruction": terms.reconstruction(images, targets, mask),
            "temporal": terms.temporal(tokens, mask, config.coherence_weight, config.contrast_weight),
            "diversity": terms.diversity(tokens, mask, config.diversity_stride),
        }
        return {name: found[name] for name in self.term_names}
