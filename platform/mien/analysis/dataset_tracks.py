"""Which face tracks of a dataset are read: some of many, so that a large one in a bucket is not fetched whole."""

import numpy as np
from pydantic import Field

from mien.analysis.feature_sheets import spread
from mien.config import Config
from mien.datasets.dataset import Dataset


class TracksConfig(Config):
    """How many are read."""

    max_samples: int = Field(500, ge=1)
    """Face tracks; of more, as many are taken, evenly spread."""
    max_shards: int = Field(16, ge=1)
    """Shards that they lie in, evenly spread: each is fetched whole, 64 to 256 MB."""

    def choose(self, dataset: Dataset) -> list[int]:
        """Rows of the index, rising."""
        if not len(dataset):
            return []
        names = np.array(dataset.index_file.column("file").to_pylist(), dtype=object)
        shards, first, number = np.unique(names, return_index=True, return_inverse=True)
        taken = spread(first.argsort().tolist(), self.max_shards)
        rows = np.flatnonzero(np.isin(number, taken)) if len(taken) < len(shards) else np.arange(len(dataset))
        return spread(rows.tolist(), self.max_samples)
