"""Calls of the JSON API on buckets and objects: a request and the names in its path in, an answer out."""

import re
from typing import Any

from mien.storage.emulator.blob import Blob, Draft, Key, merged, writable
from mien.storage.emulator.listing import Listing
from mien.storage.emulator.messages import Answer, Refusal, Request, bad_request, json_answer, number, refusal_answer
from mien.storage.emulator.objects import Store
from mien.storage.emulator.preconditions import Preconditions

MAX_COMPONENTS = 32
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def list_buckets(store: Store, request: Request) -> Answer:
    """Every bucket whose name begins with `prefix`."""
    buckets = [bucket for bucket in store.buckets() if bucket["name"].startswith(request.get("prefix"))]
    return json_answer({"kind": "storage#buckets", "items": buckets})


def insert_bucket(store: Store, request: Request) -> Answer:
    """Make a bucket."""
    return json_answer(store.create_bucket(request.json()))


def get_bucket(store: Store, _request: Request, bucket: str) -> Answer:
    """Describe a bucket."""
    return json_answer(store.bucket(bucket))


def patch_bucket(store: Store, request: Request, bucket: str) -> Answer:
    """Change a bucket's description."""
    return json_answer(store.patch_bucket(bucket, request.json(), Preconditions.of(request)))


def delete_bucket(store: Store, request: Request, bucket: str) -> Answer:
    """Remove an empty bucket."""
    store.delete_bucket(bucket, Preconditions.of(request))
    return Answer(204)


def get_storage_layout(store: Store, _request: Request, bucket: str) -> Answer:
    """Say that names are flat, which gcsfs asks."""
    described = store.bucket(bucket)
    layout = {"location": described["location"], "locationType": described["locationType"]}
    flat = {"hierarchicalNamespace": {"enabled": False}}
    return json_answer({"kind": "storage#storageLayout", "bucket": bucket, **layout, **flat})


def grant_permissions(store: Store, request: Request, bucket: str) -> Answer:
    """Grant whatever is asked: nobody logs in here; a fault rule can say otherwise."""
    store.bucket(bucket)
    permissions = request.query.get("permissions", [])
    return json_answer({"kind": "storage#testIamPermissionsResponse", "permissions": permissions})


def list_objects(store: Store, request: Request, bucket: str) -> Answer:
    """One page of a bucket."""
    listed = store.list_objects(bucket, Listing.of(request))
    document: dict[str, Any] = {"kind": "storage#objects"}
    document["items"] = [blob.resource(request.base) for blob in listed.blobs]
    document["prefixes"] = listed.prefixes
    if listed.next_token:
        document["nextPageToken"] = listed.next_token
    return json_answer(document)


def get_object(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """Describe an object."""
    return _described(request, store.get(_key(request, bucket, name), Preconditions.of(request)))


def read_object(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """An object's bytes, or a range of them."""
    blob, data = store.read(_key(request, bucket, name), Preconditions.of(request))
    wanted = byte_range(request.headers.get("range", ""), len(data))
    if wanted is None:
        return Answer(200, blob.headers(), data)
    if not wanted:
        return _unsatisfiable(request.headers["range"], len(data))
    place = {"Content-Range": f"bytes {wanted.start}-{wanted.stop - 1}/{len(data)}"}
    return Answer(206, blob.headers() | place, data[wanted.start : wanted.stop])


def _unsatisfiable(header: str, size_bytes: int) -> Answer:
    """416, with the size that clients read to tell an empty object from a wrong offset."""
    answer = refusal_answer(Refusal(416, "requestedRangeNotSatisfiable", f"{header} of {size_bytes} bytes"))
    return answer._replace(headers={**answer.headers, "Content-Range": f"bytes */{size_bytes}"})


def byte_range(header: str, size_bytes: int) -> range | None:
    """Positions that a `Range` header asks for, empty if there are none; None for no or any other header: the whole.

    >>> byte_range("bytes=-8", 100)
    range(92, 100)
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size_bytes - int(last)), size_bytes)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size_bytes, int(last) + 1) if last else size_bytes)


def patch_object(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """Change parts of what is said about an object."""
    changes = request.json()
    key, conditions = _key(request, bucket, name), Preconditions.of(request)
    return _described(request, store.patch(key, lambda before: merged(before, changes), conditions))


def update_object(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """Replace what is said about an object."""
    properties = writable(request.json())
    key, conditions = _key(request, bucket, name), Preconditions.of(request)
    return _described(request, store.patch(key, lambda _: properties, conditions))


def delete_object(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """Remove an object."""
    store.delete(_key(request, bucket, name), Preconditions.of(request))
    return Answer(204)


def compose(store: Store, request: Request, bucket: str, name: str) -> Answer:
    """Join up to 32 objects of a bucket into one."""
    document = request.json()
    sources = document.get("sourceObjects") or []
    if not 1 <= len(sources) <= MAX_COMPONENTS:
        raise bad_request(f"compose takes 1 to {MAX_COMPONENTS} objects, not {len(sources)}")
    parts = [_component(store, bucket, source) for source in sources]
    draft = Draft(
        Key(bucket, name),
        b"".join(data for _, data in parts),
        writable(document.get("destination") or {}),
        num_components=sum(blob.num_components or 1 for blob, _ in parts),
    )
    return _described(request, store.insert(draft, Preconditions.of(request)))


def _component(store: Store, bucket: str, source: dict[str, Any]) -> tuple[Blob, memoryview]:
    generation = source.get("generation")
    key = Key(bucket, source.get("name", ""), number(str(generation), "generation") if generation else None)
    conditions = Preconditions.of_json(source.get("objectPreconditions") or {})
    return store.read(key, conditions, source=True)


def copy(store: Store, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Answer:
    """Copy an object."""
    return _described(request, _copied(store, request, Key(bucket, name), Key(to_bucket, to_name)))


def rewrite(store: Store, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Answer:
    """Copy an object, in one call whatever its size."""
    blob = _copied(store, request, Key(bucket, name), Key(to_bucket, to_name))
    size = str(blob.size_bytes)
    document = {"kind": "storage#rewriteResponse", "done": True, "objectSize": size, "totalBytesRewritten": size}
    return json_answer({**document, "resource": blob.resource(request.base)})


def _copied(store: Store, request: Request, source: Key, target: Key) -> Blob:
    source = source._replace(generation=request.integer("sourceGeneration"))
    blob, data = store.read(source, Preconditions.of(request, "ifSource"), source=True)
    given = writable(request.json())
    properties = given if "metadata" in given else blob.properties | given
    draft = Draft(target, data, properties, num_components=blob.num_components)
    return store.insert(draft, Preconditions.of(request))


def move(store: Store, request: Request, bucket: str, name: str, to_name: str) -> Answer:
    """Give an object another name."""
    source = Key(bucket, name, request.integer("sourceGeneration"))
    conditions, source_conditions = Preconditions.of(request), Preconditions.of(request, "ifSource")
    return _described(request, store.move(source, to_name, conditions, source_conditions))


def _key(request: Request, bucket: str, name: str) -> Key:
    return Key(bucket, name, request.integer("generation"))


def _described(request: Request, blob: Blob) -> Answer:
    return json_answer(blob.resource(request.base))
