import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from mien.clips.clip import Source
from mien.clips.sampling import ClipsConfig, StrideConfig, WholeConfig
from mien.errors import ConfigError, MediaError
from mien.video.probe import probe

SOURCE = Source("/videos/a.mp4", 1000, 7)


class Info:
    """What sampling asks of a probed video."""

    def __init__(self, start_s: float, duration_s: float) -> None:
        self.start_s, self.duration_s, self.fps = start_s, duration_s, Fraction(25)


def spans(config: StrideConfig, start_s: float, duration_s: float) -> list[tuple[float, float]]:
    def fake_probe(uri: str) -> Any:
        assert uri == SOURCE.uri
        return Info(start_s, duration_s)

    return [(round(clip.start_s, 9), round(clip.end_s, 9)) for clip in config.cut(SOURCE, fake_probe)]


def test_whole_is_one_clip_and_reads_nothing() -> None:
    def no_probe(uri: str) -> Any:
        raise AssertionError(uri)

    clips = list(WholeConfig().cut(SOURCE, no_probe))
    assert [(clip.start_s, clip.end_s, clip.reason) for clip in clips] == [(0.0, math.inf, "whole")]


def test_strides_touch_and_the_rest_is_kept_if_long_enough() -> None:
    config = StrideConfig(length_s=4, stride_s=4, min_length_s=1)
    assert spans(config, 0, 10) == [(0, 4), (4, 8), (8, 10)]
    assert spans(config, 0, 8.5) == [(0, 4), (4, 8)]


def test_strides_may_overlap_and_follow_the_container_time() -> None:
    assert spans(StrideConfig(length_s=4, stride_s=2, min_length_s=4), 1.5, 8) == [(1.5, 5.5), (3.5, 7.5), (5.5, 9.5)]


def test_a_video_shorter_than_the_minimum_is_still_one_clip() -> None:
    assert spans(StrideConfig(length_s=4, stride_s=4, min_length_s=1), 0, 0.4) == [(0, 0.4)]


def test_an_unreadable_source_stays_a_clip_that_will_say_why() -> None:
    def failing(uri: str) -> Any:
        raise MediaError(f"{uri}: broken")

    assert [clip.reason for clip in StrideConfig().cut(SOURCE, failing)] == ["whole"]


def test_a_known_length_is_cut_without_a_look_at_the_video() -> None:
    def no_probe(uri: str) -> Any:
        raise AssertionError(uri)

    known = SOURCE._replace(duration_s=8.0, start_s=1.5)
    config = StrideConfig(length_s=4, stride_s=4)
    assert [(clip.start_s, clip.end_s) for clip in config.cut(known, no_probe)] == [(1.5, 5.5), (5.5, 9.5)]


def test_every_kind_is_in_the_union_by_its_name() -> None:
    kinds: TypeAdapter[Any] = TypeAdapter(ClipsConfig)
    for kind in ("whole", "stride", "random", "keyword"):
        assert kinds.validate_python({"kind": kind}).kind == kind
    assert kinds.validate_python({"kind": "list", "path": "x.csv"}).path == "x.csv"


def test_strides_of_a_real_video_cover_it(faces_dir: Path) -> None:
    path = faces_dir / "d9.mp4"
    clips = list(StrideConfig(length_s=5, stride_s=5).cut(SOURCE._replace(uri=str(path)), probe))
    assert len(clips) == 4
    assert clips[-1].end_s == pytest.approx(587 / 30, abs=0.04)


@pytest.mark.parametrize("key", ["length_s", "stride_s", "min_length_s"])
@pytest.mark.parametrize("value", [0, -1, math.inf])
def test_impossible_bounds_are_refused(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        StrideConfig.parse({key: value}, "x.yaml")
