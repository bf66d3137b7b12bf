"""From a subject and an expression token back to the picture of the face, in two designs.

Both are called alike, with the embedding of the subject and with positions. What differs is who owns these:
`Reconstruction` gets them from the expression transformer, `SubjectReconstruction` has its own, as methods `subject`
and `positions` of the same signature.
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from jaxtyping import Bool, Float, Int64
from pydantic import Field, field_validator
from torch import Tensor, nn

from mien.models.clip_norm import ClipNorm2d
from mien.models.layers import Decoder, Encoder, TransformerConfig, number_dropouts
from mien.models.positions import grid_side, sinusoidal_grid
from mien.models.subjects import check_subjects, orthonormal_rows

_NUM_GROUPS = 8
"""Groups of channels that are normalised together, or as many as divide them."""


class DecoderConfig(TransformerConfig):
    """Sizes that both designs share."""

    owns_subjects: ClassVar[bool]
    """Whether the network itself has the methods `subject` and `positions`."""

    ff_dim: int | None = Field(768, ge=1, le=65536)
    """Hidden width of the feed-forward part; null: four times embed_dim."""
    num_cross_attention_layers: int = Field(2, ge=1, le=64)
    """Decoder layers: queries read each other, then subject and expression."""
    num_self_attention_layers: int = Field(2, ge=0, le=64)
    """Encoder layers: queries read each other."""
    num_patches: int = Field(1369, ge=1, le=65536)
    """Queries, which fill a square grid."""
    image_size_px: int = Field(518, ge=8, le=4096)
    """Side of the picture; the grid doubles three times and is resized to it."""
    channels: tuple[int, int, int, int, int, int] = (256, 512, 256, 128, 64, 32)
    """Channels after two convolutions on the grid, three that double it, and one at full size."""
    expression_scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Length of the expression token as the decoder reads it, beside a subject of the length of its embedding: what is
    much shorter is learnt much later."""
    norm: Literal["clip", "group"] = "clip"
    """Normalisation between convolutions. `clip`: by the statistics of the clip, as the first tools' batches of one
    clip did, and by running averages over all subjects once trained, which fit none of them well where there are few
    clips. `group` (Wu and He 2018): by each frame's own, always."""

    @field_validator("num_patches")
    @classmethod
    def _fill_a_square(cls, value: int) -> int:
        return grid_side(value) ** 2


class ReconstructionConfig(DecoderConfig):
    """The expression transformer gives subjects and positions; 10,081,155 parameters as set."""

    owns_subjects = False
    kind: Literal["reconstruction"] = "reconstruction"
    """Kind of reconstruction."""

    def build(self) -> "Reconstruction":
        """A new network with random parameters."""
        return Reconstruction(self)


class SubjectReconstructionConfig(DecoderConfig):
    """Subjects and positions of its own: the expression model needs to know neither."""

    owns_subjects = True
    kind: Literal["subject_reconstruction"] = "subject_reconstruction"
    """Kind of reconstruction."""
    max_subjects: int = Field(501, ge=1, le=10_000_000)
    """Rows of the table of subjects."""
    delta_std: float = Field(0.001, ge=0)
    """Standard deviation of new offsets to the fixed subjects and positions."""

    def build(self) -> "SubjectReconstruction":
        """A new network with random parameters."""
        return SubjectReconstruction(self)


