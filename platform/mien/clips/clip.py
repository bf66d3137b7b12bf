"""A clip: a span of one source video, with an id that follows from its content."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mien.schema import CLIP_ID_CHARS
from mien.storage.uri import Entry

_UNFIT = "unfit: "


class Source(NamedTuple):
    """One video as it stood when the plan was made."""

    uri: str
    size_bytes: int
    generation: int
    subject: str = ""
    labels: str = ""
    """JSON object of what else is known of it, such as age or gender, its keys sorted; empty for nothing."""
    sidecars: tuple[Entry, ...] = ()
    """What lies beside a video in a tar; each is named by its place."""


class Skipped(NamedTuple):
    """What was not taken, and why."""

    path: str
    why: str


class Scores(NamedTuple):
    """How good a clip is that was chosen among candidates; None of any other."""

    score: float | None = None
    variation: float | None = None
    stability: float | None = None


class Clip(NamedTuple):
    """A span of a source, [start_s, end_s) on the container's time line; infinity is the end of the video."""

    source: Source
    start_s: float = 0.0
    end_s: float = math.inf
    reason: str = "whole"
    scores: Scores = Scores()

    @property
    def clip_id(self) -> str:
        """32 hex characters: the same source, span and rule give the same id, a changed source gives another."""
        identity = [self.source.uri, self.source.size_bytes, self.source.generation, repr(self.start_s)]
        identity += [repr(self.end_s), self.reason]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:CLIP_ID_CHARS]

    def to_row(self) -> dict[str, Any]:
        """One row of the plan; columns of `mien.schema.PLAN`."""
        return {
            "clip_id": self.clip_id,
            "source_uri": self.source.uri,
            "source_bytes": self.source.size_bytes,
            "source_generation": self.source.generation,
            "start_s": self.start_s,
            "end_s": self.end_s,
            "reason": self.reason,
            "subject": self.source.subject,
            "clip_score": self.scores.score,
            "score_variation": self.scores.variation,
            "score_stability": self.scores.stability,
        }


def unfit(source: Source, why: str) -> Clip:
    """A clip that fails with a reason: a source from which no clip can be chosen is not dropped in silence."""
    return Clip(source, reason=f"{_UNFIT}{why}")


def why_unfit(row: Mapping[str, Any]) -> str:
    """The reason that `unfit` gave to a row of the plan; empty for any other."""
    reason = str(row["reason"])
    return reason.removeprefix(_UNFIT) if reason.startswith(_UNFIT) else ""
