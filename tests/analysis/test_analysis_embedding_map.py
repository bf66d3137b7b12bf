"""Every point at its place, the same rows before and after, and neighbours that stay neighbours."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from sklearn.manifold import trustworthiness

from drawn import panel, require_inside, words
from mien.analysis.embedding_map import TsneConfig, draw, numbers, project
from mien.errors import ConfigError

RNG = np.random.default_rng(0)
SMALL = TsneConfig(samples=60, perplexity=8, max_iter=300, size_in=(6, 5), dpi=50)
TEXT = RNG.normal(size=(5, 8))
BEFORE = TEXT[np.arange(100) % 5] + 0.1 * RNG.normal(size=(100, 8)) + 5
AFTER = BEFORE - 5


def test_the_same_rows_are_drawn_before_and_after_and_the_seed_decides_which() -> None:
    found = project(BEFORE, AFTER, TEXT, SMALL)
    assert found.after is not None
    assert found.before.shape == found.after.shape == (60, 2)
    assert found.text.shape == (5, 2)
    assert len({*found.rows.tolist()}) == 60
    again = project(BEFORE, AFTER, TEXT, SMALL)
    assert np.array_equal(again.before, found.before)
    other = project(BEFORE, AFTER, TEXT, SMALL.model_copy(update={"seed": 1}))
    assert not np.array_equal(other.rows, found.rows)


def test_neighbours_stay_neighbours_and_the_bridge_leads_to_the_texts() -> None:
    found = project(BEFORE, AFTER, TEXT, SMALL)
    assert found.after is not None
    rows = np.concatenate([BEFORE[found.rows], AFTER[found.rows], TEXT[found.texts]])
    places = np.concatenate([found.before, found.after, found.text])
    assert trustworthiness(rows, places, n_neighbors=5) > 0.9
    far, near = (
        np.linalg.norm(side[:, None] - found.text, axis=2).min(1).mean() for side in (found.before, found.after)
    )
    assert near < far / 2


def test_the_figure_shows_these_places_in_the_colours_of_the_seed() -> None:
    found = project(BEFORE, AFTER, TEXT, SMALL)
    figure = draw(found, SMALL)
    dots = figure.axes[0].collections
    for drawn, places, colour in zip(
        dots, (found.before, found.after, found.text), ("#3498db", "#e74c3c", "#2ecc71"), strict=True
    ):
        assert np.allclose(drawn.get_offsets(), places)
        assert to_hex(drawn.get_facecolor()[0]) == colour
    assert len(figure.axes[0].patches) == 50
    assert "Embedding Space: Visual vs Text Distribution (t-SNE Projection)" in words(figure)
    require_inside(figure)
    assert numbers(found)["rows"] == found.rows.tolist()


def test_without_a_bridge_there_is_neither_red_nor_arrow() -> None:
    found = project(BEFORE, None, TEXT, SMALL)
    figure = draw(found, SMALL)
    assert (len(figure.axes[0].collections), len(figure.axes[0].patches)) == (2, 0)
    assert "After" not in words(figure)
    assert numbers(found)["after"] is None


def test_swapped_sides_change_the_picture() -> None:
    found = project(BEFORE, AFTER, TEXT, SMALL)
    assert found.after is not None
    swapped = found._replace(before=found.after, after=found.before)
    assert not np.array_equal(panel(draw(found, SMALL), 0), panel(draw(swapped, SMALL), 0))


def test_fewer_points_than_the_perplexity_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tsne\.perplexity=30: needs more points than that, there are 25; lower it"):
        project(BEFORE[:10], AFTER[:10], TEXT, TsneConfig())
