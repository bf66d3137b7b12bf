"""A clip: a span of one source video, with an id that follows from its content."""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
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
    """What is known of it, such as age or gender: JSON as `to_labels` makes it."""
    duration_s: float | None = None
    """Its length, where a list or annotation tells it, so that nobody has to open the video."""
    start_s: float = 0.0
    """Time of its first frame on the container's time line; only told where the length is."""
    header_crc32c: str = ""
    """Of what was read of an object to learn these: who reads it again sees by it whether it came as it did then."""
    sidecars: tuple[Entry, ...] = ()
    """What lies beside a video in a tar; each is named by its place."""


class Skipped(NamedTuple):
    """What was not taken, and why."""

    path: str
    why: str


class Match(NamedTuple):
    """A keyword that was found."""

    keyword: str
    time_s: float
    """On the container's time line, before any offset."""


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
    matches: tuple[Match, ...] = ()
    """What a keyword clip stands for, in the order of their times."""
    text: str = ""
    """What the transcript says there."""
    labels: str = ""
    """In place of those of the source: JSON as `to_labels` makes it."""
    scores: Scores = Scores()

    @property
    def clip_id(self) -> str:
        """32 hex characters: the same source, span and rule give the same id, a changed source gives another."""
        digest = _begun(self.source.uri, self.source.size_bytes, self.source.generation).copy()
        digest.update(f'"{self.start_s!r}", "{self.end_s!r}", {json.dumps(self.reason)}]'.encode())
        return str(digest.hexdigest())[:CLIP_ID_CHARS]

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
            "keyword": self.matches[0].keyword if self.matches else "",
            "keyword_s": self.matches[0].time_s if self.matches else None,
            "matches": json.dumps(self.matches, ensure_ascii=False) if self.matches else "",
            "text": self.text,
            "labels": self.labels or self.source.labels,
            "header_crc32c": self.source.header_crc32c,
        }


def unfit(source: Source, why: str) -> Clip:
    """A clip that fails with a reason: a source from which no clip can be chosen is not dropped in silence."""
    return Clip(source, reason=f"{_UNFIT}{why}")


def why_unfit(row: Mapping[str, Any]) -> str:
    """The reason that `unfit` gave to a row of the plan; empty for any other."""
    reason = str(row["reason"])
    return reason.removeprefix(_UNFIT) if reason.startswith(_UNFIT) else ""


@lru_cache(maxsize=16)
def _begun(uri: str, size_bytes: int, generation: int) -> Any:
    """The hash of a clip's identity, a JSON list, as far as all clips of a source share it."""
    return hashlib.sha256(json.dumps([uri, size_bytes, generation])[:-1].encode() + b", ")


def to_labels(values: Mapping[str, Any]) -> str:
    """Labels as they stand in the plan: JSON with sorted keys; those without a value are left out, empty for none."""
    given = {key: value for key, value in values.items() if value is not None and value != ""}
    return json.dumps(given, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str) if given else ""


def from_labels(labels: str | None) -> dict[str, Any]:
    """The values behind `to_labels`; none for datasets that have no labels."""
    return dict(json.loads(labels)) if labels else {}
