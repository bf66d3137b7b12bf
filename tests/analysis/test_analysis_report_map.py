"""Points lie on the map as they lie in the plane, up to one scale; the largest groups have colours."""

import numpy as np

from mien.analysis.report_blocks import EmbeddingMap, Point
from mien.analysis.report_map import HEIGHT, NUM_COLOURS, WIDTH, shape
from report_pages import BIDI


def made(at: np.ndarray, groups: list[str]) -> EmbeddingMap:
    points = [
        Point(float(x), float(y), group, f"point {n}") for n, ((x, y), group) in enumerate(zip(at, groups, strict=True))
    ]
    return EmbeddingMap("t-SNE", tuple(points), "a map")


def test_distances_are_true_up_to_one_scale_and_up_is_up() -> None:
    at = np.random.default_rng(0).normal(size=(30, 2)) * [3, 1]
    placed = np.array([place[:2] for place in shape(made(at, ["text"] * 30)).places])
    scale = np.ptp(placed[:, 0]) / np.ptp(at[:, 0])
    assert np.allclose(placed - placed[0], (at - at[0]) * [scale, -scale], atol=0.11)  # a tenth of a pixel each
    assert placed.min() >= 0
    assert (placed <= [WIDTH, HEIGHT]).all()
    assert np.ptp(placed[:, 0]) > 0.9 * WIDTH


def test_points_on_one_spot_or_one_line_are_drawn_in_the_middle() -> None:
    assert shape(made(np.ones((2, 2)), ["a", "a"])).places == [(WIDTH / 2, HEIGHT / 2, 0)] * 2
    upright = shape(made(np.array([[5.0, 0.0], [5.0, 1.0]]), ["a", "a"])).places
    assert [place[0] for place in upright] == [WIDTH / 2] * 2
    assert upright[0][1] > upright[1][1]


def test_the_largest_groups_have_colours_and_each_point_its_group() -> None:
    names = [f"group {number}" for number in range(NUM_COLOURS + 2)]
    groups = [name for number, name in enumerate(names) for _ in range(number + 1)]
    found = shape(made(np.random.default_rng(1).normal(size=(len(groups), 2)), groups))
    assert [(group.name, group.num) for group in found.groups] == [(name, n + 1) for n, name in enumerate(names)][::-1]
    assert [group.colour for group in found.groups] == [*range(NUM_COLOURS), NUM_COLOURS, NUM_COLOURS]
    assert [found.groups[place[2]].name for place in found.places] == groups


def test_names_do_not_turn_the_direction_of_writing() -> None:
    block = EmbeddingMap("t-SNE", (Point(0, 0, "a", BIDI),), "a map")
    assert shape(block).points == [{"name": "safe\\u202egpj.exe", "thumb": None}]
