"""What a video is, read from its container without decoding a frame.

All times are seconds on the container's own time line: time stamp times time base. The first frame need not be at 0.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import islice, pairwise
from typing import Any

import av

from mien.video import header
from mien.video.header import IDENTITY, Matrix
from mien.video.limits import LimitsConfig, Source, media_name, open_media, reading, video_stream

INDEXED = ("mov", "avi")
"""Containers, by the first of their names, whose index has every frame; others list keyframes at most."""

NUM_SAMPLED = 300
"""Packets whose time stamps are looked at where there is no such index."""
MAX_REORDERED = 16
"""Frames that a codec may store before ones that are shown earlier."""
RATE_TOLERANCE = Fraction(1, 100)
"""A rate in the header that is off the time stamps by more is not believed."""


@dataclass(frozen=True)
class AudioInfo:
    """The first audio stream."""

    codec: str
    sample_rate_hz: int
    num_channels: int
    duration_s: float


@dataclass(frozen=True)
class VideoInfo:
    """A video, upright as decode gives it, except that pixels stay as they are: see `sample_aspect_ratio`."""

    container: str
    codec: str
    width_px: int
    height_px: int
    rotation_deg: int
    """Counter-clockwise turn that makes the stored picture upright: -90, 0, 90 or 180; decode has applied it."""
    sample_aspect_ratio: Fraction
    """Width of a pixel over its height, of the stored picture; 1 where unknown."""
    fps: Fraction
    """Average frames per second; 0 where unknown."""
    is_vfr: bool
    duration_s: float
    start_s: float
    num_frames: int
    """0 where the container does not say."""
    time_base: Fraction
    """Seconds per unit of pts."""
    pixel_format: str
    audio: AudioInfo | None
    size_bytes: int

    @property
    def pixel_aspect_ratio(self) -> Fraction:
        """Width of a pixel over its height, of the upright picture."""
        return 1 / self.sample_aspect_ratio if abs(self.rotation_deg) == 90 else self.sample_aspect_ratio

    @property
    def aspect_ratio(self) -> Fraction:
        """Width over height of the upright picture as it is meant to be seen, with pixels that are not square."""
        return Fraction(self.width_px, max(1, self.height_px)) * self.pixel_aspect_ratio

    def to_json(self) -> dict[str, Any]:
        """Plain values for a person or a script; what the container does not say is None."""
        return {
            "size_bytes": self.size_bytes,
            "size_mb": round(self.size_bytes / 1e6, 3),
            "duration_s": self.duration_s or None,
            "start_s": self.start_s,
            "fps": float(self.fps) or None,
            "is_vfr": self.is_vfr,
            "num_frames": self.num_frames or None,
            "width_px": self.width_px,
            "height_px": self.height_px,
            "resolution": f"{self.width_px}x{self.height_px}",
            "aspect_ratio": round(float(self.aspect_ratio), 4),
            "sample_aspect_ratio": float(self.sample_aspect_ratio),
            "rotation_deg": self.rotation_deg,
            "container": self.container,
            "codec": self.codec,
            "pixel_format": self.pixel_format,
            "audio": None if self.audio is None else asdict(self.audio),
        }


def probe(source: Source, limits: LimitsConfig | None = None, *, with_sound: bool = True) -> VideoInfo:
    """Describe a video from its header and index; without sound, less of these is read of a file object.

    Raises:
        MediaError: It is not a readable video of an allowed kind.
        LimitExceeded: It is larger than the limits allow.
    """
    limits = limits or LimitsConfig()
    name = media_name(source)
    with open_media(source, limits, name, with_sound=with_sound) as container:
        stream = video_stream(container, limits, name)
        with reading(source) as file:
            size_bytes = header.num_bytes(file)
            matrix = _matrix(file, stream)
        return _describe(container, stream, matrix, size_bytes)


def count_frames(source: Source, limits: LimitsConfig | None = None) -> int:
    """Packets of the pictures, for containers that do not say how many frames they have: the whole file is read.

    Raises:
        MediaError: It is not a readable video of an allowed kind.
        LimitExceeded: It is larger than the limits allow.
    """
    limits = limits or LimitsConfig()
    name = media_name(source)
    with open_media(source, limits, name) as container:
        stream = video_stream(container, limits, name)
        return sum(1 for packet in packets(container, stream) if packet.size)


def extent(container: Any, stream: Any) -> tuple[int, int]:
    """Start and end of a stream in units of its time base, as the header says; end is start where it does not."""
    start = stream.start_time or 0
    if stream.duration is not None:
        return start, start + stream.duration
    duration = round(Fraction(container.duration or 0, av.time_base) / stream.time_base)
    counts_from = 0 if container.format.name.startswith("matroska") else start
    return start, max(start, counts_from + duration)


def packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of a stream from where the container stands, and an empty one at the end."""
    with suppress(IndexError):  # PyAV ends so where streams appeared while it read (MPEG-TS); this one has all come
        yield from container.demux(stream)


