"""Parquet as the Hugging Face hub and `datasets` read it: a row per frame, the crop as an Image feature.

The file carries the features in its schema metadata under `huggingface`
(https://huggingface.co/docs/datasets/about_dataset_features); an Image is a struct of `bytes` and `path`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from mien import schema
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.export.kind import ExportConfig, Outbox, Part, Total, samples
from mien.datasets.export.pictures import files
from mien.datasets.export.readme import readme
from mien.datasets.export.record import CARD

_ROW_GROUP_ROWS = 256
_FRAMES = ("pts", "time_s", "face", "num_faces", "score", "box", "crop_box", "padded")
_ARRAYS = ("landmarks", "blendshapes", "head_pose", "feature")
_OF_SAMPLE = {"clip_id": "string", "track": "int16", "source_uri": "string", "subject": "string"}
_TOLD = ("keyword", "text", "labels")
"""Columns of the index that earlier datasets lack; labels are JSON."""
_DTYPES = {column.name: column.dtype for column in schema.FRAMES}


class HfConfig(ExportConfig):
    """Parquet with an Image feature, for `datasets.load_dataset` and the viewer of the hub."""

    kind: Literal["hf"] = "hf"

    shard_mb: float = Field(500.0, gt=0, le=5_000)
    """Size of a Parquet file, about: it is closed after the sample that passes it."""

    def check(self, dataset: Dataset) -> None:
        """Every dataset will do."""

    def write(self, dataset: Dataset, part: Part, outbox: Outbox) -> dict[str, Any]:
        """One Parquet file, or more where one would be too large."""
        features: dict[str, Any] = {}
        with _Files(outbox, part.number, int(self.shard_mb * 1e6)) as into:
            for sample in samples(dataset, part):
                table, features = _table(sample)
                into.add(table, features)
        return {"features": features}

    def finish(self, dataset: Dataset, total: Total, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """The dataset card."""
        features = next(iter(parts))["features"]
        header = {
            "dataset_info": {"features": [_in_card(name, feature) for name, feature in features.items()]},
            "task_categories": ["image-classification", "video-classification"],
            "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*.parquet"}]}],
        }
        what = (
            "One row per frame in `data/`; `image` is the face crop as it is stored, null where the frame has no face "
            "(`face` is 0). Landmarks are px of the crop, boxes px of the source frame, times s of the source; NaN "
            "where nothing was found."
        )
        yield CARD, readme(dataset, total, what, header)

    def owns(self, name: str) -> bool:
        """Files below data/."""
        return re.fullmatch(r"data/train-\d+-\d+\.parquet", name) is not None


def _table(sample: Sample) -> tuple[pa.Table, dict[str, Any]]:
    """Rows of one sample, and their features."""
    length = len(sample)
    pictures = [{"bytes": data, "path": None} if data else None for data in files(sample)]
    columns = {"image": pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    told = {name: "string" for name in _TOLD if name in sample.row}
    for name, dtype in (_OF_SAMPLE | told).items():
        columns[name] = pa.array([sample.row[name]] * length, dtype)
        features[name] = _value(dtype)
    columns["frame"], features["frame"] = pa.array(np.arange(length)), _value("int64")
    for name in (*_FRAMES, *(name for name in _ARRAYS if name in sample.columns)):
        columns[name], features[name] = _column(np.asarray(sample[name]), _DTYPES[name])
    return pa.table(columns), features


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _column(values: np.ndarray, dtype: str) -> tuple[pa.Array, dict[str, Any]]:
    """Rows of any shape as nested lists, and the feature that says so."""
    shape, array = values.shape[1:], nested(values)
    if not shape:
        return array, _value(dtype)
    if len(shape) == 1:
        return array, {"feature": _value(dtype), "length": shape[0], "_type": "Sequence"}
    return array, {"shape": list(shape), "dtype": dtype, "_type": f"Array{len(shape)}D"}


def nested(values: np.ndarray) -> pa.Array:
    """Rows of any shape as Arrow: a list of fixed size for one dimension, lists in lists for more."""
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(array, values.shape[1])
    for size in reversed(values.shape[1:]):
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, size, dtype=np.int32), array)
    return array


def _in_card(name: str, feature: Mapping[str, Any]) -> dict[str, Any]:
    """A feature as the header of a dataset card spells it."""
    kind = feature["_type"]
    if kind == "Image":
        return {"name": name, "dtype": "image"}
    if kind == "Value":
        return {"name": name, "dtype": feature["dtype"]}
    if kind == "Sequence":
        return {"name": name, "sequence": feature["feature"]["dtype"], "length": feature["length"]}
    array = {"shape": feature["shape"], "dtype": feature["dtype"]}
    return {"name": name, "dtype": {f"array{len(feature['shape'])}_d": array}}


class _Files:
    """The Parquet files of one part."""

    def __init__(self, outbox: Outbox, part: int, max_bytes: int) -> None:
        self._outbox, self._part, self._max_bytes = outbox, part, max_bytes
        self._open = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._path = Path()
        self._number = 0

    def add(self, table: pa.Table, features: Mapping[str, Any]) -> None:
        """Append one sample."""
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
        writer = self._writer or self._begin(table.schema)
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        if self._path.stat().st_size >= self._max_bytes:
            self._open.close()
            self._writer, self._number = None, self._number + 1

    def _begin(self, arrow_schema: pa.Schema) -> pq.ParquetWriter:
        name = f"data/train-{self._part:05d}-{self._number:03d}.parquet"
        self._path = self._open.enter_context(self._outbox.file(name))
        self._writer = self._open.enter_context(pq.ParquetWriter(self._path, arrow_schema, compression="zstd"))
        return self._writer

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *error: Any) -> None:
        """Close the last file; after an error nothing of it is put."""
        self._open.__exit__(*error)
        self._open = ExitStack()
