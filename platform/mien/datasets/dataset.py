"""A finished dataset: clips by id, slices by time, iteration; the same for HDF5 and Parquet."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mien import schema
from mien.clips.clip import from_labels
from mien.config import parse_yaml
from mien.datasets import ids, index, staging
from mien.datasets.formats import open_shard
from mien.datasets.frames import Values, checksum, crop_pixels
from mien.datasets.index import Tables
from mien.datasets.shard import ShardReader
from mien.datasets.tables import TableFile
from mien.errors import ConfigError, DatasetError, NoSpace, StorageError
from mien.storage.commit import COMPLETE as COMPLETE
from mien.storage.uri import Store, open_store

if TYPE_CHECKING:
    from mien.video.audio import AudioClip

CONFIG = "config.yaml"
"""The resolved config, itself valid input of `mien serialize`."""

_MAX_OPEN_SHARDS = 16


def open_dataset(place: str | Path, *, allow_unfinished: bool = False, check: bool = True) -> "Dataset":
    """Open a dataset that `mien serialize` made.

    Args:
        place: Its folder.
        allow_unfinished: Read what is committed so far, instead of refusing.
        check: Compare what is read with its SHA-256.

    Raises:
        DatasetError: It is not a dataset, or it is unfinished and `allow_unfinished` is not set.
    """
    return Dataset(open_store(str(place)), allow_unfinished=allow_unfinished, check=check)


class Sample:
    """One face track of one clip; columns are read when asked for."""

    def __init__(self, dataset: "Dataset", row: dict[str, Any]) -> None:
        """Take one row of the index."""
        self._dataset = dataset
        self.row = row
        """Everything the index knows, by the names of `mien.schema.INDEX`."""

    @property
    def clip_id(self) -> str:
        """Id of the clip."""
        return str(self.row["clip_id"])

    @property
    def track(self) -> int:
        """Face track within the clip."""
        return int(self.row["track"])

    @property
    def labels(self) -> dict[str, Any]:
        """What annotations and lists say of the clip and who is in it: age, gender, skin_type, …; empty for nothing."""
        return from_labels(self.row.get("labels"))

    @property
    def matches(self) -> list[tuple[str, float]]:
        """Keyword and time in the source, s, of every match that the clip stands for; empty for other clips."""
        return [(keyword, time_s) for keyword, time_s in json.loads(self.row.get("matches") or "[]")]

    def __len__(self) -> int:
        """Number of frames."""
        return int(self.row["num_frames"])

    @property
    def columns(self) -> list[str]:
        """Columns that can be read."""
        return self._dataset.shard(self.row["file"]).columns

    def __getitem__(self, column: str) -> Values:
        """All values of a column: an array [num_frames, *shape], or byte strings.

        Raises:
            KeyError: There is no such column.
            DatasetError: The shard cannot be read, or its values do not have the recorded SHA-256.
        """
        values = self.read_unchecked(column)
        self._check(column, values)
        return values

    def read_unchecked(self, column: str) -> Values:
        """All values of a column as they are in the shard, for a caller that compares them itself."""
        shard = self._dataset.shard(self.row["file"])
        if column not in shard.columns:
            raise KeyError(f"{column}: the columns are {', '.join(shard.columns)}")
        return shard.read(column, self.row["row_start"], self.row["row_stop"])

    def _check(self, column: str, values: Values) -> None:
        if self._dataset.check and checksum(values) != index.checksums_of(self.row)[column]:
            raise DatasetError(
                f"{self._dataset.uri}/{self.row['file']}: column {column} of clip {self.clip_id} is damaged "
                "(SHA-256 differs); restore the file, or remove its commit record and run serialize again"
            )

    def crops(self, rows: Sequence[int] | None = None) -> np.ndarray:
        """Face crops as RGB uint8 [num_frames, size, size, 3], or those of some rows; black where there is none."""
        return crop_pixels(self["crop"], self._dataset.crop_size_px, rows)

    def audio(self, start_s: float = -math.inf, stop_s: float = math.inf) -> "AudioClip":
        """Sound of the frames with start_s <= time < stop_s: float32 [channels, n] in -1..1, its rate and start.

        Sample 0 is at the time of the first of these frames. Where the video has no sound there are no channels.

        Raises:
            KeyError: The dataset was made without sound.
            DatasetError: It cannot be read, or does not have the recorded SHA-256.
        """
        from mien.datasets.sound import sound_of

        return sound_of(self, self._dataset.store, start_s, stop_s)

    def slice(self, start_s: float, stop_s: float, columns: Sequence[str] | None = None) -> dict[str, Values]:
        """Columns of the frames with start_s <= time < stop_s, seconds on the source's time line."""
        time_s = np.asarray(self["time_s"])
        begin, end = np.searchsorted(time_s, [start_s, stop_s])
        return {name: self[name][begin:end] for name in columns or self.columns}


