"""A torch Dataset of windows: runs of consecutive frames of one sample."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.datasets.frames import Values, crop_pixels

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset


class Windows(torch.utils.data.Dataset[dict[str, torch.Tensor | str | int]]):
    """Windows of `length` frames, `stride` apart, never across two samples.

    An item holds `clip_id`, `track`, `start` (first frame within the sample) and one tensor per column: crops as uint8
    [length, 3, size, size], others as [length, *shape]. A sample shorter than the window gives none.
    """

    def __init__(self, dataset: "Dataset", length: int, stride: int, columns: Sequence[str]) -> None:
        """Count windows from the index alone; no shard is opened.

        Raises:
            ValueError: Length or stride is below 1.
        """
        if length < 1 or stride < 1:
            raise ValueError(f"length and stride must be at least 1, not {length} and {stride}")
        self._dataset, self._length, self._stride, self._columns = dataset, length, stride, tuple(columns)
        frames = np.asarray(dataset.index_file.column("num_frames").to_numpy())
        counts = np.maximum(0, (frames - length) // stride + 1)
        self._ends = np.cumsum(counts)
        self._cached: tuple[int, dict[str, Values]] = (-1, {})

    def __len__(self) -> int:
        """Number of windows."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, item: int) -> dict[str, torch.Tensor | str | int]:
        """One window."""
        if not 0 <= item < len(self):
            raise IndexError(f"window {item} of {len(self)}")
        number = bisect_right(self._ends, item)
        start = (item - (int(self._ends[number - 1]) if number else 0)) * self._stride
        sample = self._dataset.sample(number)
        window: dict[str, torch.Tensor | str | int] = {"clip_id": sample.clip_id, "track": sample.track, "start": start}
        for name in self._columns:
            values = self._column(number, name)[start : start + self._length]
            window[name] = self._to_tensor(name, values)
        return window

    def _column(self, number: int, name: str) -> Values:
        """A column of the sample read last stays in memory: neighbouring windows share it."""
        if self._cached[0] != number:
            self._cached = (number, {})
        columns = self._cached[1]
        if name not in columns:
            columns[name] = self._dataset.sample(number)[name]
        return columns[name]

    def _to_tensor(self, name: str, values: Values) -> torch.Tensor:
        if name == "crop":
            values = crop_pixels(values, self._dataset.crop_size_px).transpose(0, 3, 1, 2)
        if not isinstance(values, np.ndarray):
            raise ValueError(f"{name}: is not a column of numbers, so it cannot be part of a window")
        return torch.from_numpy(np.ascontiguousarray(values))
