import os
from pathlib import Path
from typing import get_args

import pytest

from buckets import BUCKET, failing, read_from
from mien.errors import StorageError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.source import Way, opened, read_small, tar_reader
from mien.storage.tar import Member, member_uri
from mien.storage.uri import Entry
from tars import pack

WAYS = get_args(Way)


def test_a_local_source_is_read_in_place_while_it_is_as_planned(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"frames")
    planned = Entry("", 6, path.stat().st_mtime_ns)
    for way in WAYS:
        with opened(str(path), planned, way) as source:
            assert source == str(path)
    os.utime(path, ns=(0, planned.generation + 1))
    with pytest.raises(StorageError, match=r"a\.mp4: has changed since it was planned"), opened(str(path), planned):
        pass
    path.unlink()
    with pytest.raises(StorageError, match=r"a\.mp4: does not exist"), opened(str(path), planned):
        pass


@pytest.mark.parametrize("way", WAYS)
def test_an_object_is_a_seekable_file_that_goes_by_its_place(emulator: Emulator, way: Way) -> None:
    uri, data = f"gs://{BUCKET}/source/{way}.mp4", os.urandom(300_000)
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace(f"{way}.mp4", data)
    with opened(uri, store.stat(f"{way}.mp4"), way) as file:
        assert not isinstance(file, str)
        assert file.name == uri
        assert file.read(10) == data[:10]
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]


def test_the_local_copy_of_a_whole_object_goes_at_the_end(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("copy.mp4", b"frames")
    with opened(f"{store.uri}/copy.mp4", store.stat("copy.mp4"), "whole"):
        assert [path.name for path in tmp_path.rglob("source")] == ["source"]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """A tar on the disk, and what is in it."""
    members = {f"deep/{number}.mp4": os.urandom(200_000 + number) for number in range(3)}
    return pack(tmp_path / "shard.tar", members), members


def planned(path: Path, member: Member) -> Entry:
    return Entry("", member.size_bytes, path.stat().st_mtime_ns)


def members_of(place: str, entry: Entry) -> list[Member]:
    with tar_reader(place, entry) as reader:
        return list(reader.members())


def test_a_member_of_a_tar_is_a_seekable_file_of_its_own(shard: tuple[Path, dict[str, bytes]]) -> None:
    path, expected = shard
    for member in members_of(str(path), Entry("", path.stat().st_size, path.stat().st_mtime_ns)):
        uri = member_uri(str(path), member)
        for way in WAYS:
            with opened(uri, planned(path, member), way) as file:
                assert not isinstance(file, str)
                assert file.name == uri
                file.seek(-10, os.SEEK_END)
                assert file.read() == expected[member.name][-10:], "no further than its own end"
                file.seek(0)
                assert file.read() == expected[member.name]


def test_a_tar_that_has_changed_or_is_gone_is_refused(shard: tuple[Path, dict[str, bytes]]) -> None:
    path, _ = shard
    entry = Entry("", path.stat().st_size, path.stat().st_mtime_ns)
    member = members_of(str(path), entry)[0]
    uri, as_planned = member_uri(str(path), member), planned(path, member)
    os.utime(path, ns=(0, entry.generation + 1))
    with pytest.raises(StorageError, match=r"shard\.tar: has changed since it was planned"), opened(uri, as_planned):
        pass
    path.unlink()
    with pytest.raises(StorageError, match=r"shard\.tar: does not exist"), opened(uri, as_planned):
        pass


def test_a_tar_itself_is_no_video_and_says_what_is_wrong_with_it(shard: tuple[Path, dict[str, bytes]]) -> None:
    path, _ = shard
    entry = Entry("", path.stat().st_size, path.stat().st_mtime_ns)
    with pytest.raises(StorageError, match=r"shard\.tar: is a tar, not a video"), opened(str(path), entry):
        pass
    path.write_bytes(path.read_bytes()[:100_000])
    entry = Entry("", 100_000, path.stat().st_mtime_ns)
    with pytest.raises(StorageError, match=r"cut off within deep/0\.mp4"), opened(str(path), entry):
        pass


def test_a_member_in_a_bucket_is_read_by_its_ranges_alone(
    emulator: Emulator, shard: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = shard
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("shard.tar", path.read_bytes())
    place, entry = f"{store.uri}/shard.tar", store.stat("shard.tar")
    emulator.reset_traffic()
    members = members_of(place, entry)
    assert [member.name for member in members] == list(expected)
    assert read_from(emulator)[1] < 0.15 * entry.size_bytes, "headers alone"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for way, num_times in (("ranges", 1), ("checked", 2), ("whole", 1)):
        emulator.reset_traffic()
        with opened(member_uri(place, members[1]), Entry("", 200_001, entry.generation), way) as file:  # type: ignore[arg-type]
            assert not isinstance(file, str)
            assert file.read() == expected["deep/1.mp4"]
        assert read_from(emulator)[1] == num_times * 200_001
    assert [path.name for path in tmp_path.iterdir()] == ["shard.tar"], "no copy is left"
    store.replace("shard.tar", b"another")
    with (
        opened(member_uri(place, members[1]), Entry("", 200_001, entry.generation)) as file,
        pytest.raises(StorageError, match=r"shard\.tar: is gone, or has changed"),
    ):
        assert not isinstance(file, str)
        file.read(1)


def test_a_small_file_beside_a_video_is_read_wherever_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(b"text")
    entry = Entry("", 4, path.stat().st_mtime_ns)
    assert read_small(str(path), entry, 4) == b"text"
    with pytest.raises(StorageError, match=r"a\.srt: 4 bytes are more than 3"):
        read_small(str(path), entry, 3)
    tar = pack(tmp_path / "a.tar", {"a.mp4": b"video", "a.srt": b"packed"})
    member = members_of(str(tar), Entry("", tar.stat().st_size, tar.stat().st_mtime_ns))[1]
    assert read_small(member_uri(str(tar), member), planned(tar, member), 100) == b"packed"


def test_a_bit_that_flips_in_a_range_is_seen_fifty_times_of_fifty(emulator: Emulator) -> None:
    data = os.urandom(4_000_000)
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("flips.mp4", data)
    entry = store.stat("flips.mp4")
    for number in range(50):
        with (
            failing(emulator, "GET .*flips.*alt=media", "flip"),
            opened(f"{store.uri}/flips.mp4", entry, "checked") as file,
        ):
            assert not isinstance(file, str)
            file.seek(number * 70_000)
            assert file.read(50_000) == data[number * 70_000 :][:50_000]


def test_a_range_that_never_comes_twice_alike_is_told(emulator: Emulator) -> None:
    store = GcsStore(f"gs://{BUCKET}/source")
    store.replace("never.mp4", bytes(300_000))
    with (
        failing(emulator, "GET .*never.*alt=media", "flip", 100),
        opened(f"{store.uri}/never.mp4", store.stat("never.mp4"), "checked") as file,
    ):
        assert not isinstance(file, str)
        with pytest.raises(StorageError, match=r"never\.mp4: bytes 0 to \d+ came differently 6 times"):
            file.read(1000)
