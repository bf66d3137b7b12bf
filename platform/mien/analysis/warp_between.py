"""The displacement field that leads from one face crop to another: by optical flow, or by the landmarks of both.

Both say for each pixel p of the first crop where its content is in the second one: p + field[p].
"""

from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from mien.analysis.sequence import Values, numeric
from mien.config import Config
from mien.errors import DatasetError
from mien.evaluation.embedded import Floats
from mien.faces.task import Rgb, require_rgb

_MIN_SIDE_PX = 16
"""Below that the pyramids of optical flow have no level."""
_MARGIN = 0.1
"""Of the longer side of the crop: how far outside of it, and of all landmarks, nothing moves."""


class FlowConfig(Config):
    """Dense optical flow between the pixels."""

    kind: Literal["flow"] = "flow"
    """Kind of measurement."""
    method: Literal["dis", "farneback"] = "dis"
    """Dense inverse search (Kroeger et al. 2016), or polynomial expansion (Farnebäck 2003)."""


class LandmarksWarpConfig(Config):
    """Interpolation between the landmarks; outside of the crop nothing moves."""

    kind: Literal["landmarks"] = "landmarks"
    """Kind of measurement."""
    interpolation: Literal["piecewise_affine", "thin_plate"] = "piecewise_affine"
    """Affine within each triangle of Delaunay, or the smoothest field through all points (Bookstein 1989)."""
    smoothing: float = Field(3e-5, ge=0)
    """Of the thin plate, in crops: 0 goes through every landmark, but those that nearly touch (lips) then make it
    overshoot, to twice the largest movement on a face that began to smile."""


def by_flow(source: Rgb, target: Rgb, config: FlowConfig) -> Floats:
    """Displacement in px, float64 [H, W, 2], from one crop to another.

    Args:
        source: uint8 [H, W, 3].
        target: As large.
        config: Which method.

    Raises:
        DatasetError: They differ in size, or are smaller than 16 px.
        ValueError: They are no RGB images.
    """
    require_rgb(source)
    require_rgb(target)
    if source.shape != target.shape or min(source.shape[:2]) < _MIN_SIDE_PX:
        shapes = f"{list(source.shape)} and {list(target.shape)}"
        raise DatasetError(f"crops: have shapes {shapes}; give two of the same size, at least {_MIN_SIDE_PX} px each")
    first, second = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in (source, target))
    if config.method == "dis":
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(first, second, None)
    else:
        flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 5, 21, 3, 7, 1.5, 0)
    return np.asarray(flow, np.float64)


def by_landmarks(source: Values, target: Values, size_px: tuple[int, int], config: LandmarksWarpConfig) -> Floats:
    """Displacement in px, float64 [H, W, 2], that carries the landmarks of one crop to those of another.

    Args:
        source: [N, 2 or more], x and y in px of the crop; the middle of the first pixel is at 0.5.
        target: The same points in the other crop.
        size_px: Height and width of the crop.
        config: How to interpolate.

    Raises:
        DatasetError: The points do not fit each other, or some are NaN, for no face was found.
    """
    here, there = _points(source, "source landmarks"), _points(target, "target landmarks")
    if here.shape != there.shape:
        raise DatasetError(
            f"landmarks: {len(here)} in one crop, {len(there)} in the other; give the same points of both"
        )
    here, moved = _distinct(here, there - here)
    frame = _frame(here, size_px)
    at, moved = np.concatenate([here, frame]), np.concatenate([moved, np.zeros_like(frame)])
    height, width = size_px
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    return _interpolated(at, moved, pixels, config).reshape(height, width, 2)


def _interpolated(at: Floats, moved: Floats, pixels: Floats, config: LandmarksWarpConfig) -> Floats:
    """Displacements at pixels [P, 2] from those at points [N, 2]."""
    from scipy.interpolate import LinearNDInterpolator, RBFInterpolator

    if config.interpolation == "piecewise_affine":
        return np.asarray(LinearNDInterpolator(at, moved)(pixels))
    side = np.ptp(pixels, axis=0).max()  # so that the smoothing does not depend on the resolution
    thin_plate = RBFInterpolator(at / side, moved, kernel="thin_plate_spline", smoothing=config.smoothing)
    return np.asarray(thin_plate(pixels / side))


def _points(values: Values, place: str) -> Floats:
    points = numeric(values, place)
    if points.ndim != 2 or points.shape[1] < 2:
        raise DatasetError(f"{place}: shape {list(points.shape)} is not [N, 2] or [N, 3]; give x and y of each point")
    return points[:, :2]


def _distinct(points: Floats, moved: Floats) -> tuple[Floats, Floats]:
    """Points that coincide (lips that touch) become one, with their mean displacement."""
    distinct, which, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros_like(distinct)
    np.add.at(sums, which.ravel(), moved)
    return distinct, sums / counts[:, None]


def _frame(points: Floats, size_px: tuple[int, int]) -> Floats:
    """Points around the crop and all landmarks, nine on each side: [32, 2]."""
    margin = _MARGIN * max(size_px)
    low = np.minimum(points.min(0), 0) - margin
    high = np.maximum(points.max(0), size_px[::-1]) + margin
    steps = np.stack(np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9)), -1).reshape(-1, 2)
    is_outside = ((steps == 0) | (steps == 1)).any(1)
    return np.asarray(low + steps[is_outside] * (high - low))
