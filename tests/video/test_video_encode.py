"""Tests of video/encode.py: read back by PyAV."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from mien.errors import MediaError
from mien.video.audio import AudioClip
from mien.video.decode import Span, decode_clip
from mien.video.encode import AudioCopy, EncodeConfig, encode
from mien.video.probe import probe

RATE = 44100


def frames(num=30, height=64, width=96):
    """Grey levels that rise."""
    return [np.full((height, width, 3), 2 * i, np.uint8) for i in range(num)]


def onsets(path):
    """Times at which bursts begin in the first audio stream, s."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        blocks = [(frame.time, frame.to_ndarray()[0]) for frame in container.decode(stream)]
        rate = stream.codec_context.sample_rate
    samples = np.concatenate([block for _, block in blocks])
    loud = np.flatnonzero(np.abs(samples) > 0.3)
    starts = loud[np.diff(loud, prepend=-RATE) > rate // 10]
    return blocks[0][0] + starts / rate


@pytest.mark.parametrize(
    "fps", [Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(47, 3)]
)
def test_rate_is_exact(tmp_path, fps):
    path = tmp_path / "a.mp4"
    assert encode(path, frames(), fps) == 30
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames, stream.start_time) == (fps, 30, 0)
        assert stream.duration * stream.time_base == 30 / fps
        assert [frame.pts * stream.time_base * fps for frame in container.decode(stream)] == list(range(30))


