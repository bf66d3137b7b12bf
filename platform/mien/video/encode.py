"""Frames and sound to an mp4 with an exact frame rate, H.264 and AAC, written whole or not at all."""

import heapq
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
from av import AudioResampler, VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from pydantic import Field

from mien.config import Config
from mien.video.audio import (
    LAYOUTS,
    AudioClip,
    Sound,
    as_sound,
    audio_frames,
    audio_stream,
    bounded,
    extract_audio,
    packets_from,
)
from mien.video.decode import WHOLE, Span
from mien.video.limits import LimitsConfig, Source, media_name, open_media
from mien.video.output import output

BT709 = 1
"""Primaries and transfer of ITU-R BT.709, which are those of sRGB, in the numbering of ISO 23091-2."""
HD_SIDES = (1280, 577)
"""Width or height from which on a reader that knows no tags takes the matrix of BT.709; below it is that of BT.601."""
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class EncodeConfig(Config):
    """How frames become a video file."""

    codec: Literal["libx264"] = "libx264"
    """Encoder: H.264."""
    crf: float = Field(18, ge=0, le=51)
    """Constant rate factor of x264: 0 is lossless, 18 looks so, 23 is its default."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"] = "veryfast"
    """Speed of x264 against size."""
    pixel_format: Literal["yuv420p", "yuv444p"] = "yuv420p"
    """Only yuv420p plays everywhere; yuv444p keeps the colour of each pixel."""
    max_keyframe_gap: int = Field(250, ge=1)
    """Frames from one keyframe to the next, at most: fewer make seeking quick and the file larger."""
    num_threads: int = Field(1, ge=1, le=64)
    """Threads of the encoder."""


@dataclass(frozen=True)
class AudioCopy:
    """Sound taken over from another file as it is; the start of the span becomes the start of the video."""

    source: Source
    span: Span = WHOLE
    limits: LimitsConfig = field(default_factory=LimitsConfig)


@dataclass(frozen=True)
class FrameTimes:
    """When frames are shown that do not come evenly; the first one starts the video."""

    pts: Sequence[int]
    """Ascending time stamps, one per frame."""
    time_base: Fraction
    """Their unit, s."""

    @property
    def mean_fps(self) -> Fraction:
        """Frames per second, on average."""
        return (len(self.pts) - 1) / ((self.pts[-1] - self.pts[0]) * self.time_base)

    def check(self, path: str | os.PathLike[str]) -> None:
        """Raise ValueError for what no player could show."""
        if len(self.pts) < 2 or any(a >= b for a, b in pairwise(self.pts)) or self.time_base <= 0:
            raise ValueError(f"{path}: needs two ascending time stamps or more, in a positive time base")

    def stamped(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Each frame with its time stamp; ValueError if there are more of them than stamps."""
        for number, frame in enumerate(frames):
            if number >= len(self.pts):
                raise ValueError(f"there are more frames than the {len(self.pts)} time stamps given")
            yield self.pts[number] - self.pts[0], frame


def encode(
    path: str | os.PathLike[str],
    frames: Iterable[np.ndarray],
    fps: Fraction | FrameTimes,
    *,
    audio: AudioCopy | AudioClip | None = None,
    metadata: Mapping[str, str] | None = None,
    config: EncodeConfig | None = None,
) -> int:
    """Write an mp4 with the index in front; an older file of that name is replaced.

    Args:
        path: File to write.
        frames: RGB uint8 [H, W, 3], all of one size; an odd side is padded by repeating the border.
        fps: Frames per second, kept exactly; or the time of each frame.
        audio: Sound; copied packets keep their codec where mp4 can hold it, else it becomes AAC.
        metadata: Written as tags of the file, any key.
        config: How to encode.

    Returns:
        Number of frames written.

    Raises:
        StorageError: The file cannot be written.
        MediaError: The sound to copy cannot be read.
    """
    config = config or EncodeConfig()
    frames = iter(frames)
    first = next(frames, None)
    times = fps if isinstance(fps, FrameTimes) else None
    rate = _rate(path, fps)
    if first is None or rate <= 0:
        raise ValueError(f"{path}: needs at least one frame and a positive fps, got fps={fps}")
    time_base = times.time_base if times else 1 / rate
    flags = "+faststart" + ("+use_metadata_tags" if metadata else "")
    # a timescale in which the length of the video is a whole number
    timescale = time_base.denominator if times else rate.numerator * math.ceil(1000 / rate.numerator)
    with output(path, "mp4", {"movflags": flags, "movie_timescale": str(timescale)}) as container:
        container.metadata.update(metadata or {})
        video = VideoTrack(container, first, rate, time_base, config)
        sound = sound_track(container, audio)
        stamped = times.stamped(chain([first], frames)) if times else enumerate(chain([first], frames))
        for packet in heapq.merge(video.packets(stamped), sound, key=packet_time):
            container.mux(packet)
    return video.num_frames


def _rate(path: str | os.PathLike[str], fps: Fraction | FrameTimes) -> Fraction:
    """Frames per second, on average."""
    if not isinstance(fps, FrameTimes):
        return Fraction(fps)
    fps.check(path)
    return fps.mean_fps.limit_denominator(1_000_000)


