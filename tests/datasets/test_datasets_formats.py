from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mien.datasets.formats import FormatConfig, open_shard
from mien.errors import DatasetError


@pytest.mark.parametrize("name", ["parquet", "hdf5"])
def test_kind_selects_the_format(name: str) -> None:
    assert TypeAdapter(FormatConfig).validate_python({"kind": name}).kind == name


def test_an_unknown_ending_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x\.npz: is no shard"):
        open_shard(tmp_path / "x.npz")
