"""Fixtures of the room: a dataset in each format, with raw crops and with JPEGs, and an export of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export_datasets import make_coloured
from mien.datasets.dataset import Dataset
from mien.datasets.export import record
from mien.datasets.export.kind import Outbox
from mien.datasets.export.kinds import read_kind
from mien.datasets.export.parts import Parts
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.parquet import ParquetConfig
from mien.storage.local import LocalStore

Export = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.fixture(params=["parquet, jpeg", "hdf5, raw"])
def coloured(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    """Three samples of flat colours; one row of each has no face."""
    is_raw = request.param.endswith("raw")
    return make_coloured(LocalStore(tmp_path / "dataset"), Hdf5Config() if is_raw else ParquetConfig(), raw=is_raw)


@pytest.fixture
def one(tmp_path: Path) -> Dataset:
    """The same in one format."""
    return make_coloured(LocalStore(tmp_path / "dataset"))


@pytest.fixture
def export_to(tmp_path: Path) -> Export:
    """Export a dataset, part by part in this process; its folder and record."""

    def run(dataset: Dataset, kind: str, *options: str) -> tuple[Path, dict[str, Any]]:
        store, config = LocalStore(tmp_path / f"{kind}-export"), read_kind(kind, options)
        config.check(dataset)
        assert not record.claim(store, dataset, config)
        parts = Parts(dataset, config)
        for part in parts:
            with Outbox(store) as outbox:
                facts = config.write(dataset, part, outbox)
                record.put_part(store, part.number, {"files": outbox.files, "facts": facts})
        return store.root, record.finish(store, dataset, config, parts.total)

    return run
