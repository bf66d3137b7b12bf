"""Frames of the wanted spans, upright RGB, each with its integer time stamp; only what they need is decoded.

Plan: seek to the keyframe that governs the next wanted time whenever that skips at least one other, else go on
decoding forward; so spans that cover most of a file, or lie in one group of pictures, are decoded in one pass.
Times are seconds on the container's own time line (pts times time base) and are compared as integer pts.
"""

import math
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter

from mien.errors import LimitExceeded, MediaError
from mien.video import header
from mien.video.header import IDENTITY, Matrix, missing_bytes
from mien.video.limits import LimitsConfig, Source, media_name, open_media, reading, video_stream
from mien.video.probe import extent
from mien.video.reader import FAR, Picture, Reader, bytes_between

HALF = Fraction(1, 2)
ROUNDING_S = Fraction(1, 1_000_000)
"""A time that is short of a frame by no more is that of the frame."""
MAX_KEPT_BYTES = 31 << 20
"""Just below the largest block that glibc learns from."""


class Span(NamedTuple):
    """Frames with start_s <= time < end_s."""

    start_s: float
    end_s: float


WHOLE = Span(-math.inf, math.inf)


class Frame(NamedTuple):
    """One decoded frame."""

    pts: int
    """Presentation time stamp in the stream's time base."""
    time_s: float
    rgb: np.ndarray
    """uint8 [H, W, 3], upright, contiguous, the caller's own."""


def decode(
    source: Source, spans: Sequence[Span] = (WHOLE,), *, fps: float | None = None, limits: LimitsConfig | None = None
) -> Iterator[tuple[int, Frame]]:
    """Decode spans of a video in the order of time, one frame at a time.

    A span gives exactly the frames of a full decode whose time lies in it. With `fps` it gives, of these, the one
    nearest to each of start, start + 1/fps, ... (from the first frame where the start is infinite), the earlier of two
    equally near, none twice.

    Args:
        source: Local path or seekable binary file.
        spans: In any order; they may overlap, a frame is then given for each.
        fps: Frames per second to keep; every frame by default.
        limits: What is allowed.

    Yields:
        Position of the span in `spans`, and the frame.

    Raises:
        MediaError: The video cannot be read, is damaged within a span (told after the good frames were given), or has
            no frame in a span. To learn which of several spans it was, decode them one by one.
        LimitExceeded: It is larger than the limits allow.
    """
    for start_s, end_s in spans:
        if not start_s < end_s:
            raise ValueError(f"span {start_s} to {end_s} s: the end must come after the start")
    if fps is not None and not 0 < fps < math.inf:
        raise ValueError(f"fps={fps}: must be positive")
    return _decode(source, spans, fps, limits or LimitsConfig())


def decode_clip(
    source: Source, span: Span = WHOLE, fps: float | None = None, limits: LimitsConfig | None = None
) -> Iterator[Frame]:
    """Decode one span: `decode` without the position."""
    return (frame for _, frame in decode(source, (span,), fps=fps, limits=limits))


def frames_at(
    source: Source, times_s: Sequence[float], limits: LimitsConfig | None = None
) -> Iterator[tuple[int, Frame]]:
    """The frame that a player shows at each of some times: the last one that does not begin later.

    Args:
        source: Local path or seekable binary file.
        times_s: In any order, seconds on the container's own time line.
        limits: What is allowed.

    Yields:
        Position of the time in `times_s`, and the frame; in the order of time.

    Raises:
        MediaError: The video cannot be read, is damaged where a time lies, or shows nothing then.
        LimitExceeded: It is larger than the limits allow.
    """
    if not all(map(math.isfinite, times_s)):
        raise ValueError(f"times_s={list(times_s)}: must be finite")
    return _frames_at(source, times_s, limits or LimitsConfig())


def _frames_at(source: Source, times_s: Sequence[float], limits: LimitsConfig) -> Iterator[tuple[int, Frame]]:
    name = media_name(source)
    with open_media(source, limits, name, with_sound=False) as container:
        stream = video_stream(container, limits, name)
        reader, upright = Reader(container, stream, limits, name), _Upright(stream)
        shown: Picture | None = None
        following = reader.read()
        for position in sorted(range(len(times_s)), key=times_s.__getitem__):
            pts = math.floor((Fraction(times_s[position]) + ROUNDING_S) / stream.time_base)
            if following is not None and following.pts <= pts:
                reader.skip_to(pts)
            while following is not None and following.pts <= pts:
                shown, following = following, reader.read()
            end_pts = reader.sound_end_pts if following is None else following.hole_pts
            if shown is None or (end_pts is not None and end_pts <= pts):
                stated = Span(*(float(end * stream.time_base) for end in extent(container, stream)))
                raise MediaError(f"{name}: {_not_shown(source, times_s[position], stated, reader, following)}")
            yield position, upright(shown)


