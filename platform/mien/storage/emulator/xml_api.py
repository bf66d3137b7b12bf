"""The part of the XML API that clients use: reads of `/BUCKET/OBJECT`, and multipart uploads.

Parts of a multipart upload come in any order and side by side; google-cloud-storage's `transfer_manager` sends them.
"""

import re
import threading
import uuid
from dataclasses import dataclass, field, replace
from xml.sax.saxutils import escape

from mien.storage.emulator import calls
from mien.storage.emulator.blob import Draft, Key, Sums, check_object_name
from mien.storage.emulator.messages import Answer, Refusal, Request, bad_request, not_found
from mien.storage.emulator.objects import Store

MAX_PARTS = 10_000
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_PART = re.compile(r"<Part>(.*?)</Part>", re.DOTALL)
_CONDITIONS = {
    "x-goog-if-generation-match": "ifGenerationMatch",
    "x-goog-if-metageneration-match": "ifMetagenerationMatch",
}
_METADATA = "x-goog-meta-"


def read(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """An object's bytes; preconditions stand in headers."""
    stated = {query: [request.headers[header]] for header, query in _CONDITIONS.items() if header in request.headers}
    return calls.read_object(store, replace(request, query=request.query | stated), bucket, name)


@dataclass
class _Upload:
    draft: Draft
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    """Number -> ETag and bytes; a part that comes twice replaces itself."""


class XmlUploads:
    """Calls of multipart uploads on one store."""

    def __init__(self, store: Store) -> None:
        """Begin without open uploads."""
        self._store = store
        self._lock = threading.Lock()
        self._uploads: dict[str, _Upload] = {}

    def start(self, request: Request, bucket: str, name: str) -> Answer:
        """Open an upload."""
        check_object_name(name)
        self._store.bucket(bucket)
        metadata = {
            header.removeprefix(_METADATA): value
            for header, value in request.headers.items()
            if header.startswith(_METADATA)
        }
        properties = {"contentType": request.headers.get("content-type"), "metadata": metadata or None}
        known = {key: value for key, value in properties.items() if value}
        upload_id = uuid.uuid4().hex
        self._uploads[upload_id] = _Upload(Draft(Key(bucket, name), b"", known))
        return _xml("InitiateMultipartUploadResult", Bucket=bucket, Key=name, UploadId=upload_id)

    def put_part(self, request: Request, _bucket: str, name: str) -> Answer:
        """Take one part, checked by the sums that come with it."""
        upload = self._upload(request)
        number = request.integer("partNumber") or 0
        if not 1 <= number <= MAX_PARTS:
            raise bad_request(f"partNumber: {number} is not 1 to {MAX_PARTS}")
        sums = Sums.of(request.body)
        demands = Sums.of_header(request.headers.get("x-goog-hash", "")), Sums(None, request.headers.get("content-md5"))
        try:
            sums.check(*demands)
        except Refusal as refusal:
            return _xml("Error", 400, Code="BadDigest", Message=refusal.message, Details=name)
        etag = f'"{sums.md5}"'
        upload.parts[number] = etag, request.body
        return Answer(200, {"ETag": etag, "X-Goog-Hash": f"crc32c={sums.crc32c},md5={sums.md5}"})

    def complete(self, request: Request, bucket: str, name: str) -> Answer:
        """Join the parts that the body names, in order of their numbers, into the object."""
        upload = self._upload(request)
        data = b"".join(upload.parts[number][1] for number in _named_parts(request.body, upload))
        properties, key = upload.draft.properties, upload.draft.key
        draft = Draft(key, data, properties, num_components=len(upload.parts))
        blob = self._store.insert(draft)
        self._close(request)
        place = f"{request.base}/{bucket}/{name}"
        return _xml("CompleteMultipartUploadResult", Location=place, Bucket=bucket, Key=name, ETag=blob.etag)

    def cancel(self, request: Request, _bucket: str, _name: str) -> Answer:
        """Drop the upload and its parts."""
        self._upload(request)
        self._close(request)
        return Answer(204)

    def _upload(self, request: Request) -> _Upload:
        with self._lock:
            upload = self._uploads.get(request.get("uploadId"))
        if upload is None:
            raise not_found("no such multipart upload: it was completed or cancelled, or the emulator was restarted")
        return upload

    def _close(self, request: Request) -> None:
        with self._lock:
            self._uploads.pop(request.get("uploadId"), None)


def _named_parts(body: bytes, upload: _Upload) -> list[int]:
    """Numbers that the body of a completion names; taken by pattern, since no parser of the library is safe.

    Raises:
        Refusal: 400 for a part that never came, or came with other bytes.
    """
    numbers = []
    for part in _PART.findall(body.decode()):
        number, etag = (re.search(rf"<{tag}>(.*?)</{tag}>", part) for tag in ("PartNumber", "ETag"))
        if not number or not etag:
            raise bad_request(f"a part needs PartNumber and ETag, not {part!r}")
        held = upload.parts.get(int(number[1]))
        if held is None or held[0].strip('"') != etag[1].replace("&quot;", "").strip('"'):
            raise bad_request(f"part {number[1]} never came, or with other bytes")
        numbers.append(int(number[1]))
    if not numbers or numbers != sorted(set(numbers)):
        raise bad_request("the parts are named once each, in ascending order")
    return numbers


def _xml(root: str, status: int = 200, **values: str) -> Answer:
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in values.items())
    namespace = "" if root == "Error" else f' xmlns="{_NAMESPACE}"'
    body = f"<?xml version='1.0' encoding='UTF-8'?><{root}{namespace}>{inner}</{root}>"
    return Answer(status, {"Content-Type": "application/xml; charset=UTF-8"}, body.encode())
