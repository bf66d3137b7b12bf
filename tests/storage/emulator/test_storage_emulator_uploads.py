import gc
import json
from typing import Any

import pytest

from mien.storage.emulator.blob import Blob, Draft, Key, Sums
from mien.storage.emulator.messages import Answer, Refusal, Request
from mien.storage.emulator.objects import Store
from mien.storage.emulator.uploads import QUANTUM_BYTES, Uploads, split_related

X = Key("bucket", "x")
DATA = bytes(range(256)) * (QUANTUM_BYTES // 256) + b"the rest"


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create_bucket({"name": "bucket"})
    return store


@pytest.fixture
def uploads(store: Store) -> Uploads:
    return Uploads(store)


def start(uploads: Uploads, **query: str) -> str:
    request = Request("POST", "/", {"name": ["x"], **{key: [value] for key, value in query.items()}})
    return uploads.start(request, "bucket").headers["Location"].rpartition("=")[2]


def send(uploads: Uploads, upload_id: str, content_range: str | None, data: bytes = b"", **headers: str) -> Answer:
    given = {} if content_range is None else {"content-range": f"bytes {content_range}"}
    request = Request("PUT", "/", {"upload_id": [upload_id]}, given | headers, data)
    return uploads.resume(request, "bucket")


def status(*arguments: Any, **headers: str) -> int:
    try:
        return send(*arguments, **headers).status
    except Refusal as refusal:
        return refusal.status


def test_chunks_become_the_object_and_not_before_the_last(uploads: Uploads, store: Store) -> None:
    upload = start(uploads)
    first = send(uploads, upload, f"0-{QUANTUM_BYTES - 1}/*", DATA[:QUANTUM_BYTES])
    assert (first.status, first.headers) == (308, {"Range": f"bytes=0-{QUANTUM_BYTES - 1}"})
    with pytest.raises(Refusal, match="No such object"):
        store.get(X)
    last = send(uploads, upload, f"{QUANTUM_BYTES}-{len(DATA) - 1}/{len(DATA)}", DATA[QUANTUM_BYTES:])
    assert json.loads(last.body)["size"] == str(len(DATA))
    assert bytes(store.read(X)[1]) == DATA


def test_of_a_chunk_in_the_middle_whole_quanta_are_kept(uploads: Uploads, store: Store) -> None:
    upload = start(uploads)
    cut = QUANTUM_BYTES + 5
    assert send(uploads, upload, f"0-{cut - 1}/*", DATA[:cut]).headers == {"Range": f"bytes=0-{QUANTUM_BYTES - 1}"}
    assert status(uploads, upload, f"{cut}-{len(DATA) - 1}/{len(DATA)}", DATA[cut:]) == 400
    assert status(uploads, upload, f"{QUANTUM_BYTES}-{len(DATA) - 1}/{len(DATA)}", DATA[QUANTUM_BYTES:]) == 200
    assert bytes(store.read(X)[1]) == DATA


def test_what_comes_twice_is_taken_once(uploads: Uploads, store: Store) -> None:
    upload = start(uploads)
    send(uploads, upload, f"0-{QUANTUM_BYTES - 1}/*", DATA[:QUANTUM_BYTES])
    assert status(uploads, upload, None, DATA) == 200
    assert status(uploads, upload, None, DATA) == 200
    assert bytes(store.read(X)[1]) == DATA
    assert store.get(X).generation == int(json.loads(send(uploads, upload, "*/*").body)["generation"])


def test_a_finished_upload_keeps_no_bytes_alive(uploads: Uploads, store: Store) -> None:
    send(uploads, start(uploads), None, DATA)
    content = store.get(X).content
    store.delete(X)
    assert [each for each in gc.get_referrers(content) if isinstance(each, Blob | Draft | dict)] == []


def test_the_state_can_be_asked_for(uploads: Uploads) -> None:
    upload = start(uploads)
    assert send(uploads, upload, "*/*") == Answer(308, {})
    send(uploads, upload, f"0-{QUANTUM_BYTES - 1}/{len(DATA)}", DATA[:QUANTUM_BYTES])
    assert send(uploads, upload, f"*/{len(DATA)}").headers == {"Range": f"bytes=0-{QUANTUM_BYTES - 1}"}


def test_a_size_that_is_told_last_finishes(uploads: Uploads, store: Store) -> None:
    upload = start(uploads)
    send(uploads, upload, f"0-{QUANTUM_BYTES - 1}/*", DATA[:QUANTUM_BYTES])
    assert status(uploads, upload, f"*/{QUANTUM_BYTES}") == 200
    assert store.get(X).size_bytes == QUANTUM_BYTES
    assert status(uploads, start(uploads, name="empty"), "*/0") == 200


@pytest.mark.parametrize(
    ("content_range", "data"), [("0-9/5", b"0123456789"), ("0-9/*", b"01234"), ("5-9/*", b"01234"), ("a-b/c", b"")]
)
def test_chunks_that_contradict_themselves_are_refused(uploads: Uploads, content_range: str, data: bytes) -> None:
    assert status(uploads, start(uploads), content_range, data) == 400


def test_the_precondition_counts_at_the_end_too_and_stays_the_answer(uploads: Uploads, store: Store) -> None:
    first, second = start(uploads, ifGenerationMatch="0"), start(uploads, ifGenerationMatch="0")
    assert status(uploads, first, None, b"first") == 200
    assert [status(uploads, second, None, b"second") for _ in range(2)] == [412, 412]
    assert status(uploads, second, "*/*") == 412
    assert bytes(store.read(X)[1]) == b"first"
    with pytest.raises(Refusal) as refused:
        start(uploads, ifGenerationMatch="0")
    assert refused.value.status == 412


def test_sums_are_held_that_come_first_or_last(uploads: Uploads, store: Store) -> None:
    wrong = Sums.of(b"other")
    described = json.dumps({"name": "x", "crc32c": wrong.crc32c}).encode()
    upload = uploads.start(Request("POST", "/", body=described), "bucket").headers["Location"].rpartition("=")[2]
    assert status(uploads, upload, None, b"data") == 400
    assert status(uploads, start(uploads), None, b"data", **{"x-goog-hash": f"md5={wrong.md5}"}) == 400
    assert status(uploads, start(uploads), None, b"other", **{"x-goog-hash": f"md5={wrong.md5}"}) == 200


def test_a_cancelled_upload_is_gone(uploads: Uploads) -> None:
    upload = start(uploads)
    assert uploads.cancel(Request("DELETE", "/", {"upload_id": [upload]}), "bucket").status == 499
    assert status(uploads, upload, "*/*") == 404


def test_an_upload_into_nothing_is_refused_at_once(uploads: Uploads) -> None:
    for request, bucket, code in (
        (Request("POST", "/", {"name": ["x"]}), "absent", 404),
        (Request("POST", "/"), "bucket", 400),
        (Request("POST", "/", {"name": [".."]}), "bucket", 400),
    ):
        with pytest.raises(Refusal) as refused:
            uploads.start(request, bucket)
        assert refused.value.status == code


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
@pytest.mark.parametrize("data", [b"", b"\r\n", b"a\n--b\nc", b"\r", b"--b", DATA])
def test_the_bytes_of_a_multipart_body_may_be_anything(newline: bytes, data: bytes) -> None:
    parts = [b"--b", b"content-type: application/json", b"", b'{"name": "x"}', b"--b", b"Content-Type: a/b", b"", b""]
    body = newline.join(parts) + data + newline + b"--b--" + newline
    for boundary in ('boundary="b"', "boundary=b", "boundary='b'; charset=x"):
        assert split_related(f"multipart/related; {boundary}", body) == ({"name": "x"}, "a/b", data)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b""),
        ("x; boundary=b", b""),
        ("x; boundary=b", b"--b\n\n{}\n--b--"),
        ("x; boundary=b", b"--b\n{}\n--b\n\n1\n--b--"),
    ],
)
def test_a_multipart_body_of_other_than_two_parts_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        split_related(content_type, body)
    assert refused.value.status == 400
