"""An object as it stands: one immutable generation, its sums, and how the JSON API describes it."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from mien.storage.emulator.messages import bad_request, encode

Data = bytes | memoryview
Content = Data | Path
"""Where an object's bytes are: in memory, or in a file of ours."""

WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "metadata",
    "storageClass",
)
"""What a client may say about an object; everything else is the server's."""

_MAX_NAME_BYTES = 1024
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")


class Key(NamedTuple):
    """Which object: bucket and name, and one generation or the live one."""

    bucket: str
    name: str
    generation: int | None = None

    def __str__(self) -> str:
        """As a URI."""
        return f"gs://{self.bucket}/{self.name}" + (f"#{self.generation}" if self.generation else "")


class Sums(NamedTuple):
    """CRC32C and MD5 in base64 of the big-endian bytes, as Cloud Storage writes them; None: not known."""

    crc32c: str | None = None
    md5: str | None = None

    @classmethod
    def of(cls, data: Data) -> "Sums":
        """Those of some bytes."""
        crc = google_crc32c.Checksum(bytes(data) if isinstance(data, memoryview) else data).digest()
        return cls(_base64(crc), _base64(hashlib.md5(data, usedforsecurity=False).digest()))

    @classmethod
    def of_header(cls, header: str) -> "Sums":
        """Those of `x-goog-hash: crc32c=…,md5=…`."""
        stated = dict(part.strip().split("=", 1) for part in header.split(",") if "=" in part)
        return cls(stated.get("crc32c"), stated.get("md5"))

    @classmethod
    def of_resource(cls, resource: dict[str, Any]) -> "Sums":
        """Those that a client states in an object's description."""
        return cls(resource.get("crc32c"), resource.get("md5Hash"))

    def check(self, *demands: "Sums") -> None:
        """Compare with what clients said that the bytes must be.

        Raises:
            Refusal: 400, naming both sums.
        """
        for demand in demands:
            for what, found, wanted in zip(self._fields, self, demand, strict=True):
                if wanted not in (None, found):
                    raise bad_request(f"Provided {what} {wanted!r} doesn't match calculated {what} {found!r}")


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@dataclass(frozen=True)
class Draft:
    """An object to be: its bytes, what the client says about it, and the sums that it demands."""

    key: Key
    data: Data
    properties: dict[str, Any] = field(default_factory=dict)
    demands: tuple[Sums, ...] = ()
    num_components: int = 0
    """More than 0: composed of so many others; such an object has no MD5."""


@dataclass(frozen=True)
class Blob:
    """One generation of an object. A change makes another blob, so that a reader never sees half of one."""

    bucket: str
    name: str
    generation: int
    metageneration: int
    size_bytes: int
    sums: Sums
    num_components: int
    created: str
    updated: str
    properties: dict[str, Any]
    content: Content

    @property
    def versions(self) -> tuple[int, int]:
        """Generation and metageneration, which preconditions are about."""
        return self.generation, self.metageneration

    @property
    def etag(self) -> str:
        """Another one after every change of bytes or properties."""
        return _base64(f"{self.generation}/{self.metageneration}".encode())

    def resource(self, base: str) -> dict[str, Any]:
        """The object's description in the JSON API; `base` is scheme and host of its links."""
        place = f"storage/v1/b/{self.bucket}/o/{encode(self.name)}"
        described = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": f"{base}/{place}",
            "mediaLink": f"{base}/download/{place}?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "storageClass": "STANDARD",
            "size": str(self.size_bytes),
            "crc32c": self.sums.crc32c,
            "md5Hash": self.sums.md5,
            "componentCount": self.num_components or None,
            "etag": self.etag,
            "timeCreated": self.created,
            "updated": self.updated,
            "timeStorageClassUpdated": self.created,
            **self.properties,
        }
        return {key: value for key, value in described.items() if value is not None}

    def headers(self) -> dict[str, str]:
        """The headers of a download."""
        sums = {"crc32c": self.sums.crc32c, "md5": self.sums.md5}
        headers = {
            "Content-Type": self.properties.get("contentType", "application/octet-stream"),
            "Cache-Control": self.properties.get("cacheControl"),
            "Content-Disposition": self.properties.get("contentDisposition"),
            "Content-Encoding": self.properties.get("contentEncoding"),
            "Content-Language": self.properties.get("contentLanguage"),
            "ETag": self.etag,
            "Accept-Ranges": "bytes",
            "X-Goog-Generation": str(self.generation),
            "X-Goog-Metageneration": str(self.metageneration),
            "X-Goog-Hash": ",".join(f"{name}={value}" for name, value in sums.items() if value),
            "X-Goog-Stored-Content-Length": str(self.size_bytes),
            "X-Goog-Stored-Content-Encoding": self.properties.get("contentEncoding", "identity"),
            "X-Goog-Storage-Class": self.properties.get("storageClass", "STANDARD"),
        }
        return {name: value for name, value in headers.items() if value}


def writable(resource: dict[str, Any]) -> dict[str, Any]:
    """What a client may set, out of a description that it sends; the rest is left out, as the real service does.

    Raises:
        Refusal: 400 if custom metadata are no strings.
    """
    properties = {key: resource[key] for key in WRITABLE if resource.get(key) is not None}
    metadata = properties.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str | None) for value in metadata.values()):
        raise bad_request(f"metadata: {metadata!r} is not an object of strings")
    return properties


def merged(properties: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Properties after a PATCH: what is named replaces, null removes, custom metadata are merged key by key."""
    after = {key: value for key, value in properties.items() if key not in changes or changes[key] is not None}
    after |= writable(changes)
    if changes.get("metadata"):
        metadata = {**properties.get("metadata", {}), **changes["metadata"]}
        after["metadata"] = {key: value for key, value in metadata.items() if value is not None}
    return after


def check_object_name(name: str) -> None:
    """Hold the rules of Cloud Storage for names of objects.

    Raises:
        Refusal: 400.
    """
    if not name or len(name.encode()) > _MAX_NAME_BYTES:
        raise bad_request(f"an object's name has 1 to {_MAX_NAME_BYTES} bytes, this one {len(name.encode())}")
    if name in {".", ".."} or "\r" in name or "\n" in name:
        raise bad_request(f"{name!r} cannot name an object")


def check_bucket_name(name: Any) -> None:
    """Hold the rules of Cloud Storage for names of buckets.

    Raises:
        Refusal: 400.
    """
    if not isinstance(name, str) or not _BUCKET.fullmatch(name):
        raise bad_request(f"{name!r} cannot name a bucket: 3 or more of a-z, 0-9, '-', '_' and '.'")


def now() -> str:
    """The time as the JSON API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
