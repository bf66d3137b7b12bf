"""The sound of a clip, aligned with its pictures: sample 0 is at the start of the span."""

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av import AudioFrame, AudioResampler

from mien.errors import LimitExceeded, MediaError, NoAudioTrack
from mien.video.decode import WHOLE, Span
from mien.video.header import missing_bytes
from mien.video.limits import (
    NOT_PICTURES,
    LimitsConfig,
    Source,
    allowed_decoder,
    media_name,
    open_media,
    reading,
    reading_media,
)
from mien.video.output import output
from mien.video.probe import extent, packets

LEAD_S = 1
"""Decoding starts this long before the span, for codecs whose blocks overlap: Opus needs 80 ms, others less."""
SNAP_S = 0.0015
"""Blocks whose time stamps are off by no more follow on without a gap: Matroska rounds to 1 ms."""
PIECE = 1 << 16
"""Samples that are resampled or written at once."""
FULL_SCALE = 32767
"""What 1.0 is in 16 bits."""
LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
"""Loudspeakers that a number of channels stands for."""
MP3_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


class _File(NamedTuple):
    """A kind of sound file."""

    container: str
    codec: str
    bit_rate: int = 0
    max_channels: int = 8
    rates_hz: tuple[int, ...] = ()
    """Empty for any."""


FILES = {
    ".wav": _File("wav", "pcm_s16le"),
    ".flac": _File("flac", "flac"),
    ".mp3": _File("mp3", "libmp3lame", 192_000, 2, MP3_RATES),
}


@dataclass(frozen=True)
class AudioClip:
    """Samples float32 [channels, n] in -1..1; sample 0 is at `start_s` on the time line of the source."""

    samples: np.ndarray
    rate_hz: int
    start_s: float = 0.0


class Sound(NamedTuple):
    """The sound of a span while it is read, so that an hour of it never lies in memory."""

    span: Span
    """With finite ends."""
    rate_hz: int
    num_channels: int
    pieces: Iterator[np.ndarray]
    """Samples float32 [channels, n] in -1..1, each piece where the one before ended; `num_samples` in all."""

    @property
    def num_samples(self) -> int:
        """round(duration * rate), of each channel."""
        return round((self.span.end_s - self.span.start_s) * self.rate_hz)


def extract_audio(
    source: Source,
    span: Span = WHOLE,
    rate_hz: int | None = None,
    mono: bool = False,
    limits: LimitsConfig | None = None,
) -> AudioClip:
    """Decode the sound of a span: round(duration * rate) samples, silence where the track has none.

    Arguments and errors are those of `open_audio`.
    """
    with open_audio(source, span, rate_hz, mono, limits) as sound:
        samples, at = np.zeros((sound.num_channels, sound.num_samples), np.float32), 0
        for piece in sound.pieces:
            samples[:, at : at + piece.shape[1]] = piece
            at += piece.shape[1]
        return AudioClip(samples, sound.rate_hz, sound.span.start_s)


@contextmanager
def open_audio(
    source: Source,
    span: Span = WHOLE,
    rate_hz: int | None = None,
    mono: bool = False,
    limits: LimitsConfig | None = None,
) -> Iterator[Sound]:
    """Open the sound of a span, to be read within the block; silence stands where the track has none.

    Args:
        source: Local path or seekable binary file: a video, or sound in an allowed container.
        span: Infinite ends are those of the pictures, or of the sound where there are none.
        rate_hz: Sample rate to convert to; as it is by default.
        mono: Mix the channels to one: their mean.
        limits: What is allowed.

    Raises:
        NoAudioTrack: The file has none.
        MediaError: It cannot be read, or is damaged within the span (told when that piece is asked for).
        LimitExceeded: The file or the span is larger than the limits allow.
    """
    if not span.start_s < span.end_s:
        raise ValueError(f"span {span.start_s} to {span.end_s} s: the end must come after the start")
    if rate_hz is not None and rate_hz <= 0:
        raise ValueError(f"rate_hz={rate_hz}: must be positive")
    limits, name = limits or LimitsConfig(), media_name(source)
    with open_media(source, limits, name) as container:
        stream = audio_stream(container, limits, name)
        span = bounded(span, container, stream, name)
        if span.end_s - span.start_s > limits.max_duration_s:
            raise LimitExceeded(
                f"{name}: {span} is over max_duration_s={limits.max_duration_s:.0f}; take a shorter one"
            )
        rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout.name
        pieces = _read(source, container, stream, span, name)
        if mono:  # FFmpeg's own mix can exceed -1..1
            pieces, layout = (piece.mean(axis=0, keepdims=True) for piece in pieces), "mono"
        sound = Sound(span, rate_hz or rate, 1 if mono else stream.codec_context.channels, pieces)
        yield sound._replace(pieces=_resampled(sound, layout, rate)) if sound.rate_hz != rate else sound


