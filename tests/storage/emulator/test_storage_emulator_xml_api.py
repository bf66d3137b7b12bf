import base64
import hashlib
import re

import pytest

from mien.storage.emulator.blob import Draft, Key
from mien.storage.emulator.messages import Answer, Request
from mien.storage.emulator.objects import Store
from mien.storage.emulator.routes import Router

PLACE = "/bucket/d/x"


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create_bucket({"name": "bucket"})
    return store


@pytest.fixture
def router(store: Store) -> Router:
    return Router(store)


def ask(router: Router, line: str, body: bytes = b"", **headers: str) -> Answer:
    method, _, target = line.partition(" ")
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return router.answer(Request.parse(method, target, given, body, "http://host"))


def start(router: Router) -> str:
    answer = ask(router, f"POST {PLACE}?uploads", content_type="a/b", x_goog_meta_key="value")
    found = re.search("<UploadId>(.+)</UploadId>", bytes(answer.body).decode())
    assert found
    return found[1]


def complete(router: Router, upload: str, *parts: tuple[int, str]) -> int:
    listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    return ask(router, f"POST {PLACE}?uploadId={upload}", body).status


def put(router: Router, upload: str, number: int, data: bytes, **headers: str) -> Answer:
    return ask(router, f"PUT {PLACE}?partNumber={number}&uploadId={upload}", data, **headers)


def etag(data: bytes) -> str:
    return f'"{base64.b64encode(hashlib.md5(data).digest()).decode()}"'


def test_parts_in_any_order_become_the_object(router: Router, store: Store) -> None:
    upload = start(router)
    for number, data in ((3, b"c"), (1, b"old"), (1, b"a")):
        assert put(router, upload, number, data).headers["ETag"] == etag(data)
    assert complete(router, upload, (1, etag(b"a")), (3, etag(b"c"))) == 200
    blob, data = store.read(Key("bucket", "d/x"))
    assert bytes(data) == b"ac"
    assert blob.properties == {"contentType": "a/b", "metadata": {"key": "value"}}
    assert blob.num_components == 2
    assert complete(router, upload, (1, etag(b"a"))) == 404


def test_a_completion_that_names_other_parts_is_refused(router: Router) -> None:
    upload = start(router)
    for number, data in ((1, b"a"), (2, b"b")):
        put(router, upload, number, data)
    first, second = (1, etag(b"a")), (2, etag(b"b"))
    for parts in ([], [second, first], [first, first], [(1, etag(b"b"))], [(5, etag(b"a"))]):
        assert complete(router, upload, *parts) == 400
    assert complete(router, upload, first, second) == 200


def test_a_part_with_another_sum_is_refused_in_xml(router: Router) -> None:
    upload = start(router)
    for headers in ({"x_goog_hash": "crc32c=AAAAAA=="}, {"content_md5": "AAAA"}):
        answer = put(router, upload, 1, b"data", **headers)
        assert answer.status == 400
        assert b"<Code>BadDigest</Code>" in bytes(answer.body)
    assert complete(router, upload, (1, etag(b"data"))) == 400


def test_bad_numbers_and_cancelled_uploads_are_refused(router: Router) -> None:
    upload = start(router)
    assert [put(router, upload, number, b"").status for number in (0, 10_001)] == [400, 400]
    assert ask(router, f"DELETE {PLACE}?uploadId={upload}").status == 204
    assert put(router, upload, 1, b"").status == 404


def test_a_read_has_its_preconditions_in_headers(router: Router, store: Store) -> None:
    generation = store.insert(Draft(Key("bucket", "d/x"), b"data")).generation
    assert ask(router, f"GET {PLACE}").body == b"data"
    assert ask(router, f"GET {PLACE}", x_goog_if_generation_match=str(generation)).status == 200
    assert ask(router, f"GET {PLACE}", x_goog_if_generation_match="1").status == 412
    assert ask(router, f"GET {PLACE}", x_goog_if_metageneration_match="2").status == 412
    assert ask(router, f"GET {PLACE}?generation=1").status == 404
