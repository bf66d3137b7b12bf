import json
from typing import Any

import pytest

from mien.storage.emulator import calls
from mien.storage.emulator.blob import Draft, Key
from mien.storage.emulator.calls import byte_range
from mien.storage.emulator.messages import Answer, Refusal, Request
from mien.storage.emulator.objects import Store

BASE = "http://127.0.0.1:1"


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create_bucket({"name": "bucket"})
    store.insert(Draft(Key("bucket", "x"), b"0123456789", {"contentType": "a/b", "metadata": {"k": "v"}}))
    return store


def asked(body: Any = None, headers: dict[str, str] | None = None, **query: Any) -> Request:
    data = b"" if body is None else json.dumps(body).encode()
    return Request("", "", {name: [str(value)] for name, value in query.items()}, headers or {}, data, BASE)


def document(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200
    return json.loads(bytes(answer.body))


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-4", range(5)),
        ("bytes=5-", range(5, 10)),
        ("bytes=5-500", range(5, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-30", range(10)),
        ("bytes=10-", range(10, 10)),
        ("bytes=-0", range(10, 10)),
        ("bytes=4-2", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("lines=0-1", None),
        ("", None),
    ],
)
def test_byte_ranges_are_those_of_rfc_9110(header: str, wanted: range | None) -> None:
    assert byte_range(header, 10) == wanted


def test_a_range_says_where_it_lies(store: Store) -> None:
    answer = calls.read_object(store, asked(headers={"range": "bytes=-3"}), "bucket", "x")
    assert (answer.status, bytes(answer.body), answer.headers["Content-Range"]) == (206, b"789", "bytes 7-9/10")
    assert answer.headers["X-Goog-Hash"] == calls.read_object(store, asked(), "bucket", "x").headers["X-Goog-Hash"]


def test_a_range_outside_says_how_large_the_object_is(store: Store) -> None:
    store.insert(Draft(Key("bucket", "empty"), b""))
    for name, size in (("x", 10), ("empty", 0)):
        answer = calls.read_object(store, asked(headers={"range": "bytes=10-"}), "bucket", name)
        assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{size}")


def test_an_object_is_described_as_clients_read_it(store: Store) -> None:
    found = document(calls.get_object(store, asked(), "bucket", "x"))
    assert (found["size"], found["metageneration"], found["contentType"], found["metadata"]) == (
        "10",
        "1",
        "a/b",
        {"k": "v"},
    )
    assert found["mediaLink"] == f"{BASE}/download/storage/v1/b/bucket/o/x?generation={found['generation']}&alt=media"
    assert found["md5Hash"] == "eB5eJF1ptWaXm4bijSPyxw=="  # of 0123456789


def test_a_copy_takes_the_properties_unless_others_are_given(store: Store) -> None:
    for body, metadata, content_type in (
        (None, {"k": "v"}, "a/b"),
        ({"contentType": "c/d"}, {"k": "v"}, "c/d"),
        ({"metadata": {"new": "1"}, "contentType": "c/d"}, {"new": "1"}, "c/d"),
    ):
        found = document(calls.copy(store, asked(body), "bucket", "x", "bucket", "y"))
        assert (found["metadata"], found["contentType"], found["name"]) == (metadata, content_type, "y")


@pytest.mark.parametrize("call", [calls.copy, calls.rewrite])
def test_preconditions_of_a_copy_are_about_source_and_target(store: Store, call: Any) -> None:
    generation = store.get(Key("bucket", "x")).generation
    refused = [
        {"ifSourceGenerationMatch": 1},
        {"ifSourceGenerationNotMatch": generation},
        {"ifSourceMetagenerationMatch": 2},
        {"ifSourceMetagenerationNotMatch": 1},
        {"ifGenerationMatch": generation},
    ]
    for query in refused:
        with pytest.raises(Refusal) as error:
            call(store, asked(**query), "bucket", "x", "bucket", "y")
        assert error.value.status == 412
    with pytest.raises(Refusal, match="No such object"):
        call(store, asked(sourceGeneration=1), "bucket", "x", "bucket", "y")
    call(store, asked(ifSourceGenerationMatch=generation, ifGenerationMatch=0), "bucket", "x", "bucket", "y")
    assert bytes(store.read(Key("bucket", "y"))[1]) == b"0123456789"


def test_a_move_needs_its_source_as_it_was(store: Store) -> None:
    with pytest.raises(Refusal) as error:
        calls.move(store, asked(ifSourceGenerationMatch=1), "bucket", "x", "y")
    assert error.value.status == 412
    assert document(calls.move(store, asked(ifGenerationMatch=0), "bucket", "x", "y"))["name"] == "y"


def test_compose_joins_in_order_and_counts_parts(store: Store) -> None:
    store.insert(Draft(Key("bucket", "y"), b"abc"))
    body = {"sourceObjects": [{"name": name} for name in "xyx"], "destination": {"contentType": "c/d"}}
    found = document(calls.compose(store, asked(body), "bucket", "x"))
    assert (found["size"], found["componentCount"], found["contentType"]) == ("23", 3, "c/d")
    assert "md5Hash" not in found
    assert bytes(store.read(Key("bucket", "x"))[1]) == b"0123456789abc0123456789"
    twice = {"sourceObjects": [{"name": "x"}, {"name": "y"}]}
    assert document(calls.compose(store, asked(twice), "bucket", "z"))["componentCount"] == 4


@pytest.mark.parametrize(
    ("sources", "status"),
    [
        ([], 400),
        ([{"name": "x"}] * 33, 400),
        ([{"name": "absent"}], 404),
        ([{"name": "x", "generation": "1"}], 404),
        ([{"name": "x", "objectPreconditions": {"ifGenerationMatch": "1"}}], 412),
    ],
)
def test_compose_refuses(store: Store, sources: list[dict[str, Any]], status: int) -> None:
    with pytest.raises(Refusal) as error:
        calls.compose(store, asked({"sourceObjects": sources}), "bucket", "z")
    assert error.value.status == status


def test_a_patch_merges_and_an_update_replaces(store: Store) -> None:
    patched = document(calls.patch_object(store, asked({"metadata": {"l": "w"}}), "bucket", "x"))
    assert (patched["metadata"], patched["contentType"]) == ({"k": "v", "l": "w"}, "a/b")
    updated = document(calls.update_object(store, asked({"metadata": {"l": "w"}}), "bucket", "x"))
    assert updated["metadata"] == {"l": "w"}
    assert "contentType" not in updated
    assert updated["metageneration"] == "3"


def test_every_right_is_granted_on_a_bucket_that_is_there(store: Store) -> None:
    request = Request("GET", "", {"permissions": ["storage.objects.get", "storage.objects.create"]})
    assert document(calls.grant_permissions(store, request, "bucket"))["permissions"] == request.query["permissions"]
    with pytest.raises(Refusal, match="no such bucket"):
        calls.grant_permissions(store, request, "absent")


def test_buckets_are_listed_by_prefix(store: Store) -> None:
    store.create_bucket({"name": "other"})
    listed = document(calls.list_buckets(store, asked(prefix="b")))["items"]
    assert [bucket["name"] for bucket in listed] == ["bucket"]
    assert document(calls.get_storage_layout(store, asked(), "bucket"))["hierarchicalNamespace"] == {"enabled": False}