class Block(nn.Module):
    """Convolution, normalisation, ReLU.

    The normalisation within the clip takes away what the bias of the convolution adds. It stays, for checkpoints have
    it, but without a gradient, which would be rounding noise that Adam scales up to full steps.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, norm: str) -> None:
        super().__init__()
        self.conv = conv
        self.norm: nn.Module
        if norm == "clip":
            conv.get_parameter("bias").requires_grad_(False)
            self.norm = ClipNorm2d(conv.out_channels)
        else:
            self.norm = nn.GroupNorm(math.gcd(_NUM_GROUPS, conv.out_channels), conv.out_channels)

    def forward(self, x: Float[Tensor, "n c h w"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "n e u v"]:
        """Frames of b clips of t frames, n = b·t."""
        x = self.conv(x)
        out: Tensor = self.norm(x, mask) if isinstance(self.norm, ClipNorm2d) else self.norm(x)
        return out.relu()


class PixelDecoder(nn.Module):
    """Features on a grid to a picture: two convolutions, three that double the side, resize, two convolutions."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        a, b, c, d, e, f = config.channels
        self.grow = nn.ModuleList(
            [Block(nn.Conv2d(*pair, 3, padding=1), config.norm) for pair in ((config.embed_dim, a), (a, b))]
            + [
                Block(nn.ConvTranspose2d(*pair, 3, 2, 1, output_padding=1), config.norm)
                for pair in ((b, c), (c, d), (d, e))
            ]
        )
        self.image_size_px = config.image_size_px
        self.refine = Block(nn.Conv2d(e, f, 3, padding=1), config.norm)
        self.to_rgb = nn.Conv2d(f, 3, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c h w"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "n 3 s s"]:
        """Pictures in [0, 1]."""
        for block in self.grow:
            x = block(x, mask)
        x = F.interpolate(x, (self.image_size_px, self.image_size_px), mode="bilinear", align_corners=False)
        image: Tensor = self.to_rgb(self.refine(x, mask)).sigmoid()
        return image


class Reconstruction(nn.Module):
    """Learnt queries, one per patch, read subject and expression, and become pixels."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.patch_embeddings = nn.Parameter(0.02 * torch.randn(1, config.num_patches, config.embed_dim))
        self.cross_attention = Decoder(config, config.num_cross_attention_layers)
        self.self_attention = Encoder(config, config.num_self_attention_layers)
        self.cnn_decoder = PixelDecoder(config)
        self.side, self.expression_scale = grid_side(config.num_patches), config.expression_scale
        number_dropouts(self)

    def forward(
        self,
        subject: Float[Tensor, "n d"],
        expression: Float[Tensor, "n d"],
        positions: Float[Tensor, "p d"],
        mask: Bool[Tensor, "b t"],
        keys: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n 3 s s"]:
        """Pictures in [0, 1] of the frames of b clips of t frames, n = b·t.

        Args:
            subject: Embedding of each frame's subject.
            expression: Expression token of each frame.
            positions: Of the patches, with learnt offsets.
            mask: True where there is a frame; the others count in no statistics.
            keys: One per frame, where dropout is active.

        Raises:
            ValueError: The mask has another number of frames, or dropout is active without keys.
        """
        if mask.numel() != len(expression) or expression.ndim != 2:
            shapes = f"expression {tuple(expression.shape)}, mask {tuple(mask.shape)}"
            raise ValueError(f"{shapes}: give one token per frame, [b*t, d], and a mask [b, t]")
        queries = (self.patch_embeddings + positions).expand(len(subject), -1, -1)
        memory = torch.stack([subject, self.expression_scale * expression], dim=1)
        queries = self.cross_attention(queries, memory, keys)
        queries = self.self_attention(queries, keys)
        image: Tensor = self.cnn_decoder(queries.mT.reshape(*queries.mT.shape[:2], self.side, self.side), mask)
        return image


class SubjectReconstruction(Reconstruction):
    """Fixed orthonormal subjects and fixed sinusoidal positions, both with small learnt offsets."""

    subject_base: Tensor
    pos_base: Tensor

    def __init__(self, config: SubjectReconstructionConfig) -> None:
        super().__init__(config)
        sizes = config.max_subjects, config.embed_dim
        self.register_buffer("subject_base", orthonormal_rows(*sizes))
        self.register_buffer("pos_base", sinusoidal_grid(config.num_patches, config.embed_dim), persistent=False)
        self.delta_subject_embed = nn.Parameter(config.delta_std * torch.randn(*sizes))
        self.delta_pos_embed = nn.Parameter(config.delta_std * torch.randn(1, config.num_patches, config.embed_dim))

    def subject(self, subjects: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Embeddings of subjects; gradients reach the offsets.

        Raises:
            ValueError: A subject has no row.
        """
        check_subjects(subjects, len(self.subject_base))
        return self.subject_base[subjects] + self.delta_subject_embed[subjects]

    def positions(self, positions: Float[Tensor, "p d"]) -> Float[Tensor, "p d"]:  # noqa: ARG002  has its own
        """Positions of its own; those of the backbone are of no effect."""
        return self.pos_base + self.delta_pos_embed[0]
