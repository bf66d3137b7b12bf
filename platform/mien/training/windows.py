"""Windows of a dataset as padded batches, read ahead of the step that needs them."""

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from mien import schema
from mien.config import Config
from mien.datasets.local_shards import LocalShards
from mien.datasets.split import SplitConfig
from mien.datasets.subjects import Subjects
from mien.datasets.tables import TableFile
from mien.features.registry import ExtractorConfig
from mien.training.order import Order, Window

PlacesOf = Callable[[int], list[range]]
"""Step -> places of each of its forward passes on this worker."""

_READERS = 2
"""Threads that read ahead: one waits for the disk while another copies."""


class DataConfig(Config):
    """What training reads of a dataset."""

    kind: Literal["clips"] = "clips"
    """Kind of data: windows of the clips of a dataset of `mien serialize`."""
    length: int = Field(30, ge=1, le=4096)
    """Frames of a window; 30 is a second of common video."""
    tokens: Literal["stored", "online"] = "stored"
    """`stored`: the patch tokens in the dataset (features.output=patch). `online`: computed from the crops by
    `backbone` in every step, which needs no room on disk and the time of a forward pass."""
    backbone: ExtractorConfig | None = None
    """Frozen network of `online`; its output is `patch`."""
    split: SplitConfig = SplitConfig()
    """Which samples are held out."""
    shards_together: int = Field(8, ge=1)
    """Shards whose windows are mixed, and which a worker keeps at hand."""
    cache_gb: float = Field(50.0, gt=0, allow_inf_nan=False)
    """Local disk that decoded shards may take on each machine."""
    read_ahead: int = Field(2, ge=1, le=64)
    """Steps whose data are read before they are needed."""

    @model_validator(mode="after")
    def _backbone_of_online(self) -> Self:
        if self.tokens == "online" and self.backbone is None:
            raise ValueError("data.tokens: online needs data.backbone, e.g. data.backbone.kind=dinov2")
        if self.backbone is not None and self.backbone.output != "patch":
            raise ValueError(f"data.backbone.output: must be patch, not {self.backbone.output}")
        return self

    def columns(self, *, with_images: bool) -> tuple[str, ...]:
        """Columns that are read."""
        needs_crops = with_images or self.tokens == "online"
        return ("face", *(["feature"] if self.tokens == "stored" else []), *(["crop"] if needs_crops else []))


class Clips(NamedTuple):
    """Padded windows as they are on disk, before a device sees them."""

    windows: list[Window]
    mask: torch.Tensor
    """Frames with a face: bool [B, T]."""
    subjects: torch.Tensor
    """Rows of the subject table: int64 [B]."""
    tokens: torch.Tensor | None
    """float32 [B, T, P, D]."""
    crops: torch.Tensor | None
    """uint8 [B, T, S, S, 3]."""

    def places(self) -> torch.Tensor:
        """Global numbers of the windows: int64 [B]."""
        return torch.tensor([window.place for window in self.windows])


class Reader:
    """Reads windows of a split by their numbers in its order."""

    def __init__(self, order: Order, shards: LocalShards, rows: "SampleRows", length: int) -> None:
        """Take what it reads from."""
        self.order, self._shards, self._rows, self._length = order, shards, rows, length

    def read(self, places: Sequence[int]) -> Clips:
        """The windows at some places, padded to the same length.

        Raises:
            DatasetError: A shard is damaged.
        """
        windows = self.order.windows(places)
        parts = [self._columns(window) for window in windows]
        columns = {name: self._padded([part[name] for part in parts]) for name in parts[0]}
        mask = columns.pop("face").ne(schema.FACE_NONE)
        if "feature" in columns:
            columns["feature"][~mask] = 0  # NaN where there is no face, which would reach everything by 0 · NaN
        subjects = torch.tensor([int(self._rows.subject[window.sample]) for window in windows])
        return Clips(windows, mask, subjects, columns.get("feature"), columns.get("crop"))

    def _columns(self, window: Window) -> dict[str, np.ndarray]:
        start = int(self._rows.row_start[window.sample]) + window.start
        rows = self._shards.rows(self._rows.file(window.sample))
        return {name: values[start : start + window.num_frames] for name, values in rows.items()}

    def _padded(self, parts: Sequence[np.ndarray]) -> torch.Tensor:
        """[B, T, …], zeros where a window is short."""
        whole = np.zeros((len(parts), self._length, *parts[0].shape[1:]), parts[0].dtype)
        for row, part in enumerate(parts):
            whole[row, : len(part)] = part
        return torch.from_numpy(whole)


class Reads(Protocol):
    """What training reads its data from."""

    order: Order

    def read(self, places: Sequence[int]) -> Any:
        """What lies at some places of the order, with `windows`, `mask` and `places()`."""


class SampleRows(NamedTuple):
    """What reading needs to know of the samples of an index, by their rows."""

    files: list[str]
    shard: np.ndarray
    """Number of the file that each sample lies in."""
    row_start: np.ndarray
    num_frames: np.ndarray
    subject: np.ndarray
    """Row of the subject table."""

    def file(self, sample: int) -> str:
        """The shard of a sample."""
        return self.files[int(self.shard[sample])]


def sample_rows(index: TableFile, subjects: Subjects) -> SampleRows:
    """Columns of an index, as numbers."""
    files, shard = np.unique(np.array(index.column("file").to_pylist(), dtype=object), return_inverse=True)
    rows, frames = (np.asarray(index.column(name).to_numpy()) for name in ("row_start", "num_frames"))
    subject = np.array([subjects.row(name or "") for name in index.column("subject").to_pylist()], np.int64)
    return SampleRows([str(name) for name in files], shard.astype(np.int64), rows, frames, subject)


class Step(NamedTuple):
    """Data of one optimiser step on one worker."""

    number: int
    clips: list[Any]
    """Clips, or samples (`samples.Raw`), of each forward pass."""
    waited_s: float
    """Time that the step waited for them."""


def share(step: int, batch: int, rank: int, size: int) -> range:
    """The places of a step that fall to one worker: neighbours, as many as the others have, give or take one."""
    first = step * batch
    return range(first + batch * rank // size, first + batch * (rank + 1) // size)


def steps(reader: Reads, numbers: range, places: PlacesOf, read_ahead: int) -> Generator[Step]:
    """The data of one step after the other, some steps ahead of the one that is asked for.

    Args:
        reader: Of the training windows.
        numbers: Steps to come.
        places: Step -> places of each of its forward passes.
        read_ahead: Steps that are read before they are needed.
    """
    with ThreadPoolExecutor(_READERS, thread_name_prefix="mien-read") as pool:
        read = partial(_read, reader, places)
        waiting = [pool.submit(read, number) for number in numbers[:read_ahead]]
        for number in numbers:
            if number + read_ahead in numbers:
                waiting.append(pool.submit(read, number + read_ahead))
            started = time.monotonic()
            clips = waiting.pop(0).result()
            yield Step(number, clips, time.monotonic() - started)


def _read(reader: Reads, places: PlacesOf, number: int) -> list[Any]:
    return [reader.read(part) for part in places(number)]
