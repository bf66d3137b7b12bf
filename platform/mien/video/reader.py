"""One decoder that moves forward through a video: sound frames only, in order, skipping what nobody wants.

A seek goes to the keyframe that governs the wanted time and is checked by what comes out of the decoder: B-frames,
open groups of pictures and intra refresh make index and keyframe flags alone unreliable. Frames that are damaged, or
predicted from damaged ones, are left out, and the next sound frame tells of the hole.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import av
import numpy as np
from av.stream import Discard

from mien.errors import LimitExceeded, MediaError
from mien.video.limits import LimitsConfig
from mien.video.probe import MAX_REORDERED, packets

MIN_BLIND_GAP_S = 2
"""A gap between wanted times that is worth a seek where no index tells the keyframes; longer after one in vain."""

FAR = 1 << 62
"""Later than any time stamp; -FAR is earlier than all."""


def bytes_between(stream: Any, start_pts: int, end_pts: int) -> tuple[int, int]:
    """Where the index says that a file holds what is decoded for the frames of a span; empty where it does not."""
    index = stream.index_entries
    if not len(index):
        return 0, 0
    first = max(0, index.search_timestamp(start_pts - _lead(stream)))
    last = index.search_timestamp(end_pts, any_frame=True) + 1 + stream.codec_context.has_b_frames
    last = min(last, len(index) - 1)
    return index[first].pos, index[last].pos + index[last].size


def _lead(stream: Any) -> int:
    """How long before a keyframe is shown it is decoded, by the first one; an index of all frames tells the latter."""
    rate = stream.average_rate
    longest = math.ceil(MAX_REORDERED / (rate * stream.time_base)) if rate and stream.codec_context.has_b_frames else 0
    lead: int = (stream.start_time or 0) - stream.index_entries[0].timestamp
    return max(0, min(lead, longest))


class Picture(NamedTuple):
    """A decoded frame, not yet converted; times in the stream's time base."""

    frame: Any
    pts: int
    end_pts: int
    hole_pts: int | None
    """Where the frames end that came before, if others between them and this one were lost to damage."""


