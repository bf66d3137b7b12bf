"""Which samples are exported, and how they are divided: by whole samples, the same each time."""

import difflib
from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from mien.datasets.dataset import Dataset
from mien.datasets.export.kind import Kind, Part, Total
from mien.errors import ConfigError, DatasetError


class Parts:
    """The parts of an export; 16 bytes of memory per sample."""

    def __init__(self, dataset: Dataset, kind: Kind) -> None:
        """Choose the samples and divide them.

        Raises:
            ConfigError: Nobody has the subject.
            DatasetError: The dataset holds no sample.
        """
        self._rows = chosen(dataset, kind.subject)
        counts = np.asarray(dataset.index_file.column("num_frames").to_numpy(), np.int64)[self._rows]
        self._begins = np.concatenate([[0], np.cumsum(counts)])
        self._bounds = _bounds(counts, kind.frames_per_part)

    @property
    def total(self) -> Total:
        """What they hold together."""
        return Total(len(self._rows), int(self._begins[-1]), len(self._bounds) - 1)

    def __iter__(self) -> Iterator[Part]:
        """Each part, in the order of the index."""
        for number in range(len(self._bounds) - 1):
            start, stop = self._bounds[number], self._bounds[number + 1]
            yield Part(number, tuple(map(int, self._rows[start:stop])), start, int(self._begins[start]))


def _bounds(counts: np.ndarray, at_most: int) -> list[int]:
    """Where parts begin, and the end: as many samples as fit, and at least one."""
    bounds, held = [0], 0
    for number, count in enumerate(counts.tolist()):
        if number > bounds[-1] and held + count > at_most:
            bounds.append(number)
            held = 0
        held += count
    return [*bounds, len(counts)]


def chosen(dataset: Dataset, subject: str) -> np.ndarray:
    """Rows of the index that are exported: int64 [num_samples].

    Raises:
        ConfigError: Nobody has the subject.
        DatasetError: The dataset holds no sample.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.uri}: holds no sample, so there is nothing to export; see its failures.parquet")
    if not subject:
        return np.arange(len(dataset))
    column = dataset.index_file.column("subject")
    rows = np.flatnonzero(pc.fill_null(pc.equal(column, subject), False).to_numpy())
    if not len(rows):
        known = sorted(name for name in pc.unique(column).to_pylist() if name)
        near = difflib.get_close_matches(subject, known, n=3)
        hint = f"; close to it: {', '.join(near)}" if near else ""
        raise ConfigError(f"{dataset.uri}: no sample has the subject {subject!r}{hint}; see `mien inspect`")
    return rows
