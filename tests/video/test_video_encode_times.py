"""Frames that do not come evenly keep their times in the mp4; read back by PyAV."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mien.video.encode import FrameTimes, encode
from mien.video.probe import probe

PTS = [900, 1900, 2400, 5000, 5001, 9000]


def grey(num_frames: int) -> list[np.ndarray]:
    return [np.full((32, 48, 3), 30 * i, np.uint8) for i in range(num_frames)]


@pytest.mark.parametrize("time_base", [Fraction(1, 1000), Fraction(1, 15360), Fraction(1, 1_000_000)])
def test_every_frame_keeps_its_time(tmp_path: Path, time_base: Fraction) -> None:
    path = tmp_path / "a.mp4"
    assert encode(path, grey(len(PTS)), FrameTimes(PTS, time_base)) == len(PTS)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
        assert stream.frames == len(PTS)
        assert stream.duration * stream.time_base == (PTS[-1] - PTS[0]) * time_base * 6 / 5, (
            "the last one as the average"
        )
    assert times == [(pts - PTS[0]) * time_base for pts in PTS]
    assert probe(path).is_vfr


@pytest.mark.parametrize("pts", [[], [5], [1, 2, 2], [3, 1]])
def test_times_that_no_player_could_show_are_refused(tmp_path: Path, pts: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        encode(tmp_path / "a.mp4", grey(max(1, len(pts))), FrameTimes(pts, Fraction(1, 1000)))
    assert list(tmp_path.iterdir()) == []


def test_more_frames_than_times_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 time stamps"):
        encode(tmp_path / "a.mp4", grey(3), FrameTimes([0, 1], Fraction(1, 1000)))
    assert list(tmp_path.iterdir()) == []
