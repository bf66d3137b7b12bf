"""No order of steps breaks the commit protocol, with crashes, lost replies and late requests; its wrong variants do."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from commit_scenes import (
    CLEAN_UP,
    EVERYTHING,
    PLANNED,
    RACE,
    RETRY,
    TWO_DRIVERS,
    ZOMBIE,
    Resume,
    Roles,
    Scene,
    a_reader_sees_whole_or_nothing,
    a_record_never_changes,
    all_rules,
    committed_data_is_there,
    deleting_needs_proof,
    no_error_without_a_fault,
    only,
    read_all,
    read_records,
    search,
    the_winner_is_told_and_nobody_else,
)
from interleavings import Found, MemoryStore
from mien.errors import AlreadyExists, CommitUnknown, StorageError
from mien.storage.commit import COMPLETE, DATA, FOLDER, commit, data_name, digest, publish_shard


@pytest.fixture(scope="module")
def drafts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the finished local files; each has the name of its clip."""
    folder = tmp_path_factory.mktemp("drafts")
    for clip_id in PLANNED:
        (folder / clip_id).write_text(f"rows of {clip_id}")
    return folder


def story(found: Found) -> str:
    return "\n".join([f"{found.violated or 'no violation'}, {found.num_states} states", *found.history])


@pytest.mark.parametrize("scene", [RACE, ZOMBIE, RETRY])
def test_no_order_breaks_the_protocol(scene: Scene, drafts: Path) -> None:
    found = search(scene, all_rules(drafts), drafts)
    print(f"{scene.programs}: {found.num_states} states")
    assert not found.violated, story(found)
    assert found.num_states > 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scene", "faults"), [(TWO_DRIVERS, 1), (CLEAN_UP, 1), (EVERYTHING, 1), (RACE, 2), (ZOMBIE, 2), (RETRY, 2)]
)
def test_no_order_breaks_the_protocol_in_larger_scenes(scene: Scene, faults: int, drafts: Path) -> None:
    found = search(scene, all_rules(drafts), drafts, faults=faults)
    print(f"{scene.programs}, {faults} faults: {found.num_states} states")
    assert not found.violated, story(found)


# Wrong variants of the roles. Each is what somebody would write, and each is caught by the rule that it breaks.


def put_data(store: Any, shard: str, write_id: str, draft: Path, record: dict[str, Any]) -> tuple[str, bytes]:
    """Publish the data; returns their name and the commit record."""
    name = data_name(shard, write_id, draft.suffix)
    store.publish(draft, name)
    files = [{"name": name, **digest(draft)._asdict()}]
    return name, json.dumps({"shard": shard, "write_id": write_id, "files": files, **record}).encode()


def plain_put(store: Any, shard: str, *attempt: Any) -> bool:
    _, record = put_data(store, shard, *attempt)
    store.replace(f"{FOLDER}{shard}.json", record)
    return True


def taken_means_lost(store: Any, shard: str, *attempt: Any) -> bool:
    name, record = put_data(store, shard, *attempt)
    try:
        store.put_new(f"{FOLDER}{shard}.json", record)
    except AlreadyExists:
        store.delete(name)
        return False
    return True


def unclear_means_failed(store: Any, shard: str, write_id: str, draft: Path, record: dict[str, Any]) -> bool:
    try:
        return publish_shard(store, shard, write_id, draft, record)
    except StorageError:
        store.delete(data_name(shard, write_id, draft.suffix))
        raise


def unknown_means_failed(store: Any, shard: str, write_id: str, draft: Path, record: dict[str, Any]) -> bool:
    try:
        return publish_shard(store, shard, write_id, draft, record)
    except CommitUnknown:
        store.delete(data_name(shard, write_id, draft.suffix))
        raise


def taken_is_an_error(store: Any, shard: str, *attempt: Any) -> bool:
    store.put_new(f"{FOLDER}{shard}.json", put_data(store, shard, *attempt)[1])
    return True


def shared_name(store: Any, shard: str, write_id: str, draft: Path, record: dict[str, Any]) -> bool:
    """Every attempt at a shard writes the same data file."""
    name = data_name(shard, "data", draft.suffix)
    store.replace(name, draft.read_bytes())
    if commit(store, shard, write_id, {"files": [{"name": name, **digest(draft)._asdict()}], **record}):
        return True
    store.delete(name)
    return False


