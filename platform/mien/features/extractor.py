"""The seam between pixels and vectors: what an extractor is, and a fake one for tests."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

Provenance = dict[str, str | int | list[float]]
"""What features are made with, as plain values for a dataset's card."""


class Extractor(Protocol):
    """A frozen map from frames to features."""

    @property
    def dim(self) -> int:
        """Length D of a token."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the feature of one frame: (D,), or (P, D) for patch tokens."""

    @property
    def batch_size(self) -> int:
        """Frames that are computed at once; more are split, fewer leave the machine idle."""

    @property
    def provenance(self) -> Provenance:
        """Kind, model, revision, sum, dtype and all else that decides the features."""

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Features [N, *shape] of RGB frames [N, H, H, 3], N from 0; as they come, never rescaled."""


def check_frames(frames: npt.NDArray[np.uint8]) -> None:
    """See that frames are what a network takes.

    Raises:
        ValueError: They have another dtype or shape than square RGB [N, H, H, 3].
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or frames.shape[1] != frames.shape[2]:
        raise ValueError(f"frames must be square uint8 [N, H, H, 3], not {frames.dtype} {list(frames.shape)}")


class FakeExtractor:
    """An `Extractor` for tests: mean and standard deviation of each channel in 0..1, no model."""

    dim = 6
    shape: tuple[int, ...] = (6,)
    batch_size = 8

    @property
    def provenance(self) -> Provenance:
        """Says that it is a fake."""
        return {"kind": "fake", "model": "fake", "weights": "none", "dtype": "float32", "dim": self.dim}

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Features [N, 6] of RGB frames [N, H, W, 3]."""
        pixels = frames.reshape(len(frames), frames.shape[1] * frames.shape[2], 3).astype(np.float64) / 255
        return np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1).astype(np.float32)
