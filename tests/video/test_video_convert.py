"""An mp4 against its source: the same frames at the same distances, and the sound where it was."""

import io

import av
import numpy as np
import pytest

import flash_and_click
from mien.errors import LimitExceeded, MediaError, StorageError
from mien.video.audio import extract_audio
from mien.video.convert import ConvertConfig, convert
from mien.video.decode import Span, decode_clip
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

STEADY = range(0, 2000, 40)
EVENTS_S = (0.52, 1.24, 1.6)
CODECS = {
    "a.mov": ("libx264", "aac"),
    "b.mov": ("libx265", "pcm_s16le"),
    "c.mkv": ("libx264", "flac"),
    "d.avi": ("mpeg4", "libmp3lame"),
    "e.mov": ("prores_ks", "aac"),
    "f.ts": ("libx264", "aac"),
    "g.mov": ("mjpeg", ""),
}
COPIED = {"a.mov": ("copied", "copied"), "b.mov": ("copied", "encoded"), "c.mkv": ("copied", "encoded")}
COPIED |= {"d.avi": ("encoded", "copied"), "e.mov": ("encoded", "copied"), "f.ts": ("copied", "copied")}
COPIED |= {"g.mov": ("encoded", None)}


def frames(path):
    found = list(decode_clip(path))
    return np.array([frame.time_s for frame in found]), [frame.rgb for frame in found]


@pytest.fixture
def source(tmp_path, request):
    """A video in the container and with the codecs that its name stands for."""
    name = getattr(request, "param", "a.mov")
    codecs = CODECS[name]
    if codecs[0] in {"prores_ks", "mjpeg"}:
        return _with_pixels(tmp_path / name, *codecs)
    return flash_and_click.write(tmp_path / name, STEADY, EVENTS_S, codecs=codecs)


def _with_pixels(path, codec, sound):
    """Codecs that want other pixel formats: the pictures of one file encoded anew, with its sound."""
    front = flash_and_click.write(path.with_name("front.mov"), STEADY, EVENTS_S, codecs=("libx264", sound))
    with av.open(str(front)) as opened, av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25)
        video.width = video.height = flash_and_click.SIDE_PX
        video.pix_fmt = {"prores_ks": "yuv422p10le", "mjpeg": "yuvj420p"}[codec]
        audio = container.add_stream_from_template(opened.streams.audio[0]) if sound else None
        packets = [p for frame in opened.decode(video=0) for p in video.encode(frame.reformat(format=video.pix_fmt))]
        packets += video.encode(None)
        if audio is not None:
            opened.seek(0)
            packets += [_moved(packet, audio) for packet in opened.demux(audio=0) if packet.dts is not None]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _moved(packet, stream):
    packet.stream = stream
    return packet


@pytest.mark.parametrize("source", CODECS, indirect=True)
def test_pictures_and_sound_keep_their_places(source, tmp_path):
    out = tmp_path / "out.mp4"
    done = convert(source, out, ConvertConfig())
    assert (done.video, done.audio, done.num_frames) == (*COPIED[source.name], len(STEADY))
    info = probe(out)
    assert info.container.startswith("mov")
    assert info.codec in {"h264", "hevc"}
    before, after = frames(source), frames(out)
    np.testing.assert_allclose(after[0] - after[0][0], before[0] - before[0][0], atol=0.0005)
    difference = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(before[1], after[1], strict=True))
    assert difference == 0 if done.video == "copied" else difference <= 12
    if done.audio:
        flashes = after[0][[rgb.mean() > 128 for rgb in after[1]]]
        clip = extract_audio(out, Span(0, 2))
        clicks = flash_and_click.clicks(clip.samples, clip.rate_hz, 0.0)
        np.testing.assert_allclose(clicks, flashes, atol=0.002 if source.suffix == ".avi" else 0.001)


def test_a_copy_keeps_the_packets_and_both_streams_in_order(source, tmp_path):
    convert(source, tmp_path / "out.mp4", ConvertConfig())
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert [stream.type for stream in after.streams] == ["video", "audio"]
        for kind in ("video", "audio"):
            data = [[bytes(p) for p in c.demux(**{kind: 0}) if p.size] for c in (before, after)]
            assert data[0] == data[1] or kind == "audio"
            assert len(data[0]) == len(data[1])


@pytest.mark.parametrize("rotation_deg", [90, -90, 180])
@pytest.mark.parametrize("reencode", [False, True])
def test_a_turned_video_is_shown_the_same(make_video, tmp_path, rotation_deg, reencode):
    source = make_video("a.mov", rotation_deg=rotation_deg, pts=range(0, 80, 8))
    done = convert(source, tmp_path / "out.mp4", ConvertConfig(reencode=reencode))
    assert done.video == ("encoded" if reencode else "copied")
    assert probe(tmp_path / "out.mp4").rotation_deg == (0 if reencode else rotation_deg)
    before, after = frames(source)[1], frames(tmp_path / "out.mp4")[1]
    assert [rgb.shape for rgb in after] == [rgb.shape for rgb in before]
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(before, after, strict=True)) < 5


@pytest.mark.parametrize("reencode", [False, True])
def test_uneven_times_are_kept(make_video, tmp_path, reencode):
    pts = [0, 8, 24, 32, 72, 80, 88, 130, 131, 200]
    source = make_video("a.mkv", pts=pts, num_b_frames=2)
    convert(source, tmp_path / "out.mp4", ConvertConfig(reencode=reencode))
    np.testing.assert_allclose(frames(tmp_path / "out.mp4")[0], frames(source)[0], atol=0.0005)


def test_pixels_that_are_not_square_stay_so(faces_dir, tmp_path):
    config = ConvertConfig.parse({"reencode": True, "encode": {"preset": "ultrafast", "crf": 40}}, "test")
    convert(faces_dir / "d9.mp4", tmp_path / "out.mp4", config)
    assert probe(tmp_path / "out.mp4").aspect_ratio == probe(faces_dir / "d9.mp4").aspect_ratio == 1


def test_an_apple_player_is_told_of_hevc(tmp_path):
    source = flash_and_click.write(tmp_path / "a.mov", STEADY, EVENTS_S, codecs=("libx265", ""))
    convert(source, tmp_path / "out.mp4", ConvertConfig())
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_a_file_object_gives_the_same_bytes(source, tmp_path):
    convert(source, tmp_path / "a.mp4", ConvertConfig())
    convert(io.BytesIO(source.read_bytes()), tmp_path / "b.mp4", ConvertConfig())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("harm", ["cut", "text", "empty", "missing", "sound"])
def test_what_cannot_be_converted_leaves_nothing(source, tmp_path, harm):
    folder = tmp_path / "out"
    folder.mkdir()
    data = source.read_bytes()
    source.write_bytes({"cut": data[:-500], "text": b"no video " * 99, "empty": b""}.get(harm, data))
    if harm == "missing":
        source.unlink()
    if harm == "sound":
        with av.open(str(source), "w") as container:
            stream = container.add_stream("aac", rate=44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
            frame.sample_rate = 44100
            container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(MediaError, match=r"a\.mov: "):
        convert(source, folder / "a.mp4", ConvertConfig())
    assert list(folder.iterdir()) == []


def test_limits_hold(source, tmp_path):
    with pytest.raises(LimitExceeded, match="max_pixels=5000"):
        convert(source, tmp_path / "a.mp4", ConvertConfig(), LimitsConfig(max_pixels=5000))


def test_a_place_that_cannot_be_written_is_told(source, tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        convert(source, tmp_path / "missing" / "a.mp4", ConvertConfig())
