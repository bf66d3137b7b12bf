"""Which window of which sample stands at which place of the endless stream that training reads.

A pure function of (seed, place): neither workers nor crashes change it, and there is no position to save but the step.
Shards are shuffled, and windows within a few shards at a time, so that a worker needs those few at hand and no others.
"""

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
        epoch, position = divmod(place, len(self))
        number = position if self._seed is None else self._shuffled(epoch, position)
        row = int(np.searchsorted(self._ends, number, side="right"))
        slot = number - (int(self._ends[row - 1]) if row else 0)
        sample = int(self._samples[row])
        return self._window(place, sample, slot)

    def _window(self, place: int, sample: int, slot: int) -> Window:
        """Windows of a sample lie side by side; what is left over of it is where they may be moved to."""
        frames = int(self._frames[sample])
        slack = max(0, frames - max(1, frames // self._length) * self._length)
        moved = 0
        if slack and self._seed is not None:
            moved = int(draws.integers(draws.keys(self._seed, "window", torch.tensor(place)), slack + 1))
        return Window(place, sample, slot * self._length + moved, min(frames, self._length))

    def _shuffled(self, epoch: int, position: int) -> int:
        """Number of a window: that of its shard in the order of the index, and its place within."""
        order, ends = self._shard_order(epoch)
        group = int(np.searchsorted(ends[self._together - 1 :: self._together], position, side="right"))
        first = group * self._together
        start = int(ends[first - 1]) if first else 0
        stop = int(ends[min(first + self._together, len(order)) - 1])
        key = draws.keys(self._seed or 0, "order", torch.tensor(group), epoch)
        place = start + int(draws.permuted(torch.tensor(position - start), stop - start, key))
        turn = int(np.searchsorted(ends, place, side="right"))
        return int(self._shard_starts[order[turn]]) + place - (int(ends[turn - 1]) if turn else 0)

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
