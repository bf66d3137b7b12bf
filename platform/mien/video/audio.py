"""The sound of a clip, aligned with its pictures: sample 0 is at the start of the span."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from av import AudioFrame, AudioResampler

from mien.errors import LimitExceeded, MediaError
from mien.video.decode import WHOLE, Span
from mien.video.header import missing_bytes
from mien.video.limits import NOT_PICTURES, LimitsConfig, Source, allowed_decoder, media_name, open_media, reading
from mien.video.output import output
from mien.video.probe import extent, packets

LEAD_S = 1
"""Decoding starts this long before the span, for codecs whose blocks overlap: Opus needs 80 ms, others less."""
SNAP_S = 0.0015
"""Blocks whose time stamps are off by no more follow on without a gap: Matroska rounds to 1 ms."""
PIECE = 1 << 16
"""Samples that are resampled or written at once."""
CODECS = {".wav": "pcm_s16le", ".flac": "flac"}
LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
"""Loudspeakers that a number of channels stands for."""


@dataclass(frozen=True)
class AudioClip:
    """Samples float32 [channels, n] in -1..1; sample 0 is at `start_s` on the time line of the source."""

    samples: np.ndarray
    rate_hz: int
    start_s: float = 0.0


def extract_audio(
    source: Source,
    span: Span = WHOLE,
    rate_hz: int | None = None,
    mono: bool = False,
    limits: LimitsConfig | None = None,
) -> AudioClip:
    """Decode the sound of a span: round(duration * rate) samples, silence where the track has none.

    Args:
        source: Local path or seekable binary file: a video, or sound in an allowed container.
        span: Infinite ends are those of the pictures, or of the sound where there are none.
        rate_hz: Sample rate to convert to; as it is by default.
        mono: Mix the channels to one: their mean.
        limits: What is allowed.

    Raises:
        MediaError: The file has no audio track, cannot be read, or is damaged within the span.
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
        layout, rate = stream.codec_context.layout.name, stream.codec_context.sample_rate
        blocks = _blocks(container, stream, span.start_s, AudioResampler("fltp", layout, rate), name)
        samples, is_full = _aligned(blocks, span, rate, stream.codec_context.channels)
    with reading(source) as file:
        if not is_full and missing_bytes(file):
            raise MediaError(f"{name}: was cut off before {span.end_s:.2f} s; copy it again or end the clip earlier")
    if mono:
        samples, layout = samples.mean(axis=0, keepdims=True), "mono"  # FFmpeg's own mix can exceed -1..1
    return AudioClip(_resampled(samples, layout, rate, rate_hz or rate, span), rate_hz or rate, span.start_s)


def write_audio(clip: AudioClip, path: str | os.PathLike[str]) -> None:
    """Write 16-bit samples as .wav or .flac, whole or not at all; beyond -1..1 they are clipped.

    Raises:
        StorageError: The file cannot be written.
    """
    suffix, layout = Path(path).suffix.lower(), LAYOUTS.get(clip.samples.shape[0])
    if suffix not in CODECS or layout is None:
        raise ValueError(f"{path}: must end in .wav or .flac and have {', '.join(map(str, LAYOUTS))} channels")
    samples = np.rint(clip.samples.clip(-1, 1) * 32767).astype(np.int16)
    with output(path, suffix[1:]) as container:
        stream = container.add_stream(CODECS[suffix], rate=clip.rate_hz, layout=layout)
        for at in range(0, samples.shape[1], PIECE):
            packed = np.ascontiguousarray(samples[:, at : at + PIECE].T).reshape(1, -1)
            container.mux(stream.encode(_frame(packed, "s16", layout, clip.rate_hz, at)))
        container.mux(stream.encode(None))


def audio_stream(container: Any, limits: LimitsConfig, name: str) -> Any:
    """The first audio stream, its decoder allowed and not yet started.

    Raises:
        MediaError: There is none, or its codec is not allowed.
    """
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        raise MediaError(f"{name}: has no audio track; use it without sound or give the file that has it")
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


def audio_frames(samples: np.ndarray, rate_hz: int, layout: str) -> Iterator[AudioFrame]:
    """Samples float32 [channels, n] as frames for a resampler or an encoder."""
    for at in range(0, samples.shape[1], PIECE):
        yield _frame(np.ascontiguousarray(samples[:, at : at + PIECE]), "fltp", layout, rate_hz, at)


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


def _aligned(
    blocks: Iterator[tuple[Fraction | None, np.ndarray]], span: Span, rate: int, num_channels: int
) -> tuple[np.ndarray, bool]:
    """Samples of the span, silent where no block is, and whether blocks reached its end."""
    samples = np.zeros((num_channels, round((span.end_s - span.start_s) * rate)), np.float32)
    end: int | None = None
    for time_s, block in blocks:
        at = end if time_s is None else round((time_s - Fraction(span.start_s)) * rate)
        if at is None or (end is not None and abs(at - end) <= SNAP_S * rate):
            at = end or 0
        end = at + block.shape[1]
        low, high = max(at, 0), min(end, samples.shape[1])
        if low < high:
            samples[:, low:high] = block[:, low - at : high - at]
        if end >= samples.shape[1]:
            return samples, True
    return samples, False


def _resampled(samples: np.ndarray, layout: str, rate: int, wanted_hz: int, span: Span) -> np.ndarray:
    """Samples at another rate, exactly as many as the span holds."""
    if rate == wanted_hz:
        return samples
    resampler = AudioResampler("fltp", layout, wanted_hz)
    frames = [*audio_frames(samples, rate, layout), None]
    blocks = [block.to_ndarray() for frame in frames for block in resampler.resample(frame)]
    num_samples = round((span.end_s - span.start_s) * wanted_hz)
    joined = np.concatenate([*blocks, np.zeros((len(samples), num_samples), np.float32)], axis=1)
    return np.ascontiguousarray(joined[:, :num_samples])


def _frame(samples: np.ndarray, kind: str, layout: str, rate_hz: int, at: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(samples, format=kind, layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, at, Fraction(1, rate_hz)
    return frame
