"""Scored clips: which spans of a video are candidates, how each is scored, and which of them are kept.

Frames, faces and tokens come from the pipeline; here is the arithmetic alone.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mien.clips.clip import Clip, Scores, Source, unfit
from mien.clips.rule import RuleConfig
from mien.errors import MediaError

UNKNOWN_FPS = Fraction(30)
"""Of a video that does not say how many frames it has in a second: it only decides where a candidate may start."""

DIAGONAL_PX = 518 * math.sqrt(2)
"""Of a crop of 518 px: a face that moves so far from one frame to the next is not stable at all."""

_DECIMALS = 6
"""Scores that differ by less are equal, and the earlier candidate wins: sums in another order differ by that."""

Token = npt.NDArray[np.floating[Any]]


class ScoredConfig(RuleConfig):
    """Of many spans of a video the few in which the face changes its expression most and moves least.

    The clips are found when the plan is made, by the detector (`faces`) and the extractor (`features`) of the job.
    """

    kind: Literal["scored"] = "scored"

    num_candidates: int = Field(50, ge=1, le=100_000)
    """Spans of a video that are tried, at distinct starts, each as likely as any other."""

    num_clips: int = Field(5, ge=1)
    """Spans of a video that are kept at most."""

    length_s: float = Field(1.0, gt=0, le=3600)
    """Length of a span: one second is 30 frames of most videos."""

    min_duration_s: float = Field(5.0, ge=0, allow_inf_nan=False)
    """A shorter video has no clip, and is a failure that says so."""

    expression_weight: float = Field(0.7, ge=0, allow_inf_nan=False)
    """Weight of the expression variation in the score; 1 with a `position_weight` of 0 ranks by expression alone."""

    position_weight: float = Field(0.3, ge=0, allow_inf_nan=False)
    """Weight of the position stability in the score."""

    overlap: Literal["drop", "keep"] = "drop"
    """drop: a candidate that overlaps a better one that is kept gives way to the next best; keep: the best are kept,
    however much of the video they share."""

    seed: int = 42
    """Chooses the candidates, of each video by itself: another video more or less changes no other's clips."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_clips > self.num_candidates:
            raise ValueError(f"num_clips={self.num_clips} cannot be kept of num_candidates={self.num_candidates}")
        if not self.expression_weight + self.position_weight:
            raise ValueError("expression_weight and position_weight are both 0, so that nothing is scored")
        return self

    @property
    def rule(self) -> str:
        """What the plan says of how a clip was chosen."""
        return f"scored {self.num_clips} of {self.num_candidates}, {self.length_s:g} s"

    def cut(self, source: Source, probe: Any) -> Iterator[Clip]:
        """Candidates that were not scored, as many as would be kept: for a look at a plan before it is made."""
        try:
            info = probe(source.uri)
        except MediaError:
            yield Clip(source)
            return
        problem = self.too_short(info.duration_s)
        if problem:
            yield unfit(source, problem)
            return
        starts_s = self.starts_s(source, info, info.fps)
        for start_s in starts_s[:: math.ceil(len(starts_s) / self.num_clips)]:
            yield Clip(source, start_s, start_s + self.length_s, f"candidate, {self.length_s:g} s, not scored")

    def too_short(self, duration_s: float) -> str:
        """Why a video of a length has no candidates; empty if it has."""
        if duration_s < self.min_duration_s:
            return f"{duration_s:.2f} s is shorter than clips.min_duration_s={self.min_duration_s:g}"
        if duration_s < self.length_s:
            return f"{duration_s:.2f} s is shorter than clips.length_s={self.length_s:g}"
        return ""

    def starts_s(self, source: Source, info: Any, fps: Fraction | float) -> list[float]:
        """Starts of the candidates of a video in their order, on the grid of its frames.

        Args:
            source: Decides, with the seed, which.
            info: Its start and duration.
            fps: Frames per second that will be taken of it; 0 where unknown.
        """
        rate = Fraction(fps) or UNKNOWN_FPS
        num_places = math.floor(float((Fraction(info.duration_s) - Fraction(self.length_s)) * rate) + 1e-6) + 1
        places = distinct_places(self.seed, source, num_places, self.num_candidates)
        return [float(Fraction(info.start_s) + place / rate) for place in places]


def distinct_places(seed: int, source: Source, num_places: int, num_wanted: int) -> list[int]:
    """Some of `num_places` places, each set as likely as any other, sorted; all of them if there are no more.

    By SHA-256 of the seed, the source as it stands and a count, so that it is the same with every version of Python.
    """
    if num_places <= num_wanted:
        return list(range(num_places))
    identity = json.dumps([seed, source.uri, source.size_bytes, source.generation])
    chosen, count = set[int](), 0
    while len(chosen) < num_wanted:
        drawn = int.from_bytes(hashlib.sha256(f"{identity} {count}".encode()).digest()[:8])
        chosen.add(drawn * num_places >> 64)
        count += 1
    return sorted(chosen)


class Candidate(NamedTuple):
    """A span that was scored."""

    start_s: float
    end_s: float
    scores: Scores


def expression_variation(tokens: Sequence[Token | None]) -> float:
    """One minus the mean cosine similarity of first and middle, middle and last, first and last token.

    Args:
        tokens: Of the first, the middle and the last frame, of any shape; None, or with a NaN, where there is none.

    Returns:
        0 (all alike, or one is missing) to 1.5 (as far apart as three can be).
    """
    flat = [np.asarray(token, np.float64).ravel() for token in tokens if token is not None]
    if len(flat) != len(tokens) or not all(np.isfinite(token).all() and token.any() for token in flat):
        return 0.0
    units = [token / np.linalg.norm(token) for token in flat]
    cosines = [float(one @ other) for one, other in combinations(units, 2)]
    return 1.0 - sum(cosines) / len(cosines)


def position_stability(centres: npt.NDArray[np.floating[Any]]) -> float:
    """One minus the mean distance of a face from frame to frame over `DIAGONAL_PX`, at least 0.

    Args:
        centres: Middle of the face in px of the upright source frame, [num_frames, 2].
    """
    steps = np.linalg.norm(np.diff(np.asarray(centres, np.float64), axis=0), axis=1)
    return max(0.0, 1.0 - float(steps.mean()) / DIAGONAL_PX) if len(steps) else 1.0


def scores(config: ScoredConfig, tokens: Sequence[Token | None], centres: npt.NDArray[np.floating[Any]]) -> Scores:
    """Both scores of a candidate, and their weighted sum."""
    variation, stability = expression_variation(tokens), position_stability(centres)
    return Scores(config.expression_weight * variation + config.position_weight * stability, variation, stability)


def best(config: ScoredConfig, candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that are kept, in the order of time."""
    kept = list[Candidate]()
    for candidate in sorted(candidates, key=_rank):
        if len(kept) == config.num_clips:
            break
        if config.overlap == "keep" or not any(_overlap(candidate, other) for other in kept):
            kept.append(candidate)
    return sorted(kept, key=lambda candidate: candidate.start_s)


def _rank(candidate: Candidate) -> tuple[float, float]:
    return -round(candidate.scores.score or 0.0, _DECIMALS), candidate.start_s


def _overlap(one: Candidate, other: Candidate) -> bool:
    return one.start_s < other.end_s and other.start_s < one.end_s
