"""Embeddings of a report page in the plane: where each lies on the map, which colour it has, what is shown of it."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from mien.analysis.report_blocks import EmbeddingMap
from mien.analysis.report_strips import jpeg_uri
from mien.log import printable

WIDTH, HEIGHT = 960, 600
"""Of the map, in the unit of its points."""
NUM_COLOURS = 7
"""Groups with a colour of their own, the largest ones; others are grey."""
_EDGE = 24


class Group(NamedTuple):
    """Points of one kind."""

    name: str
    colour: int
    """NUM_COLOURS for grey."""
    num: int


class Shape(NamedTuple):
    """A map as the page has it."""

    block: EmbeddingMap
    places: list[tuple[float, float, int]]
    """x, y and number of the group of each point."""
    groups: list[Group]
    points: list[dict[str, Any]]
    """Plain values: name, and thumb or None."""


def shape(block: EmbeddingMap) -> Shape:
    """One scale for both axes, so that distances are true."""
    at = np.array([(point.x, -point.y) for point in block.points])
    centre = (at.min(axis=0) + at.max(axis=0)) / 2
    spans = at.max(axis=0) - at.min(axis=0)
    room = np.array([WIDTH, HEIGHT]) - 2 * _EDGE
    scale = min((size / span for size, span in zip(room, spans, strict=True) if span > 0), default=1.0)
    placed = (at - centre) * scale + np.array([WIDTH, HEIGHT]) / 2
    counts = Counter(point.group for point in block.points).most_common()
    groups = [Group(name, min(place, NUM_COLOURS), num) for place, (name, num) in enumerate(counts)]
    numbers = {group.name: number for number, group in enumerate(groups)}
    return Shape(
        block,
        [
            (round(float(x), 1), round(float(y), 1), numbers[point.group])
            for (x, y), point in zip(placed, block.points, strict=True)
        ],
        groups,
        [
            {"name": printable(point.name), "thumb": jpeg_uri(point.thumb) if point.thumb else None}
            for point in block.points
        ],
    )
