"""Mean, deviation and range of columns that do not fit into memory: of each part, then of all parts together."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


class Statistics:
    """Of the rows of one array, element by element; rows that are not finite do not count.

    Parts are put together by the parallel form of the variance (Chan, Golub and LeVeque 1983, eq. 2.1).
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Nothing is counted yet."""
        self.count = 0
        self.mean, self._squares = np.zeros(shape), np.zeros(shape)
        self.min, self.max = np.full(shape, np.inf), np.full(shape, -np.inf)

    def add(self, rows: np.ndarray) -> None:
        """Count rows [N, *shape]; a row of which anything is not finite is passed over."""
        rows = np.asarray(rows, np.float64)
        rows = rows[np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))]
        if len(rows):
            mean = rows.mean(axis=0)
            self._merge(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))
            self.min, self.max = np.minimum(self.min, rows.min(axis=0)), np.maximum(self.max, rows.max(axis=0))

    def _merge(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        total, delta = self.count + count, mean - self.mean
        self.mean = self.mean + delta * count / total
        self._squares = self._squares + squares + delta**2 * self.count * count / total
        self.count = total

    def to_json(self) -> dict[str, Any]:
        """Plain values; empty where nothing was counted."""
        if not self.count:
            return {}
        values = {"min": self.min, "max": self.max, "mean": self.mean, "std": np.sqrt(self._squares / self.count)}
        return {**{name: value.tolist() for name, value in values.items()}, "count": [self.count]}

    def add_json(self, values: Mapping[str, Any]) -> None:
        """Count what `to_json` of another part gave."""
        if not values:
            return
        count = int(values["count"][0])
        self._merge(count, np.array(values["mean"]), np.array(values["std"]) ** 2 * count)
        self.min, self.max = np.minimum(self.min, values["min"]), np.maximum(self.max, values["max"])


def together(parts: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Statistics of all parts, by name; a name under which nothing was counted is left out."""
    found = dict[str, Statistics]()
    for part in parts:
        for name, values in part.items():
            if values:
                found.setdefault(name, Statistics(np.shape(values["mean"]))).add_json(values)
    return {name: statistics.to_json() for name, statistics in found.items()}
