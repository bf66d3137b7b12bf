"""Tests of video/audio.py: bursts must be where they were put, to within a millisecond."""

import math
import wave
from fractions import Fraction

import av
import numpy as np
import pytest

from mien.errors import LimitExceeded, MediaError, NoAudioTrack, StorageError
from mien.video.audio import (
    PIECE,
    AudioClip,
    audio_extent,
    extract_audio,
    fitting_rate,
    from_int16,
    open_audio,
    to_int16,
    write_audio,
)
from mien.video.decode import WHOLE, Span
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

CODECS = {
    "aac.mp4": ("aac", 44100),
    "aac.mkv": ("aac", 48000),
    "aac.ts": ("aac", 48000),
    "opus.webm": ("libopus", 48000),
    "mp3.mkv": ("libmp3lame", 44100),
    "pcm.avi": ("pcm_s16le", 22050),
    "flac.mkv": ("flac", 16000),
}


def with_sound(path, codec, rate, samples, delay_s=0.0):
    """A video of 3 s with pictures at 0 s and sound from `delay_s` on."""
    picture_codec = "libvpx" if path.suffix == ".webm" else "mpeg4"
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture_codec, rate=30, width=64, height=48)
        audio = container.add_stream(codec, rate=rate, layout={1: "mono", 2: "stereo"}[len(samples)])
        resampler = av.AudioResampler(
            audio.format, audio.layout, rate, frame_size=audio.codec_context.frame_size or 1024
        )
        packets = []
        for _ in range(90):
            packets += video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8)))
        packets += video.encode(None)
        block = av.AudioFrame.from_ndarray(samples, "fltp", audio.layout)
        block.sample_rate, block.pts, block.time_base = rate, round(delay_s * rate), Fraction(1, rate)
        for frame in [*resampler.resample(block), *resampler.resample(None)]:
            packets += audio.encode(frame)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def onsets(clip):
    """Times on the source's line at which bursts begin, s."""
    loud = np.flatnonzero(np.abs(clip.samples[0]) > 0.3)
    starts = loud[np.diff(loud, prepend=-clip.rate_hz) > clip.rate_hz // 10]
    return clip.start_s + starts / clip.rate_hz


@pytest.mark.parametrize("name", CODECS)
def test_sample_0_is_at_the_start_of_the_span(tmp_path, clicks, name):
    codec, rate = CODECS[name]
    path = with_sound(tmp_path / name, codec, rate, clicks(rate))
    offset_s = source_offset(path)
    for span in (Span(0, 3), Span(0.6, 2.9), Span(2.01, 2.5), Span(-1, 1)):
        clip = extract_audio(path, span)
        assert clip.samples.shape == (1, round((span.end_s - span.start_s) * rate))
        assert clip.samples.dtype == np.float32
        assert (clip.rate_hz, clip.start_s) == (rate, span.start_s)
        wanted = [t for t in np.arange(0.25, 3, 0.5) + offset_s if span.start_s <= t < span.end_s - 0.02]
        assert onsets(clip)[: len(wanted)] == pytest.approx(wanted, abs=0.001 if "mp3" not in name else 0.002)


def source_offset(path):
    """Where the source's container puts the first sample, by a plain decode from the start, s."""
    with av.open(str(path)) as container:
        blocks = [(frame.time, frame.to_ndarray()) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].codec_context.sample_rate
    samples = np.concatenate([np.atleast_2d(block)[0] for _, block in blocks]).astype(float)
    samples = samples / np.abs(samples).max()
    return blocks[0][0] + np.flatnonzero(np.abs(samples) > 0.3)[0] / rate - 0.25


@pytest.mark.parametrize("rate_hz", [16000, 22050, 48000, 8000])
@pytest.mark.parametrize("span", [WHOLE, Span(0.6, 2.0333)])
def test_another_rate_keeps_the_times(tmp_path, clicks, rate_hz, span):
    path = with_sound(tmp_path / "a.mp4", "aac", 44100, clicks(44100))
    clip = extract_audio(path, span, rate_hz)
    start_s, end_s = (0, 3) if span is WHOLE else span
    assert clip.samples.shape == (1, round((end_s - start_s) * rate_hz))
    wanted = [t for t in np.arange(0.25, 3, 0.5) if start_s <= t < end_s]
    assert onsets(clip) == pytest.approx(wanted, abs=0.001)


def test_a_tone_keeps_its_pitch_and_level(tmp_path):
    time = np.arange(3 * 44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time, dtype=np.float32)[None].astype(np.float32)
    path = with_sound(tmp_path / "a.mp4", "aac", 44100, tone)
    clip = extract_audio(path, Span(1, 2), 16000)
    wanted = 0.5 * np.sin(2 * np.pi * 440 * (1 + np.arange(16000) / 16000))
    assert np.abs(clip.samples[0, 100:-100] - wanted[100:-100]).max() < 0.03


def test_channels_are_kept_or_mixed(tmp_path, clicks):
    samples = np.concatenate([clicks(44100), 0 * clicks(44100)])
    path = with_sound(tmp_path / "a.mp4", "aac", 44100, samples)
    both, mixed = extract_audio(path), extract_audio(path, mono=True)
    assert (both.samples.shape[0], mixed.samples.shape[0]) == (2, 1)
    assert np.abs(both.samples[1]).max() < 0.01
    assert np.abs(mixed.samples).max() == pytest.approx(np.abs(both.samples[0]).max() / 2, rel=0.01)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_silence_where_the_track_is_not(tmp_path, clicks, name):
    path = with_sound(tmp_path / name, "aac", 48000, clicks(48000, duration_s=1), delay_s=1.0)
    clip = extract_audio(path, Span(0, 5))
    assert clip.samples.shape == (1, 5 * 48000)
    assert np.abs(clip.samples[0, : round(0.97 * 48000)]).max() == 0
    assert np.abs(clip.samples[0, round(2.1 * 48000) :]).max() == 0
    assert onsets(clip) == pytest.approx([1.25, 1.75], abs=0.001)
    assert np.abs(extract_audio(path, Span(4, 5)).samples).max() == 0


def test_infinite_ends_are_those_of_the_pictures(tmp_path, clicks):
    path = with_sound(tmp_path / "a.mp4", "aac", 48000, clicks(48000, duration_s=2))
    assert extract_audio(path).samples.shape == (1, 3 * 48000)
    assert extract_audio(path, Span(1, math.inf)).samples.shape == (1, 2 * 48000)
    assert extract_audio(path, Span(-math.inf, 1)).samples.shape == (1, 48000)


def test_real_sound_of_a_span_is_that_of_the_whole(faces_dir):
    path = faces_dir / "d9.mp4"
    whole = extract_audio(path)
    assert whole.samples.shape == (2, round(probe(path).duration_s * 44100))
    for start_s, end_s in ((0.0, 1.0), (7.3, 9.1), (18.0, 19.5)):
        part = extract_audio(path, Span(start_s, end_s))
        start = round(start_s * 44100)
        assert np.abs(part.samples - whole.samples[:, start : start + part.samples.shape[1]]).max() < 1e-4


@pytest.mark.parametrize("num_channels", [1, 2])
def test_wav_and_flac_hold_the_samples(tmp_path, clicks, num_channels):
    clip = AudioClip(clicks(16000, num_channels) * np.linspace(-1.5, 1.5, 48000, dtype=np.float32), 16000)
    wanted = np.rint(clip.samples.clip(-1, 1) * 32767)
    write_audio(clip, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (num_channels, 16000, 2)
        written = np.frombuffer(file.readframes(48000), np.int16).reshape(-1, num_channels).T
    assert (written == wanted).all()
    write_audio(clip, tmp_path / "a.flac")
    with av.open(str(tmp_path / "a.flac")) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 16000
        blocks = [frame.to_ndarray().reshape(-1, num_channels).T for frame in container.decode(audio=0)]
    assert (np.concatenate(blocks, 1) == wanted).all()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.flac", "a.wav"]


def test_what_cannot_be_written_is_told(tmp_path, clicks):
    with pytest.raises(ValueError, match=r"must end in \.wav, \.flac, \.mp3"):
        write_audio(AudioClip(clicks(16000), 16000), tmp_path / "a.ogg")
    with pytest.raises(ValueError, match="channels"):
        write_audio(AudioClip(clicks(16000, 3), 16000), tmp_path / "a.wav")
    with pytest.raises(StorageError, match="cannot be written"):
        write_audio(AudioClip(clicks(16000), 16000), tmp_path / "missing" / "a.wav")


def test_no_track_is_told(make_video):
    path = make_video()
    with pytest.raises(NoAudioTrack) as caught:
        extract_audio(path)
    assert str(caught.value) == f"{path}: has no audio track; use it without sound or give the file that has it"


def test_limits_hold_for_sound(tmp_path, clicks):
    path = with_sound(tmp_path / "a.mp4", "aac", 48000, clicks(48000))
    with pytest.raises(LimitExceeded, match="max_duration_s=5"):
        extract_audio(path, Span(0, 6), limits=LimitsConfig(max_duration_s=5))
    with pytest.raises(MediaError, match=r"audio codec \(aac\) is not allowed"):
        extract_audio(path, limits=LimitsConfig(codecs=("h264", "mpeg4")))


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv"])
def test_sound_that_was_cut_off_is_told(tmp_path, clicks, name):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3 * 48000)).astype(np.float32)
    path = with_sound(tmp_path / "whole.mkv", "aac", 48000, noise)
    if name == "cut.mp4":
        front = tmp_path / "front.mp4"
        with av.open(str(path)) as source, av.open(str(front), "w", container_options={"movflags": "faststart"}) as to:
            streams = [to.add_stream_from_template(stream, opaque=True) for stream in source.streams]
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    to.mux(packet)
        path = front
    data = path.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert extract_audio(tmp_path / name, Span(0, 0.5)).samples.shape == (1, 24000)
    with pytest.raises(MediaError, match=r"cut off|damaged|cannot be read"):
        extract_audio(tmp_path / name, Span(0, 3))


