"""What is drawn are the channels that vary the most, scaled as the seed did or all alike."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from mien.analysis.feature_grid import GridConfig, Grids, InputImage, draw, draw_input, grids, tiled
from mien.errors import ConfigError

CONFIG = GridConfig(num_channels=4, grid_size=2)
SHARED = GridConfig(num_channels=4, grid_size=2, shared=True)
SCALES = torch.tensor([0.5, 3.0, 1.0, 0.1, 2.0, 0.0])


def maps(order: list[int], seed: int = 0, size: int = 5) -> torch.Tensor:
    """Six channels, of which the last is flat."""
    noise = torch.randn(6, size, size, generator=torch.Generator().manual_seed(seed))
    return noise * SCALES[order].view(6, 1, 1) + 1


BOTH = maps([0, 1, 2, 3, 4, 5]), 10 * maps([4, 0, 1, 2, 3, 5], seed=1)
NAMES = ("Left", "Right")


def pixels(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes[:2]]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_every_model_shows_the_channels_that_vary_the_most_in_it() -> None:
    data = grids("title", NAMES, BOTH, CONFIG)
    for side, own in zip(data.sides, BOTH, strict=True):
        expected = own.flatten(1).var(dim=1, correction=1).topk(4).indices
        assert side.channels.tolist() == expected.tolist()


def test_every_map_is_scaled_between_its_own_percentiles() -> None:
    side = grids("title", NAMES, BOTH, CONFIG).sides[0]
    for channel, scaled, low, high in zip(side.channels, side.scaled, side.low, side.high, strict=True):
        ordered = BOTH[0][channel].double().flatten()
        limits = ordered.quantile(torch.tensor([0.02, 0.98], dtype=torch.float64))
        assert [low, high] == pytest.approx(limits.tolist(), rel=1e-5)
        expected = ((ordered - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
        assert np.allclose(scaled.ravel(), expected, atol=1e-5)


def test_a_flat_map_is_0_everywhere() -> None:
    data = grids("title", NAMES, BOTH, GridConfig(num_channels=9, grid_size=3))
    assert data.sides[0].channels.tolist()[-1] == 5
    assert not data.sides[0].scaled[-1].any()


def test_shared_sides_show_the_same_channels_on_one_scale() -> None:
    left, right = grids("title", NAMES, BOTH, SHARED).sides
    assert left.channels.tolist() == right.channels.tolist()
    shown = torch.cat([one[left.channels.tolist()].double().flatten() for one in BOTH])
    limits = shown.quantile(torch.tensor([0.02, 0.98], dtype=torch.float64)).tolist()
    for side in (left, right):
        assert np.allclose(side.low, limits[0], rtol=1e-5)
        assert np.allclose(side.high, limits[1], rtol=1e-5)
    assert left.scaled.std() < 0.2 * right.scaled.std(), "the right one has ten times the activations"


def test_a_model_of_large_activations_does_not_choose_for_both() -> None:
    shares = [one.flatten(1).var(dim=1, correction=1) for one in BOTH]
    expected = sum(share / share.sum() for share in shares).topk(4).indices  # type: ignore[union-attr]
    assert grids("title", NAMES, BOTH, SHARED).sides[0].channels.tolist() == expected.tolist()


def test_maps_stand_row_by_row_two_pixels_apart_on_grey() -> None:
    canvas = tiled(np.arange(1, 6).reshape(5, 1, 1) * np.ones((5, 3, 4)), 3)
    assert canvas.shape == (3 * 3 + 2 * 2, 3 * 4 + 2 * 2)
    expected = np.full(canvas.shape, 0.5)
    for place in range(5):
        for y in range(3):
            for x in range(4):
                expected[5 * (place // 3) + y, 6 * (place % 3) + x] = place + 1
    assert np.array_equal(canvas, expected)


@pytest.mark.parametrize("config", [CONFIG, SHARED], ids=["own scales", "one scale"])
def test_a_figure_shows_both_canvases_with_their_numbers(config: GridConfig) -> None:
    data = grids("layer | clean_t0 | Sample 3", NAMES, BOTH, config)
    figure = draw(data, config)
    assert tuple(figure.get_size_inches()) == (20, 10)
    assert figure.get_suptitle() == "layer | clean_t0 | Sample 3"
    for side, shown, axes in zip(data.sides, pixels(figure), figure.axes, strict=False):
        low, high = (side.low[0], side.high[0]) if config.shared else (0, 1)
        assert np.allclose((shown - low) / (high - low), tiled(side.scaled, 2), atol=1e-5)
        assert axes.images[0].get_clim() == pytest.approx((low, high))
        assert axes.images[0].get_cmap().name == "viridis"
        chosen = BOTH[side.name == "Right"][side.channels.tolist()].double()
        expected = f"{side.name}\nMean: {chosen.mean():.3f}, Std: {chosen.std(correction=0):.3f}, Sparsity: 0.00%"
        assert axes.get_title() == expected
    assert texts(figure).count("Activation Strength") == 2


def test_swapped_models_change_sides() -> None:
    there = pixels(draw(grids("", NAMES, BOTH, CONFIG), CONFIG))
    back = pixels(draw(grids("", NAMES, (BOTH[1], BOTH[0]), CONFIG), CONFIG))
    assert not np.array_equal(there[0], back[0])
    assert np.array_equal(there[0], back[1])
    assert np.array_equal(there[1], back[0])


def test_a_map_of_one_place_can_be_drawn() -> None:
    data = grids("", NAMES, (torch.ones(3, 1, 1), torch.zeros(3, 1, 1)), CONFIG)
    assert isinstance(data, Grids)
    assert data.sides[0].channels.tolist() == [0, 1, 2]
    draw(data, CONFIG)


def test_names_are_text_whatever_they_hold() -> None:
    figure = draw(grids("a_$1$", ("$x", "b$_$"), BOTH, CONFIG), CONFIG)
    figure.canvas.draw()
    assert "b$_$" in texts(figure)


def test_more_channels_than_places_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_channels=5 do not fit into 2 x 2; raise grid_size"):
        GridConfig.parse({"num_channels": 5, "grid_size": 2}, "test")


def test_an_input_image_is_shown_from_black_to_white() -> None:
    values = np.linspace(-2, 2, 48, dtype=np.float32).reshape(3, 4, 4)
    axes = draw_input(InputImage("Clean Image (Sample 0)", values)).axes[0]
    assert np.allclose(axes.images[0].get_array(), np.clip(values / 2 + 0.5, 0, 1).transpose(1, 2, 0))
    assert axes.get_title() == "Clean Image (Sample 0)"
    grey = draw_input(InputImage("", values[:1])).axes[0].images[0]
    assert np.allclose(grey.get_array(), np.clip(values[0] / 2 + 0.5, 0, 1))
