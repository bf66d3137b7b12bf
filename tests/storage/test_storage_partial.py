import os
from pathlib import Path

import pytest

from mien.errors import StorageError
from mien.storage import partial
from mien.storage.partial import Version, clear_stale, scratch_for

VERSION = Version('"etag"', 10)


def write(folder: Path, key: str, data: bytes) -> None:
    with partial.held(folder, key) as part:
        part.restart(VERSION)
        with part.append() as file:
            file.write(data)


def age(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        moment = path.stat().st_mtime - seconds
        os.utime(path, (moment, moment))


def test_bytes_and_version_are_found_again(tmp_path: Path) -> None:
    write(tmp_path, "a", b"12345")
    with partial.held(tmp_path, "a") as part:
        assert (part.size_bytes, part.version) == (5, VERSION)
        with part.append() as file:
            file.write(b"67")
        assert part.path.read_bytes() == b"1234567"
    with partial.held(tmp_path, "b") as part:
        assert (part.size_bytes, part.version) == (0, Version())


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"validator": 1}', b'{"validator": "x", "size_bytes": "y"}', b"\xff"]
)
def test_a_damaged_state_is_a_version_of_which_nothing_is_known(tmp_path: Path, damage: bytes) -> None:
    write(tmp_path, "a", b"12345")
    (tmp_path / "a.state").write_bytes(damage)
    with partial.held(tmp_path, "a") as part:
        assert part.version == Version()


def test_two_tries_at_one_item_never_write_the_same_file(tmp_path: Path) -> None:
    with partial.held(tmp_path, "a") as first, partial.held(tmp_path, "a") as second:
        assert first.path != second.path
        second.restart(VERSION)
        with second.append() as file:
            file.write(b"x")
        assert first.size_bytes == 0
    assert not second.path.exists(), "nobody would find it again"


def test_what_is_published_is_never_written_to(tmp_path: Path) -> None:
    write(tmp_path, "a", b"whole")
    os.link(tmp_path / "a.part", tmp_path / "published")
    with partial.held(tmp_path, "a") as part:
        assert part.is_published
        with pytest.raises(ValueError, match="is published"):
            part.append()
        part.restart()
        with part.append() as file:
            file.write(b"other")
    assert (tmp_path / "published").read_bytes() == b"whole"


def test_removing_leaves_nothing_and_the_next_holder_is_alone_again(tmp_path: Path) -> None:
    write(tmp_path, "a", b"1")
    with partial.held(tmp_path, "a") as part:
        part.remove()
        assert list(tmp_path.iterdir()) == []
    with partial.held(tmp_path, "a") as first, partial.held(tmp_path, "a") as second:
        assert first.path.name == "a.part"
        assert second.path.name != "a.part"


def test_what_nobody_came_back_for_is_removed_and_what_is_at_work_stays(tmp_path: Path) -> None:
    for key in ("old", "new", "busy"):
        write(tmp_path, key, b"12345")
    (tmp_path / "orphan.part").write_bytes(b"123")
    (tmp_path / "folder").mkdir()
    with partial.held(tmp_path, "busy"):
        age(tmp_path, 7200)
        os.utime(tmp_path / "new.part")
        assert clear_stale(tmp_path, 3600) >= 8
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["busy.part", "busy.state", "folder", "new.part", "new.state"]
    assert clear_stale(tmp_path / "absent", 0) == 0


def test_partial_downloads_lie_below_a_folder_or_in_a_folder_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert scratch_for("out", "", "k") == Path.cwd() / "out" / ".scratch" / "ingest"
    assert scratch_for("gs://bucket/x", str(tmp_path / "disk"), "k") == tmp_path / "disk" / "mien-k"
    folder = scratch_for("gs://bucket/x", "", "k")
    assert folder == tmp_path / f"mien-ingest-{os.getuid()}" / "k"
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_else_made_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"mien-ingest-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="belongs to somebody else; set scratch"):
        scratch_for("gs://bucket/x", "", "k")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError), partial.held(tmp_path / "file" / "below", "a"):
        pass