def _not_shown(source: Source, time_s: float, stated: Span, reader: Reader, following: Picture | None) -> str:
    """What to say of a time at which there is no picture."""
    with reading(source) as file:
        num_missing = missing_bytes(file)
    if num_missing or (reader.hole_pts is not None) or (following is not None and following.hole_pts is not None):
        why = f" ({num_missing} bytes are missing at the end)" if num_missing else ""
        return f"is damaged at {time_s:.2f} s{why}; copy it again or choose another time"
    return f"shows nothing at {time_s:.2f} s; choose a time from {stated.start_s:.2f} s to before {stated.end_s:.2f} s"


def ticks(time_s: float, time_base: Fraction) -> int:
    """The nearest time stamp to a time; infinite times are beyond all."""
    return math.floor(Fraction(time_s) / time_base + HALF) if math.isfinite(time_s) else FAR if time_s > 0 else -FAR


def _decode(
    source: Source, spans: Sequence[Span], fps: float | None, limits: LimitsConfig
) -> Iterator[tuple[int, Frame]]:
    name = media_name(source)
    with open_media(source, limits, name, with_sound=False) as container:
        stream = video_stream(container, limits, name)
        clips = [_Clip(position, span, fps, stream.time_base) for position, span in enumerate(spans)]
        if not isinstance(source, str | os.PathLike):
            for clip in clips:
                header.expect(source, *bytes_between(stream, clip.start_pts, clip.end_pts))
        reader, upright = Reader(container, stream, limits, name), _Upright(stream)
        for clip, picture in _choose(clips, reader):
            clip.num_frames += 1
            if clip.num_frames > limits.max_frames:
                raise LimitExceeded(
                    f"{name}: a clip has over max_frames={limits.max_frames} frames; take a shorter one"
                )
            yield clip.position, upright(picture)
        _check_whole(source, clips, reader, stream.time_base)
        start_s, end_s = (float(pts * stream.time_base) for pts in extent(container, stream))
    for clip in clips:
        if not clip.num_frames:
            raise MediaError(f"{name}: {_no_frame(clip.span, Span(start_s, end_s))}")


def _no_frame(span: Span, stated: Span) -> str:
    """What to say of a span without a frame, in a video that is said to have some."""
    if span.start_s <= stated.start_s and span.end_s >= stated.end_s:
        return "has no frame that can be read; copy it again or leave it out"
    within = f"choose a span within {stated.start_s:.2f} to {stated.end_s:.2f} s"
    return f"has no frame from {span.start_s:.2f} to {span.end_s:.2f} s; {within}"


def _choose(clips: Sequence["_Clip"], reader: Reader) -> Iterator[tuple["_Clip", Picture]]:
    """Every clip with the pictures it takes, up to damage in one of them or the end of the file."""
    pending = clips
    while pending:
        reader.wanted_pts = min(clip.first_pts for clip in pending)
        reader.skip_to(min(clip.next_pts for clip in pending))
        picture = reader.read()
        if picture is None:
            break
        if any(clip.misses(picture.hole_pts, picture.pts) for clip in pending):
            reader.hole_pts = picture.hole_pts
            break
        for clip in pending:
            yield from ((clip, chosen) for chosen in clip.offer(picture))
        pending = [clip for clip in pending if picture.pts < clip.end_pts]
    for clip in pending:
        yield from ((clip, chosen) for chosen in clip.finish(reader.sound_end_pts))


