"""The best clips of one video by score: a plain callable that knows nothing of Ray.

    candidates → runs that do not overlap → decode → each follows its faces ─┬─ centres of the face, every frame
                                                                             └─ crops at first, middle, last → tokens

Every frame of a candidate is decoded once and searched for faces once, whatever the number of candidates that share it;
its faces are followed for each from its own first frame on, as they are when it is cut.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import Any, BinaryIO

import numpy as np

from mien.clips.clip import Clip, Source, unfit
from mien.clips.scoring import UNKNOWN_FPS, Candidate, ScoredConfig, best, scores
from mien.errors import ClipError, FaceError, MediaError, StorageError, Unavailable
from mien.faces.crop import CropConfig, crop, crop_box, decode_jpeg, encode_jpeg
from mien.faces.detect import Detector, SharedDetector, centre
from mien.faces.follow import FacesConfig, Followed, Follower, TrackSummary, choose
from mien.features.extractor import Extractor
from mien.schema import FACE_DETECTED
from mien.storage.source import Way, opened
from mien.storage.uri import Entry
from mien.video.decode import Frame, Span, decode, ticks
from mien.video.probe import VideoInfo, probe

_SLACK = 0.1
"""Share of a candidate that may be without a frame at its end, where frames come at uneven times."""

_WAYS: dict[str, Way] = {"auto": "checked", "ranges": "ranges", "checked": "checked", "whole": "whole"}
"""How a video in a bucket is read, by `fetch`."""

Crops = dict[int, Any]
"""Track -> its crop in one frame: a JPEG, or pixels where crops are stored raw."""


class Scorer:
    """Chooses the clips of a video by what the detector and the extractor of the job find. Made once per process."""

    def __init__(
        self, config: Any, detector: Detector, extractor: Extractor, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take a `SerializeConfig` whose clips are scored, and models that are loaded already."""
        self._config, self._clips = config, config.clips
        self._detector, self._extractor, self._clock = detector, extractor, clock

    def __call__(self, source: Source) -> list[Clip]:
        """The best clips of a source in the order of time, or one that will fail with the reason why there are none.

        Raises:
            Unavailable: The bucket did not answer.
        """
        planned = Entry(source.uri, source.size_bytes, source.generation)
        try:
            with opened(source.uri, planned, _WAYS[self._config.fetch]) as file:
                return self._chosen(source, file)
        except Unavailable:
            raise
        except (StorageError, MediaError):
            return [Clip(source)]  # it is opened again to be cut, and fails alike
        except ClipError as error:
            return [unfit(source, str(error))]

    def _chosen(self, source: Source, file: str | BinaryIO) -> list[Clip]:
        info = probe(file, self._config.limits, with_sound=False)
        problem = self._clips.too_short(info.duration_s)
        if problem:
            raise ClipError(problem)
        tries = tries_of(self._clips, source, info, self._config.fps)
        damage = self._look(file, tries)
        found = [attempt for attempt in tries if attempt.is_sound(self._config.faces)]
        if not found and damage:
            raise damage
        if not found:
            what = "exactly one face" if self._config.faces.policy == "single" else "the face"
            raise ClipError(f"none of its {len(tries)} candidates has {what} in every frame; leave it out, try more")
        kept = best(self._clips, self._scored(found))
        return [Clip(source, each.start_s, each.end_s, self._clips.rule, scores=each.scores) for each in kept]

    def _look(self, file: str | BinaryIO, tries: Sequence["Try"]) -> MediaError | None:
        """Decode what the tries need and show it to them; what was damaged, if anything."""
        left, damage = runs_of(tries), None
        until = self._clock() + self._config.workers.clip_timeout_s
        while left:
            at = 0
            spans = [Span(run[0].start_s, max(attempt.end_s for attempt in run)) for run in left]
            try:
                frames = decode(file, spans, fps=self._config.fps, limits=self._config.limits)
                for position, found in groupby(self._in_time(frames, until), key=itemgetter(0)):
                    at = position
                    self._follow(left[at], (frame for _, frame in found))
                return damage
            except MediaError as error:  # of one run: those behind it may be sound
                damage, left = error, left[at + 1 :]
        return damage

    def _in_time(self, frames: Iterable[tuple[int, Frame]], until: float) -> Iterator[tuple[int, Frame]]:
        for position, frame in frames:
            if self._clock() > until:
                limit = f"workers.clip_timeout_s={self._config.workers.clip_timeout_s:g}"
                raise ClipError(
                    f"scoring took over {limit} and had come to {frame.time_s:.1f} s; try fewer, or raise it"
                )
            yield position, frame

    def _follow(self, run: Sequence["Try"], frames: Iterable[Frame]) -> None:
        """Show every frame of a run to the tries that it belongs to."""
        detector = SharedDetector(self._detector)
        for attempt in run:
            attempt.begin(detector, self._config)
        try:
            for frame in frames:
                for attempt in run:
                    attempt.offer(frame)
            for attempt in run:
                attempt.end()
        finally:  # where a frame is damaged, the others are not kept for it
            for attempt in run:
                attempt.forget()

    def _scored(self, found: Sequence["Try"]) -> list[Candidate]:
        """Candidates with their scores; forward passes are filled across them."""
        crops = [crops[attempt.track] for attempt in found for crops in attempt.crops]
        tokens, size = list[np.ndarray](), self._extractor.batch_size
        for start in range(0, len(crops), size):
            pixels = np.stack([_pixels(each) for each in crops[start : start + size]])
            tokens += list(self._extractor(pixels))
        candidates = list[Candidate]()
        for number, attempt in enumerate(found):
            three = tokens[3 * number : 3 * number + 3]
            centres = np.array(attempt.centres[attempt.track])
            candidates.append(Candidate(attempt.start_s, attempt.end_s, scores(self._clips, three, centres)))
        return candidates


