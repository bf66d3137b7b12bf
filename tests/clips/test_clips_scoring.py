import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from mien.clips.clip import Clip, Scores, Source, why_unfit
from mien.clips.scoring import (
    Candidate,
    ScoredConfig,
    best,
    distinct_places,
    expression_variation,
    position_stability,
    scores,
)
from mien.errors import ConfigError, MediaError
from mien.video.probe import probe

SOURCE = Source("/videos/a.mp4", 1000, 7)
X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])


class Info:
    """What the candidates ask of a probed video."""

    def __init__(self, duration_s: float, start_s: float = 0.0, fps: Fraction | int = 25) -> None:
        self.start_s, self.duration_s, self.fps = start_s, duration_s, Fraction(fps)


def config(**values: Any) -> ScoredConfig:
    return ScoredConfig.parse(values, "test")


@pytest.mark.parametrize(
    ("tokens", "variation"),
    [
        ((X, X, X), 0.0),
        ((X, 5 * X, X), 0.0),  # length plays no part
        ((X, Y, X), 1 - (0 + 0 + 1) / 3),
        ((X, X, Y), 1 - (1 + 0 + 0) / 3),
        ((X, X, -X), 1 - (1 - 1 - 1) / 3),
        ((X, X + Y, Y), 1 - (2 * math.sqrt(0.5) + 0) / 3),
        ((X, np.array([-0.5, math.sqrt(0.75)]), np.array([-0.5, -math.sqrt(0.75)])), 1.5),  # 120 degrees apart
        ((X, None, Y), 0.0),
        ((X, np.array([math.nan, 0.0]), Y), 0.0),
        ((X, np.zeros(2), Y), 0.0),
        ((np.stack([X, Y]), np.stack([X, Y]), np.stack([Y, X])), 1 - (1 + 0 + 0) / 3),  # patch tokens are one vector
    ],
)
def test_variation_is_one_minus_the_mean_of_three_cosines(tokens: tuple[Any, ...], variation: float) -> None:
    assert expression_variation(tokens) == pytest.approx(variation, abs=1e-12)


def test_variation_is_that_of_torch() -> None:
    tokens = torch.randn(3, 384, generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([tokens[0], tokens[1], tokens[0]]), torch.stack([tokens[1], tokens[2], tokens[2]])
    expected = 1 - float(cosine_similarity(*pairs).mean())
    assert expression_variation(list(tokens.numpy())) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("centres", "stability"),
    [
        ([(5, 5)] * 4, 1.0),
        ([(5, 5)], 1.0),
        ([(0, 0), (3, 4), (3, 4)], 1 - 2.5 / (518 * math.sqrt(2))),  # steps of 5 and 0 px
        ([(0, 0), (518, 518)], 0.0),
        ([(0, 0), (4000, 0)], 0.0),  # not below
    ],
)
def test_stability_is_one_minus_the_mean_step_over_the_diagonal(
    centres: list[tuple[float, float]], stability: float
) -> None:
    assert position_stability(np.array(centres, float)) == pytest.approx(stability, abs=1e-12)


def test_the_score_is_the_weighted_sum_of_both() -> None:
    centres = np.array([(0.0, 0.0), (0.0, 259 * math.sqrt(2))])
    assert scores(config(), (X, Y, X), centres) == pytest.approx((0.7 * 2 / 3 + 0.3 * 0.5, 2 / 3, 0.5))
    alone = config(expression_weight=1, position_weight=0)
    assert scores(alone, (X, Y, X), centres) == pytest.approx((2 / 3, 2 / 3, 0.5))


def candidates(*scored: tuple[float, float]) -> list[Candidate]:
    """Of (start, score), one second long."""
    return [Candidate(start_s, start_s + 1, Scores(score, 0, 0)) for start_s, score in scored]


def starts(kept: list[Candidate]) -> list[float]:
    return [each.start_s for each in kept]


def test_the_best_are_kept_in_the_order_of_time() -> None:
    found = candidates((0, 0.1), (2, 0.9), (4, 0.3), (6, 0.5), (8, 0.2))
    assert starts(best(config(num_clips=3), found)) == [2, 4, 6]
    assert starts(best(config(num_clips=5), found[:2])) == [0, 2], "no more than there are"
    assert best(config(), []) == []


def test_of_candidates_that_overlap_the_better_one_is_kept_and_the_next_best_moves_up() -> None:
    found = candidates((0, 0.7), (0.5, 0.9), (1.4, 0.8), (1.5, 0.6), (4, 0.1))
    assert starts(best(config(num_clips=3), found)) == [0.5, 1.5, 4], "what touches does not overlap"
    assert starts(best(config(num_clips=3, overlap="keep"), found)) == [0, 0.5, 1.4]


