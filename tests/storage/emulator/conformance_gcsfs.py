"""What gcsfs, and with it fsspec and pandas, relies on."""

import os

import pytest
from gcs_conformance import Place

LARGE = os.urandom((5 << 20) + 17)


def check_pipe_cat_range(place: Place) -> None:
    files, path = place.gcsfs(), place.path("x")
    files.pipe_file(path, b"abc" * 1000)
    assert files.cat_file(path) == b"abc" * 1000
    assert files.cat_file(path, start=3, end=6) == b"abc"


def check_open_and_seek(place: Place) -> None:
    files, path = place.gcsfs(), place.path("x")
    with files.open(path, "wb", block_size=1 << 20) as file:
        file.write(LARGE)
    with files.open(path, "rb") as file:
        file.seek(1000)
        assert file.read(50) == LARGE[1000:1050]
        file.seek(-20, 2)
        assert file.read() == LARGE[-20:]


def check_ls_find_info_exists(place: Place) -> None:
    files = place.gcsfs()
    for name in ("d/a", "d/b/c"):
        files.pipe_file(place.path(name), b"123")
    assert sorted(files.ls(place.path("d"), detail=False)) == [place.path("d/a"), place.path("d/b")]
    assert sorted(files.find(place.path("d"))) == [place.path("d/a"), place.path("d/b/c")]
    assert files.info(place.path("d/a"))["size"] == 3
    assert files.isdir(place.path("d"))
    assert not files.exists(place.path("d/absent"))


def check_copy_and_move(place: Place) -> None:
    files = place.gcsfs()
    files.pipe_file(place.path("x"), b"1")
    files.cp_file(place.path("x"), place.path("y"))
    files.mv(place.path("y"), place.path("z"))
    assert [files.exists(place.path(name)) for name in "xyz"] == [True, False, True]
    assert files.cat_file(place.path("z")) == b"1"


def check_pipe_create_once(place: Place) -> None:
    files, path = place.gcsfs(), place.path("x")
    files.pipe_file(path, b"1", mode="create")
    with pytest.raises(FileExistsError):
        files.pipe_file(path, b"2", mode="create")
    assert files.cat_file(path) == b"1"


def write_new(place: Place, data: bytes, first: bytes) -> None:
    """Write a file in mode `xb`, in one request or many."""
    with place.gcsfs().open(place.path("x"), "xb", block_size=1 << 18) as file:
        file.write(first + data)


def check_open_create_once_small(place: Place) -> None:
    write_new(place, b"." * 99, b"1")
    with pytest.raises(FileExistsError):
        write_new(place, b"." * 99, b"2")
    assert place.gcsfs().cat_file(place.path("x"), end=1) == b"1"


def check_open_create_once_resumable(place: Place) -> None:
    write_new(place, LARGE[: 1 << 20], b"1")
    with pytest.raises(FileExistsError):
        write_new(place, LARGE[: 1 << 20], b"2")
    assert place.gcsfs().cat_file(place.path("x"), end=1) == b"1"


def check_remove_a_folder(place: Place) -> None:
    files = place.gcsfs()
    for name in ("d/a", "d/b", "e"):
        files.pipe_file(place.path(name), b"1")
    files.rm(place.path("d"), recursive=True)
    assert [files.exists(place.path(name)) for name in ("d/a", "d/b", "e")] == [False, False, True]


def check_transaction(place: Place) -> None:
    files, path = place.gcsfs(), place.path("x")
    with files.transaction:
        with files.open(path, "wb") as file:
            file.write(b"1" * 10)
        assert not files.exists(path)
    assert files.cat_file(path) == b"1" * 10
