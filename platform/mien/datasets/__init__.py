"""Datasets on disk: shards in HDF5 or Parquet, their index, card and previews, and how they are read."""

from mien.datasets.dataset import Dataset, Sample, open_dataset

open = open_dataset  # noqa: A001  `mien.datasets.open(path)` reads as what it does

__all__ = ["Dataset", "Sample", "open", "open_dataset"]
