"""Displacements in the plane and in a volume, each recognised for what it is."""

import math
from typing import Any

import numpy as np
import pytest

from drawn import panel, pixels, require_inside, words
from mien.analysis.synthetic import warp
from mien.analysis.warp_field import WarpFieldConfig, draw, numbers, volume
from mien.errors import ConfigError, DatasetError

PLANE = warp(40, 60)
SMALL = WarpFieldConfig(dpi=30)


def volumetric(num_slices: int = 5) -> np.ndarray:
    """Slice d has u = d, v = -2 d, w = 7: [D, 8, 9, 3]."""
    field = np.zeros((num_slices, 8, 9, 3))
    field[..., 0] = np.arange(num_slices)[:, None, None]
    field[..., 1] = -2 * field[..., 0]
    field[..., 2] = 7
    return field


@pytest.mark.parametrize("num_axes", [3, 4, 5])
def test_of_a_batch_of_planes_the_first_frame_is_taken(num_axes: int) -> None:
    lead = (2, 3)[: num_axes - 3]
    field = np.broadcast_to(PLANE, (*lead, *PLANE.shape)).copy()
    if lead:
        field.reshape(-1, *PLANE.shape)[1:] = 99
    assert np.array_equal(volume(field), PLANE[None])
    assert not numbers(field)["is_volumetric"]


def test_a_volume_is_never_read_as_frames_of_planes() -> None:
    field = volumetric()
    assert np.array_equal(volume(field), field)
    assert np.array_equal(volume(np.stack([field, field * 9])), field)
    found = numbers(field)
    assert found["is_volumetric"]
    assert found["components"]["depth"] == {"min": 7, "mean": 7, "max": 7}
    assert found["mean_magnitude_by_slice"] == pytest.approx([math.sqrt(5 * d * d + 49) for d in range(5)])


@pytest.mark.parametrize(
    "shape", [(40, 60, 3), (2, 40, 60), (4, 2, 40, 60), (4, 3, 8, 40, 60), (40, 60, 1), (2,), (2, 2, 2, 8, 9, 3), ()]
)
def test_what_is_no_field_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match="is no displacement field; the components stand last"):
        volume(np.zeros(shape))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (np.zeros((4, 40, 60, 3), np.uint8), "is uint8, so pixels"),
        (np.full((4, 4, 2), np.nan), "32 of 32 numbers are not finite"),
        (np.zeros((0, 4, 2)), "is empty"),
    ],
)
def test_pixels_holes_and_nothing_are_refused(field: Any, message: str) -> None:
    for make in (numbers, lambda values: draw(values, SMALL)):
        with pytest.raises(DatasetError, match=message):
            make(field)


def test_numbers_are_those_of_a_loop() -> None:
    found = numbers(PLANE)
    points = PLANE.reshape(-1, 2).tolist()
    assert found["max_magnitude"] == pytest.approx(max(math.hypot(u, v) for u, v in points))
    assert found["mean_magnitude"] == pytest.approx(sum(math.hypot(u, v) for u, v in points) / len(points))
    assert found["components"]["horizontal"]["max"] == max(u for u, _ in points)
    assert found["components"]["vertical"]["min"] == min(v for _, v in points)
    assert found["given_shape"] == [40, 60, 2]


def test_three_panels_show_u_v_and_arrows() -> None:
    figure = draw(PLANE, WarpFieldConfig(title="Crop"))
    horizontal, vertical, flow = figure.axes[:3]
    assert np.array_equal(horizontal.images[0].get_array(), PLANE[..., 0])
    assert np.array_equal(vertical.images[0].get_array(), PLANE[..., 1])
    assert np.isclose(sum(horizontal.images[0].get_clim()), 0)
    arrows = flow.collections[0]
    assert arrows.U.shape == (20 * 30,), "every second px of 40 by 60"
    assert np.array_equal(arrows.U, PLANE[::2, ::2, 0].ravel())
    assert np.array_equal(arrows.V, -PLANE[::2, ::2, 1].ravel())
    assert arrows.get_array().data == pytest.approx(np.hypot(*PLANE[::2, ::2].reshape(-1, 2).T))
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "Crop - Horizontal Displacement",
        "Crop - Vertical Displacement",
    ]
    assert flow.get_title().startswith("Crop - Flow Field")
    assert pixels(figure).shape[:2] == (900, 2700)
    require_inside(figure)


def test_arrows_can_have_their_true_length() -> None:
    flow = draw(PLANE, WarpFieldConfig(dpi=50, arrow_scale=1)).axes[2]
    assert flow.collections[0].scale == 1
    assert flow.get_title() == "Warp Field - Flow Field"
    by_default = draw(PLANE, SMALL).axes[2]
    longest = np.hypot(*PLANE[::2, ::2].reshape(-1, 2).T).max()
    assert by_default.collections[0].scale == pytest.approx(longest / 2)
    assert f"(arrows × {2 / longest:.3g})" in by_default.get_title()


def test_an_arrow_points_where_the_picture_moves() -> None:
    """A field that moves all to the right and down: seen from the foot, the head lies right and lower on the page."""
    field = np.zeros((9, 9, 2))
    field[4, 4] = (2.0, 1.0)
    figure = draw(field, WarpFieldConfig(dpi=100, arrows_per_side=1, arrow_scale=0.5))
    assert figure.axes[2].collections[0].U.shape == (1,)
    figure = draw(np.broadcast_to([2.0, 1.0], (9, 9, 2)), WarpFieldConfig(dpi=100, arrows_per_side=1, arrow_scale=0.25))
    seen = panel(figure, 2)
    foot = figure.axes[2].transData.transform((0, 0)) - figure.axes[2].get_window_extent().min
    rows, columns = np.nonzero((seen < 0.9).any(-1))
    far = np.argmax(np.hypot(columns - foot[0], (seen.shape[0] - rows) - foot[1]))
    assert columns[far] > foot[0]
    assert rows[far] > seen.shape[0] - foot[1]


@pytest.mark.parametrize(("depth", "shown"), [(None, 2), (4, 4)])
def test_of_a_volume_a_slice_is_drawn_and_named(depth: int | None, shown: int) -> None:
    figure = draw(volumetric(), WarpFieldConfig(dpi=50, depth=depth))
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert ["Depth" in title for title in titles] == [False, False, True, False]
    assert (figure.axes[0].images[0].get_array() == shown).all()
    assert (figure.axes[1].images[0].get_array() == -2 * shown).all()
    assert f"slice {shown} of 5" in words(figure)
    require_inside(figure)


def test_a_slice_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="depth: there are 5 slices"):
        draw(volumetric(), WarpFieldConfig(depth=5))


def test_another_field_makes_another_picture_and_none_an_even_one() -> None:
    still, turned, plain = (panel(draw(field, SMALL), 0) for field in (PLANE * 0, PLANE[..., ::-1], PLANE))
    assert np.ptp(still, axis=(0, 1)).max() == 0
    assert not np.array_equal(turned, plain)
    assert numbers(PLANE * 0)["max_magnitude"] == 0
