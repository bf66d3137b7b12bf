"""Uploads of the JSON API: in one request (media, multipart) and in many (resumable)."""

import re
import threading
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mien.storage.emulator.blob import Blob, Draft, Key, Sums, check_object_name, writable
from mien.storage.emulator.messages import (
    Answer,
    Refusal,
    Request,
    bad_request,
    json_answer,
    json_object,
    not_found,
)
from mien.storage.emulator.objects import Store
from mien.storage.emulator.preconditions import Preconditions

QUANTUM_BYTES = 256 * 1024
"""Of a chunk that is not the last, Cloud Storage keeps whole multiples of this."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_BOUNDARY = re.compile(r"boundary=(?:\"([^\"]+)\"|'([^']+)'|([^\s;]+))", re.IGNORECASE)
_CONTENT_TYPE = re.compile(rb"^content-type:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)


class Chunk(NamedTuple):
    """What `Content-Range` says: first byte or None for none, size of the whole or None for not known."""

    start: int | None
    total: int | None

    @classmethod
    def of(cls, request: Request) -> "Chunk":
        """That of a request; without the header the body is the whole.

        Raises:
            Refusal: 400 if it cannot be read or does not fit the body.
        """
        header = request.headers.get("content-range")
        if header is None:
            return cls(0, len(request.body))
        match = _CONTENT_RANGE.fullmatch(header.strip())
        if match is None:
            raise bad_request(f"Content-Range: {header!r} cannot be read")
        first, last, total = match.groups()
        if first is not None and int(last) - int(first) + 1 != len(request.body):
            raise bad_request(f"Content-Range: {header!r} with a body of {len(request.body)} bytes")
        return cls(None if first is None else int(first), None if total == "*" else int(total))


@dataclass
class _Session:
    """A resumable upload: what it will be, what has come, how it ended."""

    draft: Draft
    conditions: Preconditions
    received: bytearray = field(default_factory=bytearray)
    ended: Blob | Refusal | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Uploads:
    """Calls that bring bytes."""

    def __init__(self, store: Store) -> None:
        """Begin without open sessions: they do not outlive the server, as an expired one does not."""
        self._store = store
        self._sessions: dict[str, _Session] = {}

    def insert_media(self, request: Request, bucket: str) -> Answer:
        """The body is the object, the query its name."""
        described = {"contentType": request.headers.get("content-type")}
        return self._insert(request, _draft(request, bucket, described, request.body))

    def insert_multipart(self, request: Request, bucket: str) -> Answer:
        """Two parts: the object's description, its bytes."""
        described, content_type, data = split_related(request.headers.get("content-type", ""), request.body)
        return self._insert(request, _draft(request, bucket, {"contentType": content_type} | described, data))

    def _insert(self, request: Request, draft: Draft) -> Answer:
        return json_answer(self._store.insert(draft, Preconditions.of(request)).resource(request.base))

    def start(self, request: Request, bucket: str) -> Answer:
        """Open a resumable upload; preconditions are checked now, and again when the last byte has come."""
        described = {"contentType": request.headers.get("x-upload-content-type")} | request.json()
        session = _Session(_draft(request, bucket, described, b""), Preconditions.of(request))
        check_object_name(session.draft.key.name)
        self._store.check(session.draft.key, session.conditions)
        upload_id = uuid.uuid4().hex
        self._sessions[upload_id] = session
        place = f"{request.base}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={upload_id}"
        return Answer(200, {"Location": place, "X-GUploader-UploadID": upload_id})

    def resume(self, request: Request, _bucket: str) -> Answer:
        """Take a chunk, or say how much has come.

        Returns:
            308 with the range that is kept, or the object's description when it is whole.
        """
        session = self._session(request)
        with session.lock:
            if session.ended is None:
                self._take(session, request)
            if session.ended is None:
                kept = len(session.received)
                return Answer(308, {"Range": f"bytes=0-{kept - 1}"} if kept else {})
        if isinstance(session.ended, Refusal):
            raise session.ended
        return json_answer(session.ended.resource(request.base))

    def cancel(self, request: Request, _bucket: str) -> Answer:
        """Drop an upload; 499, as the real service says."""
        self._session(request)
        del self._sessions[request.get("upload_id")]
        return Answer(499)

    def _session(self, request: Request) -> _Session:
        session = self._sessions.get(request.get("upload_id"))
        if session is None:
            raise not_found("no such upload: it was cancelled, or the emulator was restarted")
        return session

    def _take(self, session: _Session, request: Request) -> None:
        start, total = Chunk.of(request)
        received = session.received
        if start is not None:
            if start > len(received):
                raise bad_request(f"bytes {len(received)} to {start} are missing")
            received += memoryview(request.body)[len(received) - start :]
        if len(received) == total:
            self._finish(session, Sums.of_header(request.headers.get("x-goog-hash", "")))
            return
        if total is not None and len(received) > total:
            raise bad_request(f"{len(received)} bytes have come of an object of {total}")
        del received[len(received) // QUANTUM_BYTES * QUANTUM_BYTES :]

    def _finish(self, session: _Session, demand: Sums) -> None:
        draft = replace(session.draft, data=bytes(session.received), demands=(*session.draft.demands, demand))
        try:
            blob = self._store.insert(draft, session.conditions)
            session.ended = replace(blob, content=b"")  # to be described again, not to keep its bytes alive
        except Refusal as refusal:
            session.ended = refusal
        session.received = bytearray()


def _draft(request: Request, bucket: str, described: dict[str, Any], data: bytes) -> Draft:
    """An object of a request: the query's name goes before the description's."""
    name = request.get("name") or described.get("name")
    if not isinstance(name, str):
        raise bad_request("an upload needs the object's name")
    demands = Sums.of_resource(described), Sums.of_header(request.headers.get("x-goog-hash", ""))
    return Draft(Key(bucket, name), data, writable(described), demands)


def split_related(content_type: str, body: bytes) -> tuple[dict[str, Any], str | None, bytes]:
    """Take a `multipart/related` body apart; lines may end with CR LF or, as gcsfs has it, LF alone.

    Only the first delimiters and the very last one count: the bytes between may hold anything, also the boundary.

    Returns:
        The object's description, the content type of its bytes, the bytes.

    Raises:
        Refusal: 400 if there are not two parts.
    """
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise bad_request(f"Content-Type: {content_type!r} names no boundary")
    delimiter = b"--" + next(filter(None, match.groups())).encode()
    first = body.find(delimiter)
    second = body.find(b"\n" + delimiter, first + len(delimiter))
    last = body.rfind(b"\n" + delimiter + b"--")
    if first < 0 or second < 0 or last <= second:
        raise bad_request("the multipart body has not two parts")
    _, described = _part(body[first + len(delimiter) : second])
    headers, data = _part(body[second + 1 + len(delimiter) : last])
    found = _CONTENT_TYPE.search(headers)
    return json_object(described), found[1].decode("latin-1") if found else None, data


def _part(part: bytes) -> tuple[bytes, bytes]:
    """Headers and bytes of a part, without the line end that belongs to the delimiter after it."""
    newline = b"\r\n" if part.startswith(b"\r\n") else b"\n"
    headers, blank, data = part.partition(newline * 2)
    if not blank:
        raise bad_request("a part of the multipart body has no empty line after its headers")
    return headers, data.removesuffix(b"\r") if newline == b"\r\n" else data
