from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.storage.emulator.blob import Draft, Key, Sums
from mien.storage.emulator.listing import Listing
from mien.storage.emulator.messages import Refusal
from mien.storage.emulator.objects import Store
from mien.storage.emulator.preconditions import Preconditions

X = Key("bucket", "x")
CREATE = Preconditions(generation_match=0)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.create_bucket({"name": "bucket"})
    return store


def names(store: Store) -> list[str]:
    return [blob.name for blob in store.list_objects("bucket", Listing()).blobs]


def test_generations_only_grow_also_of_other_objects(store: Store) -> None:
    generations = [store.insert(Draft(Key("bucket", name), b"")).generation for name in "abab"]
    assert generations == sorted(set(generations))


def test_of_racing_creators_one_wins(store: Store) -> None:
    def create(number: int) -> bool:
        try:
            store.insert(Draft(X, str(number).encode()), CREATE)
        except Refusal as refusal:
            return refusal.status != 412
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(create, range(200)))
    assert sum(won) == 1
    assert bytes(store.read(X)[1]) == str(won.index(True)).encode()
    assert names(store) == ["x"]


def test_what_is_refused_has_changed_nothing(store: Store) -> None:
    before = store.insert(Draft(X, b"1"))
    stale = Preconditions(generation_match=before.generation - 1)
    attempts = [
        lambda: store.insert(Draft(X, b"2"), stale),
        lambda: store.insert(Draft(X, b"2", demands=(Sums("AAAAAA=="),))),
        lambda: store.patch(X, lambda _: {"contentType": "a/b"}, stale),
        lambda: store.delete(X, stale),
        lambda: store.move(X, "y", Preconditions(), stale),
        lambda: store.move(X, "y", Preconditions(generation_match=1), Preconditions()),
        lambda: store.move(X, "..", Preconditions(), Preconditions()),
        lambda: store.delete_bucket("bucket", Preconditions()),
        lambda: store.create_bucket({"name": "bucket"}),
    ]
    for attempt in attempts:
        with pytest.raises(Refusal):
            attempt()
        assert store.get(X) == before
        assert names(store) == ["x"]


def test_a_patch_keeps_the_generation_and_a_write_starts_metageneration_anew(store: Store) -> None:
    first = store.insert(Draft(X, b"1"))
    patched = store.patch(X, lambda _: {"contentType": "a/b"}, Preconditions(metageneration_match=1))
    assert patched.versions == (first.generation, 2)
    assert patched.etag != first.etag
    assert store.insert(Draft(X, b"2")).metageneration == 1


def test_only_the_live_generation_is_found(store: Store) -> None:
    first = store.insert(Draft(X, b"1"))
    second = store.insert(Draft(X, b"2"))
    assert store.get(X._replace(generation=second.generation)) == second
    with pytest.raises(Refusal, match=f"gs://bucket/x#{first.generation}") as refused:
        store.get(X._replace(generation=first.generation))
    assert refused.value.status == 404


def test_a_reader_keeps_its_generation(store: Store) -> None:
    store.insert(Draft(X, b"1"))
    _, data = store.read(X)
    store.insert(Draft(X, b"2"))
    store.delete(X)
    assert bytes(data) == b"1"


def test_a_read_of_what_has_not_changed_is_304_but_a_source_is_412(store: Store) -> None:
    same = Preconditions(generation_not_match=store.insert(Draft(X, b"1")).generation)
    for source, status in ((False, 304), (True, 412)):
        with pytest.raises(Refusal) as refused:
            store.read(X, same, source=source)
        assert refused.value.status == status


def test_a_move_takes_the_old_name_away(store: Store) -> None:
    store.insert(Draft(X, b"1", {"contentType": "a/b"}))
    moved = store.move(X, "y", CREATE, Preconditions())
    assert (names(store), moved.properties) == (["y"], {"contentType": "a/b"})
    store.move(Key("bucket", "y"), "y", Preconditions(), Preconditions())
    assert names(store) == ["y"]


def test_a_bucket_can_be_deleted_when_it_is_empty(store: Store) -> None:
    store.insert(Draft(X, b"1"))
    with pytest.raises(Refusal, match="1 objects") as refused:
        store.delete_bucket("bucket", Preconditions())
    assert refused.value.status == 409
    store.delete(X)
    store.delete_bucket("bucket", Preconditions())
    with pytest.raises(Refusal, match="no such bucket"):
        store.insert(Draft(X, b"1"))


def test_a_bucket_is_patched_by_metageneration(store: Store) -> None:
    store.patch_bucket("bucket", {"labels": {"a": "b"}, "location": "EU"}, Preconditions(metageneration_match=1))
    after = store.patch_bucket("bucket", {"labels": None, "name": "other"}, Preconditions(metageneration_match=2))
    assert (after["name"], after["location"], after["metageneration"]) == ("bucket", "EU", "3")
    assert "labels" not in store.bucket("bucket")


def test_a_composed_object_has_no_md5(store: Store) -> None:
    blob = store.insert(Draft(X, b"1", num_components=2))
    assert blob.sums == Sums(Sums.of(b"1").crc32c, None)
    assert blob.resource("")["componentCount"] == 2
    assert "md5" not in blob.headers()["X-Goog-Hash"]
