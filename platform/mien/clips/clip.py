"""A clip: a span of one source video, with an id that follows from its content."""

import hashlib
import json
import math
from typing import Any, NamedTuple

from mien.schema import CLIP_ID_CHARS


class Source(NamedTuple):
    """One video as it stood when the plan was made."""

    uri: str
    size_bytes: int
    generation: int
    subject: str = ""


class Clip(NamedTuple):
    """A span of a source, [start_s, end_s) on the container's time line; infinity is the end of the video."""

    source: Source
    start_s: float = 0.0
    end_s: float = math.inf
    reason: str = "whole"

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
        }
