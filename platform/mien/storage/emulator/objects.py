"""Buckets and their objects: the state of the emulator, behind one lock.

Objects are immutable and are replaced as a whole, so readers need the lock only to look one up. Sums are computed and
bytes are written before it is taken.
"""

import threading
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from mien.storage.emulator.blob import Blob, Content, Draft, Key, Sums, check_bucket_name, check_object_name, now
from mien.storage.emulator.disk import Memory, microseconds, view
from mien.storage.emulator.listing import Listing, page
from mien.storage.emulator.messages import Refusal, not_found
from mien.storage.emulator.preconditions import ABSENT, Preconditions

_ANYTHING = Preconditions()


class Listed(NamedTuple):
    """One page of a bucket."""

    blobs: list[Blob]
    prefixes: list[str]
    next_token: str | None


class _Bucket(NamedTuple):
    """Its description, its objects, and their names in order of UTF-8, which is that of code points."""

    described: dict[str, Any]
    blobs: dict[str, Blob]
    names: list[str]


class Store:
    """All buckets. Every method is atomic; what it refuses has changed nothing."""

    def __init__(self, disk: Memory | None = None) -> None:
        """Begin with what an earlier server left on disk."""
        self._disk = disk or Memory()
        self._lock = threading.RLock()
        self._generation = microseconds()
        self._buckets = {each["name"]: _Bucket(each, {}, []) for each in self._disk.buckets()}
        for blob in self._disk.blobs():
            self._add(blob)
            self._generation = max(self._generation, blob.generation)

    def close(self) -> None:
        """Let another server have what is on disk."""
        self._disk.close()

    def create_bucket(self, described: dict[str, Any]) -> dict[str, Any]:
        """Make a bucket.

        Raises:
            Refusal: 400 for a name that cannot be, 409 for one that is taken.
        """
        name, time = described.get("name"), now()
        check_bucket_name(name)
        fixed = {"kind": "storage#bucket", "id": name, "metageneration": "1", "timeCreated": time, "updated": time}
        bucket = {"location": "US", "locationType": "multi-region", "storageClass": "STANDARD", **described, **fixed}
        with self._lock:
            if name in self._buckets:
                raise Refusal(409, "conflict", f"gs://{name}: exists already")
            self._disk.save_bucket(bucket)
            self._buckets[bucket["name"]] = _Bucket(bucket, {}, [])
        return bucket

    def buckets(self) -> list[dict[str, Any]]:
        """Descriptions of all buckets, by name."""
        with self._lock:
            return [self._buckets[name].described for name in sorted(self._buckets)]

    def bucket(self, name: str) -> dict[str, Any]:
        """Description of one bucket.

        Raises:
            Refusal: 404.
        """
        return self._bucket(name).described

    def patch_bucket(self, name: str, changes: dict[str, Any], conditions: Preconditions) -> dict[str, Any]:
        """Change a bucket's description; null removes.

        Raises:
            Refusal: 404; 412.
        """
        with self._lock:
            before = self._bucket(name)
            versions = (0, int(before.described["metageneration"]))
            conditions.check(versions)
            fixed = {"name": name, "metageneration": str(versions[1] + 1), "updated": now()}
            merged = {**before.described, **changes, **fixed}
            after = {key: value for key, value in merged.items() if value is not None}
            self._disk.save_bucket(after)
            self._buckets[name] = before._replace(described=after)
        return after

    def delete_bucket(self, name: str, conditions: Preconditions) -> None:
        """Remove an empty bucket.

        Raises:
            Refusal: 404; 412; 409 if there are objects in it.
        """
        with self._lock:
            bucket = self._bucket(name)
            conditions.check((0, int(bucket.described["metageneration"])))
            if bucket.blobs:
                raise Refusal(409, "conflict", f"gs://{name}: has {len(bucket.blobs)} objects and cannot be deleted")
            self._disk.drop_bucket(name)
            del self._buckets[name]

    def list_objects(self, bucket: str, wanted: Listing) -> Listed:
        """One page of a bucket's objects.

        Raises:
            Refusal: 404; 400 for a page token that is none of ours.
        """
        with self._lock:
            found = self._bucket(bucket)
            names, prefixes, next_token = page(found.names, wanted)
            return Listed([found.blobs[name] for name in names], prefixes, next_token)

    def get(self, key: Key, conditions: Preconditions = _ANYTHING) -> Blob:
        """The live object, if it has the generation that is asked for.

        Raises:
            Refusal: 404; 412; 304.
        """
        with self._lock:
            blob = self._find(key)
            conditions.check(blob.versions, reading=True)
            return blob

    def read(self, key: Key, conditions: Preconditions = _ANYTHING, *, source: bool = False) -> tuple[Blob, memoryview]:
        """An object and its bytes, which stay readable whatever happens to the object.

        Args:
            key: The object.
            conditions: What must hold.
            source: The object is read in order to write another: what does not hold is 412, never 304.

        Raises:
            Refusal: 404; 412; 304.
        """
        with self._lock:
            blob = self._find(key)
            conditions.check(blob.versions, reading=not source)
            return blob, view(blob.content)

    def check(self, key: Key, conditions: Preconditions) -> None:
        """Find out early that an insert would be refused.

        Raises:
            Refusal: 404 without the bucket; 412.
        """
        with self._lock:
            self._check(key, conditions)

    def insert(self, draft: Draft, conditions: Preconditions = _ANYTHING) -> Blob:
        """Make an object, or the next generation of it.

        Raises:
            Refusal: 400 for a bad name or bytes of other sums; 404 without the bucket; 412.
        """
        check_object_name(draft.key.name)
        sums = Sums.of(draft.data)
        sums.check(*draft.demands)
        if draft.num_components:
            sums = sums._replace(md5=None)
        content = self._disk.keep(draft.data)
        with self._lock:
            try:
                self._check(draft.key, conditions)
            except Refusal:
                self._disk.discard(content)
                raise
            return self._put(self._blob(draft, sums, content))

    def patch(self, key: Key, change: Callable[[dict[str, Any]], dict[str, Any]], conditions: Preconditions) -> Blob:
        """Change what is said about an object; its bytes and generation stay.

        Args:
            key: The object.
            change: Properties before -> properties after.
            conditions: What must hold.

        Raises:
            Refusal: 404; 412; what `change` raises.
        """
        with self._lock:
            blob = self._find(key)
            conditions.check(blob.versions)
            properties = change(blob.properties)
            blob = replace(blob, properties=properties, metageneration=blob.metageneration + 1, updated=now())
            self._disk.save(blob)
            self._add(blob)
            return blob

    def delete(self, key: Key, conditions: Preconditions = _ANYTHING) -> None:
        """Remove an object.

        Raises:
            Refusal: 404; 412.
        """
        with self._lock:
            blob = self._find(key)
            conditions.check(blob.versions)
            self._disk.drop(blob)
            bucket = self._bucket(key.bucket)
            del bucket.blobs[key.name], bucket.names[bisect_left(bucket.names, key.name)]
            self._disk.discard(blob.content)

    def move(self, source: Key, name: str, conditions: Preconditions, source_conditions: Preconditions) -> Blob:
        """Give an object another name in its bucket; no moment has both or neither.

        Raises:
            Refusal: 400 for a bad name; 404; 412.
        """
        with self._lock:
            blob, data = self.read(source, source_conditions, source=True)
            draft = Draft(Key(blob.bucket, name), data, blob.properties, num_components=blob.num_components)
            moved = self.insert(draft, conditions)
            if name != source.name:
                self.delete(source)
            return moved

    def _bucket(self, name: str) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            raise not_found(f"gs://{name}: no such bucket")
        return bucket

    def _find(self, key: Key) -> Blob:
        blob = self._bucket(key.bucket).blobs.get(key.name)
        if blob is None or key.generation not in (None, blob.generation):
            raise not_found(f"No such object: {key}")
        return blob

    def _check(self, key: Key, conditions: Preconditions) -> None:
        blob = self._bucket(key.bucket).blobs.get(key.name)
        conditions.check(blob.versions if blob else ABSENT)

    def _blob(self, draft: Draft, sums: Sums, content: Content) -> Blob:
        self._generation = max(self._generation + 1, microseconds())
        time = now()
        return Blob(
            bucket=draft.key.bucket,
            name=draft.key.name,
            generation=self._generation,
            metageneration=1,
            size_bytes=len(draft.data),
            sums=sums,
            num_components=draft.num_components,
            created=time,
            updated=time,
            properties=draft.properties,
            content=content,
        )

    def _put(self, blob: Blob) -> Blob:
        self._disk.save(blob)
        replaced = self._add(blob)
        if replaced:
            self._disk.discard(replaced.content)
        return blob

    def _add(self, blob: Blob) -> Blob | None:
        """Put an object among those of its bucket; returns the one whose place it takes."""
        bucket = self._bucket(blob.bucket)
        replaced = bucket.blobs.get(blob.name)
        if replaced is None:
            insort(bucket.names, blob.name)
        bucket.blobs[blob.name] = blob
        return replaced
