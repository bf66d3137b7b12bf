"""The end of a run: index, failures, previews, card and, last of all, the completion record."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mien import schema
from mien.datasets import index
from mien.datasets.card import CardConfig, write_card
from mien.datasets.dataset import COMPLETE, Dataset
from mien.datasets.preview import PreviewConfig, contact_sheet, failure_gallery
from mien.errors import DatasetError
from mien.storage.commit import FOLDER as COMMITS
from mien.storage.commit import digest, read_commits
from mien.storage.uri import Store

CONTACT_SHEET = "preview/contact_sheet.png"
FAILURE_GALLERY = "preview/failures.png"
CARD = "README.md"
DATA = "data/"


def publish(store: Store, card: CardConfig, preview: PreviewConfig, provenance: Mapping[str, Any]) -> Dataset:
    """Finish a dataset whose clips are all committed; the same command may do it again.

    Raises:
        DatasetError: A planned clip is neither made nor failed.
    """
    tables = index.build(store)
    _require_all(store, tables)
    store.replace(index.INDEX, index.parquet_bytes(tables[0]))
    store.replace(index.FAILURES, index.parquet_bytes(tables[1]))
    draft = Dataset(store, allow_unfinished=True)
    store.replace(CONTACT_SHEET, contact_sheet(draft, preview))
    store.replace(FAILURE_GALLERY, failure_gallery(draft.failures, preview))
    store.replace(CARD, write_card(draft, card, provenance).encode())
    draft.close()
    store.replace(COMPLETE, json.dumps(_record(store, draft, provenance), indent=1).encode())
    _remove_orphans(store)
    return Dataset(store)


def _require_all(store: Store, tables: tuple[Any, Any]) -> None:
    """The index and the failures together must name what was planned."""
    named = np.concatenate([np.asarray(table.column("clip_id").to_pylist(), str) for table in tables])
    named = np.unique(named)
    for part in index.read_plan(store, ["clip_id"]):
        planned = np.asarray(part.column("clip_id").to_pylist(), str)
        missing = planned[~np.isin(planned, named)]
        if len(missing):
            raise DatasetError(
                f"{store.uri}: {len(missing)} planned clips were not processed (the first is {missing[0]}); "
                "run the same command, it resumes"
            )


def _record(store: Store, dataset: Dataset, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the dataset, file by file: shards as their commit records say, the others summed up now."""
    committed = {file["name"]: file for record in read_commits(store) for file in record["files"]}
    files = []
    for entry in store.list():
        if entry.name in committed:
            files.append(committed[entry.name])
        elif entry.name != COMPLETE and not entry.name.startswith(DATA):
            files.append({"name": entry.name, **digest(store.fetch(entry.name))._asdict()})
    return {
        "schema_version": schema.VERSION,
        **{key: provenance[key] for key in ("version", "fingerprint", "source", "models")},
        "num_clips": len(dataset.clip_ids),
        "num_samples": len(dataset),
        "num_failed": dataset.failures.num_rows,
        "files": files,
    }


def _remove_orphans(store: Store) -> None:
    """Data files that no commit names: of attempts that were killed or came second. Only right after mien.json."""
    committed = {file["name"] for record in read_commits(store) for file in record["files"]}
    for entry in store.list(DATA):
        if entry.name not in committed:
            store.delete(entry.name)


def remove(store: Store) -> None:
    """Delete what mien wrote below the root, the completion record first; for `--fresh`."""
    for prefix in (
        COMPLETE,
        COMMITS,
        DATA,
        index.PLAN_FOLDER,
        index.INDEX,
        index.FAILURES,
        "preview/",
        CARD,
        "config.yaml",
    ):
        for entry in list(store.list(prefix)):
            store.delete(entry.name)