def _describe(container: Any, stream: Any, matrix: Matrix, size_bytes: int) -> VideoInfo:
    start, end = extent(container, stream)
    times = _indexed_times(container, stream)
    num_frames = max(len(times), stream.frames)
    if not times:
        stamps, stamped_end = _read_times(container, stream, NUM_SAMPLED if end > start else None)
        times = stamps[:-MAX_REORDERED] if len(stamps) == NUM_SAMPLED else stamps
        num_frames, end = (num_frames, end) if end > start else (len(stamps), stamped_end)
    context = stream.codec_context
    sides = context.width, context.height
    return VideoInfo(
        container=container.format.name,
        codec=context.codec.canonical_name,
        width_px=sides[matrix.is_transposed],
        height_px=sides[not matrix.is_transposed],
        rotation_deg=matrix.rotation_deg,
        sample_aspect_ratio=stream.sample_aspect_ratio or Fraction(1),
        fps=_fps(stream, times),
        is_vfr=_is_vfr(times),
        duration_s=float((end - start) * stream.time_base),
        start_s=float(start * stream.time_base),
        num_frames=num_frames,
        time_base=stream.time_base,
        pixel_format=context.pix_fmt or "unknown",
        audio=_audio(container),
        size_bytes=size_bytes,
    )


def _matrix(file: Any, stream: Any) -> Matrix:
    """Display matrix of an mp4 track; other containers are not turned by players."""
    return next((track.matrix for track in header.tracks(file) if track.track_id == stream.id), IDENTITY)


def _indexed_times(container: Any, stream: Any) -> list[int]:
    """Decoding time stamps of all frames from the index, empty where it does not have them all."""
    if container.format.name.split(",")[0] not in INDEXED:
        return []
    times = [entry.timestamp for entry in stream.index_entries if not entry.is_discard]
    if len(times) == stream.frames or len(times) < 2:
        return times
    start, end = extent(container, stream)
    covered = times[-1] - times[0]
    is_whole = covered + 2 * covered / (len(times) - 1) >= end - start
    return times if is_whole else []


def _read_times(container: Any, stream: Any, limit: int | None) -> tuple[list[int], int]:
    """Time stamps of packets in order, and the end of the last; packets are read, none is decoded."""
    stamped = islice((packet for packet in packets(container, stream) if packet.pts is not None), limit)
    spans = sorted((packet.pts, packet.pts + (packet.duration or 0)) for packet in stamped)
    return [pts for pts, _ in spans], max((end for _, end in spans), default=int(stream.start_time or 0))


def _fps(stream: Any, times: list[int]) -> Fraction:
    """Average rate of the header, or of the time stamps where they contradict it."""
    stated = Fraction(stream.average_rate or stream.guessed_rate or 0)
    if len(times) < 2 or times[-1] == times[0]:
        return stated
    seen = (len(times) - 1) / ((times[-1] - times[0]) * stream.time_base)
    return stated if abs(stated - seen) <= RATE_TOLERANCE * seen else seen.limit_denominator(1001)


def _is_vfr(times: list[int]) -> bool:
    """Whether a gap between frames differs from another by more than rounding to the time base explains."""
    gaps = [b - a for a, b in pairwise(times)]
    return bool(gaps) and max(gaps) - min(gaps) > 2


def _audio(container: Any) -> AudioInfo | None:
    stream = next(iter(container.streams.audio), None)
    if stream is None or stream.codec_context is None:
        return None
    start, end = extent(container, stream)
    context = stream.codec_context
    duration_s = float((end - start) * stream.time_base)
    return AudioInfo(context.codec.canonical_name, context.sample_rate, context.channels, duration_s)
