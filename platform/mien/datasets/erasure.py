"""What an erasure removes, how much that is, and the journal that it goes by until it is done."""

import difflib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from mien.datasets import audit, index
from mien.datasets.dataset import Dataset
from mien.datasets.publish import JOURNAL
from mien.datasets.rebuild import Row
from mien.errors import AlreadyExists, ConfigError, DatasetError
from mien.log import logger
from mien.storage.commit import read_commits
from mien.storage.uri import Store


class Extent(NamedTuple):
    """How much an erasure removes."""

    num_clips: int = 0
    num_samples: int = 0
    num_frames: int = 0
    num_failures: int = 0
    """Clips that failed: their rows may hold a picture."""
    num_files: int = 0
    """Data files that are removed."""
    num_bytes: int = 0
    """Size of these files."""
    num_files_rewritten: int = 0
    """Data files that take the place of some of them."""


class Journal(NamedTuple):
    """What an erasure must remember until it is done; the only object that it writes the name into."""

    id: str
    started_at: str
    subject: str
    reason: str
    removed: Extent

    @property
    def audit_name(self) -> str:
        """Name of the audit record, sorted by time."""
        return f"{audit.FOLDER}{re.sub('[-:]', '', self.started_at)}-{self.id}.json"

    def to_bytes(self) -> bytes:
        """As it stands on disk."""
        return json.dumps({**self._asdict(), "removed": self.removed._asdict()}, ensure_ascii=False).encode()


def survey(store: Store, subject: str) -> Extent:
    """What `forget` would remove, or goes on removing after it was interrupted; nothing is changed.

    Returns:
        All zero where nothing of the subject is left and the audit trail says that somebody was forgotten. The trail
        names nobody, so it cannot be told who.

    Raises:
        ConfigError: The subject is unknown, and nobody was forgotten here yet.
        DatasetError: The dataset is unfinished or damaged, or the erasure of another subject was interrupted.
    """
    if not subject:
        raise ConfigError("subject: is empty; give subject=NAME, one that `mien inspect` shows")
    dataset = Dataset(store)
    journal = standing(store, subject)
    if journal is not None:
        return journal.removed
    extent = _extent(store, subject)
    if not extent.num_clips:
        near = _near(dataset, subject)
        if not audit.read(store):
            raise ConfigError(f"{store.uri}: no clip has the subject {subject!r}{near}; see `mien inspect`")
        logger.info(
            "nothing is left of the subject%s (the audit trail says that somebody was forgotten, not who)", near
        )
    return extent


def _near(dataset: Dataset, subject: str) -> str:
    tables = (dataset.index_file, dataset.failure_file)
    known = {name for table in tables for name in pc.unique(table.column("subject")).to_pylist() if name}
    near = difflib.get_close_matches(subject, sorted(known), n=3)
    return f"; close to it: {', '.join(near)}" if near else ""


def is_theirs(row: Row, subject: str) -> bool:
    """Whether a sample or failure is of the subject."""
    return bool(row.get("subject") == subject)


def touched(store: Store, subject: str) -> Iterator[dict[str, Any]]:
    """Commit records with a row of the subject, whether the index names it or not."""
    for record in read_commits(store):
        if any(is_theirs(row, subject) for row in (*record["samples"], *record["failures"])):
            yield record


def planned(part: pa.Table, subject: str) -> pa.ChunkedArray:
    """Mask of the rows of a part of the plan that are of the subject."""
    return pc.fill_null(pc.equal(part.column("subject"), subject), False)


def _extent(store: Store, subject: str) -> Extent:
    clips = set[str]()
    for part in index.read_plan(store):
        clips.update(part.filter(planned(part, subject)).column("clip_id").to_pylist())
    frames, made, failed = dict[tuple[str, int], int](), set[str](), set[str]()
    num_files = num_bytes = num_rewritten = 0
    for record in touched(store, subject):
        theirs = [row for row in record["samples"] if is_theirs(row, subject)]
        frames |= {(row["clip_id"], row["track"]): row["num_frames"] for row in theirs}
        made |= {row["clip_id"] for row in theirs}
        failed |= {row["clip_id"] for row in record["failures"] if is_theirs(row, subject)}
        num_files += len(record["files"])
        num_bytes += sum(file["size_bytes"] for file in record["files"])
        num_rewritten += len(theirs) < len(record["samples"])
    num_clips = len(clips | made | failed)
    num_frames = sum(frames.values())
    return Extent(num_clips, len(frames), num_frames, len(failed - made), num_files, num_bytes, num_rewritten)


def begin(store: Store, subject: str, reason: str, removed: Extent) -> Journal:
    """Write the journal, unless one stands: of the same erasure, interrupted or in another process.

    Raises:
        DatasetError: The one that stands is about another subject.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
    journal = Journal(uuid.uuid4().hex[:12], now, subject, reason, removed)
    try:
        store.put_new(JOURNAL, journal.to_bytes())
    except AlreadyExists:
        other = standing(store, subject)
        if other is None:
            raise DatasetError(f"{store.uri}: another erasure ended just now; run the same command again") from None
        return other
    return journal


def standing(store: Store, subject: str) -> Journal | None:
    """The journal of an erasure that is not done.

    Raises:
        DatasetError: It is about another subject, or damaged.
    """
    if not any(entry.name == JOURNAL for entry in store.list(JOURNAL)):
        return None
    try:
        values = json.loads(store.read(JOURNAL))
        journal = Journal(**{**values, "removed": Extent(**values["removed"])})
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{store.uri}/{JOURNAL}: is damaged ({error}); delete it and run the same command") from None
    if journal.subject != subject:
        raise DatasetError(
            f"{store.uri}: the erasure of another subject was interrupted; finish it first with the same command "
            f"({JOURNAL} says whose it is)"
        )
    return journal
