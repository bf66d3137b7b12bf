"""The outbox: a file appears whole or not at all. And names of files."""

import errno
import json
import re
from pathlib import Path

import pytest

from mien.datasets.export.kind import Outbox, safe, stem
from mien.errors import StorageError
from mien.storage.local import LocalStore

ROW = {"clip_id": "0123456789abcdef" * 2, "track": 0, "source_uri": "/v/a.mp4", "start_s": 61.239, "subject": "7"}


def test_a_file_gets_its_name_when_it_is_finished(tmp_path: Path) -> None:
    with Outbox(LocalStore(tmp_path)) as outbox:
        with outbox.file("data/a.bin") as path:
            path.write_bytes(b"abc")
            assert not (tmp_path / "data").exists()
        assert (tmp_path / "data" / "a.bin").read_bytes() == b"abc"
    assert json.loads(json.dumps(outbox.files))[0]["size_bytes"] == 3
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.bin"]


def test_after_an_error_nothing_of_the_file_is_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Outbox(LocalStore(tmp_path)) as outbox, outbox.file("a.bin") as path:
        path.write_bytes(b"half")
        raise KeyError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_takes_no_more_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    place = re.escape(f"{tmp_path}/a.bin")
    with (
        pytest.raises(StorageError, match=rf"^{place}: no space left") as caught,
        Outbox(LocalStore(tmp_path)) as outbox,
        outbox.file("a.bin"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "same command" in str(caught.value)


def test_a_name_tells_subject_video_and_time_and_is_one_of_a_kind() -> None:
    assert stem(ROW) == "subject_7_a_faces_61_24_0123456789ab"
    assert stem(ROW | {"subject": "", "track": 3}) == "a_faces_61_24_0123456789ab_t3"
    assert stem(ROW | {"start_s": 0.0, "source_uri": "gs://b/c/d.e.webm"}) == "subject_7_d-e_faces_0_00_0123456789ab"


@pytest.mark.parametrize("text", ["../../x", "a.b", "\x1b[2J", "ü" * 300, "a/b", "", ".", "a b", "x" * 300])
def test_nothing_in_a_name_leads_out_or_is_a_dot(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", safe(text, 40))
    assert "." not in stem(ROW | {"subject": text, "source_uri": f"/v/{text}"})
