"""The roles of the commit protocol as programs, what must hold of them, and who runs at the same time.

Two clips are planned. Shard `s1` holds clip x and is tried by two attempts, `s2` holds clip y, and `old` holds clip x
as an earlier run grouped it. The roles are those of `mien.storage.commit`, called as production calls them.
"""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from interleavings import (
    ASLEEP,
    CRASHED,
    Deed,
    Found,
    MemoryStore,
    Objects,
    Program,
    Request,
    Rules,
    Search,
    View,
    answer,
)
from mien.errors import DatasetError, StorageError
from mien.storage.commit import (
    DATA,
    FOLDER,
    data_name,
    finish,
    publish_shard,
    read_completion,
    remove_orphans,
)

INDEX, FAILURES = "index", "failures"
CLIP = {"s1": "x", "s2": "y", "old": "x", "tried": "x"}
ATTEMPTS = {"a": "s1", "a2": "s1", "b": "s1", "b2": "s1", "c": "s2", "c2": "s2", "o": "old", "failed": "tried"}
"""Write id -> shard; a2 is what the run starts when a has crashed; the attempt `failed` could not make its clip."""
PLANNED = ["x", "y"]

Publish = Callable[..., bool]


# The programs: what production does around the roles, with one clip in a shard and JSON for Parquet.


def attempt(store: Any, write_id: str, drafts: Path, publish: Publish = publish_shard) -> bool:
    shard = ATTEMPTS[write_id]
    if write_id == "failed":
        return publish(store, shard, write_id, None, {"samples": [], "failures": [{"clip_id": CLIP[shard]}]})
    return make(store, shard, write_id, drafts / CLIP[shard], publish)


def make(store: Any, shard: str, write_id: str, draft: Path, publish: Publish = publish_shard) -> bool:
    samples = [{"clip_id": draft.name, "file": data_name(shard, write_id, draft.suffix)}]
    return publish(store, shard, write_id, draft, {"samples": samples, "failures": []})


def read_records(store: Any) -> list[dict[str, Any]]:
    """One after the other: the model knows no threads."""
    return [json.loads(store.read(entry.name)) for entry in store.list(FOLDER)]


def finalise(store: Any, end: Callable[..., None] = finish) -> None:
    made, failed = dict[str, str](), set[str]()
    for record in read_records(store):
        for sample in record["samples"]:
            made.setdefault(sample["clip_id"], sample["file"])
        failed.update(failure["clip_id"] for failure in record["failures"])
    if sorted(made.keys() | failed) != PLANNED:
        raise DatasetError("unfinished")
    end(store, functools.partial(write_tables, store, made, failed - made.keys()))


