"""Images or embeddings one by one: what training reads where nothing depends on time."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from mien import draws
from mien.datasets.split import HELD_OUT, TRAIN
from mien.errors import ConfigError
from mien.objectives.batch import Samples
from mien.training.order import Order, Window

_GRID_SEED = 0
"""Of timesteps and noise in validation: the same for every run, so that variants are compared on one grid."""


class SampleSet(Protocol):
    """Samples of one shape and type, by their numbers."""

    parts: np.ndarray
    """TRAIN, HELD_OUT or LEFT_OUT of each: uint8 [samples]."""
    shards: np.ndarray
    """Number of the piece that each lies in: what is read together costs once. int64 [samples]."""

    def read(self, number: int) -> tuple[np.ndarray, bool]:
        """Pixels uint8 [s, s, 3] or an embedding float32 [d], and whether it counts; called from several threads."""

    def name(self, number: int) -> str:
        """What messages call it."""


class Raw(NamedTuple):
    """Samples as they are on disk, before a device sees them."""

    windows: list[Window]
    mask: torch.Tensor
    """Whether each counts: bool [n]."""
    values: torch.Tensor
    """uint8 [n, s, s, 3] or float32 [n, d]."""

    def places(self) -> torch.Tensor:
        """Global numbers in the stream: int64 [n]."""
        return torch.tensor([window.place for window in self.windows])


class SampleReader:
    """Reads the samples of one side of a split by their numbers in its order."""

    def __init__(self, samples: SampleSet, part: int, seed: int | None) -> None:
        """Take one side; in a fixed order without a seed.

        Raises:
            ConfigError: It is empty.
        """
        chosen = (samples.parts == part).astype(np.int64)
        if not chosen.any():
            side = {TRAIN: "to train with", HELD_OUT: "held out"}[part]
            raise ConfigError(f"data.split: none of {len(chosen)} samples is {side}; give another share")
        self.order, self.samples = Order(chosen, samples.shards, 1, seed=seed), samples

    def read(self, places: Sequence[int]) -> Raw:
        """The samples at some places."""
        windows = self.order.windows(places)
        values, counts = zip(*(self.samples.read(window.sample) for window in windows), strict=True)
        return Raw(windows, torch.tensor(counts), torch.from_numpy(np.stack(values)))

    def name_of(self, window: Window) -> dict[str, Any]:
        """Which sample a window is, for a message."""
        return {"sample": self.samples.name(window.sample)}


class SampleBatches:
    """Makes batches of samples on one worker."""

    def __init__(self, seed: int, flip: float, dtype: torch.dtype, device: torch.device) -> None:
        """Mirror a share of the images in training, never in validation."""
        self._seed, self._flip, self._dtype, self._device = seed, flip, dtype, device

    def make(self, raw: Raw, step: int | None) -> Samples:
        """A batch; keys are those of a training step, or, in validation, of the sample alone."""
        places = raw.places()
        is_image = raw.values.dtype == torch.uint8
        values = raw.values.to(self._device, non_blocking=True)
        if is_image and step is not None and self._flip:
            flips = draws.keep(draws.keys(self._seed, "flip", places), (), self._flip).to(self._device)
            values = torch.where(flips.view(-1, 1, 1, 1), values.flip(2), values)
        if is_image:
            values = values.permute(0, 3, 1, 2).to(self._dtype).div_(127.5).sub_(1)
        given = (_GRID_SEED, "validation", places) if step is None else (self._seed, "sample", places, step)
        keys = draws.keys(*given)
        return Samples(values.to(self._dtype), keys.to(self._device), raw.mask.to(self._device))


def readers(samples: SampleSet, seed: int) -> tuple[SampleReader, SampleReader]:
    """The stream of training samples, and the held-out ones in their order.

    Raises:
        ConfigError: One of the two would be empty.
    """
    return SampleReader(samples, TRAIN, seed), SampleReader(samples, HELD_OUT, None)