class Dataset:
    """Index, failures and shards below one place. Shards are opened when needed, and a few stay open."""

    def __init__(
        self, store: Store, *, allow_unfinished: bool = False, check: bool = True, tables: Tables | None = None
    ) -> None:
        """See `open_dataset`; the tables may be given while they are not yet at their place."""
        self._store = store
        self.check = check
        self._open = dict[str, ShardReader]()
        opened = partial(_open_tables, store, allow_unfinished) if tables is None else lambda _: tables
        record, self._tables = staging.read_together(partial(read_record, store), opened)
        self.record = record
        """The completion record, empty while the dataset is unfinished."""

    @property
    def uri(self) -> str:
        """Canonical place."""
        return self._store.uri

    @property
    def store(self) -> Store:
        """Where its files are."""
        return self._store

    @property
    def index_file(self) -> TableFile:
        """The index on disk, for what is true of many samples: a million of them do not fit into memory at ease."""
        return self._tables.index_file

    @property
    def failure_file(self) -> TableFile:
        """The failures on disk."""
        return self._tables.failure_file

    @cached_property
    def index(self) -> pa.Table:
        """One row per sample, all in memory: `mien.schema.INDEX`."""
        return self.index_file.table()

    @cached_property
    def failures(self) -> pa.Table:
        """One row per clip that could not be made, all in memory: `mien.schema.FAILURES`."""
        return self.failure_file.table()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config of the run that made it; plain values, whatever its YAML asks for."""
        try:
            return parse_yaml(self._store.read(CONFIG), f"{self.uri}/{CONFIG}")
        except ConfigError as error:
            raise DatasetError(str(error)) from None

    @property
    def crop_size_px(self) -> int:
        """Side of the crops."""
        return int(self.config["crop"]["size_px"])

    @cached_property
    def clip_ids(self) -> list[str]:
        """Ids of the clips, in the order of the index, each once."""
        return list(dict.fromkeys(self.index_file.column("clip_id").to_pylist()))

    @cached_property
    def num_clips(self) -> int:
        """Number of clips; each has one sample or more."""
        return len(ids.distinct(ids.from_column(self.index_file.column("clip_id"))))

    @cached_property
    def _lookup(self) -> ids.Lookup:
        return ids.Lookup(ids.from_column(self.index_file.column("clip_id")))

    def __len__(self) -> int:
        """Number of samples."""
        return self.index_file.num_rows

    def __iter__(self) -> Iterator[Sample]:
        """Every sample, in the order of the index."""
        return (self.sample(number) for number in range(len(self)))

    def sample(self, number: int) -> Sample:
        """The sample of one row of the index."""
        return Sample(self, self.index_file.row(number))

    def clip(self, clip_id: str) -> list[Sample]:
        """The samples of a clip, one per face track.

        Raises:
            KeyError: The clip is not in the index.
        """
        rows = self._lookup.all(clip_id)
        if not rows:
            raise KeyError(f"{clip_id}: no such clip in {self.uri}")
        return [self.sample(row) for row in rows]

    def __getitem__(self, clip_id: str) -> Sample:
        """The first sample of a clip."""
        return self.clip(clip_id)[0]

    def shard(self, name: str) -> ShardReader:
        """The open reader of one shard."""
        if name not in self._open:
            while len(self._open) >= _MAX_OPEN_SHARDS:
                self._open.pop(next(iter(self._open))).__exit__(None, None, None)
            try:
                self._open[name] = open_shard(self._fetched(name))
            except NoSpace:
                raise  # says nothing of the shard
            except StorageError as error:
                raise DatasetError(
                    f"{self.uri}: the shard {name} that its index names is missing: {error}; if the dataset was "
                    "published again since it was opened, open it again"
                ) from None
        return self._open[name]

    def _fetched(self, name: str) -> Path:
        """A local path of one shard; where the disk has no room for another, those that are open are given up."""
        try:
            return self._store.fetch(name)
        except NoSpace:
            if not self._open:
                raise
        self.close()
        return self._store.fetch(name)

    def close(self) -> None:
        """Close every open shard."""
        while self._open:
            self._open.popitem()[1].__exit__(None, None, None)

    def windows(self, length: int, stride: int = 1, columns: Sequence[str] = ("crop",)) -> Any:
        """A torch Dataset of windows of consecutive frames; see `mien.datasets.windows.Windows`."""
        from mien.datasets.windows import Windows

        return Windows(self, length, stride, columns)

    def __getstate__(self) -> dict[str, Any]:
        """Open files, and what was read from them, stay behind when a DataLoader sends the dataset to its workers."""
        kept = ("_store", "check", "record")
        return {"_open": {}} | {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the tables again."""
        self.__dict__.update(state)
        self._tables = _open_tables(self._store, True, self.record)


def _open_tables(store: Store, allow_unfinished: bool, record: Mapping[str, Any]) -> Tables:
    if record:
        return index.open_tables(store, record)
    if not allow_unfinished:
        raise DatasetError(
            f"{store.uri}: is unfinished: it has no {COMPLETE}; run the same serialize command again to resume, "
            "or open it with allow_unfinished=True"
        )
    return index.unfinished_tables(store)


def read_record(store: Store) -> dict[str, Any]:
    """The completion record; empty for an unfinished dataset.

    Raises:
        DatasetError: It is damaged or of another schema, or there is no dataset.
    """
    names = {entry.name for entry in store.list(COMPLETE)}
    if COMPLETE in names:
        try:
            record = dict(json.loads(store.read(COMPLETE)))
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{store.uri}/{COMPLETE}: is damaged: {error}") from None
        if record.get("schema_version") != schema.VERSION:
            raise DatasetError(
                f"{store.uri}: has schema version {record.get('schema_version')}, this mien reads {schema.VERSION}"
            )
        return record
    if not index.plan_files(store):
        raise DatasetError(f"{store.uri}: is not a dataset of mien: it has neither {COMPLETE} nor {index.PLAN_FOLDER}")
    return {}
