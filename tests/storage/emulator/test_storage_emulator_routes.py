import pytest

from mien.storage.emulator.messages import Request
from mien.storage.emulator.objects import Store
from mien.storage.emulator.routes import Router


@pytest.fixture
def router() -> Router:
    store = Store()
    store.create_bucket({"name": "bucket"})
    return Router(store)


def request(line: str, body: bytes = b"") -> Request:
    method, _, target = line.partition(" ")
    return Request.parse(method, target, {}, body, "")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("GET /storage/v1/b?project=p", "buckets.list"),
        ("POST /storage/v1/b", "buckets.insert"),
        ("GET /storage/v1/b/B", "buckets.get"),
        ("GET /storage/v1/b/B/storageLayout", "buckets.layout"),
        ("GET /storage/v1/b/B/iam/testPermissions?permissions=x", "buckets.permissions"),
        ("GET /storage/v1/b/B/o", "objects.list"),
        ("GET /storage/v1/b/B/o/", "objects.list"),
        ("GET /storage/v1/b/B/o/x", "objects.get"),
        ("GET /storage/v1/b/B/o/x?alt=json", "objects.get"),
        ("GET /storage/v1/b/B/o/x?alt=media", "objects.read"),
        ("GET /download/storage/v1/b/B/o/d%2Fx?alt=media", "objects.read"),
        ("GET /B/d/x", "objects.read"),
        ("PATCH /storage/v1/b/B/o/x", "objects.patch"),
        ("PUT /storage/v1/b/B/o/x", "objects.update"),
        ("DELETE /storage/v1/b/B/o/x", "objects.delete"),
        ("POST /storage/v1/b/B/o/x/compose", "objects.compose"),
        ("POST /storage/v1/b/B/o/x/rewriteTo/b/C/o/y", "objects.rewrite"),
        ("POST /storage/v1/b/B/o/x/copyTo/b/C/o/y", "objects.copy"),
        ("POST /storage/v1/b/B/o/x/moveTo/o/y", "objects.move"),
        ("POST /upload/storage/v1/b/B/o?uploadType=media&name=x", "objects.insert"),
        ("POST /upload/storage/v1/b/B/o?uploadType=multipart", "objects.insert"),
        ("POST /upload/storage/v1/b/B/o?uploadType=resumable", "objects.start"),
        ("PUT /upload/storage/v1/b/B/o?uploadType=resumable&upload_id=1", "objects.resume"),
        ("POST /upload/storage/v1/b/B/o?uploadType=resumable&upload_id=1", "objects.resume"),
        ("DELETE /upload/storage/v1/b/B/o?uploadType=resumable&upload_id=1", "objects.cancel"),
        ("POST /B/x?uploads", "objects.start"),
        ("PUT /B/x?partNumber=1&uploadId=1", "objects.resume"),
        ("POST /B/x?uploadId=1", "objects.insert"),
        ("POST /batch/storage/v1", "batch"),
        ("GET /", "unknown"),
        ("POST /upload/storage/v1/b/B/o?uploadType=other", "unknown"),
        ("PATCH /B/x", "unknown"),
    ],
)
def test_every_request_has_its_kind(router: Router, line: str, kind: str) -> None:
    assert router.kind(request(line)) == kind


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /storage/v1/b/bucket", 200),
        ("GET /storage/v1/b/absent", 404),
        ("PATCH /storage/v1/b", 404),
        ("GET /storage/v1/b/bucket/o/%FF", 400),
        ("GET /storage/v1/b/bucket/o?maxResults=x", 400),
        ("DELETE /storage/v1/b/bucket/o/x", 404),
        ("DELETE /storage/v1/b/bucket", 204),
    ],
)
def test_a_refusal_is_an_answer(router: Router, line: str, status: int) -> None:
    assert router.answer(request(line)).status == status


def test_a_slash_in_a_name_is_none_of_the_path(router: Router) -> None:
    line = "POST /upload/storage/v1/b/bucket/o?uploadType=media&name=d%2Fx%2Fcompose"
    assert router.answer(request(line, b"data")).status == 200
    for target in ("/storage/v1/b/bucket/o/d%2Fx%2Fcompose?alt=media", "/bucket/d/x/compose", "/bucket/d%2Fx/compose"):
        assert bytes(router.answer(request(f"GET {target}")).body) == b"data"
