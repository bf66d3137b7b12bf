"""Strips are drawn of the numbers of each frame: paths and pixels are read back and held against them."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mien.analysis.report_blocks import Clip
from mien.analysis.report_strips import CANDLES_HEIGHT, Heatmap, strips
from report_pages import ABSENT, NUM_DIMENSIONS, NUM_FRAMES, clip


def made(values: np.ndarray) -> Clip:
    return Clip("anna", np.arange(len(values)) / 25, values, "token", np.zeros((len(values), 0)))


def pixels(map: Heatmap) -> np.ndarray:  # noqa: A002
    """[D, T, 4]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(map.uri.partition(",")[2]))))


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    values = np.random.default_rng(3).normal(size=(20, 9))
    values[4, 2] = np.nan
    return values


def test_candles_span_the_statistics_of_each_frame(values: np.ndarray) -> None:
    found = strips(made(values))
    known = np.delete(values, 4, axis=0)
    assert (found.low, found.high) == (known.min(), known.max())
    drawn = np.array(re.findall(r"M([\d.]+) ([\d.]+)V([\d.]+)M[\d.]+ ([\d.]+)V([\d.]+)", found.whiskers), float)
    at = np.delete(np.arange(20), 4)
    quantiles = np.quantile(known, [1, 0.75, 0.25, 0], axis=1).T
    heights = CANDLES_HEIGHT * (known.max() - quantiles) / (known.max() - known.min())
    assert np.array_equal(drawn[:, 0], at + 0.5)
    assert np.allclose(drawn[:, 1:], heights, atol=0.006)
    means = np.array(re.findall(r"M([\d.]+) ([\d.]+)h", found.means), float)
    assert np.allclose(means[:, 1], CANDLES_HEIGHT * (known.max() - known.mean(1)) / np.ptp(known), atol=0.006)
    assert found.boxes.count("M") == 19


def test_numbers_of_a_frame_are_its_own() -> None:
    frames = strips(clip()).frames
    assert frames["time_s"] == [round(frame / 25, 3) for frame in range(NUM_FRAMES)]
    assert frames["candles"][2] == [22.0, 17.0, 12.0, 7.0, 2.0]  # of 2, 12 and 22
    assert frames["blendshapes"][3] == [0.25, 0.25]
    assert frames["candles"][ABSENT] is None
    assert frames["blendshapes"][ABSENT] == [None, None]
    assert frames["crops"][ABSENT] is None
    assert base64.b64decode(frames["crops"][4].partition(",")[2]) == clip().crops[4]


def test_without_crops_there_is_none_to_show() -> None:
    assert strips(replace(clip(), crops=())).frames["crops"] == []


def test_a_heatmap_has_the_colours_of_the_values_and_nothing_where_there_are_none(values: np.ndarray) -> None:
    from matplotlib import colormaps

    plain, centred = strips(made(values)).heatmaps
    known = np.delete(values, 4, axis=0)
    moved = known - known.mean(axis=0)
    for found, expected, limits in (
        (plain, known, (known.min(), known.max())),
        (centred, moved, (-np.abs(moved).max(), np.abs(moved).max())),
    ):
        colours = np.asarray(colormaps["RdBu_r"]((expected - limits[0]) / (limits[1] - limits[0]), bytes=True))
        assert (found.low, found.high) == pytest.approx(limits)
        assert np.array_equal(np.delete(pixels(found), 4, axis=1), colours.transpose(1, 0, 2))
        assert not pixels(found)[:, 4].any()


def test_what_does_not_move_has_one_colour_without_its_mean_and_what_moves_has_many() -> None:
    still = np.tile(np.random.default_rng(1).normal(size=6), (10, 1))
    moving = still + np.sin(np.arange(10))[:, None]
    one, many = (
        np.unique(pixels(strips(made(frames)).heatmaps[1]).reshape(-1, 4), axis=0) for frames in (still, moving)
    )
    assert len(one) == 1
    assert len(many) > 5


def test_one_value_alone_lies_in_the_middle() -> None:
    found = strips(made(np.full((2, 3), 7.0)))
    assert found.means == "M0.15 50.00h0.7M1.15 50.00h0.7"
    assert len(np.unique(pixels(found.heatmaps[0]).reshape(-1, 4), axis=0)) == 1


def test_sizes_are_told() -> None:
    found = strips(clip())
    assert (found.num_frames, found.num_dimensions) == (NUM_FRAMES, NUM_DIMENSIONS)
