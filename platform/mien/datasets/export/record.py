"""What an export leaves about itself: `export.json` in the output, a record per part, and a note in the dataset.

claim     export.json under a name that must be free: of which dataset, as it was, which kind, which options
parts     parts/<number>.json after the files of a part: what a rerun need not do again
finish    export.json again, with what is in it; only now it says that it is finished
note      exports/<id>.json in the dataset, so that `mien forget` can name the places that still hold a person
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import mien
from mien.config import differing_keys
from mien.datasets import index
from mien.datasets.dataset import Dataset
from mien.datasets.export.kind import Kind, Total
from mien.datasets.publish import NOTES
from mien.errors import AlreadyExists, DatasetError, RefusedError, StorageError
from mien.log import logger
from mien.storage.ahead import ahead
from mien.storage.uri import Store

RECORD = "export.json"
PARTS = "parts/"
CARD = "README.md"


def identity(dataset: Dataset, kind: Kind) -> dict[str, Any]:
    """What decides what is written: the dataset as it is now, and what was asked for."""
    files = {file["name"]: file["sha256"] for file in dataset.record["files"]}
    return {"dataset": dataset.uri, "index_sha256": files[index.INDEX], "kind": kind.kind, "options": kind.dump()}


def origin(dataset: Dataset) -> dict[str, Any]:
    """Licence, consent and where it all comes from, as the card has it."""
    record = dataset.record
    said = {key: record["card"][key] for key in ("title", "licence", "consent", "redistributable")}
    made = {key: record[key] for key in ("source", "fingerprint", "models")}
    return {**said, **made, "made_by": f"mien {record['version']}"}


def claim(store: Store, dataset: Dataset, kind: Kind) -> bool:
    """Take an empty output for this export, or go on with the same one; whether it is finished already.

    Raises:
        RefusedError: The output holds another export, or something else.
    """
    wanted = identity(dataset, kind)
    standing = read(store)
    if standing is None:
        if any(True for _ in store.list()):
            raise RefusedError(f"{store.uri}: holds files but no export of mien; choose a new or empty folder")
        with contextlib.suppress(AlreadyExists):  # the same command runs twice
            store.put_new(RECORD, _bytes({**wanted, "finished": False, "origin": origin(dataset)}))
        standing = read(store) or {}
    keys = differing_keys({key: standing.get(key) for key in wanted}, wanted)
    if keys:
        raise RefusedError(
            f"{store.uri}: holds another export, or one of the dataset as it was before; these differ: "
            f"{', '.join(keys)}. Choose another output, or start over with --fresh"
        )
    return bool(standing.get("finished"))


def read(store: Store) -> dict[str, Any] | None:
    """What `export.json` says; None where there is none.

    Raises:
        RefusedError: It is not what mien writes.
    """
    if not any(entry.name == RECORD for entry in store.list(RECORD)):
        return None
    try:
        return dict(json.loads(store.read(RECORD)))
    except (ValueError, TypeError) as error:
        raise RefusedError(f"{store.uri}/{RECORD}: is not of mien ({error}); choose a new or empty folder") from None


def remove(store: Store, kind: Kind) -> None:
    """Delete an earlier export of this kind, finished or not; for `--fresh`. Files that are not its own stay.

    Raises:
        RefusedError: There is something else, or an export of another kind.
    """
    standing = read(store)
    if standing is None:
        return
    if standing.get("kind") != kind.kind:
        raise RefusedError(f"{store.uri}: holds an export of kind {standing.get('kind')}; choose another output")
    for entry in list(store.list()):
        if entry.name != RECORD and (entry.name == CARD or entry.name.startswith(PARTS) or kind.owns(entry.name)):
            store.delete(entry.name)
    store.delete(RECORD)  # last: without it, what is left would be taken for somebody else's


def done(store: Store) -> set[int]:
    """Numbers of the parts that are written."""
    return {int(entry.name.removeprefix(PARTS).removesuffix(".json")) for entry in store.list(PARTS)}


def put_part(store: Store, number: int, facts: Mapping[str, Any]) -> None:
    """Say that a part is written; the same part may be written twice."""
    store.replace(f"{PARTS}{number:05d}.json", _bytes(facts))


def parts(store: Store, num_parts: int) -> Iterator[dict[str, Any]]:
    """The record of every part, in order.

    Raises:
        DatasetError: One is missing or damaged.
    """
    return ahead(lambda number: _part(store, number), iter(range(num_parts)))


def _part(store: Store, number: int) -> dict[str, Any]:
    name = f"{PARTS}{number:05d}.json"
    try:
        found = dict(json.loads(store.read(name)))
        found["files"], found["facts"]
    except (StorageError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(f"{store.uri}/{name}: cannot be read ({error}); start over with --fresh") from None
    return found


def finish(store: Store, dataset: Dataset, kind: Kind, total: Total) -> dict[str, Any]:
    """Write the small files and, last of all, the finished record; returns it."""
    counts = {"num_files": 0, "num_bytes": 0, "num_left_out": 0}
    for part in parts(store, total.num_parts):
        counts["num_files"] += len(part["files"])
        counts["num_bytes"] += sum(file["size_bytes"] for file in part["files"])
        counts["num_left_out"] += int(part["facts"].get("num_left_out", 0))
    for name, data in kind.finish(dataset, total, (part["facts"] for part in parts(store, total.num_parts))):
        store.replace(name, data)
        counts["num_files"] += 1
        counts["num_bytes"] += len(data)
    held = {"num_samples": total.num_samples, "num_frames": total.num_frames, **counts}
    record = {**identity(dataset, kind), "finished": True, **held, "made_at": _now(), "version": mien.__version__}
    record["origin"] = origin(dataset)
    store.replace(RECORD, _bytes(record))
    return record


def note(dataset: Dataset, store: Store, output: Store, kind: Kind) -> None:
    """Tell the dataset where it was exported to; a dataset that cannot be written stays without, and it is said.

    What was asked for stays out of the note: it may name a person.
    """
    name = f"{NOTES}{hashlib.sha256(output.uri.encode()).hexdigest()[:16]}.json"
    try:
        store.replace(name, _bytes({"place": output.uri, "kind": kind.kind, "begun_at": _now()}))
    except StorageError as error:
        logger.info("note     %s cannot note this export (%s): `mien forget` will not name it", dataset.uri, error)


def notes(store: Store) -> Iterator[dict[str, str]]:
    """Every note of a dataset; what is not one is passed over."""
    for entry in store.list(NOTES):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            found = json.loads(store.read(entry.name))
            yield {key: str(found[key]) for key in ("place", "kind", "begun_at")}


def _bytes(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
