"""Clip ids by the million: fixed-width arrays of 32 bytes per clip, in place of Python's sets of strings."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from mien.schema import CLIP_ID_CHARS

ID = np.dtype(f"S{CLIP_ID_CHARS}")
NOWHERE = -1
"""The place of an id that is not there."""


def from_texts(texts: Sequence[str]) -> np.ndarray:
    """Ids of plain rows."""
    return np.array([text.encode() for text in texts], ID)


def from_column(column: pa.ChunkedArray) -> np.ndarray:
    """Ids of an Arrow column, in its order."""
    return gathered(from_texts(chunk.to_pylist()) for chunk in column.chunks)


def gathered(parts: Iterable[np.ndarray]) -> np.ndarray:
    """All ids in one array, without holding them twice."""
    buffer = bytearray()
    for part in parts:
        buffer += part.tobytes()
    return np.frombuffer(buffer, ID)


def distinct(ids: np.ndarray) -> np.ndarray:
    """Each id once, sorted; the array that is given is sorted too."""
    ids.sort()
    is_new = np.append(True, ids[1:] != ids[:-1])[: len(ids)]
    return ids if is_new.all() else ids[is_new]


def are_among(some: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which of some ids are among sorted ones: bool [len(some)]."""
    if not len(ids):
        return np.zeros(len(some), bool)
    at = np.searchsorted(ids, some).clip(max=len(ids) - 1)
    return np.asarray(ids[at] == some)


class Lookup:
    """Finds ids in an array of any order; 8 bytes per id beside the array."""

    def __init__(self, ids: np.ndarray) -> None:
        """Sort once; the array stays as it is."""
        self.ids = ids
        self._by_id = np.argsort(ids, kind="stable")

    def __len__(self) -> int:
        """Number of ids, repeated ones counted each time."""
        return len(self.ids)

    def first(self, some: np.ndarray) -> np.ndarray:
        """Place of the first occurrence of each of some ids: int64 [len(some)], NOWHERE where there is none."""
        if not len(self.ids):
            return np.full(len(some), NOWHERE)
        at = np.searchsorted(self.ids, some, sorter=self._by_id).clip(max=len(self.ids) - 1)
        places = self._by_id[at]
        return np.where(self.ids[places] == some, places, NOWHERE)

    def all(self, clip_id: str) -> list[int]:
        """Every place of one id, ascending."""
        key = np.bytes_(clip_id.encode())
        start, stop = (np.searchsorted(self.ids, key, side, sorter=self._by_id) for side in ("left", "right"))
        return [int(place) for place in self._by_id[start:stop]]
