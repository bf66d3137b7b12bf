"""What a model is trained on: clips of patch tokens, padded to one length, or images or embeddings one by one."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from mien import draws


@dataclass(frozen=True)
class Batch:
    """b clips of at most t frames, of p patches and d dimensions each.

    Raises:
        ValueError: A field does not have the shape that follows from `tokens`.
    """

    tokens: Float[Tensor, "b t p d"]
    """Patch tokens of the extractor."""
    positions: Float[Tensor, "p d"]
    """Position embeddings of the extractor."""
    images: Float[Tensor, "b t 3 s s"] | None
    """Face crops in [0, 1], where the objective compares pictures."""
    mask: Bool[Tensor, "b t"]
    """True where there is a frame."""
    subjects: Int64[Tensor, " b"]
    """Row of the subject."""
    keys: Int64[Tensor, " b"]
    """Of each clip at this step (`draws.keys`): what is random about it follows from here."""

    def __post_init__(self) -> None:
        if self.tokens.ndim != 4:
            raise ValueError(f"tokens: have shape {tuple(self.tokens.shape)}; give clips, frames, patches, dimensions")
        b, t, p, d = self.tokens.shape
        for name, shape in {"positions": (p, d), "mask": (b, t), "subjects": (b,), "keys": (b,)}.items():
            self._check(name, tuple(getattr(self, name).shape), shape)
        if self.images is not None:
            self._check("images", tuple(self.images.shape[:3]), (b, t, 3))

    def _check(self, name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        if shape != expected:
            raise ValueError(f"{name}: {shape} does not fit tokens {tuple(self.tokens.shape)}; give {expected}")

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device; the host does not wait for pinned memory."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        images = None if self.images is None else moved(self.images)
        clips = moved(self.mask), moved(self.subjects), moved(self.keys)
        return Batch(moved(self.tokens), moved(self.positions), images, *clips)

    @property
    def frames(self) -> Float[Tensor, "n p d"]:
        """Patch tokens of all frames, n = b·t."""
        return self.tokens.flatten(0, 1)

    @property
    def frame_subjects(self) -> Int64[Tensor, " n"]:
        """Row of the subject of each frame."""
        return self.subjects[:, None].expand_as(self.mask).flatten()

    @property
    def frame_keys(self) -> Int64[Tensor, " n"]:
        """Key of each frame, from its clip's and its place there."""
        return draws.fold(self.keys[:, None], torch.arange(self.mask.shape[1], device=self.keys.device)).flatten()


Values = Float[Tensor, "n *dims"]


@dataclass(frozen=True)
class Samples:
    """n images or embeddings, each by itself."""

    values: Values
    """Images in [-1, 1] [n, 3, s, s], or embeddings [n, d]."""
    keys: Int64[Tensor, " n"]
    """Of each sample at this step (`draws.keys`): timestep and noise follow from here."""
    mask: Bool[Tensor, " n"]
    """False for a sample that does not count."""

    def to(self, device: torch.device | str) -> "Samples":
        """The same samples on a device."""
        return Samples(*(tensor.to(device, non_blocking=True) for tensor in (self.values, self.keys, self.mask)))