class Reader:
    """Frames of a video stream, from the start or from wherever the last seek led."""

    def __init__(self, container: Any, stream: Any, limits: LimitsConfig, name: str):
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        self.end_pts = -FAR
        """End of the last frame that was read since the last seek."""
        self.hole_pts: int | None = None
        """Where the sound frames ended, if damage stands between there and where the reader is."""
        self.wanted_pts = -FAR
        """Frames before this one need not come; those that no other depends on are then not decoded."""
        self._container, self._stream, self._name = container, stream, name
        self._num_left, self._max_frames = limits.max_decoded_frames, limits.max_decoded_frames
        self._is_avi = container.format.name == "avi"
        self._may_start_anywhere = container.format.name == "mpegts"
        index = stream.index_entries
        self.start_pts = stream.start_time or 0
        self._first_pts = min(self.start_pts, index[0].timestamp if len(index) else 0)
        self._position, self._sought, self._blind_gap_s = -FAR, self._first_pts, MIN_BLIND_GAP_S
        rate = stream.average_rate
        self._frame_ticks = max(1, round(1 / (rate * stream.time_base))) if rate else 1
        self._size: tuple[int, int] | None = None
        self._key: Any = None
        self._is_skipping = False
        self._landed: Picture | None = None
        self._pictures = self._sound_pictures()

    @property
    def sound_end_pts(self) -> int:
        """Where the sound frames end that were read since the last seek."""
        return self.end_pts if self.hole_pts is None else self.hole_pts

    def read(self) -> Picture | None:
        """The next sound frame; None at the end, or where damage lets nothing more be read.

        Raises:
            MediaError: Time stamps run back, or the size of the frames changes.
        LimitExceeded: More frames were decoded than the limits allow.
        """
        picture = self._landed or next(self._pictures, None)
        self._landed = None
        if picture is not None:
            self._position, self.end_pts = picture.pts, picture.end_pts
        return picture

    def skip_to(self, pts: int) -> None:
        """Make the next frame one at or before `pts`, without decoding those that are not needed for it."""
        before = self._position
        if pts <= before or not self._skips_a_keyframe(pts):
            return
        self._sought = pts
        goal, back = pts, max(1, round(1 / self._stream.time_base))
        while not self._lands(max(goal, self._first_pts), pts) and goal > self._first_pts:
            goal, back = goal - back, 4 * back
        if self._landed is not None and self._landed.pts <= before:
            self._blind_gap_s *= 2

    def _skips_a_keyframe(self, pts: int) -> bool:
        if self._is_avi and self._stream.codec_context.has_b_frames:
            return False  # frames are counted from the first: AVI stores no pts
        index, passed = self._stream.index_entries, max(self._position, self._sought)
        if len(index) and pts <= index[len(index) - 1].timestamp:
            governing = index.search_timestamp(pts)
            return bool(governing >= 0 and index[governing].timestamp > passed)
        return bool((pts - passed) * self._stream.time_base > self._blind_gap_s)

    def _lands(self, goal: int, pts: int) -> bool:
        """Seek; whether the first sound frame there, and its keyframe, come at or before `pts`."""
        self._container.seek(goal, stream=self._stream)
        self._position = self.end_pts = -FAR
        self.hole_pts = self._key = None
        self._pictures = self._sound_pictures()
        self._landed = next(self._pictures, None)
        if self._landed is None or self._landed.pts > pts or (self._key.pts or 0) > pts:
            return False
        self._landed = self._landed._replace(hole_pts=None)
        return True

    def _sound_pictures(self) -> Iterator[Picture]:
        """Frames from a keyframe on that are neither damaged nor predicted from damaged ones."""
        needs_key = True
        lag: int | None = None
        for frame in self._frames():
            if needs_key and frame is not None and not self._follows_key(frame):
                continue
            needs_key = frame is None or frame.is_corrupt
            if needs_key:
                self.hole_pts = self.end_pts if self.hole_pts is None else self.hole_pts
                self._key = None
                continue
            if lag is None and self._is_avi:
                lag = (frame.dts or 0) - (frame.pts or 0)
            hole_pts, self.hole_pts = self.hole_pts, None
            yield self._picture(frame, lag, hole_pts)

    def _follows_key(self, frame: Any) -> bool:
        """Whether a frame can be decoded from the last keyframe: those shown before it may need an earlier one."""
        key = self._key
        return key is not None and (key.pts is None or frame.pts is None or frame.pts >= key.pts)

    def _picture(self, frame: Any, lag: int | None, hole_pts: int | None) -> Picture:
        pts = frame.pts if lag is None or frame.dts is None else frame.dts - lag
        if pts is None or (lag is not None and frame.dts is None):
            pts = max(self._first_pts, self.end_pts)  # the frame follows the one before
        size = frame.width, frame.height
        if pts < self._position or self._size not in (None, size):
            change = "time stamps run back" if pts < self._position else f"frames change to {size[0]}x{size[1]} px"
            time_s = float(pts * self._stream.time_base)
            raise MediaError(f"{self._name}: its {change} at {time_s:.2f} s; cut it there or convert it to one mp4")
        self._size = size
        return Picture(frame, pts, pts + (frame.duration or self._frame_ticks), hole_pts)

    def _frames(self) -> Iterator[Any]:
        """Decoded frames, and None where one or more were lost to damage; after it from the next keyframe on."""
        decoder = self._stream.codec_context
        for packet in self._packets():
            if packet is not None and self._key is None:
                if not packet.is_keyframe:
                    if packet.size and not self._may_start_anywhere:
                        yield None
                    continue
                self._key = packet
            try:
                if packet is not None and not packet.is_corrupt:
                    self._skip_if_needless(packet)
                    yield from self._counted(packet.decode())
                    continue
            except MemoryError:  # PyAV's is an FFmpegError, too, but no damage
                raise
            except av.FFmpegError:
                np.empty((decoder.height, decoder.width, 3), np.uint8)  # refused memory, FFmpeg speaks of damage
            with suppress(av.FFmpegError):
                yield from self._counted(decoder.decode(None))
            decoder.flush_buffers()
            yield None

    def _counted(self, frames: list[Any]) -> list[Any]:
        self._num_left -= len(frames)
        if self._num_left < 0:
            raise LimitExceeded(
                f"{self._name}: over max_decoded_frames={self._max_frames} frames must be decoded; take shorter clips"
            )
        return frames

    def _skip_if_needless(self, packet: Any) -> None:
        is_needless = packet.pts is not None and packet.pts < self.wanted_pts and not self._is_avi
        if is_needless != self._is_skipping:
            self._stream.codec_context.skip_frame = "NONREF" if is_needless else "DEFAULT"
            self._is_skipping = is_needless

    def _packets(self) -> Iterator[Any]:
        """Packets from where the container stands; None and the end where it cannot be read further."""
        try:
            for packet in packets(self._container, self._stream):
                if packet.size or packet.dts is None:  # an empty one repeats the frame before it in AVI
                    yield packet
        except av.FFmpegError:
            yield None
