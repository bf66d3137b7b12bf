"""What would give wrong numbers later is refused at once."""

from typing import Any

import numpy as np
import pytest

from embedded_scenes import embedded
from mien.evaluation.embedded import Embedded


def test_frames_without_blendshapes_are_known() -> None:
    blendshapes = embedded().blendshapes.copy()
    blendshapes[[3, 5]] = np.nan
    frames = embedded(blendshapes=blendshapes)
    assert np.flatnonzero(~frames.is_measured).tolist() == [3, 5]
    assert len(frames.where(frames.is_measured)) == len(frames) - 2


def test_no_frame_at_all_is_a_case_too() -> None:
    frames = embedded()
    assert len(frames.where(np.zeros(len(frames), bool))) == 0


def test_frames_can_be_put_in_another_order() -> None:
    frames = embedded()
    order = np.random.default_rng(0).permutation(len(frames))
    assert np.array_equal(frames.where(order).tokens, frames.tokens[order])


def broken(name: str, value: Any) -> Embedded:
    values = np.array(getattr(embedded(), name))
    values[7] = value
    return embedded(**{name: values})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tokens", np.nan, "tokens: holds NaN"),
        ("baseline", np.inf, "baseline: holds NaN or infinity"),
        ("time_s", np.nan, "time_s: holds NaN"),
        ("blendshapes", [np.nan, 1, 1, 1, 1, 1], "blendshapes: a row is finite or all NaN"),
        ("blendshapes", np.inf, "blendshapes: a row is finite or all NaN"),
        ("is_held_out", True, "is_held_out: differs within clip 0"),
        ("subject", 3, "subject: differs within clip 0"),
        ("time_s", 0.0, "two frames at one time"),
    ],
)
def test_a_wrong_number_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        broken(name, value)


@pytest.mark.parametrize("name", ["tokens", "baseline", "blendshapes", "time_s", "subject", "is_held_out"])
def test_a_wrong_shape_is_refused(name: str) -> None:
    values = getattr(embedded(), name)
    for other in (values[:-1], values[..., None]):
        with pytest.raises(ValueError, match=f"{name}: has shape"):
            embedded(**{name: other})
