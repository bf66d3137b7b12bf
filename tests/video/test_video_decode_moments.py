"""The frame that is shown at a time, against a full decode."""

import bisect
import math
import random

import numpy as np
import pytest

from mien.errors import LimitExceeded, MediaError
from mien.video.decode import decode_clip, frames_at
from mien.video.limits import LimitsConfig

LONG = range(0, 300 * 8, 8)
KINDS = {
    "b_frames.mp4": {},
    "open_gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=30"}},
    "late_start.mp4": {"container_options": {"output_ts_offset": "5"}},
    "vfr.mp4": {"pts": np.cumsum([0, *[8, 3, 40, 8, 90] * 20]).tolist()},
    "b_frames.mkv": {"pts": LONG},
    "vp8.webm": {"pts": LONG, "codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "b_frames.ts": {"pts": LONG},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p", "num_b_frames": 0, "pts": range(90), "duration": 1},
}


@pytest.mark.parametrize("name", KINDS)
def test_it_is_the_last_one_that_does_not_begin_later(make_video, name):
    path = make_video(name, **KINDS[name])
    whole = list(decode_clip(path))
    starts = [frame.time_s for frame in whole]
    rng = random.Random(name)
    times_s = [rng.uniform(starts[0], starts[-1]) for _ in range(12)] + [starts[0], starts[-1], starts[7], starts[7]]
    rng.shuffle(times_s)
    found = list(frames_at(path, times_s))
    assert sorted(position for position, _ in found) == list(range(16))
    assert [times_s[position] for position, _ in found] == sorted(times_s)
    for position, frame in found:
        expected = whole[bisect.bisect_right(starts, times_s[position] + 1e-6) - 1]
        assert frame.pts == expected.pts
        assert (frame.rgb == expected.rgb).all()


def test_a_far_time_is_sought_not_decoded_to(make_video):
    path = make_video(pts=range(0, 900 * 8, 8))
    limits = LimitsConfig(max_decoded_frames=100)
    assert [frame.time_s for _, frame in frames_at(path, [29.01], limits)] == [29.0]
    with pytest.raises(LimitExceeded, match="max_decoded_frames=100"):
        list(decode_clip(path, limits=limits))


@pytest.mark.parametrize("time_s", [-1.0, 2.0, 1e9])
def test_nothing_is_shown_before_the_first_and_after_the_last(make_video, time_s):
    path = make_video(pts=range(0, 60 * 8, 8))
    assert len(list(frames_at(path, [1.99]))) == 1
    with pytest.raises(MediaError) as caught:
        list(frames_at(path, [1.0, time_s]))
    expected = f"shows nothing at {time_s:.2f} s; choose a time from 0.00 s to before 2.00 s"
    assert str(caught.value) == f"{path}: {expected}"


def test_a_time_that_was_cut_off_is_told(make_video):
    path = make_video(container_options={"movflags": "faststart"}, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert len(list(frames_at(path, [0.2]))) == 1
    with pytest.raises(MediaError, match=r"is damaged at 2\.90 s \(\d+ bytes are missing at the end\)"):
        list(frames_at(path, [0.2, 2.9]))


def test_a_hole_in_the_middle_is_told_and_its_neighbours_are_given(make_video):
    path = make_video("a.mkv", size=(320, 240), codec="mpeg4", num_b_frames=0, gop=15, pts=LONG)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = bytes(6000)
    path.write_bytes(data)
    with pytest.raises(MediaError, match="damaged at") as caught:
        list(decode_clip(path))
    hole_s = float(str(caught.value).split("damaged at ")[1].split(" s")[0])
    assert [position for position, _ in frames_at(path, [0.5, 9.5])] == [0, 1]
    with pytest.raises(MediaError, match="is damaged at"):
        list(frames_at(path, [hole_s + 0.02]))


@pytest.mark.parametrize("time_s", [math.inf, -math.inf, math.nan])
def test_a_time_that_is_none_is_a_mistake_of_the_caller(time_s):
    with pytest.raises(ValueError, match="must be finite"):
        frames_at("any.mp4", [time_s])
