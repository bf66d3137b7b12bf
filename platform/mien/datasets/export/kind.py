"""What a kind of export provides, and what it is given: a part of the dataset, and an outbox for its files."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from pydantic import Field

from mien.config import Config
from mien.datasets.dataset import Dataset, Sample
from mien.storage.commit import digest
from mien.storage.local import translated
from mien.storage.uri import Store


class ExportConfig(Config):
    """What every kind can be told."""

    subject: str = ""
    """Only the samples of this subject; all by default."""

    frames_per_part: int = Field(5000, ge=1)
    """Frames that are written together, by whole samples: what one worker does at a time, what is done again after an
    interruption, and the size of a file where a kind has large ones."""


class Part(NamedTuple):
    """Samples that are written together."""

    number: int
    rows: tuple[int, ...]
    """Their rows in the index."""
    first_sample: int
    """How many samples of the export come before."""
    first_frame: int
    """How many frames of the export come before."""


class Total(NamedTuple):
    """What an export holds."""

    num_samples: int
    num_frames: int
    num_parts: int


class Kind(Protocol):
    """A kind of export: its config, and what it does with a dataset."""

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def subject(self) -> str:
        """Only the samples of this subject, empty for all."""

    @property
    def frames_per_part(self) -> int:
        """Frames that are written together."""

    def check(self, dataset: Dataset) -> None:
        """Refuse, before anything is written, a dataset that this kind cannot hold: ConfigError."""

    def write(self, dataset: Dataset, part: Part, outbox: "Outbox") -> dict[str, Any]:
        """Write the files of one part; returns plain values that `finish` needs of it."""

    def finish(self, dataset: Dataset, total: Total, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """Names and bytes of the small files that are made last, from what `write` returned, in the order of parts."""

    def owns(self, name: str) -> bool:
        """Whether a file of an output may be of this kind: what starting over deletes."""

    def dump(self) -> dict[str, Any]:
        """Plain values of the config."""


class Outbox:
    """Files on their way to an output: each is written to a local draft and appears whole, or not at all."""

    def __init__(self, store: Store) -> None:
        """Make the local folder of the drafts."""
        self._store = store
        self._folder = store.scratch()
        self.files = list[dict[str, Any]]()
        """Name and digest of every file that was put."""

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A local path to write; at the end of the block the file gets its name, whatever was there.

        Raises:
            StorageError: The disk is full, or the output refused.
        """
        place = f"{self._store.uri}/{name}"
        with self.scratch(PurePosixPath(name).name, place) as draft:
            yield draft
            with translated(place):
                self.files.append({"name": name, **digest(draft)._asdict()})
            self._store.replace_file(draft, name)

    @contextmanager
    def scratch(self, name: str, place: str = "") -> Iterator[Path]:
        """A local path that is gone at the end of the block; errors of the disk name the place that it was for."""
        draft = self._folder / name
        try:
            with translated(place or draft):
                yield draft
        finally:
            draft.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """The outbox itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the drafts."""
        shutil.rmtree(self._folder, ignore_errors=True)


def samples(dataset: Dataset, part: Part) -> Iterator[Sample]:
    """The samples of a part, one after the other."""
    return (dataset.sample(row) for row in part.rows)


def stem(row: Mapping[str, Any]) -> str:
    """Name of a sample's files: `subject_<id>_<video>_faces_<sec>_<hundredths>_<clip id>`, and its track if not 0.

    The first twelve characters of the clip id make it the only one of its name, whatever else is exported; only
    letters, digits, `-` and `_` are in it, so it is safe in a path, and a key of a WebDataset.
    """
    subject, video = str(row.get("subject") or ""), PurePosixPath(str(row["source_uri"])).stem
    words = ["subject", safe(subject, 40)] if subject else []
    at = f"{float(row['start_s']):.2f}".replace(".", "_").replace("-", "")
    words += [safe(video, 80), "faces", at, str(row["clip_id"])[:12]]
    return "_".join([*words, *([f"t{row['track']}"] if row["track"] else [])])


def safe(text: str, max_chars: int) -> str:
    """A text as a part of a file name: ASCII letters, digits, `_` and `-`; `x` if nothing of it is left."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:max_chars].strip("-") or "x"