@pytest.mark.parametrize(("rate_hz", "mono"), [(None, False), (16000, True)])
def test_pieces_are_the_whole_and_none_of_them_is_large(tmp_path, rate_hz, mono):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 30 * 44100)).astype(np.float32)
    path = with_sound(tmp_path / "a.mkv", "flac", 44100, noise)
    span = Span(0.5, 29.77)
    with open_audio(path, span, rate_hz, mono) as sound:
        pieces = list(sound.pieces)
    assert max(piece.shape[1] for piece in pieces) <= PIECE
    assert sum(piece.shape[1] for piece in pieces) == sound.num_samples == round(29.27 * (rate_hz or 44100))
    assert (np.concatenate(pieces, 1) == extract_audio(path, span, rate_hz, mono).samples).all()
    if rate_hz is None:
        given = np.rint(noise[:, 22050:][:, : sound.num_samples] * 32768)
        assert np.abs(np.rint(np.concatenate(pieces, 1) * 32768) - given).max() <= 1


@pytest.mark.parametrize("rate_hz", [44100, 16000])
def test_an_mp3_has_the_clicks_where_they_were(tmp_path, clicks, rate_hz):
    write_audio(AudioClip(clicks(rate_hz, 2), rate_hz), tmp_path / "a.mp3")
    limits = LimitsConfig(containers=("mp3",))
    clip = extract_audio(tmp_path / "a.mp3", limits=limits)
    assert (clip.samples.shape[0], clip.rate_hz) == (2, rate_hz)
    assert clip.samples.shape[1] == pytest.approx(3 * rate_hz, abs=0.05 * rate_hz)
    assert onsets(clip) - clip.start_s == pytest.approx(np.arange(0.25, 3, 0.5), abs=0.002)