def _check_whole(source: Source, clips: Sequence["_Clip"], reader: Reader, time_base: Fraction) -> None:
    """Tell of damage, or of a file that was cut off, within a clip."""
    broken = [clip for clip in clips if not clip.is_passed and clip.end_pts > reader.sound_end_pts]
    with reading(source) as file:
        num_missing = missing_bytes(file) if broken else 0
    if broken and (num_missing or reader.hole_pts is not None):
        pts = max(reader.start_pts, reader.sound_end_pts, min(clip.start_pts for clip in broken))
        what = f"{num_missing} bytes are missing at the end" if num_missing else "cannot be decoded"
        raise MediaError(
            f"{media_name(source)}: damaged at {float(pts * time_base):.2f} s ({what}), what was given before is good; "
            "copy it again or end the clip before that"
        )


class _Upright:
    """Converts pictures to upright RGB."""

    def __init__(self, stream: Any):
        self._time_base = stream.time_base
        self._reformatter = VideoReformatter()
        self._matrix: Matrix | None = None
        # glibc keeps freed memory up to the largest block it ever took back; without this one it gives the memory of
        # each frame back to the system and asks for it anew, which can cost a fifth of the time
        np.empty(min(8 * 3 * stream.width * stream.height, MAX_KEPT_BYTES), np.uint8)

    def __call__(self, picture: Picture) -> Frame:
        if self._matrix is None:
            self._matrix = _display_matrix(picture.frame)
        # one thread; matrix and range are those of the stream, BT.601 limited where it states none, as FFmpeg has it
        rgb = self._reformatter.reformat(picture.frame, format="rgb24", threads=1).to_ndarray()
        rgb = np.ascontiguousarray(self._matrix.upright(rgb))
        time_s = picture.pts * self._time_base.numerator / self._time_base.denominator
        return Frame(picture.pts, time_s, rgb)


def _display_matrix(frame: Any) -> Matrix:
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return IDENTITY
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return Matrix(a, b, c, d)


class _Clip:
    """Chooses the frames of one span from those that pass by."""

    def __init__(self, position: int, span: Span, fps: float | None, time_base: Fraction):
        self.position, self.span = position, span
        self.start_pts, self.end_pts = (ticks(time_s, time_base) for time_s in span)
        self.num_frames = 0
        self.is_passed = False
        """Whether a frame came that lies behind this clip."""
        self._step = None if fps is None else 1 / (Fraction(fps) * time_base)
        self._origin = Fraction(span.start_s) / time_base if math.isfinite(span.start_s) else None
        self._target = self.start_pts
        self._held: Picture | None = None
        self._given_pts = -FAR

    @property
    def next_pts(self) -> int:
        """The earliest frame that is still wanted lies at or next to this time stamp."""
        return -FAR if self._held and self._step is None else self._target

    @property
    def first_pts(self) -> int:
        """No frame before this time stamp is wanted."""
        return -FAR if self._held else self.start_pts

    def misses(self, hole_pts: int | None, pts: int) -> bool:
        """Whether frames that this clip wants were lost between `hole_pts` and `pts`."""
        return hole_pts is not None and self.start_pts < pts and self.end_pts > hole_pts

    def offer(self, picture: Picture) -> list[Picture]:
        """What the clip takes, now that it sees the next frame."""
        if picture.pts < self.start_pts:
            return []
        self.is_passed = picture.pts >= self.end_pts
        if self.is_passed:
            return self.finish(self.end_pts)
        chosen = [picture] if self._step is None else self._nearest(picture, self._step)
        self._held = picture
        self._given_pts = chosen[-1].pts if chosen else self._given_pts
        return chosen

    def finish(self, end_pts: int) -> list[Picture]:
        """What the clip takes when its frames, or those of the file, end at `end_pts`."""
        held, end_pts = self._held, min(end_pts, self.end_pts)
        is_due = held is not None and self._step is not None and self._given_pts < held.pts and self._target < end_pts
        return [held] if held and is_due else []

    def _nearest(self, picture: Picture, step: Fraction) -> list[Picture]:
        """Of the frame before and this one, those nearest to a grid time between them."""
        if self._origin is None:
            self._origin, self._target = Fraction(picture.pts), picture.pts
        if self._target > picture.pts:
            return []
        held, chosen = self._held, []
        if held and self._given_pts < held.pts and self._target - held.pts <= picture.pts - self._target:
            chosen.append(held)
        num_passed = math.ceil((picture.pts + HALF - self._origin) / step)
        last = math.floor(self._origin + (num_passed - 1) * step + HALF)
        if held is None or picture.pts - last < last - held.pts:
            chosen.append(picture)
        self._target = math.floor(self._origin + num_passed * step + HALF)
        return chosen
