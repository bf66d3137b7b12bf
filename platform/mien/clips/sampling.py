"""Rules that turn one source into clips."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Literal

from pydantic import Field

from mien.clips.clip import Clip, Source
from mien.clips.scoring import ScoredConfig
from mien.config import Config
from mien.errors import MediaError
from mien.video.probe import VideoInfo

Probe = Callable[[str], VideoInfo]
"""Reads what a container says about itself; MediaError where it cannot."""


class WholeConfig(Config):
    """Every video is one clip. Its frames are one row group, so cut long recordings with `stride`."""

    kind: Literal["whole"] = "whole"

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """One clip; nothing is read."""
        del probe
        yield Clip(source)


class StrideConfig(Config):
    """Clips of a fixed length at a fixed distance."""

    kind: Literal["stride"] = "stride"

    length_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    """Length of a clip."""

    stride_s: float = Field(10.0, ge=0.01, allow_inf_nan=False)
    """Distance between starts: equal to the length for clips that touch."""

    min_length_s: float = Field(1.0, gt=0, allow_inf_nan=False)
    """A shorter rest at the end of the video is left out."""

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """Clips from the first frame on; a source without a readable length is one clip, which says why it failed."""
        try:
            info = probe(source.uri)
        except MediaError:
            info = None
        if info is None or info.duration_s <= 0:
            yield Clip(source)
            return
        end_s = info.start_s + info.duration_s
        for number in range(math.ceil(info.duration_s / self.stride_s)):
            start_s = info.start_s + number * self.stride_s
            clip_end_s = min(start_s + self.length_s, end_s)
            if clip_end_s - start_s >= self.min_length_s or number == 0:
                yield Clip(source, start_s, clip_end_s, f"stride {self.length_s:g}/{self.stride_s:g} s")


ClipsConfig = Annotated[WholeConfig | StrideConfig | ScoredConfig, Field(discriminator="kind")]
