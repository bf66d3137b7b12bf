"""Random clips: uniform, and decided by the seed and the video alone."""

import math
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mien.clips.clip import Source
from mien.clips.random import RandomConfig, draws
from mien.clips.rule import Probe
from mien.errors import ConfigError, MediaError

CONFIG = RandomConfig(num_clips=5, length_s=2.0, min_duration_s=5.0, end_margin_s=2.0, seed=7)


def no_probe(uri: str) -> Any:
    raise AssertionError(f"{uri} was opened")


def synthetic(count: int) -> Iterator[Source]:
    durations = np.random.default_rng(0).uniform(5.0, 3600.0, count)
    return (Source(f"/videos/{n:04d}.mp4", n, 7, duration_s=float(length)) for n, length in enumerate(durations))


def spans(source: Source, config: RandomConfig = CONFIG, probe: Probe = no_probe) -> list[tuple[float, float]]:
    return [(clip.start_s, clip.end_s) for clip in config.build("/videos").cut(source, probe)]


def test_starts_are_uniform_over_1000_durations() -> None:
    sources = list(synthetic(1000))
    shares = [start_s / (source.duration_s - 2.0) for source in sources for start_s, _ in spans(source)]  # type: ignore[operator]
    assert len(shares) == 5000
    assert stats.kstest(shares, "uniform").pvalue > 0.05
    firsts = [next(draws(7, source.uri, 1)) for source in sources]
    assert stats.kstest(firsts, "uniform").pvalue > 0.05
    assert abs(stats.pearsonr(firsts[1:], firsts[:-1]).statistic) < 0.07, "neighbours do not follow each other"


def test_the_draws_are_these_for_ever() -> None:
    assert [round(draw, 9) for draw in draws(0, "/videos/a.mp4", 3)] == [0.368919375, 0.0131632, 0.869249301]


def test_neither_the_other_videos_nor_their_order_change_anything() -> None:
    sources = list(synthetic(50))
    expected = {source.uri: spans(source) for source in sources}
    random.Random(3).shuffle(sources)
    rule = CONFIG.build("/videos")
    found: dict[str, list[tuple[float, float]]] = {}
    for clip in rule.walk(sources[:20], lambda _: no_probe):
        found.setdefault(clip.source.uri, []).append((clip.start_s, clip.end_s))
    assert found == {source.uri: expected[source.uri] for source in sources[:20]}


def test_two_workers_draw_what_one_does() -> None:
    sources = list(synthetic(20))
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(spans, sources)) == [spans(source) for source in sources]


def test_another_seed_and_another_name_draw_something_else() -> None:
    source = Source("/videos/a.mp4", 1, 7, duration_s=100.0)
    others = [spans(source, RandomConfig(seed=8)), spans(source._replace(uri="/videos/b.mp4")), spans(source)]
    assert len({start_s for each in others for start_s, _ in each}) == 15
    assert spans(source._replace(size_bytes=2)) == spans(source)


def test_starts_are_sorted_and_keep_to_the_margins() -> None:
    source = Source("/videos/a.mp4", 1, 7, duration_s=20.0, start_s=1.5)
    config = RandomConfig(num_clips=200, length_s=3.0, start_margin_s=4.0, end_margin_s=5.0, min_duration_s=9.0)
    found = spans(source, config)
    starts = [start_s for start_s, _ in found]
    assert starts == sorted(starts)
    assert 5.5 <= min(starts) < 5.7
    assert 16.3 < max(starts) <= 16.5
    assert all(end_s == pytest.approx(start_s + 3.0) for start_s, end_s in found)


def test_a_clip_ends_with_its_video() -> None:
    source = Source("/videos/a.mp4", 1, 7, duration_s=6.0)
    found = spans(source, RandomConfig(num_clips=50, length_s=10.0))
    assert {end_s for _, end_s in found} == {6.0}


def test_a_short_video_is_left_out_and_counted() -> None:
    rule = CONFIG.build("/videos")
    short = [source._replace(duration_s=4.9) for source in synthetic(3)]
    assert list(rule.walk(short, lambda _: no_probe)) == []
    assert rule.left_out == {"shorter than clips.min_duration_s=5": 3}


def test_without_a_known_length_the_video_is_probed_and_an_unreadable_one_stays_a_clip() -> None:
    def failing(uri: str) -> Any:
        raise MediaError(f"{uri}: broken")

    assert spans(Source("/videos/a.mp4", 1, 7), probe=failing) == [(0.0, math.inf)]


def test_a_range_that_is_one_point_gives_one_clip() -> None:
    source = Source("/videos/a.mp4", 1, 7, duration_s=5.0)
    assert spans(source, RandomConfig(start_margin_s=3.0, end_margin_s=2.0)) == [(3.0, 5.0)]


def test_margins_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="start_margin_s and end_margin_s"):
        RandomConfig.parse({"start_margin_s": 4}, "x.yaml")
