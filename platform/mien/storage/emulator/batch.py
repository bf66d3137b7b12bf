"""Batch requests: many calls in one `multipart/mixed` body, answered in the same shape."""

import uuid
from collections.abc import Callable
from email.message import Message
from email.parser import BytesParser
from http.client import responses
from typing import cast

from mien.storage.emulator.messages import Answer, Request, bad_request

MAX_CALLS = 1000


def batch(answer: Callable[[Request], Answer], request: Request) -> Answer:
    """Answer every call of a batch, in order; one that fails does not touch the others.

    Args:
        answer: What answers one call.
        request: The batch.

    Raises:
        Refusal: 400 if the body is no batch or has too many calls.
    """
    parts = _parts(request)
    if len(parts) > MAX_CALLS:
        raise bad_request(f"a batch has at most {MAX_CALLS} calls, this one {len(parts)}")
    boundary = f"batch_{uuid.uuid4().hex}"
    body = b"".join(_answered(boundary, part, answer(_call(request, part))) for part in parts)
    headers = {"Content-Type": f"multipart/mixed; boundary={boundary}"}
    return Answer(200, headers, body + f"--{boundary}--\r\n".encode())


def _parts(request: Request) -> list[Message]:
    head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
    parsed = BytesParser().parsebytes(head + request.body)
    if not parsed.is_multipart():
        raise bad_request("the body is no batch: its Content-Type names no boundary, or no part follows it")
    return cast("list[Message]", parsed.get_payload())


def _call(request: Request, part: Message) -> Request:
    """The call inside one part: request line, headers, empty line, body."""
    line, _, rest = _content(part).lstrip().replace(b"\r\n", b"\n").partition(b"\n")
    words = line.decode("latin-1").split()
    if len(words) < 2:
        raise bad_request(f"a part of the batch begins with {line!r}, which is no request line")
    inner = BytesParser().parsebytes(rest)
    headers = {name.lower(): str(value) for name, value in inner.items()}
    return Request.parse(words[0], words[1], headers, _content(inner).rstrip(b"\n"), request.base)


def _content(part: Message) -> bytes:
    return cast("bytes", part.get_payload(decode=True) or b"")


def _answered(boundary: str, part: Message, answer: Answer) -> bytes:
    content_id = str(part.get("Content-ID", "")).strip("<>")
    head = [
        f"--{boundary}",
        "Content-Type: application/http",
        f"Content-ID: <response-{content_id}>",
        "",
        f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'Unknown')}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
        f"Content-Length: {len(answer.body)}",
        "",
        "",
    ]
    return "\r\n".join(head).encode() + bytes(answer.body) + b"\r\n"
