"""The frames of one clip as an array [T, D], and nothing that only looks like it."""

from typing import TYPE_CHECKING, Union

import numpy as np
import numpy.typing as npt

from mien.errors import DatasetError
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from torch import Tensor

Values = Union[npt.ArrayLike, "Tensor"]
"""An array, a nested list, or a tensor on any device."""


def numeric(values: Values, place: str) -> Floats:
    """float64 of the same shape.

    Raises:
        DatasetError: The values are not numbers, none at all, or not finite.
    """
    if hasattr(values, "detach"):  # a tensor, also of a type that NumPy does not have
        values = values.detach().cpu().double().numpy()
    try:
        if np.iscomplexobj(values):
            raise TypeError("complex")
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise DatasetError(f"{place}: is not an array of numbers; give one of a fixed shape") from None
    if not array.size:
        raise DatasetError(f"{place}: is empty, shape {list(array.shape)}; give at least one frame")
    if not np.isfinite(array).all():
        num = int((~np.isfinite(array)).sum())
        where = np.argwhere(~np.isfinite(array))[0].tolist()
        raise DatasetError(
            f"{place}: {num} of {array.size} numbers are not finite, the first at {where}; leave these frames out"
        )
    return array


def sequence(values: Values, place: str = "expressions") -> Floats:
    """Frames of one clip, float64 [T, D].

    Args:
        values: [T, D], or [B, T, D], of which the first item is taken; for another give `values[item]`.
        place: What an error calls them.

    Raises:
        DatasetError: They are not finite numbers, or not a sequence: [B, 1, D] is one frame of every item, and would
            draw a flat line (or it is T frames of one token each, which are to be given as [T, D]).
    """
    array = numeric(values, place)
    if array.ndim == 3 and array.shape[1] == 1:
        raise DatasetError(
            f"{place}: shape {list(array.shape)} is one frame of each item, not a sequence; give all frames as "
            "[B, T, D], or the frames of one clip as [T, D]"
        )
    if array.ndim not in {2, 3}:
        raise DatasetError(f"{place}: shape {list(array.shape)} is not a sequence; give [T, D] or [B, T, D]")
    return array if array.ndim == 2 else array[0]
