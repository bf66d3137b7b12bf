"""Follow faces over time: detections become tracks, gaps are bridged, boxes are smoothed."""

import math
from typing import NamedTuple

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.faces.detect import Box, Face, area, iou
from mien.schema import FACE_DETECTED, FACE_INTERPOLATED


class TrackConfig(Config):
    """How detections of successive frames become tracks."""

    min_iou: float = Field(0.1, gt=0, lt=1)
    """Least overlap of a face with the last box of its track."""
    max_gap_s: float = Field(0.5, ge=0)
    """A track not found for longer ends; shorter gaps are bridged by interpolation."""
    min_duration_s: float = Field(0.2, ge=0)
    """A track found over a shorter time is dropped as spurious, unless the clip itself is shorter."""
    smoothing_s: float = Field(0.05, ge=0)
    """Standard deviation of the Gaussian that smooths boxes over time; 0 for none. 0.05 takes four fifths of the jitter
    and keeps a dancer's face within a ninth of its width; 0.1 lets it slip by a sixth."""

    @property
    def reach_s(self) -> float:
        """How far the Gaussian looks to either side."""
        return 2.5 * self.smoothing_s


class TrackedFace(NamedTuple):
    """One face of one frame, as part of its track."""

    track: int
    """Number of the track, 0 for the first to appear."""
    status: int
    """`schema.FACE_DETECTED` or `schema.FACE_INTERPOLATED`."""
    score: float
    """Detector score; NaN where interpolated."""
    box: Box | None
    """Face as detected; None where interpolated."""
    smooth_box: Box
    """Face smoothed over the track."""


_UNSEEN = -1
"""Number of a track before its first frame is read."""


class _Sample(NamedTuple):
    frame: int
    time_s: float
    box: Box
    score: float
    """NaN where interpolated."""


class _Track:
    """One face over time: its samples around the frames that are still to be read, one per frame."""

    def __init__(self, first: _Sample):
        self.samples = [first]
        self.first_s = first.time_s
        self.missed: list[tuple[int, float]] = []
        self.is_confirmed = False
        self.has_ended = False
        self.number = _UNSEEN

    @property
    def last(self) -> _Sample:
        return self.samples[-1]

    def extend(self, found: _Sample) -> None:
        """Add a detection, and interpolated samples for the frames missed since the last one."""
        last, span = self.last, max(found.time_s - self.last.time_s, 1e-9)
        for frame, time_s in self.missed:
            share = (time_s - last.time_s) / span
            x0, y0, x1, y1 = (a + share * (b - a) for a, b in zip(last.box, found.box, strict=True))
            self.samples.append(_Sample(frame, time_s, (x0, y0, x1, y1), math.nan))
        self.samples.append(found)
        self.missed.clear()


class Tracker:
    """Tracks of one clip, fed frame by frame and read some frames later, when nothing can change them any more."""

    def __init__(self, config: TrackConfig):
        self._config = config
        self._tracks: list[_Track] = []
        self._num_numbered = 0
        self._first_s, self._now_s = math.inf, -math.inf

    def known(self) -> list[Box]:
        """Last box of every track that has not ended."""
        return [track.last.box for track in self._tracks if not track.has_ended]

    def update(self, frame: int, time_s: float, faces: list[Face]) -> None:
        """Give each face of the next frame to the track it overlaps most, or to a new one."""
        self._first_s, self._now_s = min(self._first_s, time_s), time_s
        for track in list(self._tracks):
            if track.missed and time_s - track.last.time_s > self._config.max_gap_s:
                self._end(track)
        live = [track for track in self._tracks if not track.has_ended]
        pairs = [(iou(track.last.box, face.box), t, f) for t, track in enumerate(live) for f, face in enumerate(faces)]
        track_of: dict[int, int] = {}
        for overlap, t, f in sorted(pairs, reverse=True):
            if overlap >= self._config.min_iou and f not in track_of and t not in track_of.values():
                track_of[f] = t
        for t, track in enumerate(live):
            if t not in track_of.values():
                track.missed.append((frame, time_s))
        for f, face in enumerate(faces):
            self._add(live[track_of[f]] if f in track_of else None, _Sample(frame, time_s, *face))

    def _end(self, track: _Track) -> None:
        track.has_ended = True
        if not track.is_confirmed:
            self._tracks.remove(track)

    def _add(self, track: _Track | None, found: _Sample) -> None:
        if track is None:
            track = _Track(found)
            self._tracks.append(track)
        else:
            track.extend(found)
        track.is_confirmed |= found.time_s - track.first_s >= self._config.min_duration_s

    def finish(self) -> None:
        """End the clip: a track as long as the clip is kept however short that is."""
        for track in list(self._tracks):
            track.is_confirmed |= track.last.time_s - track.first_s >= self._now_s - self._first_s
            self._end(track)
        self._now_s = math.inf

    def is_settled(self, time_s: float) -> bool:
        """Whether no later frame can change the faces of this time."""
        return time_s + self._config.reach_s < self._settled_s()

    def _settled_s(self) -> float:
        """Time up to which every sample is known: no open gap, no track that may yet be dropped."""
        waiting = [track for track in self._tracks if not track.has_ended and (track.missed or not track.is_confirmed)]
        since_s = [track.last.time_s if track.is_confirmed else track.first_s for track in waiting]
        return min([self._now_s, *since_s])

    def at(self, frame: int, time_s: float) -> list[TrackedFace]:
        """Faces of a frame; frames must be asked for in order, since what lies before is forgotten."""
        for track in self._tracks:
            track.samples = [s for s in track.samples if s.time_s >= time_s - self._config.reach_s] or [track.last]
        self._tracks = [t for t in self._tracks if not t.has_ended or t.last.frame >= frame]
        present = [
            (track, s) for track in self._tracks for s in track.samples if s.frame == frame and track.is_confirmed
        ]
        for track, _ in sorted(present, key=lambda pair: -area(pair[1].box)):
            if track.number == _UNSEEN:
                track.number, self._num_numbered = self._num_numbered, self._num_numbered + 1
        return sorted((self._face(track, sample) for track, sample in present), key=lambda face: face.track)

    def _face(self, track: _Track, sample: _Sample) -> TrackedFace:
        smooth = self._smoothed(track, sample.time_s)
        if math.isnan(sample.score):
            return TrackedFace(track.number, FACE_INTERPOLATED, math.nan, None, smooth)
        return TrackedFace(track.number, FACE_DETECTED, sample.score, sample.box, smooth)

    def _smoothed(self, track: _Track, time_s: float) -> Box:
        """Gaussian mean of the boxes around a time, reaching equally far to both sides.

        At the ends of a track the reach shrinks, so that the box neither lags behind nor runs ahead of a moving face.
        """
        reach_s = min(self._config.reach_s, time_s - track.first_s, track.last.time_s - time_s) + 1e-6
        near = [s for s in track.samples if abs(s.time_s - time_s) <= reach_s]
        offsets = np.array([s.time_s - time_s for s in near]) / max(self._config.smoothing_s, 1e-6)
        weights = np.exp(-0.5 * offsets**2)
        x0, y0, x1, y1 = weights @ np.array([s.box for s in near]) / weights.sum()
        return float(x0), float(y0), float(x1), float(y1)
