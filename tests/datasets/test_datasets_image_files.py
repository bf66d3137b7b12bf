"""The same images in every packing, on a disk and in a bucket, in one order."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from buckets import BUCKET, failing
from mien.datasets.image_files import CHUNK_IMAGES, find_images
from mien.errors import DatasetError, PreflightError, StorageError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from tars import pack


def put(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(root)


def table(values: list[bytes | None], group: int = 2, name: str = "image", struct: bool = False) -> bytes:
    array = pa.array([{"bytes": value, "path": "x"} for value in values] if struct else values)
    file = io.BytesIO()
    pq.write_table(pa.table({"label": ["t"] * len(values), name: array}), file, row_group_size=group)
    return file.getvalue()


def found(place: str, column: str | None = None) -> dict[str, bytes | str]:
    chunks = find_images(place, column)
    return {name: data for chunk in chunks for name, data in zip(chunk.names(), chunk.contents(), strict=True)}


def test_images_of_a_folder_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = ["a-b.JPG", "a/2.png", "a/3.webp", "b.tiff", "z/deep/1.bmp"]
    others = ["notes.txt", ".hidden.jpg", ".folder/1.jpg", "a/._2.png", "none"]
    place = put(tmp_path, {name: name.encode() for name in reversed([*names, *others])})
    assert list(found(place).items()) == [(name, name.encode()) for name in names]


def test_a_bucket_has_the_order_and_the_names_of_a_folder(emulator: Emulator, tmp_path: Path) -> None:
    files = {name: name.encode() for name in ("a-b.jpg", "a/2.png", ".hidden/1.jpg", "b.jpg", "a.txt")}
    files["c.tar"] = pack(tmp_path / "c.tar", {"1.jpg": b"one"}).read_bytes()
    files["d.parquet"] = table([b"row"])
    store = GcsStore(f"gs://{BUCKET}/images")
    for name, data in files.items():
        store.replace(name, data)
    expected = {"a-b.jpg": b"a-b.jpg", "a/2.png": b"a/2.png", "b.jpg": b"b.jpg", "c.tar/1.jpg": b"one"}
    expected["d.parquet/0"] = b"row"
    assert list(found(store.uri).items()) == list(expected.items())
    assert found(put(tmp_path / "same", files)) == expected
    assert found(f"{store.uri}/c.tar") == {"1.jpg": b"one"}
    assert found(f"{store.uri}/d.parquet") == {"0": b"row"}
    assert found(f"{store.uri}/b.jpg") == {"b.jpg": b"b.jpg"}


@pytest.mark.parametrize("name", ["a.jpg", "c.tar"])
def test_a_bit_that_flips_on_the_way_is_not_read(emulator: Emulator, tmp_path: Path, name: str) -> None:
    files = {"a.jpg": bytes(5000), "c.tar": pack(tmp_path / "c.tar", {"1.jpg": bytes(5000)}).read_bytes()}
    store = GcsStore(f"gs://{BUCKET}/flips")
    store.replace(name, files[name])
    (chunk,) = find_images(f"{store.uri}/{name}", None)
    with failing(emulator, "GET .*alt=media", "flip"):
        assert list(chunk.contents()) == [bytes(5000)]


def test_members_of_a_tar_keep_its_order_and_the_last_of_a_name_counts(tmp_path: Path) -> None:
    members = {"./b/1.jpg": b"old", "a/2.png": b"two", "a/2.json": b"{}", "._a.jpg": b"", "./b/1.jpg\0": b"new"}
    path = pack(tmp_path / "x.tar", members)
    assert list(found(str(path)).items()) == [("a/2.png", b"two"), ("b/1.jpg", b"new")]
    assert list(found(str(tmp_path))) == ["x.tar/a/2.png", "x.tar/b/1.jpg"]


def test_a_link_in_a_tar_has_no_bytes_and_says_so(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert str(found(str(tmp_path))["x.tar/1.jpg"]).startswith("is a link in the tar; pack the file itself")


@pytest.mark.parametrize("struct", [False, True])
def test_rows_of_a_table_are_images(tmp_path: Path, struct: bool) -> None:
    place = put(tmp_path, {"t.parquet": table([b"a", None, b"b"], struct=struct)})
    expected = {"t.parquet/0": b"a", "t.parquet/1": "has no bytes in its table", "t.parquet/2": b"b"}
    assert found(place) == expected
    assert found(place, "image") == expected
    assert list(found(str(tmp_path / "t.parquet"))) == ["0", "1", "2"]


def test_a_table_without_such_a_column_is_refused(tmp_path: Path) -> None:
    place = put(tmp_path, {"t.parquet": table([b"a"])})
    with pytest.raises(PreflightError, match=r"t\.parquet: has no column label of images .* but label, image"):
        find_images(place, "label")
    text = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"], "number": [1]}), text)
    put(tmp_path, {"t.parquet": text.getvalue()})
    with pytest.raises(PreflightError, match=r"t\.parquet: has no column of images .* but text, number"):
        find_images(place, None)


def test_chunks_are_neighbours_and_end_where_a_row_group_does(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", {f"{number}.jpg": b"" for number in range(CHUNK_IMAGES + 1)})
    put(tmp_path, {"b.parquet": table([b"x"] * 2500, group=600), "c.jpg": b"", "d.jpg": b""})
    sizes = [len(chunk.names()) for chunk in find_images(str(tmp_path), None)]
    assert sizes == [CHUNK_IMAGES, 1, 1200, 1200, 100, 2]
    names = [name for chunk in find_images(str(tmp_path), None) for name in chunk.names()]
    assert names[CHUNK_IMAGES + 1 : -2] == [f"b.parquet/{row}" for row in range(2500)]


def test_a_chunk_of_what_has_changed_is_another_one(tmp_path: Path) -> None:
    place = put(tmp_path, {"a.jpg": b"one", "t.parquet": table([b"a"])})
    before = [repr(chunk) for chunk in find_images(place, None)]
    assert [repr(chunk) for chunk in find_images(place, None)] == before
    put(tmp_path, {"a.jpg": b"other", "t.parquet": table([b"aaaaaaaaaaa"])})
    assert not {*before} & {repr(chunk) for chunk in find_images(place, None)}


def test_a_place_without_images_says_what_is_looked_for(tmp_path: Path, emulator: Emulator) -> None:
    looked_for = r"holds no image; names ending in \.jpg \.jpeg .* \.tar \.parquet are looked for"
    with pytest.raises(PreflightError, match=f"{tmp_path}: {looked_for}"):
        find_images(str(tmp_path), None)
    with pytest.raises(PreflightError, match=looked_for):
        find_images(str(pack(tmp_path / "x.tar", {"a.txt": b""})), None)
    with pytest.raises(PreflightError, match=f"gs://{BUCKET}/nothing: {looked_for}"):
        find_images(f"gs://{BUCKET}/nothing", None)
    with pytest.raises(PreflightError, match="does not exist; give a folder"):
        find_images(str(tmp_path / "none"), None)
    with pytest.raises(PreflightError, match=r"a\.zip: is no image, tar or table by its ending"):
        find_images(put(tmp_path, {"a.zip": b""}) + "/a.zip", None)


def test_what_is_damaged_is_told(tmp_path: Path) -> None:
    put(tmp_path, {"x/a.tar": b"no tar" * 200, "y/a.parquet": table([b"a"] * 9)[:-20]})
    with pytest.raises(PreflightError, match=r"a\.tar: is not a sound tar"):
        find_images(str(tmp_path / "x"), None)
    with pytest.raises(DatasetError, match=r"a\.parquet: is damaged"):
        find_images(str(tmp_path / "y"), None)


def test_a_file_that_changed_since_it_was_listed_is_told(tmp_path: Path) -> None:
    (chunk,) = find_images(put(tmp_path, {"a.jpg": b"one"}), None)
    put(tmp_path, {"a.jpg": b"other"})
    with pytest.raises(StorageError, match=r"a\.jpg: has changed since"):
        list(chunk.contents())
