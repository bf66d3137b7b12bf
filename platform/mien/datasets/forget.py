"""Erasure of one subject: the touched shards are made again without it, and everything that follows from them.

What a reader sees at each moment. A dataset is what `mien.json` names: index and failures, which name data files. All
that is new gets a name of its own, and one replacement of `mien.json` leads from the old dataset to the new one:

1. `erasure.json` (create-only) says what is going on. Whoever opens the dataset sees the old one.
2. The subject leaves the plan: no run of `mien serialize` makes its clips again. The old one.
3. Each touched shard: a new data file without the subject, read back and proved, and a new commit record. The old one.
4. The old commit records are emptied. They keep their names, so that a writer held up somewhere cannot commit the
   subject again. The old one: its data files are all there.
5. New index and failures are staged and `mien.json` is replaced. From here on the new one.
6. Index, failures, pictures and card at their usual names, `mien.json` again. The new one, under either record.
7. Data files without a commit record and scratch files go. Who opened the old dataset before can read what is left of
   it, and is told to open it again where a file is gone; nobody is given a mixture.
8. The audit record (create-only), `mien.json` with it, and at last `erasure.json` goes, the last place with the name.

Every step does nothing where it is done already, so that the same command resumes after a crash at any moment. It needs
room for the touched shards a second time. No run of `mien serialize` may be alive on the dataset meanwhile.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow.compute as pc

import mien
from mien.config import flatten
from mien.datasets import audit, index, publish
from mien.datasets.card import CardConfig
from mien.datasets.dataset import COMPLETE, CONFIG, Dataset
from mien.datasets.erasure import Extent, Journal, begin, is_theirs, planned, survey, touched
from mien.datasets.export.record import notes
from mien.datasets.local_shards import shards_root
from mien.datasets.preview import PreviewConfig
from mien.datasets.rebuild import Row, empty, rebuild
from mien.datasets.tables import parquet_bytes
from mien.errors import ConfigError
from mien.storage.commit import digest, read_commits
from mien.storage.uri import Store

_REBUILT = re.compile(r"r[0-9a-f]{12}$")
"""End of the name of a shard that was rebuilt before: the id of that erasure."""


class Report(NamedTuple):
    """How an erasure ended."""

    path: str
    removed: Extent
    bytes_rewritten: int
    audit: str
    """Name of the audit record."""
    outside: tuple[str, ...]
    """What mien cannot reach and a person must see to, one line each."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {**self._asdict(), "removed": self.removed._asdict()}


def forget(store: Store, subject: str, reason: str = "") -> Report | None:
    """Remove a subject from a finished dataset, or go on where an earlier call was interrupted.

    Args:
        store: The dataset.
        subject: Its name in the column `subject`.
        reason: Written into the audit record; it must not name the subject.

    Returns:
        What was done; None where nothing was left to do.

    Raises:
        ConfigError: The subject is unknown, or the reason names it.
        DatasetError: The dataset is unfinished or damaged, or the erasure of another subject was interrupted.
        StorageError: The store refused; the same command resumes.
    """
    if _names(reason, subject):
        raise ConfigError("--reason names the subject; the audit record must not, so say it in other words")
    extent = survey(store, subject)
    if not extent.num_clips:
        return None
    journal = begin(store, subject, reason, extent)
    dataset = Dataset(store)
    _leave_plan(store, subject)
    num_bytes = _rebuild_shards(store, dataset, journal)
    card, preview = _of_a_person(dataset)
    published = publish.publish(store, card, preview, dataset.record)
    store.clear_scratch()
    shutil.rmtree(shards_root(store.uri), ignore_errors=True)
    _write_audit(store, journal, num_bytes)
    _complete(store, published.record, journal.audit_name)
    store.delete(publish.JOURNAL)
    return Report(store.uri, journal.removed, num_bytes, journal.audit_name, tuple(_outside(published, store, subject)))


def _leave_plan(store: Store, subject: str) -> None:
    """Files of the plan stay, even without rows: where there is none, a run would plan anew."""
    for name in index.plan_files(store):
        part = index.read_parquet(store, name)
        theirs = planned(part, subject)
        if pc.any(theirs).as_py():
            store.replace(name, parquet_bytes(part.filter(pc.invert(theirs))))


def _rebuild_shards(store: Store, dataset: Dataset, journal: Journal) -> int:
    """Make the touched shards again, empty their old records; size of the new data files."""

    def keep(row: Row) -> bool:
        return not is_theirs(row, journal.subject)

    for record in touched(store, journal.subject):
        # The new name sorts where the old one does: which of two shards with the same clip counts does not change.
        shard = f"{_REBUILT.sub('', record['shard'])}r{journal.id}"
        rebuild(store, record, shard, keep, dataset.config.get("format", {}))
    for record in touched(store, journal.subject):
        empty(store, record)
    new = (record for record in read_commits(store) if record["shard"].endswith(f"r{journal.id}"))
    return sum(file["size_bytes"] for record in new for file in record["files"])


def _of_a_person(dataset: Dataset) -> tuple[CardConfig, PreviewConfig]:
    """What the last run said of card and pictures, which may be more than the first one wrote into the config."""
    given = {key: dataset.record.get(key, dataset.config.get(key, {})) for key in ("card", "preview")}
    return CardConfig.parse(given["card"], COMPLETE), PreviewConfig.parse(given["preview"], COMPLETE)


def _write_audit(store: Store, journal: Journal, bytes_rewritten: int) -> None:
    facts = {
        "what": "a subject was forgotten",
        "started_at": journal.started_at,
        "version": mien.__version__,
        "removed": journal.removed._asdict(),
        "bytes_rewritten": bytes_rewritten,
        "reason": journal.reason,
    }
    audit.append(store, journal.audit_name, facts)


def _complete(store: Store, record: Mapping[str, Any], name: str) -> None:
    """The completion record with one file more."""
    files = [file for file in record["files"] if file["name"] != name]
    files.append({"name": name, **digest(store.fetch(name))._asdict()})
    files.sort(key=itemgetter("name"))
    store.replace(COMPLETE, json.dumps({**record, "files": files}, indent=1).encode())


def _outside(dataset: Dataset, store: Store, subject: str) -> Iterator[str]:
    yield "models trained on the subject, exports, copies and backups still hold it: redo or delete them"
    root = shards_root(store.uri)
    yield f"other machines that trained on it may have decoded shards of runs that died: delete {root} there, too"
    for export in notes(store):
        yield (
            f"the export at {export['place']} (begun {export['begun_at']}): delete it, or make it again with "
            f"`mien export {export['kind']} {dataset.uri} -o {export['place']} --fresh`"
        )
    yield f"the videos at {dataset.record['source']} are untouched: while they are there, --fresh brings it back"
    if dataset.uri.startswith("gs://"):
        yield "a bucket keeps removed objects for a while (soft delete, 7 days by default) and their older versions"
    typed = dataset.config | {"card": dataset.record["card"]}
    named = [key for key, value in flatten(typed) if isinstance(value, str) and _names(value, subject)]
    if named:
        yield f"{CONFIG} and the card repeat what was typed, and it names the subject: {', '.join(named)}"


def _names(text: str, subject: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", text, re.IGNORECASE) is not None
