"""Tests of video/limits.py: every bad file ends in one line that names it and says what to do."""

import io
import os
import socket
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from mien.errors import LimitExceeded, MediaError, StorageError
from mien.video.decode import decode_clip
from mien.video.limits import LimitsConfig, media_name, open_media, video_stream
from mien.video.probe import probe
from peak_memory import run_measured

FFCONCAT = b"ffconcat version 1.0\nfile neighbour.mp4\n"
HLS = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nneighbour.mp4\n#EXT-X-ENDLIST\n"


def image(kind: str) -> bytes:
    """A still picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="image2pipe") as container:
        stream = container.add_stream({"png": "png", "jpg": "mjpeg"}[kind], rate=1)
        stream.width = stream.height = 64
        stream.pix_fmt = {"png": "rgb24", "jpg": "yuvj420p"}[kind]
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8)).reformat(format=stream.pix_fmt)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def sound(container_format: str, codec: str) -> bytes:
    """A file with sound alone."""
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        resampler = av.AudioResampler(stream.format, "mono", 16000)
        for block in resampler.resample(frame):
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    return file.getvalue()


def refusal(path: Path, kind: type[MediaError] = MediaError, limits: LimitsConfig | None = None) -> str:
    """The message with which both probe and decode refuse a file."""
    messages = []
    for read in (probe, lambda source, limits: list(decode_clip(source, limits=limits))):
        with pytest.raises(kind) as caught:
            read(path, limits=limits)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"{path}: ")
    assert "\n" not in messages[0]
    assert "; " in messages[0]
    return messages[0]


BAD_FILES = {
    "empty.mp4": (lambda _: b"", "is empty"),
    "text.mp4": (lambda _: b"This is not a video.\n" * 50, "not a video"),
    "zeros.mp4": (lambda _: bytes(10_000), "not a video"),
    "noise.mp4": (lambda _: np.random.default_rng(0).bytes(10_000), "not a video"),
    "concat.mp4": (lambda _: FFCONCAT, "not a video in an allowed container"),
    "hls.mp4": (lambda _: HLS, "not a video"),
    "picture.png": (lambda _: image("png"), "not a video in an allowed container"),
    "picture.jpg": (lambda _: image("jpg"), "not a video in an allowed container"),
    "jpeg_as.mp4": (lambda _: image("jpg"), "not a video in an allowed container"),
    "sound.m4a": (lambda _: sound("mp4", "aac"), "no video stream, only audio"),
    "sound.wav": (lambda _: sound("wav", "pcm_s16le"), "not a video in an allowed container"),
    "no_moov.mp4": (lambda good: good[: len(good) * 6 // 10], "header is missing or damaged"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused(make_video, tmp_path, name):
    make, expected = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(make(make_video("neighbour.mp4").read_bytes()))
    assert expected in refusal(path)


def test_missing_file_and_folder_and_pipe_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing.mp4")
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "is a pipe" in refusal(tmp_path / "pipe.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(make_video):
    path = make_video()
    path.chmod(0)
    assert "access rights" in refusal(path)


class Failing(io.BytesIO):
    """A file whose bytes cannot be read from some time on."""

    def __init__(self, data: bytes, error: Exception, num_reads: int):
        super().__init__(data)
        self.error, self.num_reads = error, num_reads

    def read(self, size: int | None = -1) -> bytes:
        self.num_reads -= 1
        if self.num_reads < 0:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("num_reads", [0, 3, 8])
def test_errors_of_a_file_object_are_translated_or_left_alone(make_video, num_reads):
    data = make_video().read_bytes()
    with pytest.raises(MediaError, match=r"access rights|Permission"):
        list(decode_clip(Failing(data, PermissionError(13, "Permission denied"), num_reads)))
    with pytest.raises(StorageError, match="bucket"):
        list(decode_clip(Failing(data, StorageError("the bucket is gone"), num_reads)))


def test_a_name_like_a_url_causes_no_request():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/video.mp4"
        assert "no such file" in refusal(url)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_playlists_cause_no_request_and_open_no_neighbour(make_video, tmp_path):
    make_video("neighbour.mp4")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/video.mp4".encode()
        for text in (FFCONCAT, HLS):
            for name in ("list.mp4", "list.m3u8", "list.ffconcat"):
                (tmp_path / name).write_bytes(text.replace(b"neighbour.mp4", url))
                refusal(tmp_path / name)
                (tmp_path / name).write_bytes(text)
                refusal(tmp_path / name)
        with pytest.raises(BlockingIOError):
            server.accept()


def patched(data: bytes, box: bytes, old: bytes, new: bytes) -> bytes:
    """The first `old` after `box` replaced."""
    at = data.index(old, data.index(box))
    return data[:at] + new + data[at + len(old) :]


def sequence_parameter_set(width_blocks: int, height_blocks: int) -> bytes:
    """An H.264 SPS of baseline profile and level 6.2 for a frame of so many 16x16 blocks (ITU-T H.264, 7.3.2.1.1)."""

    def golomb(value: int) -> str:
        return f"{value + 1:b}".zfill(2 * (value + 1).bit_length() - 1)

    sizes = golomb(width_blocks - 1) + golomb(height_blocks - 1)
    bits = f"{66:08b}{0:08b}{62:08b}" + golomb(0) * 4 + golomb(1) + "0" + sizes + "1" + "1" + "0" + "0" + "1"
    bits += "0" * (-len(bits) % 8)
    return b"\x67" + int(bits, 2).to_bytes(len(bits) // 8)


def huge_sps(data: bytes) -> bytes:
    """An mp4 whose codec configuration says 100,000 x 100,000 pixels."""
    start = data.index(b"avcC") + 10
    (size,) = struct.unpack(">H", data[start : start + 2])
    sps = sequence_parameter_set(6250, 6250).ljust(size, b"\0")
    return data[: start + 2] + sps + data[start + 2 + size :]


HUGE = {
    "tkhd.mp4": lambda d: patched(d, b"tkhd", struct.pack(">HxxHxx", 96, 64), struct.pack(">HxxHxx", 65535, 65535)),
    "stsd.mp4": lambda d: patched(d, b"avc1\0", struct.pack(">HH", 96, 64), struct.pack(">HH", 65535, 65535)),
    "strf.avi": lambda d: patched(d, b"strf", struct.pack("<II", 96, 64), struct.pack("<II", 100_000, 100_000)),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_header_that_claims_a_huge_picture_is_refused(make_video, name):
    path = make_video(name)
    path.write_bytes(HUGE[name](path.read_bytes()))
    message = refusal(path, LimitExceeded)
    assert "65535x65535" in message or "100000x100000" in message


def test_a_bitstream_that_claims_a_huge_picture_is_refused_without_allocating_it(make_video):
    path = make_video()
    path.write_bytes(huge_sps(path.read_bytes()))
    program = (
        "import sys\n"
        "from mien.errors import MediaError\n"
        "from mien.video.decode import decode_clip\n"
        "before = peak_mb()\n"
        "try:\n    list(decode_clip(sys.argv[1]))\n"
        "except MediaError as error:\n    print(peak_mb() - before, error)\n"
    )
    growth_mb, _, message = run_measured(program, path)[0].partition(" ")
    assert message.startswith(f"{path}: damaged at 0.00 s")
    assert int(growth_mb) < 50


def test_a_video_of_one_pixel_is_refused_by_the_limit(make_video):
    path = make_video("one.webm", codec="libvpx", size=(1, 1), pts=range(0, 40, 8), num_b_frames=0)
    assert "1x1 px is below min_side_px=16" in refusal(path, LimitExceeded)
    assert len(list(decode_clip(path, limits=LimitsConfig(min_side_px=1)))) == 5


LIMITS = {
    "max_bytes": {"max_bytes": 1000},
    "max_pixels": {"max_pixels": 96 * 64 - 1},
    "min_side_px": {"min_side_px": 65},
    "max_duration_s": {"max_duration_s": 2.5},
}


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_held(make_video, name):
    assert f"{name}=" in refusal(make_video(), LimitExceeded, LimitsConfig(**LIMITS[name]))


def test_limits_that_are_just_met_let_a_video_pass(make_video):
    path = make_video()
    size = path.stat().st_size
    limits = LimitsConfig(max_bytes=size, max_pixels=96 * 64, min_side_px=64, max_duration_s=3, max_frames=90)
    assert len(list(decode_clip(path, limits=limits))) == 90


def test_max_frames_holds_for_each_clip(make_video):
    frames = decode_clip(make_video(), limits=LimitsConfig(max_frames=10))
    with pytest.raises(LimitExceeded, match="max_frames=10"):
        list(frames)


def test_max_streams_is_held(tmp_path):
    path = tmp_path / "many.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=30, width=32, height=32) for _ in range(4)]
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert "max_streams=3" in refusal(path, LimitExceeded, LimitsConfig(max_streams=3))


def test_codecs_and_containers_outside_the_lists_are_refused(make_video):
    path = make_video()
    assert "codec (h264) is not allowed" in refusal(path, limits=LimitsConfig(codecs=("vp9",)))
    assert "allowed container (avi)" in refusal(path, limits=LimitsConfig(containers=("avi",)))
    assert "codec (ffv1) is not allowed" in refusal(make_video("video.mkv", codec="ffv1", num_b_frames=0))


def test_cover_art_is_not_a_video(tmp_path):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        audio = container.add_stream("aac", rate=16000, layout="mono")
        cover = container.add_stream("mjpeg", rate=1, width=64, height=64, pix_fmt="yuvj420p")
        cover.disposition = Disposition.attached_pic
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        block.sample_rate = 16000
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8)).reformat(format="yuvj420p")
        frame.pts = 0
        container.mux(cover.encode(frame))
        container.mux(cover.encode(None))
    assert "no video stream" in refusal(path)


def test_threads_are_those_of_the_limits(make_video):
    for limits in (LimitsConfig(), LimitsConfig(num_threads=3)):
        with open_media(make_video(), limits) as container:
            assert video_stream(container, limits, "video").codec_context.thread_count == limits.num_threads


def test_files_are_closed_after_use_and_after_failure(make_video, tmp_path):
    good, bad = make_video(), tmp_path / "bad.mp4"
    bad.write_bytes(b"text")
    probe(good)
    before = len(list(Path("/proc/self/fd").iterdir()))
    probe(good)
    next(decode_clip(good))
    with pytest.raises(MediaError):
        probe(bad)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_given_file_stays_open(make_video):
    with make_video().open("rb") as file:
        assert probe(file) == probe(Path(file.name))
        assert not file.closed


def test_names_stay_on_one_line():
    assert media_name("a\nb.mp4") == "a\\nb.mp4"
    assert media_name(Path("ä.mp4")) == "ä.mp4"
    assert media_name(io.BytesIO()) == "a file object"


@pytest.mark.parametrize("name", ["with space.mp4", "ä%d?*.mp4", "http:x.mp4", "concat:a|b.mp4", "-i.mp4"])
def test_odd_names_are_only_names(make_video, name):
    assert (
        probe(make_video(), LimitsConfig()).num_frames
        == probe(make_video().rename(make_video().parent / name)).num_frames
    )