def test_pictures_come_back(tmp_path):
    rng = np.random.default_rng(0)
    wanted = [rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1) for _ in range(5)]
    path = tmp_path / "a.mp4"
    encode(path, wanted, Fraction(25), config=EncodeConfig(crf=0, pixel_format="yuv444p"))
    for frame, rgb in zip(decode_clip(path), wanted, strict=True):
        assert np.abs(frame.rgb.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize(
    ("size", "matrix", "weights"),
    [((64, 64), 5, (0.299, 0.114)), ((64, 1280), 1, (0.2126, 0.0722)), ((578, 64), 1, (0.2126, 0.0722))],
)
def test_colours_are_those_of_the_tags_and_of_readers_that_know_none(tmp_path, size, matrix, weights):
    """Luma by the definition (ITU-R BT.601, BT.709), limited range; older readers guess the matrix by the size."""
    path, rgb = tmp_path / "a.mp4", (180, 40, 90)
    encode(path, [np.full((*size, 3), rgb, np.uint8)] * 3, Fraction(25), config=EncodeConfig(crf=1))
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (matrix, 1, 1, 1)
        assert (frame.format.name, container.streams.video[0].codec_context.name) == ("yuv420p", "h264")
        luma = weights[0] * rgb[0] + (1 - sum(weights)) * rgb[1] + weights[1] * rgb[2]
        assert np.abs(frame.to_ndarray()[: size[0]].astype(int) - (16 + 219 * luma / 255)).max() <= 1
    assert np.abs(next(decode_clip(path)).rgb.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(("height", "width"), [(33, 47), (64, 47), (33, 48)])
def test_odd_sides_are_padded_by_the_border(tmp_path, height, width):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image[-1], image[:, -1] = 200, 200
    path = tmp_path / "a.mp4"
    encode(path, [image] * 3, Fraction(25), config=EncodeConfig(crf=1))
    rgb = next(decode_clip(path)).rgb
    assert rgb.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(rgb[-1].astype(int) - 200).max() < 30 if height % 2 else True
    assert np.abs(rgb[:, -1].astype(int) - 200).max() < 30 if width % 2 else True


def test_keyframes_come_at_least_as_often_as_asked(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, frames(), Fraction(25), config=EncodeConfig(max_keyframe_gap=10))
    with av.open(str(path)) as container:
        keys = [packet.pts for packet in container.demux(video=0) if packet.is_keyframe]
    assert len(keys) >= 3


@pytest.mark.parametrize("num_channels", [1, 2])
def test_samples_sound_when_they_should(tmp_path, clicks, num_channels):
    path = tmp_path / "a.mp4"
    encode(path, frames(90), Fraction(30), audio=AudioClip(clicks(RATE, num_channels), RATE))
    assert onsets(path) == pytest.approx(np.arange(0.25, 3, 0.5), abs=0.001)
    assert probe(path).audio.num_channels == num_channels
    assert probe(path).duration_s == 3.0


def test_a_rate_that_aac_lacks_is_converted(tmp_path, clicks):
    path = tmp_path / "a.mp4"
    encode(path, frames(90), Fraction(30), audio=AudioClip(clicks(50000), 50000))
    assert probe(path).audio.sample_rate_hz == 48000
    assert onsets(path) == pytest.approx(np.arange(0.25, 3, 0.5), abs=0.001)


def test_copied_sound_is_not_encoded_again(tmp_path, faces_dir):
    path, source = tmp_path / "a.mp4", faces_dir / "d18.mp4"
    encode(path, (frame.rgb for frame in decode_clip(source)), probe(source).fps, audio=AudioCopy(source))
    streams = []
    for file in (source, path):
        with av.open(str(file)) as container:
            streams.append([bytes(packet) for packet in container.demux(audio=0) if packet.size])
            decoded = np.concatenate(
                [frame.to_ndarray() for frame in container.decode(audio=0)] or [np.zeros((2, 0))], 1
            )
    assert streams[1] == streams[0][: len(streams[1])]
    assert len(streams[1]) > 300
    assert decoded.shape[0] == 2
    assert probe(path).audio.duration_s == pytest.approx(probe(source).audio.duration_s, abs=0.03)


@pytest.mark.parametrize("span", [Span(0, 3), Span(1.0, 2.5), Span(0.6, 2.0)])
def test_copied_sound_of_a_span_starts_with_the_video(tmp_path, clicks, span):
    source, path = tmp_path / "source.mp4", tmp_path / "a.mp4"
    encode(source, frames(90), Fraction(30), audio=AudioClip(clicks(RATE), RATE))
    encode(path, frames(30), Fraction(30), audio=AudioCopy(source, span))
    wanted = [time for time in np.arange(0.25, 3, 0.5) - span.start_s if 0 <= time < span.end_s - span.start_s]
    assert onsets(path)[: len(wanted)] == pytest.approx(wanted, abs=0.001)
    with av.open(str(path)) as container:
        assert container.streams.video[0].start_time == 0


def test_sound_that_mp4_cannot_hold_becomes_aac(tmp_path, clicks):
    source, path = tmp_path / "source.mkv", tmp_path / "a.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("pcm_u8", rate=8000, layout="mono")
        block = av.AudioFrame.from_ndarray((128 + 120 * clicks(8000)).astype(np.uint8), "u8", "mono")
        block.sample_rate = 8000
        container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    encode(path, frames(90), Fraction(30), audio=AudioCopy(source))
    assert probe(path).audio.codec == "aac"
    assert onsets(path) == pytest.approx(np.arange(0.25, 3, 0.5), abs=0.002)


def test_copying_sound_that_is_not_there_is_told(tmp_path, make_video):
    with pytest.raises(MediaError, match="has no audio track"):
        encode(tmp_path / "a.mp4", frames(), Fraction(30), audio=AudioCopy(make_video()))
    assert [file.name for file in tmp_path.iterdir()] == ["video.mp4"]


def test_tags_are_kept(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, frames(), Fraction(25), metadata={"title": "A smile", "synthetic": "yes: mien"})
    with av.open(str(path)) as container:
        assert container.metadata["title"] == "A smile"
        assert container.metadata["synthetic"] == "yes: mien"


def test_the_index_stands_in_front(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, frames(), Fraction(25))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_older_file_is_replaced_and_a_failure_leaves_it(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_text("old")

    def failing():
        yield from frames(5)
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        encode(path, failing(), Fraction(25))
    with pytest.raises(ValueError, match=r"frame 3 is uint8 \(10, 10, 3\)"):
        encode(path, [*frames(3), np.zeros((10, 10, 3), np.uint8)], Fraction(25))
    assert path.read_text() == "old"
    encode(path, frames(), Fraction(25))
    assert probe(path).num_frames == 30
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bad", [np.zeros((64, 96), np.uint8), np.zeros((64, 96, 4), np.uint8), np.zeros((64, 96, 3))])
def test_frames_must_be_rgb_of_eight_bits(tmp_path, bad):
    with pytest.raises(ValueError, match=r"frames must be uint8 \[H, W, 3\]"):
        encode(tmp_path / "a.mp4", [bad], Fraction(25))


@pytest.mark.parametrize(("given", "fps"), [([], 25), (frames(1), 0), (frames(1), -5)])
def test_nothing_to_write_is_a_mistake_of_the_caller(tmp_path, given, fps):
    with pytest.raises(ValueError, match="at least one frame and a positive fps"):
        encode(tmp_path / "a.mp4", given, Fraction(fps))


def test_frames_need_not_be_contiguous(tmp_path):
    path = tmp_path / "a.mp4"
    encode(path, [image[::2, ::-2] for image in frames(5, 128, 192)], Fraction(25))
    assert probe(path).width_px == 96


def test_the_same_frames_give_the_same_bytes(tmp_path):
    files = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for file in files:
        encode(file, frames(), Fraction(25))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_encoding_a_file_object_s_sound(tmp_path, clicks):
    source = tmp_path / "source.mp4"
    encode(source, frames(90), Fraction(30), audio=AudioClip(clicks(RATE), RATE))
    path = tmp_path / "a.mp4"
    encode(path, frames(90), Fraction(30), audio=AudioCopy(io.BytesIO(source.read_bytes())))
    assert onsets(path) == pytest.approx(np.arange(0.25, 3, 0.5), abs=0.001)
