"""From frames to followed faces: find, follow and smooth in one pass over the video, in bounded memory.

    frames ─ _Finder ─ faces per frame ─ Tracker ─ pending frames ─ Followed

A frame waits until no later frame can change its boxes: usually for the reach of the smoothing (0.125 s), and up to
`min_duration_s + max_gap_s` (0.7 s) longer while a face is new or lost: at 30 fps 5 frames wait, at most 27, which
are 31 and 168 MB of 1080p. `max_buffer_bytes` bounds it in any case.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from pydantic import Field

from mien.config import Config
from mien.errors import FaceError
from mien.faces.detect import (
    Box,
    Detector,
    DetectorConfig,
    Face,
    area,
    distinct,
    iou,
    overlaps,
    side,
    window_around,
    windows,
)
from mien.faces.track import TrackConfig, TrackedFace, Tracker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mien.faces.task import Rgb
    from mien.video.decode import Frame


class FacesConfig(Config):
    """Which faces of a clip are kept, and how they are found and followed."""

    policy: Literal["single", "largest", "all"] = "largest"
    """single: a clip without exactly one face in every frame is refused; largest: the track with the largest sum of
    face areas; all: every track."""
    min_side_px: int = Field(0, ge=0)
    """A track whose face is narrower than this on average is not kept; 0 keeps all."""
    detector: DetectorConfig = DetectorConfig()
    """How faces are found in a frame."""
    track: TrackConfig = TrackConfig()
    """How faces are followed over time."""
    max_buffer_bytes: int = Field(512 * 2**20, gt=0)
    """Frames waiting for later ones; beyond this a gap is left unbridged instead. 512 MiB are 86 frames of 1080p."""


class Followed(NamedTuple):
    """One frame and the faces in it."""

    frame: Frame
    num_faces: int
    """Faces detected in this frame, whether or not they belong to a track; `largest` does not look for far ones."""
    faces: list[TrackedFace]
    """Faces of tracks, detected or interpolated, by track number."""


def follow(frames: Iterable[Frame], detector: Detector, config: FacesConfig) -> Iterator[Followed]:
    """Follow every face through the frames of one clip; yields each frame once, in order, some frames later.

    Args:
        frames: Frames in the order of time.
        detector: Finds faces in one frame.
        config: Policy and settings.

    Raises:
        FaceError: The policy is `single` and a frame has no or several faces.
    """
    follower = Follower(detector, config)
    for frame in frames:
        yield from follower.push(frame)
    yield from follower.finish()


class Follower:
    """`follow` for frames that come one by one: several clips that overlap can share what is decoded."""

    def __init__(self, detector: Detector, config: FacesConfig):
        """Begin a clip."""
        self._config = config
        self._finder, self._tracker = _Finder(detector, config), Tracker(config.track)
        self._pending: deque[tuple[int, Frame, int]] = deque()
        self._num_frames = 0

    def push(self, frame: Frame) -> Iterator[Followed]:
        """Take the next frame; yields those that no later one can change.

        Raises:
            FaceError: The policy is `single` and the frame has no or several faces.
        """
        tracker = self._tracker
        faces = self._finder.find(frame.rgb, frame.time_s, tracker.known())
        if self._config.policy == "single" and len(faces) != 1:
            raise FaceError(f"{len(faces)} faces at {frame.time_s:.2f} s; the policy `single` needs one in every frame")
        tracker.update(self._num_frames, frame.time_s, faces)
        self._pending.append((self._num_frames, frame, len(faces)))
        self._num_frames += 1
        max_pending = self._config.max_buffer_bytes // frame.rgb.nbytes
        while self._pending and (tracker.is_settled(self._pending[0][1].time_s) or len(self._pending) > max_pending):
            yield self._next()

    def finish(self) -> Iterator[Followed]:
        """End the clip; yields the frames that waited."""
        self._tracker.finish()
        while self._pending:
            yield self._next()

    def _next(self) -> Followed:
        index, frame, num_faces = self._pending.popleft()
        return Followed(frame, num_faces, self._tracker.at(index, frame.time_s))


class _Finder:
    """Finds the faces of one frame after the other; looks closer where one is small or lost, searches now and then."""

    def __init__(self, detector: Detector, config: FacesConfig):
        self._detector = detector
        self._config = config.detector
        self._wants_all = config.policy != "largest"
        self._searched_s = -math.inf

    def find(self, rgb: Rgb, time_s: float, known: list[Box]) -> list[Face]:
        """Distinct faces of a frame, given the last boxes of the faces known so far."""
        small_px = self._config.small_share * max(rgb.shape[:2])
        whole = self._detector.detect(rgb)
        faces = [face for face in whole if side(face.box) >= small_px]
        lost = [box for box in known if not any(overlaps(box, face.box) for face in faces)]
        faces += self._closer(rgb, lost + [face.box for face in whole if side(face.box) < small_px])
        known = [*known, *(face.box for face in faces)]
        if self._is_due(time_s, bool(known)):
            self._searched_s = time_s
            faces += self._search(rgb, known)
        return distinct(faces)

    def _is_due(self, time_s: float, is_known: bool) -> bool:
        """Whether to search the whole frame; what it can add to a known face is smaller than that."""
        every_s = self._config.survey_every_s if is_known else self._config.search_every_s
        return (self._wants_all or not is_known) and time_s - self._searched_s >= every_s

    def _closer(self, rgb: Rgb, boxes: list[Box]) -> list[Face]:
        """Look again in a window around each box; what is not found there was no face."""
        faces: list[Face] = []
        for box in boxes:
            if not any(overlaps(box, face.box) for face in faces):
                window = window_around(box, self._config.window_faces, rgb.shape[1], rgb.shape[0])
                found = [(iou(face.box, box), face) for face in self._detector.detect_in(rgb, window)]
                faces += [face for overlap, face in sorted(found, reverse=True)[:1] if overlap]
        return faces

    def _search(self, rgb: Rgb, known: list[Box]) -> list[Face]:
        """Faces on overlapping windows of the whole frame, other than the known ones."""
        height, width = rgb.shape[:2]
        new: list[Face] = []
        for divisor in self._config.search_divisors:
            searched = windows(width, height, max(1, max(width, height) // divisor))
            found = (face for window in searched for face in self._detector.detect_in(rgb, window))
            sure = [face for face in found if face.score >= self._config.search_min_confidence]
            boxes = [face.box for face in sorted(sure, key=lambda face: -face.score)]
            known = [*known, *(face.box for face in new)]
            new += self._closer(rgb, [box for box in boxes if not any(overlaps(box, other) for other in known)])
            if new and not self._wants_all:
                break
        return new


@dataclass
class _Totals:
    num_frames: int = 0
    side_px: float = 0.0
    area_px: float = 0.0


class TrackSummary:
    """What `choose` needs to know of the tracks of a clip; feed it every `Followed`."""

    def __init__(self) -> None:
        self.num_frames = 0
        self.totals: dict[int, _Totals] = {}

    def add(self, followed: Followed) -> None:
        """Count one frame."""
        self.num_frames += 1
        for face in followed.faces:
            total = self.totals.setdefault(face.track, _Totals())
            total.num_frames += 1
            total.side_px += side(face.smooth_box)
            total.area_px += area(face.smooth_box)


def choose(config: FacesConfig, summary: TrackSummary) -> list[int]:
    """Numbers of the tracks to keep, in the order in which they appear.

    Raises:
        FaceError: No track meets the policy.
    """
    if not summary.totals:
        raise FaceError(f"no face in any of {summary.num_frames} frames")
    side_px = {track: total.side_px / total.num_frames for track, total in sorted(summary.totals.items())}
    wide = [track for track in side_px if side_px[track] >= config.min_side_px]
    if not wide:
        raise FaceError(f"the face is {max(side_px.values()):.0f} px wide, less than min_side_px={config.min_side_px}")
    if config.policy == "all":
        return wide
    largest = max(wide, key=lambda track: summary.totals[track].area_px)
    num_frames = summary.totals[largest].num_frames
    if config.policy == "single" and num_frames < summary.num_frames:
        raise FaceError(f"the same face in only {num_frames} of {summary.num_frames} frames: a cut, or it jumps")
    return [largest]