def as_sound(clip: AudioClip) -> Sound:
    """Samples in memory as if they were read."""
    span = Span(clip.start_s, clip.start_s + clip.samples.shape[1] / clip.rate_hz)
    return Sound(span, clip.rate_hz, clip.samples.shape[0], iter([clip.samples]))


def write_audio(sound: AudioClip | Sound, path: str | os.PathLike[str]) -> None:
    """Write sound as .wav or .flac (16-bit) or .mp3, whole or not at all; beyond -1..1 it is clipped.

    Raises:
        StorageError: The file cannot be written.
        MediaError: The sound cannot be read.
    """
    sound = as_sound(sound) if isinstance(sound, AudioClip) else sound
    kind = FILES.get(Path(path).suffix.lower())
    layout = LAYOUTS.get(sound.num_channels)
    if kind is None or layout is None:
        raise ValueError(f"{path}: must end in {', '.join(FILES)} and have {', '.join(map(str, LAYOUTS))} channels")
    if sound.num_channels > kind.max_channels or sound.rate_hz not in (kind.rates_hz or (sound.rate_hz,)):
        raise ValueError(f"{path}: does not hold {sound.num_channels} channels at {sound.rate_hz} Hz")
    with output(path, kind.container) as container:
        stream = container.add_stream(kind.codec, rate=sound.rate_hz, layout=layout)
        stream.codec_context.bit_rate = kind.bit_rate
        at = 0
        for piece in sound.pieces:
            for start in range(0, piece.shape[1], PIECE):
                samples = to_int16(piece[:, start : start + PIECE])
                packed = np.ascontiguousarray(samples.T).reshape(1, -1)
                container.mux(stream.encode(_frame(packed, "s16", layout, sound.rate_hz, at)))
                at += samples.shape[1]
        container.mux(stream.encode(None))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples -1..1 as int16; beyond that they are clipped."""
    return np.asarray(np.rint(samples.clip(-1, 1) * FULL_SCALE), np.int16)


def from_int16(samples: np.ndarray) -> np.ndarray:
    """What `to_int16` was given, as float32."""
    return np.asarray(samples, np.float32) / np.float32(FULL_SCALE)


def audio_extent(source: Source, limits: LimitsConfig | None = None) -> Span:
    """From where pictures or sound begin to where both have ended, as the header says.

    Raises:
        NoAudioTrack: There is no sound.
        MediaError: The file cannot be read.
    """
    limits, name = limits or LimitsConfig(), media_name(source)
    with open_media(source, limits, name) as container:
        stream = audio_stream(container, limits, name)
        shown = [s for s in container.streams.video if not s.disposition & NOT_PICTURES][:1]
        ends = [[float(pts * s.time_base) for pts in extent(container, s)] for s in (stream, *shown)]
        return Span(min(start for start, _ in ends), max(end for _, end in ends))


def fitting_rate(suffix: str, rate_hz: int) -> int:
    """The rate at which a kind of file holds sound of some rate: the same, or 48 kHz where it does not have that."""
    rates = FILES[suffix].rates_hz
    return rate_hz if not rates or rate_hz in rates else rates[0]


def audio_stream(container: Any, limits: LimitsConfig, name: str) -> Any:
    """The first audio stream, its decoder allowed and not yet started.

    Raises:
        NoAudioTrack: There is none.
        MediaError: Its codec is not allowed.
    """
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise NoAudioTrack(f"{name}: has no audio track; use it without sound or give the file that has it")
    context = allowed_decoder(stream, limits, name)
    if not context.sample_rate or not context.channels:
        raise MediaError(
            f"{name}: its audio header names no rate or no channels; copy it again or use it without sound"
        )
    return stream


def bounded(span: Span, container: Any, stream: Any, name: str) -> Span:
    """The span with infinite ends put to those of the pictures, or of `stream` where there are none."""
    if all(map(math.isfinite, span)):
        return span
    shown = next((s for s in container.streams.video if not s.disposition & NOT_PICTURES), stream)
    start_s, end_s = (float(pts * shown.time_base) for pts in extent(container, shown))
    span = Span(start_s if math.isinf(span.start_s) else span.start_s, end_s if math.isinf(span.end_s) else span.end_s)
    if not span.start_s < span.end_s:
        raise MediaError(
            f"{name}: its header gives no length, or one before {span.start_s:.2f} s; give a span with an end"
        )
    return span


def audio_frames(pieces: Iterable[np.ndarray], rate_hz: int, layout: str) -> Iterator[AudioFrame]:
    """Samples float32 [channels, n], piece by piece, as frames for a resampler or an encoder."""
    at = 0
    for piece in pieces:
        for start in range(0, piece.shape[1], PIECE):
            samples = np.ascontiguousarray(piece[:, start : start + PIECE])
            yield _frame(samples, "fltp", layout, rate_hz, at)
            at += samples.shape[1]


def packets_from(container: Any, stream: Any, start_s: float, name: str) -> Iterator[Any]:
    """Packets of an audio stream from at least LEAD_S before a time, or from the first.

    Raises:
        MediaError: One is damaged.
    """
    for packet in _sought(container, stream, start_s):
        if packet.is_corrupt:
            time_s = float((packet.pts or 0) * stream.time_base)
            raise MediaError(f"{name}: its sound is damaged at {time_s:.2f} s; copy it again or end the clip earlier")
        yield packet


def _sought(container: Any, stream: Any, start_s: float) -> Iterator[Any]:
    first_s = float((stream.start_time or 0) * stream.time_base)
    goal_s, back_s = start_s - LEAD_S, 1
    has_moved = goal_s > first_s
    while goal_s > first_s:
        container.seek(round(goal_s / stream.time_base), stream=stream)
        found = packets(container, stream)
        packet = next(found, None)
        if packet is not None and packet.pts is not None and packet.pts * stream.time_base <= start_s - LEAD_S / 2:
            yield packet
            yield from found
            return
        goal_s, back_s = goal_s - back_s, 4 * back_s
    if has_moved:
        container.seek(round((first_s - 1) / stream.time_base), stream=stream)
    yield from packets(container, stream)


def _blocks(
    container: Any, stream: Any, start_s: float, resampler: AudioResampler, name: str
) -> Iterator[tuple[Fraction | None, np.ndarray]]:
    """Start time and samples float32 [channels, n] of every decoded block, from before `start_s` on."""
    first: tuple[str, str, int] | None = None
    for packet in packets_from(container, stream, start_s, name):
        for frame in packet.decode():
            time_s = None if frame.pts is None else frame.pts * frame.time_base
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            first = first or kind
            if kind != first:
                raise MediaError(f"{name}: its sound changes format at {float(time_s or 0):.2f} s; cut it there")
            for block in resampler.resample(frame):
                yield time_s, block.to_ndarray()


def _read(source: Source, container: Any, stream: Any, span: Span, name: str) -> Iterator[np.ndarray]:
    """Pieces of the span at the rate of the track; whatever goes wrong on the way is told of this file."""
    rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout.name
    num_channels, total = stream.codec_context.channels, round((span.end_s - span.start_s) * rate)
    num_given = 0
    with reading_media(name):
        blocks = _blocks(container, stream, span.start_s, AudioResampler("fltp", layout, rate), name)
        for piece in _aligned(blocks, span, rate, num_channels):
            num_given += piece.shape[1]
            yield piece
        if num_given < total:
            with reading(source) as file:
                if missing_bytes(file):
                    raise MediaError(
                        f"{name}: was cut off before {span.end_s:.2f} s; copy it again or end the clip earlier"
                    )
    yield from _silence(num_channels, total - num_given)


def _aligned(
    blocks: Iterator[tuple[Fraction | None, np.ndarray]], span: Span, rate: int, num_channels: int
) -> Iterator[np.ndarray]:
    """Samples from the start of the span on, silent where no block is, up to its end or that of the last block."""
    total, num_given = round((span.end_s - span.start_s) * rate), 0
    end: int | None = None
    for time_s, block in blocks:
        at = end if time_s is None else round((time_s - Fraction(span.start_s)) * rate)
        if at is None or (end is not None and abs(at - end) <= SNAP_S * rate):
            at = end or 0
        end = at + block.shape[1]
        if at > num_given:
            yield from _silence(num_channels, min(at, total) - num_given)
            num_given = min(at, total)
        if end > num_given:
            piece = block[:, num_given - at : total - at]
            yield piece
            num_given += piece.shape[1]
        if num_given >= total:
            return


def _silence(num_channels: int, num_samples: int) -> Iterator[np.ndarray]:
    for at in range(0, num_samples, PIECE):
        yield np.zeros((num_channels, min(PIECE, num_samples - at)), np.float32)


def _resampled(sound: Sound, layout: str, rate: int) -> Iterator[np.ndarray]:
    """The pieces, which are at `rate`, at the rate of the sound, exactly as many samples as it has."""
    resampler, left = AudioResampler("fltp", layout, sound.rate_hz), sound.num_samples
    for frame in chain(audio_frames(sound.pieces, rate, layout), [None]):
        for block in resampler.resample(frame):
            piece = block.to_ndarray()[:, :left]
            left -= piece.shape[1]
            yield piece
    yield from _silence(sound.num_channels, left)


def _frame(samples: np.ndarray, kind: str, layout: str, rate_hz: int, at: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(samples, format=kind, layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, at, Fraction(1, rate_hz)
    return frame
