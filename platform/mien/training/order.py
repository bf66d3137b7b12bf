"""Which window of which sample stands at which place of the endless stream that training reads.

A pure function of (seed, place): neither workers nor crashes change it, and there is no position to save but the step.
Shards are shuffled, and windows within a few shards at a time, so that a worker needs those few at hand and no others.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mien import draws


class Window(NamedTuple):
    """A run of consecutive frames of one sample, as training sees it once."""

    place: int
    """Global number in the stream; what is drawn for the window is drawn by it."""
    sample: int
    """Row of the index."""
    start: int
    """First frame within the sample."""
    num_frames: int


class Order:
    """The stream over some samples of an index; every epoch takes every window once."""

    def __init__(
        self, frames: np.ndarray, shards: np.ndarray, length: int, *, seed: int | None, shards_together: int = 8
    ) -> None:
        """Count the windows.

        Args:
            frames: Frames of each sample, 0 for one that takes no part: int64 [samples].
            shards: Number of the shard that each lies in: int64 [samples].
            length: Frames of a window; a sample with fewer is one short window.
            seed: Of the run; None for the order of the index, every window at the start of its slot.
            shards_together: Shards whose windows are mixed.

        Raises:
            ValueError: There is no window.
        """
        self._frames, self._length, self._seed, self._together = frames, length, seed, shards_together
        taking_part = np.flatnonzero(frames > 0)
        self._orders = dict[int, tuple[np.ndarray, np.ndarray]]()
        self._samples = taking_part[np.argsort(shards[taking_part], kind="stable")]
        counts = np.maximum(1, frames[self._samples] // length)
        self._ends = np.cumsum(counts)
        if not len(self._ends):
            raise ValueError("no sample has a frame")
        _, first = np.unique(shards[self._samples], return_index=True)
        self._shard_starts = np.concatenate([[0], self._ends])[np.append(first, len(self._samples))]

    def __len__(self) -> int:
        """Windows of an epoch."""
        return int(self._ends[-1])

    def at(self, place: int) -> Window:
        """The window at one place, counted from the start of training."""
        return self.windows([place])[0]

    def windows(self, places: Sequence[int]) -> list[Window]:
        """The windows at some places; many at once take hardly longer than one."""
        epochs, positions = np.divmod(np.asarray(places, np.int64), len(self))
        numbers = positions if self._seed is None else self._shuffled(epochs, positions)
        rows = np.searchsorted(self._ends, numbers, side="right")
        samples, slots = self._samples[rows], numbers - _before(self._ends, rows)
        frames = self._frames[samples]
        starts = slots * self._length + self._moved(places, frames)
        columns = (samples, starts, np.minimum(frames, self._length))
        return [Window(*row) for row in zip(places, *(column.tolist() for column in columns), strict=True)]

    def _moved(self, places: Sequence[int], frames: np.ndarray) -> np.ndarray:
        """By how many frames each is moved: windows lie side by side, what is left over of a sample is their room."""
        slack = np.maximum(0, frames - np.maximum(1, frames // self._length) * self._length)
        if self._seed is None or not slack.any():
            return np.zeros_like(slack)
        keys = draws.keys(self._seed, "window", torch.tensor(places))
        return draws.integers(keys, torch.from_numpy(slack) + 1).numpy()

    def _shuffled(self, epochs: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Numbers of windows: those of their shards in the order of the index, and their places within."""
        numbers = np.empty_like(positions)
        for epoch in np.unique(epochs).tolist():
            order, ends = self._shard_order(epoch)
            groups = np.searchsorted(ends[self._together - 1 :: self._together], positions, side="right")
            for group in np.unique(groups[epochs == epoch]).tolist():
                chosen = (epochs == epoch) & (groups == group)
                places = self._mixed(ends, group, positions[chosen], epoch)
                turns = np.searchsorted(ends, places, side="right")
                numbers[chosen] = self._shard_starts[order[turns]] + places - _before(ends, turns)
        return numbers

    def _mixed(self, ends: np.ndarray, group: int, positions: np.ndarray, epoch: int) -> np.ndarray:
        """Places within one epoch, mixed among the shards of one group."""
        first = group * self._together
        start = int(ends[first - 1]) if first else 0
        stop = int(ends[min(first + self._together, len(ends)) - 1])
        key = draws.keys(self._seed or 0, "order", torch.tensor(group), epoch).expand(len(positions))
        return start + draws.permuted(torch.from_numpy(positions - start), stop - start, key).numpy()

    def _shard_order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Shards in the order of an epoch, and the windows up to the end of each; two epochs stay in memory."""
        found = self._orders.get(epoch)
        if found is None:
            sizes = np.diff(self._shard_starts)
            keys = draws.keys(self._seed or 0, "shards", torch.arange(len(sizes)), epoch)
            order = np.argsort(keys.numpy(), kind="stable")
            found = order, np.cumsum(sizes[order])
            latest = [*self._orders.items()][-1:]
            self._orders = {**dict(latest), epoch: found}  # replaced and never changed: several threads read it
        return found


def _before(ends: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Windows before the given rows, of which each ends at `ends`."""
    return np.asarray(np.where(rows > 0, ends[rows - 1], 0))