def _pixels(stored: Any) -> np.ndarray:
    return decode_jpeg(stored) if isinstance(stored, bytes) else np.asarray(stored)


def _crops(followed: Followed, tracks: Iterable[int], config: CropConfig) -> Crops:
    """What the pipeline would store of some tracks, as far as they are in the frame."""
    stored = Crops()
    for face in followed.faces:
        if face.track in tracks:
            square = crop_box(face.smooth_box, config.padding_factor)
            pixels, _ = crop(followed.frame.rgb, square, config.size_px)
            stored[face.track] = encode_jpeg(pixels, config.jpeg_quality) if config.encoding == "jpeg" else pixels
    return stored


@dataclass
class Try:
    """One candidate, filled while the frames of its run pass by."""

    start_s: float
    end_s: float
    start_pts: int
    middle_pts: int
    last_pts: int
    """The last frame comes no earlier, unless the video ends before the candidate does."""
    end_pts: int
    crops: list[Crops] = field(default_factory=list)
    """Of the first, the middle and the last frame."""
    centres: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """Of every track that was detected in each frame so far: middle of its box, px."""
    track: int = -1
    """The face that is scored, once it is known."""
    is_whole: bool = False
    """Whether its last frame has come."""
    summary: TrackSummary = field(default_factory=TrackSummary)
    _follower: Follower | None = None
    _crop: CropConfig = field(default_factory=CropConfig)
    _last: Followed | None = None

    def begin(self, detector: Detector, config: Any) -> None:
        """Its run begins: how faces are found, followed and cropped."""
        self._follower, self._crop = Follower(detector, config.faces), config.crop

    def offer(self, frame: Frame) -> None:
        """Take in a frame if it belongs here."""
        if self._follower is None or frame.pts < self.start_pts:
            return
        if frame.pts >= self.end_pts:
            self.end()
            return
        try:
            for followed in self._follower.push(frame):
                self._add(followed)
        except FaceError:  # spoils this candidate, not those that begin behind it
            self.forget()

    def end(self) -> None:
        """No frame of this candidate is left."""
        if self._follower is None:
            return
        for followed in self._follower.finish():
            self._add(followed)
        last = self._last
        self.is_whole = last is not None and last.frame.pts >= self.last_pts
        while last is not None and self.is_whole and len(self.crops) < 3:
            self.crops.append(_crops(last, self.centres, self._crop))
        self.forget()

    def forget(self) -> None:
        """Let go of the frames that it waits for; it takes in no more."""
        self._follower = self._last = None

    def is_sound(self, faces: FacesConfig) -> bool:
        """Whether the face that the policy keeps was detected in every frame."""
        if not self.is_whole:
            return False
        try:
            kept = choose(faces, self.summary)
        except FaceError:
            return False
        self.track = max(kept, key=lambda track: self.summary.totals[track].area_px)
        return self.track in self.centres and all(self.track in crops for crops in self.crops)

    def _add(self, followed: Followed) -> None:
        is_first = not self.summary.num_frames
        self.summary.add(followed)
        boxes = {face.track: face.box for face in followed.faces if face.status == FACE_DETECTED}
        found = {track: centre(box) for track, box in boxes.items() if box is not None}
        if is_first:
            self.centres = {track: [] for track in found}
        for track in [*self.centres]:
            if track in found:
                self.centres[track].append(found[track])
            else:
                del self.centres[track]
        if is_first:
            self.crops.append(_crops(followed, self.centres, self._crop))
        if len(self.crops) == 1 and followed.frame.pts >= self.middle_pts:
            self.crops.append(_crops(followed, self.centres, self._crop))
        self._last = followed


def tries_of(config: ScoredConfig, source: Source, info: VideoInfo, fps: float | None) -> list[Try]:
    """The candidates of a video in the order of time; the middle frame is that after half of them."""
    rate = Fraction(fps or info.fps) or UNKNOWN_FPS
    middle_s = float(max(1, round(config.length_s * rate)) // 2 / rate)
    slack_s = max(2 / float(rate), _SLACK * config.length_s)
    tries = list[Try]()
    for start_s in config.starts_s(source, info, rate):
        end_s = start_s + config.length_s
        times = (start_s, start_s + middle_s, max(start_s, end_s - slack_s), end_s)
        start, middle, last, end = (ticks(time_s, info.time_base) for time_s in times)
        tries.append(Try(start_s, end_s, start, middle, last, end))
    return tries


def runs_of(tries: Sequence[Try]) -> list[list[Try]]:
    """Tries in the order of time, those together that overlap or touch."""
    runs, end_pts = list[list[Try]](), -math.inf
    for attempt in tries:
        if attempt.start_pts > end_pts:
            runs.append([])
        runs[-1].append(attempt)
        end_pts = max(end_pts, attempt.end_pts)
    return runs
