"""The rules that turn a source into clips: the two simplest, and the union of all."""

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mien.clips.clip import Clip, Source
from mien.clips.keyword import KeywordConfig
from mien.clips.listed import ListConfig
from mien.clips.random import RandomConfig
from mien.clips.rule import Probe, RuleConfig, extent_of
from mien.clips.scoring import ScoredConfig


class WholeConfig(RuleConfig):
    """Every video is one clip. Its frames are one row group, so cut long recordings with `stride`."""

    kind: Literal["whole"] = "whole"

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """One clip; nothing is read."""
        del probe
        yield Clip(source)


class StrideConfig(RuleConfig):
    """Clips of a fixed length at a fixed distance."""

    kind: Literal["stride"] = "stride"
    needs_length: ClassVar[bool] = True

    length_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    """Length of a clip."""

    stride_s: float = Field(10.0, ge=0.01, allow_inf_nan=False)
    """Distance between starts: equal to the length for clips that touch."""

    min_length_s: float = Field(1.0, gt=0, allow_inf_nan=False)
    """A shorter rest at the end of the video is left out."""

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """Clips from the first frame on; a source without a readable length is one clip, which says why it failed."""
        extent = extent_of(source, probe)
        if extent is None:
            yield Clip(source)
            return
        for number in range(math.ceil(extent.duration_s / self.stride_s)):
            start_s = extent.start_s + number * self.stride_s
            end_s = min(start_s + self.length_s, extent.end_s)
            if end_s - start_s >= self.min_length_s or number == 0:
                yield Clip(source, start_s, end_s, f"stride {self.length_s:g}/{self.stride_s:g} s")


ClipsConfig = Annotated[
    WholeConfig | StrideConfig | ListConfig | RandomConfig | KeywordConfig | ScoredConfig, Field(discriminator="kind")
]
