import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET
from mien.errors import DownloadError, StorageError
from mien.storage.commit import digest
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from mien.storage.sums import Sums, digest_at, holds, stated
from mien.storage.uri import Store

DATA = b"123456789"
CRC32C = "e3069283"
"""Of DATA: the check value of CRC-32C in the catalogue of Reveng, and in RFC 3720."""
MD5 = "25f9e794323b453885f5181f1b624d0b"
"""Of DATA, by md5sum(1)."""


def b64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x"
    path.write_bytes(DATA)
    return path


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> Store:
    return LocalStore(tmp_path / "store") if request.param == "folder" else GcsStore(f"gs://{BUCKET}/sums")


def test_sums_are_read_in_hexadecimal_digits_and_in_base64() -> None:
    sha256 = hashlib.sha256(DATA).hexdigest()
    expected = Sums(9, sha256, CRC32C, MD5)
    digits = {"size_bytes": 9, "sha256": sha256.upper(), "crc32c": CRC32C, "md5": f" {MD5} "}
    assert Sums.parse(digits) == expected
    assert Sums.parse({"size_bytes": "9.0", "sha256": b64(sha256), "crc32c": b64(CRC32C), "md5": b64(MD5)}) == expected
    assert Sums.parse({"size_bytes": "", "md5": None}) == Sums.parse({"size_bytes": float("nan")}) == Sums()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sha256": "abc"}, "sha256 'abc' is not 32 bytes"),
        ({"md5": CRC32C}, "md5 'e3069283' is not 16 bytes"),
        ({"crc32c": "!!!!!!!!"}, "crc32c '!!!!!!!!' is not 4 bytes"),
        ({"size_bytes": "many"}, "many"),
        ({"size_bytes": -1}, "size_bytes -1 is no number of bytes"),
        ({"size_bytes": 1.5}, "size_bytes 1.5"),
        ({"size_bytes": "inf"}, "size_bytes 'inf'"),
    ],
)
def test_what_cannot_be_a_sum_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sums.parse(values)


def test_a_file_is_held_against_every_promise(path: Path) -> None:
    good = {"size_bytes": 9, "sha256": hashlib.sha256(DATA).hexdigest(), "crc32c": CRC32C, "md5": MD5}
    Sums(**good).check(digest(path), path, "x")
    Sums().check(digest(path), path, "x")
    for kind in ("sha256", "crc32c", "md5"):
        wrong = str(good[kind])[::-1]
        with pytest.raises(DownloadError, match=f"^x: {kind} is {good[kind]}, promised is {wrong}; correct the list"):
            Sums(**{**good, kind: wrong}).check(digest(path), path, "x")
    with pytest.raises(DownloadError, match="has 9 bytes, promised are 8"):
        Sums(size_bytes=8).check(digest(path), path, "x")


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-goog-hash": f"crc32c={b64(CRC32C)},md5={b64(MD5)}"}, Sums(crc32c=CRC32C, md5=MD5)),
        ({"x-goog-hash": f"crc32c={b64(CRC32C)}", "x-goog-stored-content-encoding": "identity"}, Sums(crc32c=CRC32C)),
        ({"x-goog-hash": f"crc32c={b64(CRC32C)}", "x-goog-stored-content-encoding": "gzip"}, Sums()),
        ({"x-goog-hash": "crc32c=nonsense"}, Sums()),
        ({"Content-MD5": b64(MD5)}, Sums()),
        ({}, Sums()),
    ],
)
def test_what_a_server_states_of_the_whole_file_is_taken(headers: dict[str, str], found: Sums) -> None:
    assert stated(headers) == found


def test_what_lies_in_a_store_is_summed_up_where_it_lies(store: Store, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(os.urandom(9_000_000))  # more than one range
    for name, path in (("big", big),):
        store.replace(name, path.read_bytes())
        assert digest_at(store, name) == digest(path)
    with pytest.raises(StorageError, match="does not exist"):
        digest_at(store, "absent")


def test_a_store_knows_whether_it_holds_a_content(store: Store, path: Path) -> None:
    content = digest(path)
    assert not holds(store, "held", content)
    store.replace("held", DATA)
    assert holds(store, "held", content)
    store.replace("held", b"923456781")
    assert not holds(store, "held", content)
