"""The end of a run: index, failures, previews, card and, last of all, the completion record."""

import json
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from mien import schema
from mien.datasets import audit, index, staging, subjects
from mien.datasets.card import CardConfig, write_card
from mien.datasets.dataset import COMPLETE, CONFIG, Dataset, read_record
from mien.datasets.merge import Merged
from mien.datasets.preview import PreviewConfig, contact_sheet, failure_gallery
from mien.errors import DatasetError
from mien.log import logger
from mien.storage.commit import DATA as DATA
from mien.storage.commit import FOLDER as COMMITS
from mien.storage.commit import digest, finish, sum_up
from mien.storage.uri import Store

CONTACT_SHEET = "preview/contact_sheet.png"
FAILURE_GALLERY = "preview/failures.png"
CARD = "README.md"
SMALL = (index.PLAN_FOLDER, index.MATCHES, subjects.NAME, "preview/", CARD, CONFIG, audit.FOLDER)
"""Beginnings of the names of what is small beside the data."""

NOTES = "exports/"
"""Where the dataset was exported to, one note each; see `mien.datasets.export.record`."""

JOURNAL = "erasure.json"
"""Is there while an erasure is under way; see `mien.datasets.erasure`."""


def publish(store: Store, card: CardConfig, preview: PreviewConfig, provenance: Mapping[str, Any]) -> Dataset:
    """Finish a dataset whose clips are all committed; the same command may do it again.

    Raises:
        DatasetError: A planned clip is neither made nor failed.
    """
    folder = store.scratch()
    try:
        built = index.build(store, folder)
        _require_all(store, built.merged)
        finish(store, lambda: _write_tables(store, built, card, preview, provenance))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    staging.clear(store)
    return Dataset(store)


def _write_tables(
    store: Store, built: index.Built, card: CardConfig, preview: PreviewConfig, provenance: Mapping[str, Any]
) -> bytes:
    """Write all that is made from the commit records; returns the completion record."""
    draft = Dataset(store, allow_unfinished=True, tables=built.open())
    files = [*built.files, *_put_tables(store, built)]
    subjects.update(store, draft.index_file)
    store.replace(CONTACT_SHEET, contact_sheet(draft, preview))
    store.replace(FAILURE_GALLERY, failure_gallery(draft.failure_file, preview))
    store.replace(CARD, write_card(draft, card, provenance, built.effort).encode())
    draft.close()
    said = {**provenance, "card": card.dump(), "preview": preview.dump()}
    return json.dumps(_record(store, draft, files, said), indent=1).encode()


def _require_all(store: Store, merged: Merged) -> None:
    """The index and the failures together must name what was planned."""
    if merged.num_missing:
        raise DatasetError(
            f"{store.uri}: {merged.num_missing} planned clips were not processed (the first is "
            f"{merged.first_missing}); run the same command, it resumes"
        )


def _put_tables(store: Store, built: index.Built) -> list[dict[str, Any]]:
    """Put both tables in their places, readers first; returns name and digest of each."""
    places = {index.INDEX: built.merged.index_path, index.FAILURES: built.merged.failures_path}
    files = [{"name": name, **digest(path)._asdict()} for name, path in places.items()]
    staging.stage(store, COMPLETE, read_record(store), places, files)
    for name, path in places.items():
        store.replace_file(path, name)
    return files


def _record(
    store: Store, dataset: Dataset, files: Iterable[Mapping[str, Any]], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """What is in the dataset, file by file: those that are known as they were summed up, small ones summed up now.

    Only files that the layout explains: what a stranger put beside them is not vouched for, and never read.
    """
    known = {file["name"]: file for file in files}
    named = []
    for entry in store.list():
        if entry.name in known:
            named.append(known[entry.name])
        elif entry.name.startswith((*SMALL, COMMITS)):  # records that came since are few
            named.append({"name": entry.name, **sum_up([store.read(entry.name)])._asdict()})
    return {
        "schema_version": schema.VERSION,
        **{key: provenance[key] for key in ("version", "fingerprint", "source", "models", "card", "preview")},
        "num_clips": dataset.num_clips,
        "num_samples": len(dataset),
        "num_failed": dataset.failure_file.num_rows,
        "files": named,
    }


def remove(store: Store) -> None:
    """Delete what mien wrote below the root, the completion record first; for `--fresh`. Audit trail and notes stay."""
    small = (prefix for prefix in SMALL if prefix != audit.FOLDER)
    for prefix in (COMPLETE, COMMITS, DATA, index.INDEX, index.FAILURES, staging.PREFIX, JOURNAL, *small):
        for entry in list(store.list(prefix)):
            store.delete(entry.name)
    if any(True for _ in store.list(audit.FOLDER)):
        logger.info("forgotten subjects come back if their videos are still among the sources (see %s)", audit.FOLDER)


def require_settled(store: Store) -> None:
    """Nothing may be made while an erasure is half done: its plan and its shards do not fit together.

    Raises:
        DatasetError: One was interrupted.
    """
    if any(entry.name == JOURNAL for entry in store.list(JOURNAL)):
        raise DatasetError(
            f"{store.uri}: an erasure was interrupted; finish it first with the same `mien forget` command"
        )
