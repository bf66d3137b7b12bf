"""The shard formats, which one reads a file, and which one writes another like it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mien.datasets.hdf5 import Hdf5Config, Hdf5Reader
from mien.datasets.parquet import ParquetConfig, ParquetReader
from mien.datasets.shard import ShardReader
from mien.errors import DatasetError

FormatConfig = Annotated[ParquetConfig | Hdf5Config, Field(discriminator="kind")]
"""To add a format: one file like `parquet.py`, its name here, its reader below, and its test."""

_READERS: dict[str, type[ParquetReader] | type[Hdf5Reader]] = {".parquet": ParquetReader, ".h5": Hdf5Reader}


def open_shard(path: Path) -> ShardReader:
    """The reader of a shard, by the file's ending."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise DatasetError(f"{path}: is no shard; a shard ends in {' or '.join(_READERS)}")
    return reader(path)


def format_like(suffix: str, options: Mapping[str, Any]) -> FormatConfig:
    """The format whose files end so, with the options that a dataset's config gives for it."""
    configs = (ParquetConfig(), Hdf5Config())
    default = next((config for config in configs if config.suffix == suffix), None)
    if default is None:
        raise DatasetError(f"{suffix}: no shard ends so; a shard ends in {' or '.join(_READERS)}")
    return type(default).parse(options, "format") if options.get("kind") == default.kind else default
