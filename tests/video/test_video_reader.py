"""Tests of video/reader.py: damaged files, and how little of a long one is read."""

import io
import math
import random

import numpy as np
import pytest

from long_videos import lengthen
from mien.errors import MediaError
from mien.storage.ranges import Kept, RangeFile
from mien.video.decode import Span, decode, decode_clip
from mien.video.probe import probe

LONG = range(0, 300 * 8, 8)
"""10 seconds."""


def until_error(frames):
    """What an iterator gives before its MediaError, and the message."""
    given = []
    with pytest.raises(MediaError) as caught:
        given.extend(frames)
    assert "\n" not in str(caught.value)
    return given, str(caught.value)


def cut(path, share):
    """Only the first part of a file is left."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


CUT = {
    "moov_first.mp4": {"container_options": {"movflags": "faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "cut.mkv": {},
    "cut.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p", "num_b_frames": 0, "pts": range(90), "duration": 1},
}


@pytest.mark.parametrize("name", CUT)
def test_the_frames_before_a_cut_are_given_and_the_cut_is_told(make_video, bare_decode, name):
    path = make_video(name, **CUT[name])
    reference, step_s = bare_decode(path), probe(path).duration_s / 90
    cut(path, 0.6)
    given, message = until_error(decode_clip(path))
    assert 30 < len(given) < 70
    assert [frame.pts for frame in given] == [pts for pts, _ in reference[: len(given)]]
    assert all((frame.rgb == rgb).all() for frame, (_, rgb) in zip(given, reference, strict=False))
    assert message.startswith(f"{path}: damaged at {given[-1].time_s + step_s:.2f} s (")
    assert "bytes are missing at the end" in message
    before = Span(given[3].time_s, given[20].time_s)
    assert [frame.pts for frame in decode_clip(path, before)] == [frame.pts for frame in given[3:20]]
    behind, message = until_error(decode_clip(path, Span(given[-1].time_s + 5 * step_s, math.inf)))
    assert (behind, "damaged at" in message) == ([], True)


def test_a_rate_gives_its_frames_before_a_cut(make_video):
    path = make_video(container_options={"movflags": "faststart"})
    every = [frame.pts for frame in decode_clip(path, fps=10)]
    cut(path, 0.6)
    given, _ = until_error(decode_clip(path, fps=10))
    assert len(given) > 10
    assert [frame.pts for frame in given] == every[: len(given)]


def overwrite(path, share, num_bytes=400):
    """Zeros in the middle of the pictures."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + int(share * (len(data) - data.index(b"mdat")))
    data[start : start + num_bytes] = bytes(num_bytes)
    path.write_bytes(bytes(data))


def test_damage_in_the_middle_spares_the_spans_around_it(make_video, bare_decode):
    path = make_video(pts=LONG, container_options={"movflags": "faststart"}, options={"crf": "10"})
    reference = bare_decode(path)
    overwrite(path, 0.5)
    given, message = until_error(decode_clip(path))
    assert 120 < len(given) < 180
    assert "(cannot be decoded)" in message
    assert all((frame.rgb == rgb).all() for frame, (_, rgb) in zip(given, reference, strict=False))
    for span, first in ((Span(1, 3), 30), (Span(7, 9), 210)):
        sound = list(decode_clip(path, span))
        assert len(sound) == 60
        assert all((frame.rgb == rgb).all() for frame, (_, rgb) in zip(sound, reference[first:], strict=False))
    sound, _ = until_error(decode(path, [Span(1, 3), Span(4, 6)]))
    assert sum(position == 0 for position, _ in sound) == 60


def test_damage_at_the_start_is_told(make_video):
    path = make_video(pts=LONG, container_options={"movflags": "faststart"})
    overwrite(path, 0.0, num_bytes=3000)
    given, message = until_error(decode_clip(path))
    assert (given, "damaged at 0.00 s" in message) == ([], True)
    assert len(list(decode_clip(path, Span(8, 9)))) == 30


def test_random_damage_ends_in_frames_or_one_line(make_video):
    rng = random.Random(7)
    good = make_video(container_options={"movflags": "faststart"}).read_bytes()
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(rng.choice([1, 10])):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        try:
            num_frames = len(list(decode_clip(io.BytesIO(bytes(bad)), Span(0, 2))))
        except MediaError:
            continue
        assert 0 < num_frames <= 90


def test_frames_that_change_size_or_run_back_in_time_are_refused(make_video, tmp_path):
    small, large = make_video("small.ts"), make_video("large.ts", size=(128, 96))
    (tmp_path / "sizes.ts").write_bytes(small.read_bytes() + large.read_bytes())
    given, message = until_error(decode_clip(tmp_path / "sizes.ts"))
    assert 80 < len(given) <= 90
    assert "change to 128x96 px" in message or "run back" in message
    (tmp_path / "twice.ts").write_bytes(2 * small.read_bytes())
    given, message = until_error(decode_clip(tmp_path / "twice.ts"))
    assert 80 < len(given) <= 90
    assert "time stamps run back at" in message


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    num_read = 0

    def read(self, size=-1):
        data = super().read(size)
        self.num_read += len(data)
        return data


def test_a_clip_comes_in_one_request_wherever_it_begins_beside_a_keyframe(faces_dir, tmp_path):
    lengthen(faces_dir / "d18.mp4", tmp_path / "long.mp4")
    data, requests, index = (tmp_path / "long.mp4").read_bytes(), [], Kept()

    def fetch(start, stop):
        requests.append(stop - start)
        return data[start:stop]

    probe(RangeFile(fetch, len(data), "long.mp4", index))
    sizes = []
    for start_s in 50.4 + np.arange(-0.1, 0.1, 0.01):  # the keyframe is stored two frames before it is shown
        requests.clear()
        file = RangeFile(fetch, len(data), "long.mp4", Kept(index))
        assert len(list(decode_clip(file, Span(start_s, start_s + 1)))) == 30
        sizes += requests
        assert len(requests) == 1, start_s
    assert min(sizes[:9]) > 3 * max(sizes[11:])


@pytest.mark.parametrize("name", ["big.mp4", "big.mkv"])
def test_few_frames_of_a_long_video_need_few_of_its_bytes(make_video, name):
    options = {"crf": "0", "preset": "ultrafast"}
    path = make_video(name, pts=range(0, 600 * 8, 8), gop=30, size=(192, 192), options=options)
    whole, some, thin = (Counting(path.read_bytes()) for _ in range(3))
    assert len(list(decode_clip(whole))) == 600
    assert len(list(decode(some, [Span(5, 6), Span(15, 16)]))) == 60
    assert some.num_read < 0.5 * whole.num_read
    if name == "big.mp4":
        assert len(list(decode_clip(thin, fps=0.25))) == 5
        assert thin.num_read < 0.7 * whole.num_read
