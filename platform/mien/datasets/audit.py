"""The audit trail of a dataset: one write-once record per erasure, each with the sum of the one before it.

A record says when, by which mien, how much and why. It names no person, clip or video, nor a sum of such a name, which
anybody could compare with a guess.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mien.errors import AlreadyExists, DatasetError
from mien.storage.uri import Store

FOLDER = "audit/"


class Entry(NamedTuple):
    """One record of the trail."""

    name: str
    sha256: str
    facts: dict[str, Any]


def read(store: Store) -> list[Entry]:
    """Every record, by name.

    Raises:
        DatasetError: One is not what `append` writes.
    """
    return [_entry(store, entry.name) for entry in store.list(FOLDER)]


def _entry(store: Store, name: str) -> Entry:
    data = store.read(name)
    try:
        facts = dict(json.loads(data))
        facts["previous"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{store.uri}/{name}: is not an audit record ({error}); restore it") from None
    return Entry(name, hashlib.sha256(data).hexdigest(), facts)


def append(store: Store, name: str, facts: Mapping[str, Any]) -> None:
    """Write one record, chained to the newest; a record that is there already stays as it is."""
    trail = read(store)
    if any(entry.name == name for entry in trail):
        return
    data = json.dumps({**facts, "previous": _newest(trail)}, indent=1, ensure_ascii=False).encode()
    with contextlib.suppress(AlreadyExists):  # another run of the same command was first
        store.put_new(name, data)


def _newest(trail: list[Entry]) -> str:
    """Sum of the record that no other follows, empty for none: a clock may go back, the chain does not."""
    followed = {entry.facts["previous"] for entry in trail}
    return next((entry.sha256 for entry in reversed(trail) if entry.sha256 not in followed), "")


def problems(store: Store) -> Iterator[str]:
    """What shows that a record was removed or changed."""
    try:
        trail = read(store)
    except DatasetError as error:
        yield str(error)
        return
    known = {entry.sha256 for entry in trail}
    first = [entry for entry in trail if not entry.facts["previous"]]
    yield from (f"{entry.name}: is a second beginning of the audit trail" for entry in first[1:])
    for entry in trail:
        if entry.facts["previous"] and entry.facts["previous"] not in known:
            yield f"{entry.name}: the audit record before it is missing or was changed"
