"""Tests of video/probe.py: against what the videos were made with, and what is written about the real ones."""

import io
from fractions import Fraction
from itertools import accumulate, cycle, islice

import av
import numpy as np
import pytest

from mien.video.decode import decode_clip
from mien.video.probe import AudioInfo, count_frames, probe

REAL = {
    "d0.mp4": (512, 512, 78, 25),
    "d3.mp4": (512, 512, 354, 30),
    "d9.mp4": (512, 480, 587, 30),
    "d18.mp4": (480, 480, 216, 30),
    "d19.mp4": (480, 480, 250, 30),
    "s13.mp4": (720, 1080, 103, 25),
    "s20.mp4": (480, 908, 297, 30),
    "s32.mp4": (1280, 720, 180, 30),
}


@pytest.mark.parametrize("name", REAL)
def test_real_videos_are_as_their_readme_says(faces_dir, name):
    info = probe(faces_dir / name)
    assert (info.width_px, info.height_px, info.num_frames, info.fps) == REAL[name]
    assert (info.codec, info.is_vfr, info.rotation_deg, info.start_s) == ("h264", False, 0, 0.0)
    assert info.duration_s == pytest.approx(info.num_frames / info.fps, abs=0.02)
    assert (info.audio.codec if info.audio else None) == (None if name == "d0.mp4" else "aac")
    assert info.size_bytes == (faces_dir / name).stat().st_size


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts"])
def test_every_container_gives_rate_length_and_codec(make_video, name):
    info = probe(make_video(name))
    assert info.duration_s == pytest.approx(3, abs=0.04)
    assert (info.width_px, info.height_px, info.codec, info.audio) == (96, 64, "h264", None)
    assert (info.fps, info.is_vfr) == (30, False)
    assert info.num_frames == (90 if name in ("a.mp4", "a.mov") else 0)


def test_avi_is_described(make_video):
    info = probe(
        make_video("a.avi", codec="mjpeg", pixel_format="yuvj420p", num_b_frames=0, pts=range(720), duration=1)
    )
    assert (info.container, info.codec, info.fps, info.is_vfr) == ("avi", "mjpeg", 240, False)
    assert (info.duration_s, info.pixel_format) == (pytest.approx(3, abs=0.04), "yuvj420p")
    assert 720 <= info.num_frames < 730  # the writer repeats the last frame


def test_start_is_where_the_first_frame_is(make_video):
    for name in ("a.ts", "a.mp4", "a.mkv"):
        path = make_video(name, container_options={"output_ts_offset": "5"})
        info = probe(path)
        assert info.start_s == pytest.approx(next(decode_clip(path)).time_s)
        assert info.start_s == pytest.approx(5, abs=0.1)
        assert info.duration_s == pytest.approx(3, abs=0.04)


@pytest.mark.parametrize("rotation_deg", [0, 90, -90, 180])
def test_size_is_that_of_the_upright_picture(make_video, rotation_deg):
    info = probe(make_video(rotation_deg=rotation_deg))
    assert info.rotation_deg == rotation_deg
    assert (info.width_px, info.height_px) == ((96, 64) if rotation_deg in (0, 180) else (64, 96))


def stamps(*gaps: int) -> list[int]:
    """90 time stamps whose gaps repeat."""
    return [0, *accumulate(islice(cycle(gaps), 89))]


@pytest.mark.parametrize(
    ("gaps", "is_vfr"),
    [((8,), False), ((8, 8, 8, 8, 8, 16), True), ((8, 10), True), ((4, 40), True), ((8,) * 40 + (16,), True)],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_a_variable_rate_is_seen_in_the_index(make_video, name, gaps, is_vfr):
    info = probe(make_video(name, pts=stamps(*gaps)))
    assert info.is_vfr is is_vfr
    assert info.num_frames == 90


@pytest.mark.parametrize(("gaps", "is_vfr"), [((8,), False), ((4, 40), True)])
@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_a_variable_rate_is_seen_in_the_packets_where_there_is_no_index(make_video, name, gaps, is_vfr):
    info = probe(make_video(name, pts=stamps(*gaps)))
    assert info.is_vfr is is_vfr
    assert float(info.fps) == pytest.approx(89 * 240 / sum(islice(cycle(gaps), 89)), rel=0.02)


def test_rounding_to_the_time_base_is_not_a_variable_rate(make_video):
    info = probe(make_video("a.mp4", container_options={"video_track_timescale": "1000"}))
    assert (info.time_base, info.is_vfr) == (Fraction(1, 1000), False)


def test_nothing_is_decoded(make_video):
    """The same answer when every byte of the pictures is gone."""
    path = make_video("a.mp4", container_options={"movflags": "faststart"})
    good, data = probe(path), bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    bad = probe(io.BytesIO(bytes(data)))
    for field in ("width_px", "fps", "is_vfr", "duration_s", "num_frames", "rotation_deg", "codec", "time_base"):
        assert getattr(bad, field) == getattr(good, field)


def test_length_is_measured_where_the_header_gives_none(make_video):
    path = make_video("a.mkv", container_options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None
    assert probe(path).duration_s == pytest.approx(3, abs=0.05)
    assert probe(path).num_frames == 90


def test_pixels_that_are_not_square_are_reported(tmp_path):
    path = tmp_path / "anamorphic.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(stream.encode(None))
    info = probe(path)
    assert (info.sample_aspect_ratio, info.width_px, info.height_px) == (Fraction(16, 11), 64, 48)


def test_audio_is_described(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, width=64, height=48)
        audio = container.add_stream("aac", rate=22050, layout="stereo")
        for _ in range(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        container.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(np.zeros((2, 22050), np.float32), "fltp", "stereo")
        block.sample_rate = 22050
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    info = probe(path)
    assert info.audio == AudioInfo("aac", 22050, 2, info.audio.duration_s)
    assert info.audio.duration_s == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("rotation_deg", "expected"), [(0, Fraction(3)), (90, Fraction(1, 3))])
def test_the_aspect_ratio_is_that_of_what_is_shown(make_video, tmp_path, rotation_deg, expected):
    path = tmp_path / "anamorphic.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=96, height=64)
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        stream.set_display_rotation(rotation_deg)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 96, 3), np.uint8))))
        container.mux(stream.encode(None))
    assert probe(path).aspect_ratio == expected


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "b.webm"])
def test_frames_are_counted_where_the_container_does_not_say(make_video, name):
    path = make_video(name, **({"codec": "libvpx"} if name == "b.webm" else {}))
    assert count_frames(path) == 90
    assert probe(path).to_json()["num_frames"] in {90, None}


def test_what_a_person_reads_says_none_where_the_container_does_not_say(make_video, faces_dir):
    described = probe(faces_dir / "d9.mp4").to_json()
    assert described["resolution"] == "512x480"
    assert described["size_mb"] == 2.258
    assert (described["fps"], described["num_frames"], described["aspect_ratio"]) == (30.0, 587, 1.0)
    assert described["audio"]["codec"] == "aac"
    described = probe(make_video("a.mkv")).to_json()
    assert (described["num_frames"], described["audio"]) == (None, None)
