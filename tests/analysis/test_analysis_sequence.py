"""What is a sequence of frames, and what only looks like one."""

from typing import Any

import numpy as np
import pytest
import torch

from mien.analysis.sequence import sequence
from mien.errors import DatasetError

FRAMES = np.arange(12.0).reshape(4, 3)


@pytest.mark.parametrize(
    "given",
    [
        FRAMES.tolist(),
        FRAMES.astype(np.float32),
        np.stack([FRAMES, -FRAMES]),
        torch.tensor(FRAMES, dtype=torch.bfloat16, requires_grad=True),
    ],
    ids=["list", "array", "batch", "tensor"],
)
def test_frames_come_out_as_they_are(given: Any) -> None:
    frames = sequence(given)
    assert frames.dtype == np.float64
    assert np.array_equal(frames, FRAMES)


@pytest.mark.parametrize("num_items", [1, 8])
def test_one_frame_of_each_item_is_refused(num_items: int) -> None:
    with pytest.raises(DatasetError, match=rf"^targets: shape \[{num_items}, 1, 128\] is one frame of each item.*give"):
        sequence(np.zeros((num_items, 1, 128)), "targets")


@pytest.mark.parametrize("shape", [(), (128,), (2, 3, 4, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match=r"is not a sequence; give \[T, D\] or \[B, T, D\]"):
        sequence(np.zeros(shape))


@pytest.mark.parametrize("shape", [(0, 128), (50, 0), (0,), (2, 0, 128)])
def test_nothing_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match="is empty"):
        sequence(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_named(bad: float) -> None:
    frames = FRAMES.copy()
    frames[2, 1] = bad
    with pytest.raises(DatasetError, match=r"1 of 12 numbers are not finite, the first at \[2, 1\]"):
        sequence(frames)


@pytest.mark.parametrize("given", [[[1, 2], [3]], [["a", "b"]], np.array([[1j]]), None])
def test_what_is_no_array_of_numbers_is_refused(given: Any) -> None:
    with pytest.raises(DatasetError):
        sequence(given)
