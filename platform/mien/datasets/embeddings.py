"""Embeddings from a file of NumPy, Parquet or safetensors, here or in a bucket: in memory, checked and divided."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from mien.config import Config
from mien.datasets.array_file import CONVERT, PICKLES, read_arrays
from mien.datasets.split import TRAIN, by_group, require_both
from mien.errors import ConfigError, DatasetError
from mien.log import printable

Labels = Literal["required", "optional", "ignored"]
"""Whether a file must have a column of labels, may have one, or is not asked."""

_SHORTEST = 1e-12
"""Torch makes no unit vector of a shorter one."""
_SUFFIXES = (".npz", ".parquet", ".safetensors", *PICKLES)


class EmbeddingSplitConfig(Config):
    """How embeddings are divided. It follows from names or labels alone, so that every machine divides them alike."""

    by: Literal["name", "label"] = "name"
    """`name`: some rows. `label`: all rows of some labels, so that none is on both sides."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the names or labels, at least one."""
    seed: int = 0
    """Which of them."""


class ColumnsConfig(Config):
    """What is read of a file; a column is an array of an `.npz`."""

    column: str = "embeddings"
    """Column of the embeddings: [n, d], or lists of one length."""
    names_column: str = "names"
    """Column of what rows are called; their numbers where there is none."""
    labels_column: str = "labels"
    """Column by which `split.by=label` divides."""
    groups_column: str | None = None
    """Column of what rows have in common, such as their image: rows of one group are not independent."""
    modality_column: str | None = None
    """Column of the modality, where a file holds several."""
    keep: str | None = None
    """The modality that is kept."""

    @model_validator(mode="after")
    def _names_both(self) -> Self:
        if (self.modality_column is None) != (self.keep is None):
            raise ValueError("modality_column and keep go together: give both or none")
        return self


class EmbeddingsConfig(ColumnsConfig):
    """What is read of a file, and how it is divided."""

    split: EmbeddingSplitConfig = EmbeddingSplitConfig()
    """Which of them are held out."""


class EmbeddingRows(NamedTuple):
    """What a file says of each embedding."""

    values: np.ndarray
    """float32 [n, d], each finite and with a direction."""
    names: list[str]
    """What rows are called."""
    labels: list[str] | None
    """Column `labels_column`; None where the file has none."""
    groups: list[str] | None
    """Column `groups_column`; None where none is asked for."""


class Embeddings:
    """Embeddings by their numbers, in the order of the file."""

    def __init__(self, values: np.ndarray, names: Sequence[str], parts: np.ndarray) -> None:
        """All in memory.

        Args:
            values: float32 [n, d], each finite and with a direction.
            names: What messages call them.
            parts: TRAIN or HELD_OUT of each, uint8 [n].
        """
        self.values, self.parts, self._names = values, parts, names
        self.shards = np.zeros(len(values), np.int64)
        """One piece: all are at hand."""

    def __len__(self) -> int:
        """On both sides."""
        return len(self.values)

    def read(self, number: int) -> tuple[np.ndarray, bool]:
        """An embedding float32 [d]; each counts."""
        return self.values[number], True

    def name(self, number: int) -> str:
        """As the file says."""
        return self._names[number]

    def mean(self) -> np.ndarray:
        """Of the unit vectors of the training side: float32 [d]."""
        chosen = self.values[self.parts == TRAIN].astype(np.float64)
        return np.asarray((chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).mean(0), np.float32)


def open_embeddings(place: str, config: EmbeddingsConfig, embed_dim: int | None = None) -> Embeddings:
    """Read, check and divide the embeddings of a file.

    Args:
        place: An `.npz`, `.parquet` or `.safetensors`, local or gs://.
        config: What to read of it.
        embed_dim: Width that they must have, if that is known.

    Raises:
        ConfigError: The file is of another kind, lacks a column or modality, has another width, or a side is empty.
        DatasetError: It is damaged, or an embedding is not finite, is zero or has another length than others.
        StorageError: It cannot be read.
    """
    rows = read_rows(place, config, "required" if config.split.by == "label" else "ignored")
    if embed_dim is not None and rows.values.shape[1] != embed_dim:
        found = rows.values.shape[1]
        raise ConfigError(
            f"{place}: embeddings have {found} dimensions, not {embed_dim} as objective.network.embed_dim says; "
            f"set it to {found}, or give embeddings of the same extractor"
        )
    groups = rows.names if rows.labels is None else rows.labels
    return Embeddings(rows.values, rows.names, _parts(groups, config.split))


