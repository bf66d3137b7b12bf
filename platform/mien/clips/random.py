"""Clips at random places: each source has its own draws, from one seed, so that no other source changes them."""

import hashlib
from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mien.clips.clip import Clip, Source
from mien.clips.rule import Probe, Rule, RuleConfig, extent_of

_BITS = 53
"""Of a draw: as many as a float between 0 and 1 keeps."""


class RandomConfig(RuleConfig):
    """A number of clips per video, at starts that are drawn uniformly."""

    kind: Literal["random"] = "random"
    needs_length: ClassVar[bool] = True

    num_clips: int = Field(5, ge=1, le=1_000_000)
    """Clips of a video; they may overlap."""

    length_s: float = Field(2.0, gt=0, allow_inf_nan=False)
    """Length of a clip; one that would go beyond the end of the video ends with it."""

    min_duration_s: float = Field(5.0, gt=0, allow_inf_nan=False)
    """A shorter video is left out."""

    start_margin_s: float = Field(0.0, ge=0, allow_inf_nan=False)
    """No clip begins earlier, from the first frame on."""

    end_margin_s: float = Field(2.0, ge=0, allow_inf_nan=False)
    """No clip begins later, before the end of the video; at least the length keeps all clips as long."""

    seed: int = 0
    """Draws the starts, together with the place of the video."""

    @model_validator(mode="after")
    def _leave_room(self) -> Self:
        if self.start_margin_s + self.end_margin_s > self.min_duration_s:
            raise ValueError("start_margin_s and end_margin_s together must not be more than min_duration_s")
        return self

    def build(self, root: str) -> Rule:
        """The rule, which counts what is too short."""
        del root
        return RandomRule(self)


class RandomRule(Rule):
    """`random` at work."""

    config: RandomConfig

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """Clips by their starts; a source without a readable length is one clip, which says why it failed."""
        config, extent = self.config, extent_of(source, probe)
        if extent is None:
            yield Clip(source)
            return
        if extent.duration_s < config.min_duration_s:
            self.left_out[f"shorter than clips.min_duration_s={config.min_duration_s:g}"] += 1
            return
        first_s = extent.start_s + config.start_margin_s
        width_s = extent.end_s - config.end_margin_s - first_s
        for start_s in sorted({first_s + draw * width_s for draw in draws(config.seed, source.uri, config.num_clips)}):
            yield Clip(source, start_s, min(start_s + config.length_s, extent.end_s), "random")


def draws(seed: int, name: str, count: int) -> Iterator[float]:
    """Numbers in [0, 1) that depend on the arguments alone, on no library's generator: the same in every version."""
    for number in range(count):
        digest = hashlib.sha256(f"{seed} {number} {name}".encode("utf-8", "surrogateescape")).digest()
        yield (int.from_bytes(digest[:8]) >> (64 - _BITS)) / (1 << _BITS)
