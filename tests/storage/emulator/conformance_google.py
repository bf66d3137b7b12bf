"""What google-cloud-storage relies on: one-shot and resumable uploads, preconditions, ranges, listings."""

import base64
import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import google_crc32c
import pytest
from gcs_conformance import Place
from google.api_core import exceptions
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage.exceptions import InvalidResponse

KIB, MIB = 1 << 10, 1 << 20
LARGE = os.urandom(5 * MIB + 17)
ODD_NAMES = ["é 日本.txt", "a#b", "a?b", "a%2Fb", "a&b=c", "a+b", "a//b", "end/", "a:b", "[x]", ".hidden", "a b"]
CLIMBING_NAMES = ["../up", "x/../../up", "/absolute", "./here"]


class Stream(io.RawIOBase):
    """Bytes whose number cannot be asked for."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(size)

    def tell(self) -> int:
        return self._inner.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def put(place: Place, name: str, data: bytes | str = b"x") -> int:
    """Write an object; returns its generation."""
    blob = place.blob(name)
    blob.upload_from_string(data)
    return int(blob.generation)


def content(place: Place, name: str) -> bytes:
    return place.blob(name).download_as_bytes()


def put_large(place: Place, name: str, **options: object) -> None:
    blob = place.blob(name, chunk_size=256 * KIB)
    blob.upload_from_file(io.BytesIO(LARGE), size=len(LARGE), **options)


def check_create_bucket(place: Place) -> None:
    if place.url is None:
        pytest.skip("makes no bucket in a real project")
    name = f"{place.bucket_name}-second"
    made = place.client().create_bucket(name)
    assert place.client().get_bucket(name).name == made.name == name
    with pytest.raises(exceptions.Conflict):
        place.client().create_bucket(name)


def check_list_buckets(place: Place) -> None:
    if place.url is None:
        pytest.skip("a real project may hide its buckets")
    assert place.bucket_name in [bucket.name for bucket in place.client().list_buckets()]


def check_put_and_get(place: Place) -> None:
    place.blob("small").upload_from_string(b"hello world", retry=None)
    assert content(place, "small") == b"hello world"


def check_create_once(place: Place) -> None:
    place.blob("x").upload_from_string(b"1", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        place.blob("x").upload_from_string(b"2", if_generation_match=0)
    assert content(place, "x") == b"1"


def check_replace_by_generation(place: Place) -> None:
    first = put(place, "x", b"1")
    second = place.blob("x")
    second.upload_from_string(b"2", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        place.blob("x").upload_from_string(b"3", if_generation_match=first)
    assert content(place, "x") == b"2"
    assert second.generation != first


def check_resumable_upload(place: Place) -> None:
    put_large(place, "large", retry=None)
    found = place.bucket().get_blob(place.name("large"))
    assert found.size == len(LARGE)
    assert found.crc32c == base64.b64encode(google_crc32c.Checksum(LARGE).digest()).decode()
    assert content(place, "large") == LARGE


def check_resumable_upload_of_unknown_size(place: Place) -> None:
    place.blob("large", chunk_size=512 * KIB).upload_from_file(Stream(LARGE), retry=None)
    assert content(place, "large") == LARGE


def check_resumable_create_once(place: Place) -> None:
    put(place, "large")
    with pytest.raises(PreconditionFailed):
        put_large(place, "large", if_generation_match=0)


def check_of_two_open_uploads_one_creates(place: Place) -> None:
    blob = place.blob("x", chunk_size=256 * KIB)
    first, second = (blob.open("wb", if_generation_match=0, ignore_flush=True) for _ in range(2))
    first.write(b"A" * 600_000)
    second.write(b"B" * 600_000)
    first.close()
    with pytest.raises((PreconditionFailed, InvalidResponse), match="412"):
        second.close()
    assert set(content(place, "x")) == {ord("A")}


def check_range(place: Place) -> None:
    put(place, "large", LARGE)
    blob = place.blob("large")
    assert blob.download_as_bytes(start=100, end=199) == LARGE[100:200]
    assert blob.download_as_bytes(start=len(LARGE) - 10) == LARGE[-10:]


def check_suffix_range(place: Place) -> None:
    put(place, "large", LARGE)
    assert place.blob("large").download_as_bytes(start=-8, checksum=None) == LARGE[-8:]


def check_range_past_the_end(place: Place) -> None:
    put(place, "small", b"hello")
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        place.blob("small").download_as_bytes(start=1000, end=2000)


def put_listing(place: Place) -> None:
    """25 objects in three folders."""
    bucket = place.bucket()
    for number in range(25):
        bucket.blob(place.name(f"d{number % 3}/f{number:03d}")).upload_from_string(b"x")


def listed(place: Place, **options: object) -> list[str]:
    """Names without the prefix of the place."""
    blobs = place.client().list_blobs(place.bucket_name, **options)
    return [blob.name.removeprefix(place.prefix) for blob in blobs]


def check_list_pages(place: Place) -> None:
    put_listing(place)
    pages = place.client().list_blobs(place.bucket_name, prefix=place.prefix, page_size=7).pages
    names = [[blob.name for blob in page] for page in pages]
    assert [len(page) for page in names] == [7, 7, 7, 4]
    assert len({name for page in names for name in page}) == 25


def check_list_delimiter(place: Place) -> None:
    put_listing(place)
    found = place.client().list_blobs(place.bucket_name, prefix=place.prefix, delimiter="/")
    assert list(found) == []
    assert sorted(found.prefixes) == [place.name(f"d{number}/") for number in range(3)]


def check_list_offsets(place: Place) -> None:
    put_listing(place)
    bounds = {"start_offset": place.name("d0/f006"), "end_offset": place.name("d0/f015")}
    assert listed(place, prefix=place.name("d0/"), **bounds) == ["d0/f006", "d0/f009", "d0/f012"]


def check_list_glob(place: Place) -> None:
    put_listing(place)
    assert listed(place, match_glob=place.name("*/f00[0-2]")) == ["d0/f000", "d1/f001", "d2/f002"]


def check_list_max_results(place: Place) -> None:
    put_listing(place)
    assert len(listed(place, prefix=place.prefix, max_results=5)) == 5


def check_list_fields(place: Place) -> None:
    put_listing(place)
    assert len(listed(place, prefix=place.prefix, fields="items(name,size,generation),nextPageToken")) == 25


def put_parts(place: Place) -> list[object]:
    for letter in "ABC":
        put(place, letter, letter * 10)
    bucket = place.bucket()
    return [bucket.blob(place.name(letter)) for letter in "ABC"]


def check_compose(place: Place) -> None:
    place.blob("all").compose(put_parts(place), if_generation_match=0)
    assert content(place, "all") == b"A" * 10 + b"B" * 10 + b"C" * 10


def check_compose_create_once(place: Place) -> None:
    put(place, "all")
    with pytest.raises(PreconditionFailed):
        place.blob("all").compose(put_parts(place), if_generation_match=0)


def check_compose_of_a_generation(place: Place) -> None:
    parts = put_parts(place)[:1]
    with pytest.raises(PreconditionFailed):
        place.blob("all").compose(parts, if_source_generation_match=[12345])
    assert not place.blob("all").exists()


def check_delete_by_generation(place: Place) -> None:
    generation = put(place, "x")
    with pytest.raises(PreconditionFailed):
        place.blob("x").delete(if_generation_match=generation + 1)
    place.blob("x").delete(if_generation_match=generation)
    assert not place.blob("x").exists()
    with pytest.raises(NotFound):
        content(place, "x")


def check_delete_of_nothing(place: Place) -> None:
    with pytest.raises(NotFound):
        place.blob("absent").delete()


def check_patch_by_metageneration(place: Place) -> None:
    put(place, "x")
    blob = place.bucket().get_blob(place.name("x"))
    before, blob.metadata = blob.metageneration, {"k": "v", "ключ": "é"}
    blob.patch(if_metageneration_match=before)
    assert place.bucket().get_blob(place.name("x")).metadata == {"k": "v", "ключ": "é"}
    blob.metadata = {"k": "w"}
    with pytest.raises(PreconditionFailed):
        blob.patch(if_metageneration_match=before)


def check_metadata_of_an_upload(place: Place) -> None:
    blob = place.blob("x")
    blob.metadata = {"sha256": "abc"}
    blob.upload_from_string(b"1")
    assert place.bucket().get_blob(place.name("x")).metadata == {"sha256": "abc"}


def check_a_replaced_generation_is_gone(place: Place) -> None:
    first = put(place, "x", b"1")
    put(place, "x", b"2")
    with pytest.raises(NotFound):
        place.blob("x", generation=first).download_as_bytes()


def check_read_by_generation(place: Place) -> None:
    first = put(place, "x", b"1")
    put(place, "x", b"2")
    with pytest.raises(PreconditionFailed):
        place.blob("x").download_as_bytes(if_generation_match=first)


def check_a_wrong_sum_is_refused(place: Place) -> None:
    blob = place.blob("x")
    blob.crc32c = "AAAAAA=="
    with pytest.raises(exceptions.BadRequest):
        blob.upload_from_string(b"1", checksum=None)
    assert not place.blob("x").exists()


def check_copy_create_once(place: Place) -> None:
    put(place, "x", b"data")
    bucket = place.bucket()
    source, target = bucket.blob(place.name("x")), place.name("copy")
    assert bucket.copy_blob(source, bucket, target, if_generation_match=0).download_as_bytes() == b"data"
    with pytest.raises(PreconditionFailed):
        bucket.copy_blob(source, bucket, target, if_generation_match=0)


def check_rewrite_create_once(place: Place) -> None:
    put(place, "x", b"data")
    target = place.blob("copy")
    token, _, _ = target.rewrite(place.blob("x"))
    assert token is None
    assert target.download_as_bytes() == b"data"
    with pytest.raises(PreconditionFailed):
        target.rewrite(place.blob("x"), if_generation_match=0)


def check_odd_names(place: Place) -> None:
    for name in ODD_NAMES:
        put(place, name, name)
    assert {name: content(place, name).decode() for name in ODD_NAMES} == {name: name for name in ODD_NAMES}
    assert {place.bucket().get_blob(place.name(name)).name for name in ODD_NAMES} == set(map(place.name, ODD_NAMES))
    assert sorted(listed(place, prefix=place.prefix)) == sorted(ODD_NAMES)


def check_names_that_look_like_paths(place: Place) -> None:
    for name in CLIMBING_NAMES:
        put(place, name, name)
    assert [content(place, name).decode() for name in CLIMBING_NAMES] == CLIMBING_NAMES


def together(num_threads: int, work: Callable[[int], int]) -> list[int]:
    """Results of threads that begin at the same moment."""
    barrier = threading.Barrier(num_threads)

    def begin(number: int) -> int:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(begin, range(num_threads)))


def check_of_racing_creators_one_wins(place: Place) -> None:
    buckets = [place.bucket() for _ in range(12)]

    def create(number: int) -> int:
        try:
            blob = buckets[number].blob(place.name("x"))
            blob.upload_from_string(str(number), if_generation_match=0, retry=None)
        except PreconditionFailed:
            return 0
        return 1

    won = together(12, create)
    assert sum(won) == 1
    assert content(place, "x").decode() == str(won.index(1))


def check_a_counter_loses_no_update(place: Place) -> None:
    put(place, "count", "0")

    def count(_: int) -> int:
        bucket, lost, added = place.bucket(), 0, 0
        while added < 8:
            generation = bucket.get_blob(place.name("count")).generation
            blob = bucket.blob(place.name("count"), generation=generation)
            try:
                value = int(blob.download_as_bytes(retry=None))
                next_blob = bucket.blob(place.name("count"))
                next_blob.upload_from_string(str(value + 1), if_generation_match=generation, retry=None)
                added += 1
            except (PreconditionFailed, NotFound, exceptions.TooManyRequests):
                lost += 1
        return lost

    together(6, count)
    assert content(place, "count") == b"48"


def check_a_reader_sees_one_generation(place: Place) -> None:
    put(place, "x", b"a" * 300_000)
    done = threading.Event()

    def read_until_done() -> int:
        bucket, num_reads = place.bucket(), 0
        while not done.is_set() or not num_reads:
            data = bucket.blob(place.name("x")).download_as_bytes()
            assert (len(data), len(set(data))) == (300_000, 1)
            num_reads += 1
        return num_reads

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_until_done) for _ in range(2)]
        try:
            for letter in b"bcdefghijklmnopqrstuvwxyz":
                put(place, "x", bytes([letter]) * 300_000)
        finally:
            done.set()
    assert all(reader.result() for reader in readers)
