"""Ways of a bridge: those that can be, each with what it does, and the best among them."""

import json

import numpy as np
import pytest

from drawn import panel, require_inside, words
from embedding_scenes import embeddings
from mien.analysis.embedding_sweep import Point, SweepConfig, best, draw, numbers, sweep, ways
from mien.config import COMMAND_LINE
from mien.diffusion.bridge import BridgeConfig
from mien.errors import ConfigError
from mien.evaluation.alignment import AlignmentConfig, Scene, compare
from mien.evaluation.alignment_verdict import VerdictConfig
from mien.evaluation.embedded import Floats

ROWS, TEXT, ANSWER = embeddings()
SCENE = Scene(TEXT, ANSWER, np.arange(len(ROWS)))
ALIGNMENT = AlignmentConfig(num_directions=4)
CONFIG = SweepConfig(start_steps=(100, 200), num_steps=(5, 150), scales=(1.0, 5.0), size_in=(4, 3), dpi=50)
OFFSET = ROWS.mean(0) - TEXT.mean(0)


def lead(rows: Floats, way: BridgeConfig) -> Floats:
    """Nearer with a later start, and farther with another scale."""
    return rows - (way.start_step / 250 if way.radius == 5 else -0.5) * OFFSET


def points() -> list[Point]:
    return sweep(ROWS, SCENE, [*ways(CONFIG, BridgeConfig(), 1000)], lead, ALIGNMENT, VerdictConfig())


def test_ways_are_all_that_can_be() -> None:
    found = [(way.radius, way.start_step, way.num_steps) for way in ways(CONFIG, BridgeConfig(), 1000)]
    assert found == [(scale, start, steps) for scale in (1, 5) for start, steps in ((100, 5), (200, 5), (200, 150))]
    assert [way.start_step for way in ways(CONFIG, BridgeConfig(), 150)] == [100, 100]
    own = [*ways(SweepConfig(start_steps=(50,)), BridgeConfig(radius=3.0), 1000)]
    assert [way.radius for way in own] == [3]
    assert [*ways(SweepConfig(), BridgeConfig(), 1000)] == []


def test_a_point_is_what_its_way_does() -> None:
    for point in points():
        way = BridgeConfig(start_step=point.start_step, num_steps=point.num_steps, radius=point.scale)
        expected = compare(ROWS, {"one": lead(ROWS, way)}, SCENE, ALIGNMENT)[1]
        assert point.similarity == expected.measures.similarity
        assert point.judgement.percent == expected.percent
        assert point.top_1 == expected.measures.top_1
        assert point.seconds_per_row > 0


def test_the_best_gains_most_and_is_framed() -> None:
    found = points()
    top = best(found)
    assert (top.scale, top.start_step) == (5, 200)
    figure = draw(found, CONFIG)
    assert [len(axes.patches) for axes in figure.axes[:2]] == [0, 1]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["scale 1", "scale 5"]
    cells = figure.axes[1].images[0].get_array()
    assert cells[0, 1] == top.judgement.percent.value
    assert cells.mask[1, 0], "more steps than noise levels: there is no such way"
    assert f"{top.judgement.percent.value:+.1f} %" in words(figure)
    require_inside(figure)
    assert len(json.loads(json.dumps(numbers(found)))["points"]) == 6


def test_verdicts_begin_where_they_are_told_to() -> None:
    strict = sweep(ROWS, SCENE, [*ways(CONFIG, BridgeConfig(), 1000)], lead, ALIGNMENT, VerdictConfig(good_percent=500))
    assert any(point.judgement.verdict == "good" for point in points())
    assert not any(point.judgement.verdict == "good" for point in strict)


def test_another_bridge_changes_the_picture() -> None:
    worse = sweep(
        ROWS, SCENE, [*ways(CONFIG, BridgeConfig(), 1000)], lambda rows, _: rows + OFFSET, ALIGNMENT, VerdictConfig()
    )
    assert not np.array_equal(panel(draw(points(), CONFIG), 0), panel(draw(worse, CONFIG), 0))


@pytest.mark.parametrize("given", ["sweep.start_steps=[0]", "sweep.scales=[-1]", "sweep.num_rows=1"])
def test_bounds(given: str) -> None:
    key, _, value = given.removeprefix("sweep.").partition("=")
    with pytest.raises(ConfigError, match=key):
        SweepConfig.parse({key: json.loads(value)}, COMMAND_LINE)
