"""A file of embeddings that grows part by part, so that an end in between costs little; what made it stands in it.

NAME.parts/000000100.parquet …   rows of some items each, until all are there
NAME.parquet                     all rows
NAME.safetensors                 the same, where asked for

The metadata `mien` of each says its provenance, its items, and those that failed. A finished file can grow, too.
"""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mien import schema
from mien.config import differing_keys
from mien.datasets import tensor_file
from mien.datasets.frames import arrow_type, values_of
from mien.datasets.shard import readable
from mien.errors import RefusedError
from mien.storage.uri import Store

_KEY = tensor_file.ABOUT.encode()


class EmbeddingFile:
    """Rows under construction, in the order in which items come."""

    def __init__(self, store: Store, name: str, provenance: Mapping[str, Any], items_per_part: int = 100) -> None:
        """Take up what is there.

        Args:
            store: Where parts and file lie.
            name: Of the file, without its ending.
            provenance: What the embeddings are made with, plain values.
            items_per_part: Items that an end in between may cost.

        Raises:
            RefusedError: What is there was made with something else.
            DatasetError: A part is damaged.
            StorageError: A part cannot be read.
        """
        self._store, self._name, self._provenance = store, name, json.loads(json.dumps(dict(provenance)))
        self._items_per_part = items_per_part
        whole = [self._read(entry.name) for entry in store.list(f"{name}.parquet") if entry.name == f"{name}.parquet"]
        finished = {item for part in whole for item in _about(part)["items"]}
        parts = [self._read(entry.name) for entry in store.list(f"{name}.parts/")]
        self._parts = [*whole, *(part for part in parts if not {*_about(part)["items"]} <= finished)]
        known = [_about(part) for part in self._parts]
        self.done = {item for about in known for item in about["items"]}
        """Items that need not be computed again, failed ones included."""
        self.failures = [failure for about in known for failure in about["failures"]]
        """Items that gave no row: `item`, `error_type` and `error`."""
        self._filled = {pair for part in self._parts if part.num_rows for pair in _filled(part)}
        self._rows: list[pa.Table] = []
        self._new_items: list[str] = []
        self._new_failures: list[dict[str, str]] = []

    def add(self, item: str, modality: str, values: np.ndarray, names: Sequence[str], labels: Sequence[str]) -> None:
        """Rows [n, d] of an item, n from 0."""
        column = schema.EMBEDDINGS[0]
        kind = arrow_type(column, values.shape[1:])
        flat = pa.array(np.ascontiguousarray(values, column.dtype).reshape(-1))
        embeddings = pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
        texts = [names, labels, [modality] * len(values), [item] * len(values)]
        columns = [embeddings, *(pa.array([*each], pa.string()) for each in texts)]
        self._filled |= {(modality, item)} if len(values) else set()
        self._rows.append(pa.table(columns, schema.names(schema.EMBEDDINGS)))

    def fail(self, item: str, error: Exception) -> None:
        """An item that has no rows, and why."""
        failure = {"item": item, "error_type": type(error).__name__, "error": str(error)}
        self.failures.append(failure)
        self._new_failures.append(failure)

    def end_item(self, item: str) -> None:
        """All of an item is there; a part is written when there are enough of them."""
        self.done.add(item)
        self._new_items.append(item)
        if len(self._new_items) >= self._items_per_part:
            self.flush()

    def items_of(self, modality: str) -> set[str]:
        """Items that have rows of it."""
        return {item for kind, item in self._filled if kind == modality}

    @property
    def num_rows(self) -> int:
        """So far."""
        return sum(part.num_rows for part in [*self._parts, *self._rows])

    def finish(self, safetensors: bool = False) -> str:
        """Write the file and remove its parts; gives its name.

        Args:
            safetensors: Write the same rows as safetensors, too.

        Raises:
            ValueError: There is no row.
            DatasetError: There are more texts than safetensors take.
            StorageError: It cannot be written.
        """
        self.flush()
        parts = [part for part in self._parts if part.num_rows]
        if not parts:
            raise ValueError(f"{self._name}: has no row; a file of embeddings needs one")
        about = {"provenance": self._provenance, "items": sorted(self.done), "failures": self.failures}
        rows = pa.concat_tables(parts)
        if safetensors:
            self._store.replace(f"{self._name}.safetensors", _tensors(rows, about))
        self._store.replace(f"{self._name}.parquet", _bytes(rows, about))
        for entry in list(self._store.list(f"{self._name}.parts/")):
            self._store.delete(entry.name)
        return f"{self._name}.parquet"

    def flush(self) -> None:
        """Write what has come since the last part."""
        if not self._new_items:
            return
        rows = pa.concat_tables(self._rows) if self._rows else pa.table({})
        about = {"provenance": self._provenance, "items": self._new_items, "failures": self._new_failures}
        name = f"{self._name}.parts/{len(self.done):09d}.parquet"  # more with every part
        self._store.replace(name, _bytes(rows, about))
        self._parts.append(rows)
        self._rows, self._new_items, self._new_failures = [], [], []

    def _read(self, name: str) -> pa.Table:
        place = f"{self._store.uri}/{name}"
        with readable(place, "is damaged, or of somebody else"):
            part = pq.read_table(self._store.fetch(name))
            found = _about(part)["provenance"]
        if keys := differing_keys(found, self._provenance):
            raise RefusedError(
                f"{place}: was made with other values of {', '.join(keys)}; remove it, or give another name or output"
            )
        return part


def provenance(store: Store, name: str) -> dict[str, Any]:
    """What a file says of itself: provenance, `num_items` and `failures`; empty for a file of somebody else.

    Raises:
        DatasetError: It is damaged.
        StorageError: It cannot be read.
    """
    place = f"{store.uri}/{name}"
    with readable(place, "is damaged"):
        if name.endswith(".safetensors"):
            found = tensor_file.about(store.fetch(name), place)
        else:
            metadata = pq.read_schema(store.fetch(name)).metadata or {}
            found = json.loads(metadata[_KEY]) if _KEY in metadata else None
        if found is None:
            return {}
        return {**found["provenance"], "num_items": len(found["items"]), "failures": found["failures"]}


def _filled(part: pa.Table) -> set[tuple[str, str]]:
    return {*zip(part["modality"].to_pylist(), part["item"].to_pylist(), strict=True)}


def _about(part: pa.Table) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(part.schema.metadata[_KEY])
    return found


def _bytes(table: pa.Table, about: Mapping[str, Any]) -> bytes:
    sink = io.BytesIO()
    metadata = {**(table.schema.metadata or {}), _KEY: json.dumps(about).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue()


def _tensors(table: pa.Table, about: Mapping[str, Any]) -> bytes:
    embeddings, *others = schema.names(schema.EMBEDDINGS)
    arrays = {embeddings: np.asarray(values_of(table, embeddings))}
    return tensor_file.content(arrays, {name: table[name].to_pylist() for name in others}, about)
