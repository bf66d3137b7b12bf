"""Tests of video/output.py."""

import os
import resource

import av
import numpy as np
import pytest

from mien.errors import StorageError
from mien.video.output import output


def write(path):
    """One second of silence."""
    with output(path, "wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        assert not path.exists()


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "ä b%d:c.wav"
    write(path)
    assert path.stat().st_size > 16000
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_left_of_a_failure(tmp_path):
    def fail():
        with output(tmp_path / "a.wav", "wav") as container:
            container.add_stream("pcm_s16le", rate=8000, layout="mono")
            raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/a.wav", "file/a.wav"])
def test_a_place_that_cannot_be_written_is_told(tmp_path, name):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError) as caught:
        write(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: cannot be written (")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        write(tmp_path / "a.wav")


def test_a_disk_that_takes_no_more_is_told(tmp_path):
    """A limit on the size of files stands in for a full disk: a write fails half-way."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot be written \(File too large\)"):
            write(tmp_path / "a.wav")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