def read_rows(place: str, config: ColumnsConfig, labels: Labels = "optional") -> EmbeddingRows:
    """Read and check the embeddings of a file, with their names and labels.

    Raises:
        ConfigError: The file is of another kind, or lacks a column or modality.
        DatasetError: It is damaged, or an embedding is not finite, is zero or has another length than others.
        StorageError: It cannot be read.
    """
    columns = _columns(place, config, labels)
    values = _checked(np.asarray(columns[config.column]), place)
    texts = {name: _texts(column, name, place) for name, column in columns.items() if name != config.column}
    if wrong := next((name for name, column in texts.items() if len(column) != len(values)), None):
        raise DatasetError(f"{place}: {wrong} has {len(texts[wrong])} rows, not {len(values)} as the embeddings have")
    kept = _kept(texts, len(values), config, place)
    names = texts.get(config.names_column) or numbered(len(values))
    own = texts.get(config.labels_column) if labels != "ignored" else None
    groups = texts.get(config.groups_column) if config.groups_column is not None else None

    def of_kept(column: list[str]) -> list[str]:
        return [column[number] for number in kept]

    return EmbeddingRows(
        values[kept], of_kept(names), *(None if column is None else of_kept(column) for column in (own, groups))
    )


def numbered(num: int) -> list[str]:
    """What rows without names are called."""
    return [f"row {number}" for number in range(num)]


def _kept(texts: Mapping[str, list[str]], num: int, config: ColumnsConfig, place: str) -> np.ndarray:
    """Rows of the modality that is asked for."""
    if config.modality_column is None:
        return np.arange(num)
    modality = texts[config.modality_column]
    kept = np.array([row for row, found in enumerate(modality) if found == config.keep], np.int64)
    if not len(kept):
        known = ", ".join(sorted({*modality})[:5])
        raise ConfigError(f"{place}: no row has {config.modality_column}={config.keep}; it has {known}")
    return kept


def _parts(groups: Sequence[str], split: EmbeddingSplitConfig) -> np.ndarray:
    parts = by_group(groups, split.held_out, split.seed)
    rule = f"data.split.by={split.by}, data.split.held_out={split.held_out:g}"
    require_both(parts, rule, f"there must be two {split.by}s at least; give more embeddings, or split by another rule")
    return parts


def _checked(values: np.ndarray, place: str) -> np.ndarray:
    """Embeddings as float32 [n, d]."""
    if values.ndim != 2 or not values.size or values.dtype.kind != "f":
        squeeze = "; take the axis of 1 away" if values.ndim == 3 and 1 in values.shape else ""
        found = f"{values.dtype} {list(values.shape)}"
        raise DatasetError(f"{place}: embeddings are {found}, but must be floats [n, d]{squeeze}")
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite, and is refused
        values = np.ascontiguousarray(values, np.float32)
        length = np.linalg.norm(values, axis=1)
    for is_bad, what in (
        (~np.isfinite(length), "NaN, infinite or too large"),
        (length < _SHORTEST, "zero and without a direction"),
    ):
        if is_bad.any():
            num, first = int(is_bad.sum()), int(is_bad.argmax())
            raise DatasetError(
                f"{place}: {num} of {len(values)} embeddings are {what}, first row {first}; leave them out"
            )
    return values


def _texts(column: Any, name: str, place: str) -> list[str]:
    """Names, labels or modalities, whatever type they have."""
    values = column.astype(str).tolist() if isinstance(column, np.ndarray) else column
    if not isinstance(values, list) or any(isinstance(value, list | None) for value in values):
        raise DatasetError(f"{place}: {name} must hold one text or number for each row; fill in what is missing")
    return [printable(str(value)) for value in values]


def _columns(place: str, config: ColumnsConfig, labels: Labels) -> dict[str, Any]:
    """What the file has of the columns that are asked for.

    Raises:
        ConfigError: It is of no kind that is read, or lacks one that is needed.
    """
    suffix = PurePosixPath(place).suffix.lower()
    if suffix not in _SUFFIXES:
        raise ConfigError(
            f"{place}: is no .npz, .parquet, .safetensors, or pickle of the first tools ({', '.join(PICKLES)}); "
            f"{CONVERT}"
        )
    needed = {config.column, config.modality_column, config.groups_column} - {None}
    needed |= {config.labels_column} if labels == "required" else set()
    wanted = needed | {config.names_column} | ({config.labels_column} if labels == "optional" else set())

    def chosen(there: Sequence[str]) -> list[str]:
        if missing := sorted(str(column) for column in needed - {*there}):
            known = printable(", ".join(there))
            raise ConfigError(f"{place}: has no column {missing[0]}, only {known:.200}; name another, or add it")
        return [column for column in there if column in wanted]

    return read_arrays(place, chosen)