def write_tables(store: Any, made: dict[str, str], failed: set[str]) -> bytes:
    tables = {INDEX: json.dumps(made, sort_keys=True).encode(), FAILURES: json.dumps(sorted(failed)).encode()}
    for name, data in tables.items():
        store.replace(name, data)
    files = [file for record in read_records(store) for file in record["files"]]
    files += [{"name": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in tables.items()]
    return json.dumps({"files": files}).encode()


def read_table(store: Any, completion: dict[str, Any], name: str) -> bytes:
    """A table as the completion record names it: a reader must not mix two states of a dataset."""
    data = bytes(store.read(name))
    if hashlib.sha256(data).hexdigest() not in {file["sha256"] for file in completion["files"] if file["name"] == name}:
        raise DatasetError("a run is replacing it")
    return data


def read_all(store: Any, read_table: Callable[..., bytes] = read_table) -> Any:
    """What every clip is, as a finished dataset has it; or that it is refused."""
    completion = read_completion(store)
    if completion is None:
        return "refused"
    made, failed = (json.loads(read_table(store, completion, name)) for name in (INDEX, FAILURES))
    rows = [(clip_id, store.read(file).decode()) for clip_id, file in made.items()]
    return tuple(sorted([*rows, *((clip_id, "failed") for clip_id in failed)]))


def is_whole(value: Any) -> bool:
    """Every planned clip once."""
    if value == "refused":
        return False
    return [clip_id for clip_id, _ in value] == PLANNED and all(rows in (f"rows of {c}", "failed") for c, rows in value)


# The rules.


@functools.cache
def records(objects: Objects) -> dict[str, dict[str, Any]]:
    """Shard -> its commit record."""
    found = (json.loads(data) for name, data in objects if name.startswith(FOLDER))
    return {record["shard"]: record for record in found}


@functools.cache
def named(objects: Objects) -> frozenset[str]:
    """Data files that the commit records name."""
    return frozenset(file["name"] for record in records(objects).values() for file in record["files"])


def is_there(objects: Objects, name: str) -> bool:
    return any(held == name for held, _ in objects)


@functools.cache
def data_of(objects: Objects) -> frozenset[str]:
    return frozenset(name for name, _ in objects if name.startswith(DATA))


def committed_data_is_there(view: View) -> bool:
    return named(view.objects) <= data_of(view.objects)


def a_record_never_changes(deed: Deed) -> bool:
    """So there is at most one for a shard, and who has read it has read it for good."""
    return not any(name.startswith(FOLDER) for name, _ in deed.before - deed.after)


def deleting_needs_proof(deed: Deed) -> bool:
    """Who deletes data has read that the record of their shard names others: never after an unclear answer."""
    if deed.request.method != "delete" or not deed.actor:
        return True
    shard = deed.request.name.removeprefix(DATA).split("-")[0]
    read = (parsed(value) for kind, value in deed.replies if kind == "value" and isinstance(value, bytes))
    of_shard = [record for record in read if isinstance(record, dict) and record.get("shard") == shard]
    return any(deed.request.name not in {file["name"] for file in record["files"]} for record in of_shard)


parsed = functools.cache(json.loads)


def the_winner_is_told_and_nobody_else(view: View) -> bool:
    for write_id in ATTEMPTS.keys() & view.ended.keys():
        value = view.ended[write_id].value
        record = records(view.objects).get(ATTEMPTS[write_id])
        if value is not None and (record is None or value != (record["write_id"] == write_id)):
            return False
    return True


def no_error_without_a_fault(view: View) -> bool:
    fine = {"", ASLEEP.error, "DatasetError: unfinished"}
    return not view.is_quiet or all(ended.error in fine for name, ended in view.ended.items() if name != "reader")


def a_reader_sees_whole_or_nothing(view: View) -> bool:
    ended = view.ended.get("reader", CRASHED)
    if ended.error:
        return ended == CRASHED or "connection reset" in ended.error or "is replacing it" in ended.error
    return ended.value == "refused" or is_whole(ended.value)


class Resume:
    """The same command, run again when every program has ended."""

    def __init__(self, drafts: Path) -> None:
        self._drafts = drafts
        self._known = dict[tuple[Objects, frozenset[Request]], bool]()

    def a_resume_completes(self, view: View) -> bool:
        if not view.is_last:
            return True
        key = view.objects, view.under_way
        if key not in self._known:
            self._known[key] = self._completes(*key)
        return self._known[key]

    def _completes(self, objects: Objects, under_way: frozenset[Request]) -> bool:
        """What is finished is untouched, no orphan stays; then what is under way takes effect: it is whole again."""
        store = MemoryStore(objects)
        try:
            return self._is_whole_again(store, objects, under_way)
        except StorageError:  # something named is not there
            return False

    def _is_whole_again(self, store: MemoryStore, objects: Objects, under_way: frozenset[Request]) -> bool:
        self._run(store)
        finished = {item for item in objects if item[0].startswith(FOLDER) or item[0] in named(objects)}
        if (
            not is_whole(read_all(store))
            or not finished <= store.objects
            or data_of(store.objects) != named(store.objects)
        ):
            return False
        for request in under_way:
            store.objects, _ = answer(store.objects, request)
        if not named(store.objects) <= data_of(store.objects):
            return False
        self._run(store)
        return is_whole(read_all(store))

    def _run(self, store: MemoryStore) -> None:
        done = {row["clip_id"] for record in read_records(store) for row in record["samples"] + record["failures"]}
        for clip_id in set(PLANNED) - done:
            assert make(store, f"resumed{clip_id}", clip_id, self._drafts / clip_id)
        finalise(store)


def all_rules(drafts: Path) -> Rules:
    return Rules(
        of_states=(
            committed_data_is_there,
            the_winner_is_told_and_nobody_else,
            no_error_without_a_fault,
            a_reader_sees_whole_or_nothing,
            Resume(drafts).a_resume_completes,
        ),
        of_steps=(a_record_never_changes, deleting_needs_proof),
    )


def only(rules: Rules, name: str) -> Rules:
    return Rules(*(tuple(rule for rule in kind if rule.__name__ == name) for kind in rules))


# The scenes.


class Scene(NamedTuple):
    """Programs that run at the same time, and what was there before."""

    programs: tuple[str, ...]
    before: tuple[str, ...] = ()
    """Attempts that ended, one after the other, and perhaps a finaliser."""


RACE = Scene(("a", "b", "c", "finaliser", "reader"))
"""Two attempts at one shard, one at another, and everything else at any time; the finaliser ends with the clean-up."""

ZOMBIE = Scene(("o", "a", "finaliser", "reader"), ("c",))
"""An attempt of an earlier run, thought dead, at a clip that this run makes again."""

RETRY = Scene(("a", "finaliser", "reader"), ("failed", "c", "finaliser"))
"""A finished dataset with a failed clip, which is tried again while the dataset is read."""

TWO_DRIVERS = Scene(("o", "finaliser", "second finaliser", "reader"), ("a", "c"))
"""Two runs end at the same time."""

CLEAN_UP = Scene(("a", "b", "finaliser", "clean-up"), ("c",))
"""Another clean-up at any time."""

EVERYTHING = Scene(("a", "b", "c", "finaliser", "clean-up", "reader"))


class Roles(NamedTuple):
    """The protocol; a wrong variant replaces one of them."""

    publish: Publish = publish_shard
    end: Callable[..., None] = finish
    clean: Callable[[Any], None] = remove_orphans
    read: Callable[[Any], Any] = read_all


RIGHT = Roles()


def search(scene: Scene, rules: Rules, drafts: Path, roles: Roles = RIGHT, crashes: int = 1, faults: int = 1) -> Found:
    store = MemoryStore(frozenset())
    for name in scene.before:
        _ = finalise(store) if name == "finaliser" else attempt(store, name, drafts)
    programs = dict[str, Program]()
    for name in scene.programs:
        programs |= attempts(name, drafts, roles) if name in ATTEMPTS else {name: other_program(name, roles)}
    is_fixed = is_write_once if roles == RIGHT else never
    return Search(programs, rules, is_fixed, crashes=crashes, faults=faults).run(store.objects)


def attempts(write_id: str, drafts: Path, roles: Roles) -> dict[str, Program]:
    """An attempt, and the one that follows if it crashes."""
    after_crash_of = {write_id: "", f"{write_id}2": write_id}
    return {
        name: Program(functools.partial(attempt, write_id=name, drafts=drafts, publish=roles.publish), after)
        for name, after in after_crash_of.items()
        if name in ATTEMPTS
    }


def other_program(name: str, roles: Roles) -> Program:
    if name == "reader":
        return Program(roles.read, is_spared=True)
    return Program(roles.clean if name == "clean-up" else functools.partial(finalise, end=roles.end))


def is_write_once(objects: Objects, request: Request) -> bool:
    """A commit record that stands, or that the completion record stands: nothing changes that, as a rule says."""
    if request.method == "read":
        return request.name.startswith(FOLDER) and is_there(objects, request.name)
    return request.method == "list" and request.name.endswith(".json") and is_there(objects, request.name)


def never(objects: Objects, request: Request) -> bool:
    return False