def record_first(store: Any, shard: str, write_id: str, draft: Path, record: dict[str, Any]) -> bool:
    name = data_name(shard, write_id, draft.suffix)
    won = commit(store, shard, write_id, {"files": [{"name": name, **digest(draft)._asdict()}], **record})
    if won:
        store.publish(draft, name)
    return won


def no_record(store: Any, shard: str, *attempt: Any) -> bool:
    put_data(store, shard, *attempt)
    return True


def read_folder(store: Any) -> Any:
    return tuple(sorted((rows[-1], rows) for rows in (store.read(entry.name).decode() for entry in store.list(DATA))))


def read_unchecked(store: Any) -> Any:
    return read_all(store, lambda store, _, name: store.read(name))


def sweep(store: Any) -> None:
    """Clean-up of all data that no record names, at any time."""
    names = {file["name"] for record in read_records(store) for file in record["files"]}
    for entry in store.list(DATA):
        if entry.name not in names:
            store.delete(entry.name)


def end_without_closing(store: Any, write_tables: Callable[[], bytes]) -> None:
    store.replace(COMPLETE, write_tables())
    sweep(store)


def completion_first(store: Any, write_tables: Callable[[], bytes]) -> None:
    later = MemoryStore(frozenset((entry.name, store.read(entry.name)) for entry in store.list(FOLDER)))
    store.replace(COMPLETE, write_tables.func(later, *write_tables.args[1:]))  # type: ignore[attr-defined]
    write_tables()


class Mutant(NamedTuple):
    """A wrong variant, the smallest scene that shows it, and the rules that it breaks, each by itself."""

    roles: Roles
    scene: Scene
    broken: Sequence[Callable[..., bool]]
    faults: int = 0


ALONE, PAIR = Scene(("a",), ("c",)), Scene(("a", "b"))
DONE = ("a", "c")
IS_THERE, PROVEN, UNCHANGED = committed_data_is_there, deleting_needs_proof, a_record_never_changes
TOLD, WHOLE, RESUMES = the_winner_is_told_and_nobody_else, a_reader_sees_whole_or_nothing, Resume.a_resume_completes
MUTANTS = {
    "plain put": Mutant(Roles(plain_put), PAIR, [UNCHANGED, TOLD]),
    "taken means lost": Mutant(Roles(taken_means_lost), ALONE, [IS_THERE, TOLD, PROVEN, RESUMES], 1),
    "taken is an error": Mutant(Roles(taken_is_an_error), PAIR, [no_error_without_a_fault]),
    "unclear means failed": Mutant(Roles(unclear_means_failed), ALONE, [IS_THERE, PROVEN, RESUMES], 1),
    "unknown means failed": Mutant(Roles(unknown_means_failed), PAIR, [PROVEN], 1),
    "unknown means failed, twice": Mutant(Roles(unknown_means_failed), ALONE, [IS_THERE, RESUMES], 2),
    "record before data": Mutant(Roles(record_first), ALONE, [IS_THERE]),
    "shared name": Mutant(Roles(shared_name), PAIR, [IS_THERE, PROVEN]),
    "no record": Mutant(Roles(no_record, read=read_folder), Scene(("b", "reader"), DONE), [WHOLE]),
    "clean-up at any time": Mutant(Roles(clean=sweep), Scene(("a", "clean-up")), [IS_THERE, PROVEN]),
    "nothing closed": Mutant(Roles(end=end_without_closing), Scene(("o", "finaliser"), DONE), [IS_THERE, PROVEN]),
    "completion first": Mutant(Roles(end=completion_first), Scene(("finaliser", "reader"), DONE), [WHOLE]),
    "tables unchecked": Mutant(Roles(read=read_unchecked), RETRY, [WHOLE]),
}


@pytest.mark.parametrize(("name", "rule"), [(name, rule.__name__) for name in MUTANTS for rule in MUTANTS[name].broken])
def test_a_wrong_variant_is_caught(name: str, rule: str, drafts: Path) -> None:
    roles, scene, _, faults = MUTANTS[name]
    rules = only(all_rules(drafts), rule)
    found = search(scene, rules, drafts, roles, crashes=0, faults=faults)
    print(story(found))
    assert found.violated == rule
    assert not search(scene, rules, drafts, crashes=0, faults=faults).violated, "the right variant is not"


def test_every_rule_catches_something(drafts: Path) -> None:
    names = {rule.__name__ for kind in all_rules(drafts) for rule in kind}
    assert names == {rule.__name__ for mutant in MUTANTS.values() for rule in mutant.broken}
