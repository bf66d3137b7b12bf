"""One file from one place, read no further than its pinned size; how both places serve an asset: test_assets.py."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from file_server import FileServer
from mien.origins import Url, Wheel

MODEL = bytes(range(256)) * 20
SUM = hashlib.sha256(MODEL).hexdigest()


def test_an_address_gives_its_bytes(web: FileServer) -> None:
    address = web.put("model.bin", MODEL)
    origin = Url(address, SUM, len(MODEL))
    assert origin.fetch(()) == MODEL
    assert str(origin) == address


def test_a_larger_file_than_pinned_is_not_read_to_its_end(web: FileServer) -> None:
    address = web.put("model.bin", MODEL + bytes(50_000_000))
    assert len(Url(address, SUM, len(MODEL)).fetch(())) == len(MODEL) + 1


@pytest.mark.parametrize("url", ["http://example.org/model.bin", "file:///etc/hostname", "ftp://example.org/model.bin"])
def test_only_https_leaves_the_machine(url: str) -> None:
    with pytest.raises(ValueError, match="only https is fetched"):
        Url(url, SUM, len(MODEL)).fetch(())


def test_a_wheel_gives_a_member_and_no_more_of_it_than_was_pinned(tmp_path: Path) -> None:
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny/model.bin", MODEL)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")
    options = ("--no-index", f"--find-links={tmp_path}")
    assert Wheel("tiny==1.0", "tiny/model.bin", SUM, len(MODEL)).fetch(options) == MODEL
    assert len(Wheel("tiny==1.0", "tiny/model.bin", SUM, 10).fetch(options)) == 11
    with pytest.raises(OSError, match="no item named"):
        Wheel("tiny==1.0", "tiny/absent.bin", SUM, 10).fetch(options)
