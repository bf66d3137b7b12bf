"""Which call a request is, by method, path and a word of its query."""

import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from mien.storage.emulator import calls, xml_api
from mien.storage.emulator.batch import batch
from mien.storage.emulator.messages import Answer, Refusal, Request, decode, not_found, refusal_answer
from mien.storage.emulator.objects import Store
from mien.storage.emulator.uploads import Uploads

Call = Callable[..., Answer]

_BUCKET = "/storage/v1/b/{bucket}"
_OBJECT = "/storage/v1/b/{bucket}/o/{name}"
_UPLOAD = "/upload/storage/v1/b/{bucket}/o"
_TARGET = "/b/{to_bucket}/o/{to_name}"


class Route(NamedTuple):
    """A kind of request, as traffic counts it, and the call that answers it."""

    kind: str
    method: str
    pattern: re.Pattern[str]
    query: str
    call: Call


def _route(kind: str, method: str, path: str, call: Call, query: str = "") -> Route:
    """A route; `{name}` in the path is one segment, `{name*}` all that follow, `query` an item that must be there."""
    pattern = re.sub(r"\{\w+\}", "([^/]+)", re.sub(r"\{\w+\*\}", "(.+)", path))
    return Route(kind, method, re.compile(pattern), query, call)


class Router:
    """Answers requests on one store."""

    def __init__(self, store: Store) -> None:
        """Wire every call to the store."""
        self._routes = [
            *_object_routes(store),
            *_upload_routes(Uploads(store)),
            *_bucket_routes(store),
            _route("batch", "POST", "/batch/storage/v1", partial(batch, self.answer)),
            *_xml_routes(store),
        ]

    def kind(self, request: Request) -> str:
        """What traffic counts the request as."""
        found = self._find(request)
        return found[0].kind if found else "unknown"

    def answer(self, request: Request) -> Answer:
        """Do what the request asks; a refusal is an answer too."""
        found = self._find(request)
        try:
            if found is None:
                raise not_found(f"{request.method} {request.path}: the emulator has no such call")
            route, names = found
            return route.call(request, *map(decode, names))
        except Refusal as refusal:
            return refusal_answer(refusal)

    def _find(self, request: Request) -> tuple[Route, tuple[str, ...]] | None:
        for route in self._routes:
            if route.method == request.method and _has(request, route.query):
                match = route.pattern.fullmatch(request.path)
                if match:
                    return route, match.groups()
        return None


def _has(request: Request, query: str) -> bool:
    """Whether the query has an item, `name` or `name=value`."""
    name, _, value = query.partition("=")
    return not query or (name in request.query and value in ("", request.get(name)))


def _bucket_routes(store: Store) -> list[Route]:
    def route(kind: str, method: str, path: str, call: Call) -> Route:
        return _route(f"buckets.{kind}", method, path, partial(call, store))

    return [
        route("list", "GET", "/storage/v1/b/?", calls.list_buckets),
        route("insert", "POST", "/storage/v1/b/?", calls.insert_bucket),
        route("get", "GET", _BUCKET, calls.get_bucket),
        route("patch", "PATCH", _BUCKET, calls.patch_bucket),
        route("delete", "DELETE", _BUCKET, calls.delete_bucket),
        route("layout", "GET", _BUCKET + "/storageLayout", calls.get_storage_layout),
        route("permissions", "GET", _BUCKET + "/iam/testPermissions", calls.grant_permissions),
    ]


def _object_routes(store: Store) -> list[Route]:
    def route(kind: str, method: str, path: str, call: Call, query: str = "") -> Route:
        return _route(f"objects.{kind}", method, path, partial(call, store), query)

    return [
        route("read", "GET", _OBJECT, calls.read_object, "alt=media"),
        route("read", "GET", "/download" + _OBJECT, calls.read_object),
        route("list", "GET", _BUCKET + "/o/?", calls.list_objects),
        route("get", "GET", _OBJECT, calls.get_object),
        route("patch", "PATCH", _OBJECT, calls.patch_object),
        route("update", "PUT", _OBJECT, calls.update_object),
        route("delete", "DELETE", _OBJECT, calls.delete_object),
        route("compose", "POST", _OBJECT + "/compose", calls.compose),
        route("copy", "POST", _OBJECT + "/copyTo" + _TARGET, calls.copy),
        route("rewrite", "POST", _OBJECT + "/rewriteTo" + _TARGET, calls.rewrite),
        route("move", "POST", _OBJECT + "/moveTo/o/{to_name}", calls.move),
    ]


def _upload_routes(uploads: Uploads) -> list[Route]:
    def route(kind: str, method: str, call: Call, query: str) -> Route:
        return _route(f"objects.{kind}", method, _UPLOAD, call, query)

    return [
        route("resume", "PUT", uploads.resume, "upload_id"),
        route("resume", "POST", uploads.resume, "upload_id"),
        route("cancel", "DELETE", uploads.cancel, "upload_id"),
        route("start", "POST", uploads.start, "uploadType=resumable"),
        route("insert", "POST", uploads.insert_multipart, "uploadType=multipart"),
        route("insert", "POST", uploads.insert_media, "uploadType=media"),
    ]


def _xml_routes(store: Store) -> list[Route]:
    uploads, path = xml_api.XmlUploads(store), "/{bucket}/{name*}"
    return [
        _route("objects.start", "POST", path, uploads.start, "uploads"),
        _route("objects.resume", "PUT", path, uploads.put_part, "uploadId"),
        _route("objects.insert", "POST", path, uploads.complete, "uploadId"),
        _route("objects.cancel", "DELETE", path, uploads.cancel, "uploadId"),
        _route("objects.read", "GET", path, partial(xml_api.read, store)),
    ]
