"""What pyarrow's GcsFileSystem, and with it Ray Data and Parquet, relies on."""

import os

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
from gcs_conformance import Place
from pyarrow.fs import FileSelector, FileType, GcsFileSystem

LARGE = os.urandom((5 << 20) + 17)


def write(files: GcsFileSystem, path: str, data: bytes) -> None:
    with files.open_output_stream(path) as file:
        file.write(data)


def read(files: GcsFileSystem, path: str) -> bytes:
    with files.open_input_stream(path) as file:
        return file.read()


def kind(place: Place, name: str) -> FileType:
    return place.arrow().get_file_info(place.path(name)).type


def check_streams(place: Place) -> None:
    write(place.arrow(), place.path("x"), b"abc" * 1000)
    assert read(place.arrow(), place.path("x")) == b"abc" * 1000


def check_random_access(place: Place) -> None:
    write(place.arrow(), place.path("x"), LARGE)
    with place.arrow().open_input_file(place.path("x")) as file:
        assert file.size() == len(LARGE)
        file.seek(1234)
        assert file.read(100) == LARGE[1234:1334]
        assert file.read_at(10, len(LARGE) - 10) == LARGE[-10:]


def check_selector(place: Place) -> None:
    files = place.arrow()
    for name in ("d/a", "d/b/c"):
        write(files, place.path(name), b"123")
    found = files.get_file_info(FileSelector(place.path("d"), recursive=True))
    sizes = {info.path: info.size for info in found if info.type == FileType.File}
    assert sizes == {place.path("d/a"): 3, place.path("d/b/c"): 3}
    assert kind(place, "d/absent") == FileType.NotFound


def check_create_folder(place: Place) -> None:
    place.arrow().create_dir(place.path("d/e"), recursive=True)
    assert kind(place, "d/e") == FileType.Directory


def check_copy(place: Place) -> None:
    files = place.arrow()
    write(files, place.path("x"), b"123")
    files.copy_file(place.path("x"), place.path("y"))
    assert [read(files, place.path(name)) for name in "xy"] == [b"123"] * 2


def check_move(place: Place) -> None:
    files = place.arrow()
    write(files, place.path("x"), b"123")
    files.move(place.path("x"), place.path("y"))
    assert read(files, place.path("y")) == b"123"
    assert kind(place, "x") == FileType.NotFound


def check_delete(place: Place) -> None:
    files = place.arrow()
    write(files, place.path("x"), b"123")
    files.delete_file(place.path("x"))
    assert kind(place, "x") == FileType.NotFound


def check_dataset(place: Place) -> None:
    table = pa.table({"a": list(range(10_000)), "p": [number % 3 for number in range(10_000)]})
    options = {"format": "parquet", "partitioning": ["p"], "filesystem": place.arrow()}
    pyarrow.dataset.write_dataset(table, place.path("d"), **options)
    dataset = pyarrow.dataset.dataset(place.path("d"), **options)
    assert dataset.count_rows() == 10_000
    assert sorted(dataset.to_table(filter=pyarrow.dataset.field("a") < 5)["a"].to_pylist()) == list(range(5))


def check_parquet(place: Place) -> None:
    table = pa.table({"a": pa.array(os.urandom(4) for _ in range(200_000))})
    pyarrow.parquet.write_table(table, place.path("x.parquet"), filesystem=place.arrow(), row_group_size=20_000)
    assert pyarrow.parquet.read_table(place.path("x.parquet"), filesystem=place.arrow()).equals(table)


def check_delete_folder(place: Place) -> None:
    files = place.arrow()
    files.create_dir(place.path("d"))  # as write_dataset does; pyarrow finds no folder without its marker
    for name in ("d/a", "d/b", "e"):
        write(files, place.path(name), b"1")
    files.delete_dir(place.path("d"))
    assert [kind(place, name) for name in ("d/a", "d/b", "e")] == [FileType.NotFound, FileType.NotFound, FileType.File]


def check_an_unfinished_stream_is_invisible(place: Place) -> None:
    files = place.arrow()
    file = files.open_output_stream(place.path("x"))
    try:
        file.write(LARGE)
        assert kind(place, "x") == FileType.NotFound
    finally:
        file.abort() if hasattr(file, "abort") else file.close()
