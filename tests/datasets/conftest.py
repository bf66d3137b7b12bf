"""Fixtures of the room: each shard format in turn, and a finished dataset in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mien.datasets.dataset import Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.parquet import ParquetConfig
from mien.storage.local import LocalStore

Put = Callable[[LocalStore, FormatConfig], Dataset]


@pytest.fixture(params=["parquet", "hdf5"])
def kind(request: pytest.FixtureRequest) -> FormatConfig:
    """Each shard format in turn."""
    formats: dict[str, FormatConfig] = {"parquet": ParquetConfig(), "hdf5": Hdf5Config()}
    return formats[request.param]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty place for a dataset."""
    return LocalStore(tmp_path / "dataset")


@pytest.fixture
def finished(store: LocalStore, kind: FormatConfig, put_finished: Put) -> Dataset:
    """A finished dataset: two shards with three clips, and one failure."""
    return put_finished(store, kind)
