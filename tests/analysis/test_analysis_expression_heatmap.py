"""Every clip of a batch has its heatmap and its name."""

import numpy as np
import pytest

from drawn import panel, pixels, require_inside, words
from mien.analysis.expression_heatmap import ExpressionHeatmapConfig, draw, numbers, of_batch
from mien.analysis.synthetic import SyntheticConfig, constant, expressions
from mien.errors import DatasetError

CLIPS = np.stack([expressions(SyntheticConfig(scale="large")), constant(SyntheticConfig())])
CONFIG = ExpressionHeatmapConfig(dpi=50)


def test_each_clip_has_its_own_picture_under_the_name_of_the_seed() -> None:
    named = dict(of_batch(CLIPS, 3, "target"))
    assert list(named) == ["target_batch3_sample0", "target_batch3_sample1"]
    for clip, frames in zip(CLIPS, named.values(), strict=True):
        figure = draw(frames, CONFIG)
        assert np.array_equal(figure.axes[0].images[0].get_array(), clip.T)
        assert pixels(figure).shape[:2] == (200, 800)
        require_inside(figure)
        assert numbers(frames)["num_frames"] == 50


def test_one_clip_is_a_batch_of_one() -> None:
    assert [name for name, _ in of_batch(CLIPS[0], 0, "x")] == ["x_batch0_sample0"]


def test_a_constant_clip_looks_constant() -> None:
    varying, still = (draw(clip, CONFIG) for clip in CLIPS)
    assert np.ptp(panel(still, 0), axis=1).max() == 0
    assert np.ptp(panel(varying, 0), axis=1).max() > 0.5
    assert "constant across all frames" in words(still)


def test_one_frame_of_each_item_is_refused() -> None:
    with pytest.raises(DatasetError, match="one frame of each item"):
        list(of_batch(CLIPS[:, :1], 0, "x"))