def test_a_kind_of_file_has_its_rates_and_channels(tmp_path, clicks):
    assert [fitting_rate(".mp3", rate) for rate in (44100, 96000, 8001)] == [44100, 48000, 48000]
    assert fitting_rate(".flac", 8001) == 8001
    with pytest.raises(ValueError, match="does not hold 4 channels"):
        write_audio(AudioClip(clicks(16000, 4), 16000), tmp_path / "a.mp3")
    assert list(tmp_path.iterdir()) == []


def test_the_extent_is_that_of_pictures_and_sound_together(tmp_path, clicks):
    path = with_sound(tmp_path / "a.mp4", "aac", 48000, clicks(48000, duration_s=4), delay_s=0.5)
    span = audio_extent(path)
    assert span.start_s == 0
    assert span.end_s == pytest.approx(4.5, abs=0.03)


def test_sixteen_bits_come_back_exactly():
    every = np.arange(-32767, 32768, dtype=np.int16)[None]
    assert (to_int16(from_int16(every)) == every).all()
    assert to_int16(np.array([[-7.0, 7.0]], np.float32)).tolist() == [[-32767, 32767]]


@pytest.mark.parametrize(("span", "rate_hz"), [(Span(1, 1), None), (Span(2, 1), None), (WHOLE, 0), (WHOLE, -1)])
def test_arguments_that_make_no_sense_are_refused(span, rate_hz):
    with pytest.raises(ValueError, match="must"):
        extract_audio("any.mp4", span, rate_hz)
