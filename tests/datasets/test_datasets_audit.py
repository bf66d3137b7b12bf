import hashlib
import json

import pytest

from mien.datasets import audit
from mien.errors import DatasetError
from mien.storage.local import LocalStore


def test_each_record_holds_the_sum_of_the_one_before(store: LocalStore) -> None:
    names = ["audit/20260101-a.json", "audit/20260102-b.json", "audit/20260103-c.json"]
    for number, name in enumerate(names):
        audit.append(store, name, {"number": number})
    contents = [store.read(name) for name in names]
    previous = [json.loads(content)["previous"] for content in contents]
    assert previous == ["", *(hashlib.sha256(content).hexdigest() for content in contents[:2])]
    assert list(audit.problems(store)) == []


def test_a_clock_that_went_back_does_not_fork_the_chain(store: LocalStore) -> None:
    for name in ("audit/2026-b.json", "audit/2025-a.json", "audit/2024-c.json"):
        audit.append(store, name, {})
    last = json.loads(store.read("audit/2024-c.json"))["previous"]
    assert last == hashlib.sha256(store.read("audit/2025-a.json")).hexdigest()
    assert list(audit.problems(store)) == []


def test_a_record_is_written_once(store: LocalStore) -> None:
    audit.append(store, "audit/a.json", {"number": 1})
    before = store.read("audit/a.json")
    audit.append(store, "audit/a.json", {"number": 2})
    assert store.read("audit/a.json") == before


def test_a_changed_or_missing_record_is_found_by_the_next_one(store: LocalStore) -> None:
    for name in ("audit/a.json", "audit/b.json", "audit/c.json"):
        audit.append(store, name, {})
    whole = store.read("audit/b.json")
    store.replace("audit/b.json", whole.replace(b"{", b"{ "))
    assert [problem.partition(":")[0] for problem in audit.problems(store)] == ["audit/c.json"]
    store.delete("audit/b.json")
    assert [problem.partition(":")[0] for problem in audit.problems(store)] == ["audit/c.json"]
    store.replace("audit/b.json", whole)
    assert list(audit.problems(store)) == []


def test_a_second_beginning_is_a_problem(store: LocalStore) -> None:
    audit.append(store, "audit/a.json", {})
    store.put_new("audit/b.json", b'{"previous": ""}')
    assert list(audit.problems(store)) == ["audit/b.json: is a second beginning of the audit trail"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"nonsense"])
def test_what_is_no_record_is_named(store: LocalStore, content: bytes) -> None:
    store.put_new("audit/a.json", content)
    with pytest.raises(DatasetError, match=r"audit/a\.json: is not an audit record"):
        audit.read(store)
    assert len(list(audit.problems(store))) == 1
