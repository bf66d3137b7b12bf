from email import message_from_bytes
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart

import pytest

from mien.storage.emulator.blob import Draft, Key
from mien.storage.emulator.messages import Answer, Request
from mien.storage.emulator.objects import Store
from mien.storage.emulator.routes import Router

PLACE = "/storage/v1/b/bucket/o"


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create_bucket({"name": "bucket"})
    for name in "ab":
        store.insert(Draft(Key("bucket", name), b"data"))
    return store


def sent(store: Store, *calls: str) -> list[tuple[int, str]]:
    """Status and body of every call of a batch that Python's own library writes and reads."""
    whole = MIMEMultipart()
    for call in calls:
        whole.attach(MIMEApplication(call.encode(), "http", lambda _: None))
    head, _, body = whole.as_bytes().partition(b"\n\n")
    content_type = message_from_bytes(head)["Content-Type"]
    answer = Router(store).answer(Request("POST", "/batch/storage/v1", {}, {"content-type": content_type}, body))
    assert answer.status == 200
    return [read(part.get_payload()) for part in read_parts(answer)]


def read_parts(answer: Answer) -> list:  # type: ignore[type-arg]
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    return list(message_from_bytes(head + bytes(answer.body)).get_payload())


def read(text: str) -> tuple[int, str]:
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    return int(head.split()[1]), body


def test_calls_are_answered_in_order_and_one_that_fails_stays_alone(store: Store) -> None:
    calls = [f"DELETE {PLACE}/{name} HTTP/1.1\n\n" for name in ("a", "absent", "b")]
    assert [status for status, _ in sent(store, *calls)] == [204, 404, 204]


def test_a_call_may_have_a_host_headers_and_a_body(store: Store) -> None:
    body = '{"metadata": {"k": "v"}}'
    call = f"PATCH http://127.0.0.1:80{PLACE}/a?prettyPrint=false HTTP/1.1\nContent-Type: application/json\n\n{body}"
    ((status, answered),) = sent(store, call)
    assert status == 200
    assert '"metadata": {"k": "v"}' in answered
    assert store.get(Key("bucket", "a")).properties == {"metadata": {"k": "v"}}


def test_preconditions_hold_in_a_batch(store: Store) -> None:
    generation = store.get(Key("bucket", "a")).generation
    calls = [f"DELETE {PLACE}/a?ifGenerationMatch={number} HTTP/1.1\n\n" for number in (1, generation)]
    assert [status for status, _ in sent(store, *calls)] == [412, 204]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("application/json", b"{}"), ("multipart/mixed", b"x"), ("multipart/mixed; boundary=b", b"--b\n\nx\n--b--")],
)
def test_what_is_no_batch_is_refused(store: Store, content_type: str, body: bytes) -> None:
    request = Request("POST", "/batch/storage/v1", {}, {"content-type": content_type}, body)
    assert Router(store).answer(request).status == 400


def test_a_batch_has_an_end(store: Store) -> None:
    body = b"--b\n\nGET / HTTP/1.1\n" * 1001 + b"--b--"
    request = Request("POST", "/batch/storage/v1", {}, {"content-type": "multipart/mixed; boundary=b"}, body)
    answer = Router(store).answer(request)
    assert (answer.status, b"at most 1000" in bytes(answer.body)) == (400, True)
