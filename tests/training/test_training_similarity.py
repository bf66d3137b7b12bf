"""Similarities against numpy, and figures that show them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.training import similarity


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 6, [True, False, True, False, True, False], [True] + [False] * 5])
    return tokens, mask


def test_every_two_frames_of_a_clip_are_compared_once() -> None:
    tokens, mask = batch()
    found = similarity.per_clip(tokens, mask)
    assert [len(values) for values in found] == [15, 3], "a clip of one frame has no pair"
    kept = tokens[1][mask[1]].numpy()
    expected = [
        kept[i] @ kept[j] / np.linalg.norm(kept[i]) / np.linalg.norm(kept[j]) for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    np.testing.assert_allclose(found[1], expected, rtol=1e-5)
    assert min(found[0]) < 0, "negative ones are kept"


@pytest.mark.parametrize(
    ("tokens", "mask"),
    [((3, 1, 5), (3, 6)), ((3, 5), (3, 5)), ((3, 6, 5), (3, 5)), ((6, 3, 5), (3, 6)), ((1, 3, 6, 5), (3, 6))],
)
def test_what_is_not_frame_by_frame_is_refused(tokens: tuple[int, ...], mask: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[clips, frames, dimensions\].* not \["):
        similarity.per_clip(torch.zeros(tokens), torch.ones(mask, dtype=torch.bool))


def test_statistics_are_those_of_all_pairs() -> None:
    values = similarity.pooled(similarity.per_clip(*batch()))
    assert similarity.statistics(values) == pytest.approx(
        {"mean": np.mean(values), "std": np.std(values), "min": min(values), "max": max(values), "count": 18}
    )
    assert similarity.statistics(similarity.pooled([])) == {"count": 0}


def drawn(figure: object, path: Path) -> np.ndarray:
    with Image.open(similarity.save(figure, path, dpi=40)) as picture:
        return np.asarray(picture.convert("L"))


def test_figures_are_drawn_of_few_values_too(tmp_path: Path) -> None:
    clips = similarity.per_clip(*batch())
    pair = [np.array([0.5], np.float32)]  # two frames, one pair: no density can be estimated
    for number, some in enumerate((clips, pair, pair + clips, [np.ones(3, np.float32)])):
        picture = drawn(similarity.figure(some, 7), tmp_path / f"{number}.png")
        assert picture.shape == (240, 600)
        assert picture.std() > 10


def test_the_figure_says_its_numbers() -> None:
    clips = similarity.per_clip(*batch())
    left, right = similarity.figure(clips, 7).axes
    assert "step 7" in left.get_title()
    assert left.get_yscale() == "log"
    assert f"mean {similarity.pooled(clips).mean():.4g}" in left.texts[0].get_text()
    assert sum(patch.get_height() for patch in left.patches if hasattr(patch, "get_height")) >= 18
    assert f"mean of the clips' means {np.mean([c.mean() for c in clips]):.4g}" in right.texts[0].get_text()


def test_evolution_and_schedules_are_lines_over_the_steps() -> None:
    history = [{"step": n, "mean": 0.5, "std": 0.1, "min": 0.1, "max": 0.1 * n} for n in range(4)]
    axes = similarity.evolution_figure(history, np.array([0.1, 0.2]), np.array([0.3])).axes
    assert axes[0].lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert axes[0].lines[0].get_ydata().tolist() == [0.5] * 4
    rows = [{"step": n, "learning_rate": 0.1 * n, "weight/temporal": 1.0 - 0.1 * n} for n in range(4)]
    above, below = similarity.schedule_figure(rows, 2).axes
    np.testing.assert_allclose(above.lines[0].get_ydata(), [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(below.lines[0].get_ydata(), [1, 0.9, 0.8, 0.7])
    assert above.lines[1].get_linestyle() == below.lines[1].get_linestyle() == "--"
    assert len(similarity.schedule_figure(rows, None).axes[0].lines) == 1