class VideoTrack:
    """The video stream of an output container."""

    def __init__(self, container: Any, first: np.ndarray, fps: Fraction, time_base: Fraction, config: EncodeConfig):
        """Add it, for frames of the size of the first one.

        Args:
            container: PyAV output container.
            first: RGB uint8 [H, W, 3]; an odd side is padded.
            fps: Frames per second, about.
            time_base: Unit of the time stamps that `packets` is given, s.
            config: How to encode.
        """
        self.num_frames = 0
        self._shape = first.shape
        self._reformatter = VideoReformatter()
        self._pad = [(0, side % 2) for side in first.shape[:2]] + [(0, 0)]
        options = {"crf": str(config.crf), "preset": config.preset}
        options |= {} if fps * time_base == 1 else {"bf": "0"}  # reordered frames of uneven times lose the length
        self._stream = container.add_stream(config.codec, rate=fps, options=options)
        self._stream.height, self._stream.width = (side + side % 2 for side in first.shape[:2])
        self._stream.pix_fmt = config.pixel_format
        self._duration = max(1, round(1 / (fps * time_base)))
        context = self._stream.codec_context
        context.time_base, context.gop_size, context.thread_count = (
            time_base,
            config.max_keyframe_gap,
            config.num_threads,
        )
        context.color_primaries = context.color_trc = BT709
        is_hd = any(side >= hd for side, hd in zip((self._stream.width, self._stream.height), HD_SIDES, strict=True))
        self._matrix = Colorspace.ITU709 if is_hd else Colorspace.ITU601
        context.colorspace, context.color_range = self._matrix.value, ColorRange.MPEG

    def set_pixel_aspect(self, ratio: Fraction) -> None:
        """Width of a pixel over its height, where it is not 1."""
        self._stream.codec_context.sample_aspect_ratio = ratio

    def packets(self, frames: Iterable[tuple[int, np.ndarray]]) -> Iterator[Any]:
        """Encode frames, each with its time stamp; stamps must rise."""
        for pts, rgb in frames:
            yield from self._stream.encode(self._frame(pts, rgb))
            self.num_frames += 1
        yield from self._stream.encode(None)

    def _frame(self, pts: int, rgb: np.ndarray) -> VideoFrame:
        if rgb.shape != self._shape or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(
                f"frame {self.num_frames} is {rgb.dtype} {rgb.shape}: frames must be uint8 [H, W, 3] "
                f"of one size, here {self._shape}"
            )
        padded = np.pad(rgb, self._pad, mode="edge") if any(map(sum, self._pad)) else np.ascontiguousarray(rgb)
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(padded, format="rgb24"),
            format=self._stream.pix_fmt,
            dst_colorspace=self._matrix,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = pts, self._stream.codec_context.time_base
        frame.duration = self._duration
        return frame


def sound_track(container: Any, audio: AudioCopy | AudioClip | None) -> Iterator[Any]:
    """Add the audio stream, if any; its packets in order."""
    if isinstance(audio, AudioCopy):
        try:
            return iter(copied_audio(container, audio))
        except ValueError:  # mp4 does not hold this codec
            audio = extract_audio(audio.source, audio.span, limits=audio.limits)
    return iter(()) if audio is None else aac_track(container, as_sound(audio))


def copied_audio(container: Any, audio: AudioCopy) -> list[Any]:
    """Add an audio stream; its packets: those that sound within the span, and the one before for the decoder.

    Raises:
        ValueError: The container does not hold this codec.
    """
    name = media_name(audio.source)
    with open_media(audio.source, audio.limits, name) as source:
        origin = audio_stream(source, audio.limits, name)
        start, end = (round(time_s / origin.time_base) for time_s in bounded(audio.span, source, origin, name))
        stream = container.add_stream_from_template(origin)
        kept: list[Any] = []
        for packet in packets_from(source, origin, start * origin.time_base, name):
            if packet.pts is None or packet.pts >= end:
                break
            if packet.pts + packet.duration <= start:
                kept.clear()
            kept.append(packet)
    for packet in kept:
        packet.pts, packet.dts, packet.stream = packet.pts - start, packet.pts - start, stream
    return kept


def aac_track(container: Any, audio: Sound) -> Iterator[Any]:
    """Add an audio stream; its packets: samples as AAC, at 48 kHz where AAC does not have their rate."""
    layout = LAYOUTS.get(audio.num_channels)
    if layout is None:
        raise ValueError(f"{audio.num_channels} channels: must be one of {', '.join(map(str, LAYOUTS))}")
    rate_hz = audio.rate_hz if audio.rate_hz in AAC_RATES else 48000
    stream = container.add_stream("aac", rate=rate_hz, layout=layout)
    resampler = AudioResampler("fltp", layout, rate_hz)

    def packets() -> Iterator[Any]:
        for frame in chain(audio_frames(audio.pieces, audio.rate_hz, layout), [None]):
            for block in resampler.resample(frame):
                yield from stream.encode(block)
        yield from stream.encode(None)

    return packets()


def packet_time(packet: Any) -> Fraction:
    """When a packet is decoded, s: the order in which packets are written."""
    return Fraction(packet.dts * packet.time_base)