def test_of_equals_the_earlier_one_is_kept_whatever_their_order_and_rounding() -> None:
    found = candidates((4, 0.5 + 1e-9), (0, 0.5), (2, 0.5 - 1e-9))
    assert starts(best(config(num_clips=1), found)) == [0]
    assert starts(best(config(num_clips=2), found[::-1])) == [0, 2]


def test_places_are_the_same_for_ever_and_differ_by_seed_and_source() -> None:
    assert distinct_places(42, SOURCE, 1000, 5) == [13, 451, 640, 661, 767]
    others = [distinct_places(43, SOURCE, 1000, 5)]
    others += [distinct_places(42, SOURCE._replace(**{key: value}), 1000, 5) for key, value in CHANGES.items()]
    assert len({tuple(places) for places in [[13, 451, 640, 661, 767], *others]}) == 1 + len(others)
    assert distinct_places(42, SOURCE._replace(subject="anna"), 1000, 5) == [13, 451, 640, 661, 767]


CHANGES: dict[str, Any] = {"uri": "/videos/b.mp4", "size_bytes": 1001, "generation": 8}


def test_places_are_distinct_and_each_is_as_likely_as_any_other() -> None:
    counts = Counter[int]()
    for number in range(2000):
        places = distinct_places(0, SOURCE._replace(generation=number), 20, 5)
        assert len(set(places)) == 5
        assert places == sorted(places)
        counts.update(places)
    expected, spread = 2000 * 5 / 20, math.sqrt(2000 * 0.25 * 0.75)
    assert all(abs(counts[place] - expected) < 4 * spread for place in range(20))
    assert distinct_places(0, SOURCE, 4, 5) == [0, 1, 2, 3]


def test_candidates_start_on_frames_and_end_within_the_video() -> None:
    starts_s = config(num_candidates=30).starts_s(SOURCE, Info(5.0, start_s=1.5), 25)
    assert len(starts_s) == len(set(starts_s)) == 30
    assert all(1.5 <= start_s <= 1.5 + 5.0 - 1.0 + 1e-9 for start_s in starts_s)
    frames = [(start_s - 1.5) * 25 for start_s in starts_s]
    assert frames == pytest.approx(np.round(frames), abs=1e-9)
    every = config(num_candidates=1000).starts_s(SOURCE, Info(5.0), 25)
    assert (len(every), every[0], every[-1]) == (101, 0.0, 4.0)
    assert len(config(num_candidates=1000).starts_s(SOURCE, Info(5.0), 0)) == 121, "30 a second where it does not say"


def fake_probe(info: Info) -> Any:
    return lambda uri: info if uri == SOURCE.uri else None


def looked(rule: ScoredConfig, info: Info) -> Iterator[Clip]:
    return rule.cut(SOURCE, fake_probe(info))


def test_a_look_shows_as_many_candidates_as_would_be_kept_and_says_that_they_are_not_scored() -> None:
    clips = list(looked(config(num_candidates=12, num_clips=4), Info(20.0)))
    assert len(clips) == 4
    assert {clip.reason for clip in clips} == {"candidate, 1 s, not scored"}
    assert {clip.scores for clip in clips} == {Scores()}


@pytest.mark.parametrize(
    ("duration_s", "said"), [(4.9, "4.90 s is shorter than clips.min_duration_s=5"), (6.0, "clips.length_s=8")]
)
def test_a_video_that_is_too_short_is_a_clip_that_will_say_so(duration_s: float, said: str) -> None:
    (clip,) = looked(config(length_s=8), Info(duration_s))
    assert said in why_unfit(clip.to_row())


def test_an_unreadable_source_stays_a_clip_that_will_say_why() -> None:
    def failing(uri: str) -> Any:
        raise MediaError(f"{uri}: broken")

    assert list(config().cut(SOURCE, failing)) == [Clip(SOURCE)]


def test_candidates_of_a_real_video_lie_in_it(faces_dir: Path) -> None:
    path = faces_dir / "d18.mp4"
    clips = list(config(length_s=2).cut(SOURCE._replace(uri=str(path)), probe))
    assert len(clips) == 5
    assert all(0 <= clip.start_s < clip.end_s <= 7.2 + 1e-9 for clip in clips)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_clips": 60}, "num_clips=60 cannot be kept of num_candidates=50"),
        ({"expression_weight": 0, "position_weight": 0}, "both 0"),
        ({"position_weight": -1}, "position_weight"),
        ({"length_s": 0}, "length_s"),
        ({"overlap": "merge"}, "overlap"),
        ({"num_candidates": 0}, "num_candidates"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(**values)
