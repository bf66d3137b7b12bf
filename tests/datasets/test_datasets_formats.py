from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mien.datasets.formats import FormatConfig, format_like, open_shard
from mien.datasets.parquet import ParquetConfig
from mien.errors import DatasetError


@pytest.mark.parametrize("name", ["parquet", "hdf5"])
def test_kind_selects_the_format(name: str) -> None:
    assert TypeAdapter(FormatConfig).validate_python({"kind": name}).kind == name


def test_an_unknown_ending_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"x\.npz: is no shard"):
        open_shard(tmp_path / "x.npz")


@pytest.mark.parametrize(("suffix", "other"), [(".parquet", "hdf5"), (".h5", "parquet")])
def test_a_shard_is_written_again_in_its_own_format(suffix: str, other: str) -> None:
    default = format_like(suffix, {})
    assert default.suffix == suffix
    assert format_like(suffix, {"kind": other}) == default
    with pytest.raises(DatasetError, match="no shard ends so"):
        format_like(".npz", {})


def test_a_shard_is_written_again_with_the_options_of_its_config() -> None:
    config = ParquetConfig(compression_level=7)
    assert format_like(".parquet", config.dump()) == config
