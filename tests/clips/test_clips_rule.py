from fractions import Fraction
from typing import Any

import pytest

from mien.clips.clip import Source
from mien.clips.rule import Extent, Rule, RuleConfig, extent_of
from mien.clips.sampling import WholeConfig
from mien.errors import MediaError

SOURCE = Source("/videos/a.mp4", 1000, 7)


class Info:
    def __init__(self, start_s: float, duration_s: float) -> None:
        self.start_s, self.duration_s, self.fps = start_s, duration_s, Fraction(25)


def whole(uri: str) -> Any:
    return Info(1.5, 8.0)


def endless(uri: str) -> Any:
    return Info(0.0, 0.0)


def no_probe(uri: str) -> Any:
    raise AssertionError(f"{uri} was opened")


def broken(uri: str) -> Any:
    raise MediaError(f"{uri}: broken")


def test_a_length_that_is_known_opens_no_video() -> None:
    assert extent_of(SOURCE._replace(duration_s=8.0, start_s=1.5), no_probe) == Extent(1.5, 9.5)


def test_else_the_container_is_asked() -> None:
    extent = extent_of(SOURCE, whole)
    assert extent == Extent(1.5, 9.5)
    assert extent is not None
    assert extent.duration_s == 8.0
    assert extent_of(SOURCE, endless) is None
    assert extent_of(SOURCE, broken) is None


def test_a_rule_without_state_goes_over_the_sources_in_their_order() -> None:
    rule = WholeConfig().build("/videos")
    sources = [SOURCE, SOURCE._replace(uri="/videos/b.mp4")]
    assert [clip.source for clip in rule.walk(sources, lambda _: no_probe)] == sources
    rule.finish()
    assert (rule.left_out, rule.found(), rule.reads) == ({}, {}, ())


def test_a_rule_that_does_nothing_is_a_mistake_of_its_author() -> None:
    with pytest.raises(NotImplementedError, match="RuleConfig has neither cut nor build"):
        Rule(RuleConfig()).cut(SOURCE, no_probe)
