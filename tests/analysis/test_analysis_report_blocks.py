"""Blocks refuse what no page could show."""

import numpy as np
import pytest

from mien.analysis.report_blocks import Clip, EmbeddingMap, Figure, Point, Table
from report_pages import clip, jpeg, png


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="Losses: a row has 1 cells for 2 columns"):
        Table("Losses", ("step", "loss"), ((1, 2.0), (3,)))


def test_a_figure_says_in_words_what_it_shows() -> None:
    with pytest.raises(ValueError, match="Losses: says nothing"):
        Figure("Losses", png(), "  ")


def test_a_figure_knows_its_size_and_is_a_png() -> None:
    assert Figure("Losses", png(), "a line").size_px == (150, 100)
    for data in (b"", jpeg(3), png()[:12], png().replace(b"IHDR", b"IDAT")):
        with pytest.raises(ValueError, match="Losses: is no PNG"):
            Figure("Losses", data, "a line")


def test_frames_without_values_are_those_with_a_nan() -> None:
    assert np.flatnonzero(~clip().has_values).tolist() == [5]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"time_s": np.zeros(3)}, "not of 3 frames"),
        ({"values": np.zeros((4, 2, 1))}, "not of 4 frames"),
        ({"values": np.full((4, 2), np.nan)}, "no frame has values"),
        ({"values": np.zeros((4, 0))}, "no frame has values"),
        ({"blendshape_names": ("one", "two")}, "2 names of 1 values"),
        ({"crops": (b"", b"")}, "not of 4 frames"),
    ],
)
def test_what_is_said_of_frames_is_said_of_all_of_them(changes: dict[str, object], what: str) -> None:
    fitting = {
        "time_s": np.zeros(4),
        "values": np.zeros((4, 2)),
        "blendshapes": np.zeros((4, 1)),
        "blendshape_names": ("one",),
        "crops": (b"",) * 4,
    }
    assert Clip("anna", about="token", **fitting).has_values.all()
    with pytest.raises(ValueError, match=f"anna: .*{what}"):
        Clip("anna", about="token", **{**fitting, **changes})


def test_a_map_has_points_and_each_lies_somewhere() -> None:
    for points in ((), (Point(0, float("nan"), "text", "a"),)):
        with pytest.raises(ValueError, match="t-SNE: has no point"):
            EmbeddingMap("t-SNE", points, "a map")
