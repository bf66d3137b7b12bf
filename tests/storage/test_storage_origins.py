import hashlib
from pathlib import Path

import pytest

from buckets import BUCKET
from file_server import FileServer, Rule
from mien.errors import DownloadError, StorageError
from mien.storage import partial
from mien.storage.download import DownloadConfig, Downloader, Fetched
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.origins import fetch, name_in, require_address, unsigned
from mien.storage.sums import Sums

DATA = b"film" * 1000


def bring(url: str, folder: Path) -> tuple[Fetched, bytes, list[tuple[int, int | None]]]:
    told = list[tuple[int, int | None]]()
    with partial.held(folder, "item") as part:
        fetched = fetch(url, part, Sums(), Downloader(DownloadConfig()), lambda *seen: told.append(seen))
        return fetched, part.path.read_bytes(), told


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://host/a b.mp4".replace(" ", "%20"), "https://host/a%20b.mp4"),
        ("HTTP://user:pass@host:8080/a?x=1", "HTTP://user:pass@host:8080/a?x=1"),
        ("gs://bucket/a//".rstrip("/"), "gs://bucket/a"),
        ("file:///data/a%20b.mp4", "/data/a b.mp4"),
        ("/data/./a.mp4", "/data/a.mp4"),
        ("a.mp4", "/lists/a.mp4"),
        ("../a.mp4", "/a.mp4"),
    ],
)
def test_an_address_is_made_canonical(url: str, address: str) -> None:
    assert require_address(url, Path("/lists")) == address


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "has no url"),
        ("ftp://host/a?sig=c0ffee", "'ftp://host/a': give http://"),
        ("s3://bucket/a", "give http://, https://, gs://"),
        ("https:///a?sig=c0ffee", "has no host"),
        ("https://host:99999/a?sig=c0ffee", "a port that is none"),
        ("https://[::1/a?sig=c0ffee", "no host"),
        ("https://host/a b?sig=c0ffee", "blanks"),
        ("https://host/a\x1b?sig=c0ffee", "unprintable"),
        ("gs://B/a", "is no name of a bucket"),
    ],
)
def test_what_is_no_address_is_told_without_its_query(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        require_address(url, Path("/lists"))
    assert "c0ffee" not in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/x/a%20b.mp4?y=/c.mp4#z", "a b.mp4"),
        ("https://host/x/", ""),
        ("https://host", ""),
        ("/data/a?b.mp4", "a?b.mp4"),
    ],
)
def test_the_name_of_a_file_is_the_last_part_of_its_path(url: str, name: str) -> None:
    assert name_in(url) == name


def test_two_links_to_one_file_are_one_address_and_other_queries_count() -> None:
    links = [
        "https://h/a.zip?X-Goog-Signature=1&X-Goog-Date=2&part=7",
        "https://H/a.zip?part=7&X-Goog-Signature=3",
        "https://user:pass@h/a.zip?part=7&oh=1&oe=2&_nc_gid=3",
        "https://h/a.zip?part=7&Expires=1&Signature=2&Key-Pair-Id=3#top",
    ]
    assert {unsigned(link) for link in links} == {"https://h/a.zip?part=7"}
    assert unsigned("https://h/a.zip?part=8") != unsigned(links[0])
    assert unsigned("/data/a?Signature=1") == "/data/a?Signature=1"


def test_a_page_is_no_film_whatever_its_server_calls_it(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", b"<!DOCTYPE html><title>Log in</title>", Rule(headers={"Content-Type": "video/mp4"}))
    with pytest.raises(DownloadError, match="is a web page where a file is expected"):
        bring(url, tmp_path)
    assert list(tmp_path.glob("*.part")) == []
    assert bring(web.put("a.html", b"<html>"), tmp_path)[1] == b"<html>"


def test_a_local_file_is_copied_and_never_linked(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_bytes(DATA)
    fetched, data, told = bring(str(source), tmp_path / "parts")
    assert data == DATA
    assert fetched == Fetched(len(DATA), 0, 1, Sums())
    assert told[-1] == (len(DATA), len(DATA))
    assert source.stat().st_nlink == 1


def test_a_local_path_that_holds_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="is no file; list its files one by one"):
        bring(str(tmp_path), tmp_path / "parts")
    with pytest.raises(StorageError, match=r"absent\.mp4: does not exist"):
        bring(str(tmp_path / "absent.mp4"), tmp_path / "parts")


def test_an_object_comes_checked(emulator: Emulator, tmp_path: Path) -> None:
    GcsStore(f"gs://{BUCKET}/origins").replace("a.mp4", DATA)
    _, data, told = bring(f"gs://{BUCKET}/origins/a.mp4", tmp_path)
    assert hashlib.sha256(data).digest() == hashlib.sha256(DATA).digest()
    assert told == [(0, len(DATA))]
    with pytest.raises(StorageError, match=r"origins/absent\.mp4: does not exist"):
        bring(f"gs://{BUCKET}/origins/absent.mp4", tmp_path)
