"""A clip of a report page as strips over its frames: candles as paths, heatmaps as pictures, and numbers of each."""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mien.analysis import candlestick, style
from mien.analysis.report_blocks import Clip
from mien.evaluation.embedded import Floats

CANDLES_HEIGHT = 100.0
"""Of the strip of candles, from its greatest value to its least; a frame is 1 wide."""
_BOX = 0.7
_CMAP = "RdBu_r"
_STATISTICS = ("max", "q75", "mean", "q25", "min")


class Heatmap(NamedTuple):
    """A picture with a column for each frame and a row for each dimension."""

    about: str
    low: float
    high: float
    uri: str


class Strips(NamedTuple):
    """All of a clip that the page shows."""

    clip: Clip
    num_frames: int
    num_dimensions: int
    low: float
    high: float
    """Least and greatest value."""
    whiskers: str
    boxes: str
    means: str
    """Data of SVG paths."""
    heatmaps: list[Heatmap]
    frames: dict[str, Any]
    """Plain values: time_s, candles and blendshapes of each frame, and crops where there are any."""


def strips(clip: Clip) -> Strips:
    """Candles over the dimensions, and two heatmaps: as it is, and without the temporal mean of each dimension."""
    places = np.flatnonzero(clip.has_values)
    known = clip.values[places]
    of = candlestick.statistics(known)
    low, high = float(known.min()), float(known.max())
    whiskers, boxes, means = _paths(places, {name: _heights(of[name], low, high) for name in _STATISTICS})
    centred = np.full(clip.values.shape, np.nan)
    centred[places] = known - known.mean(axis=0)
    heatmaps = [
        _heatmap("all dimensions", clip.values, (low, high)),
        _heatmap("minus the mean of each dimension over time", centred, style.symmetric(centred[places])),
    ]
    frames = {
        "time_s": [round(float(time), 3) for time in clip.time_s],
        "candles": _rows(np.stack([of[name] for name in _STATISTICS], 1), places, len(clip.values)),
        "blendshapes": [[_rounded(value) for value in row] for row in clip.blendshapes],
        "crops": [jpeg_uri(crop) if crop else None for crop in clip.crops],
    }
    num_frames, num_dimensions = clip.values.shape
    return Strips(clip, num_frames, num_dimensions, low, high, whiskers, boxes, means, heatmaps, frames)


def jpeg_uri(data: bytes) -> str:
    """A picture in an address."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def png_uri(data: bytes) -> str:
    """A picture in an address."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _heights(values: Floats, low: float, high: float) -> Floats:
    """From above; one value alone lies in the middle."""
    return CANDLES_HEIGHT * (high - values) / (high - low) if high > low else np.full(len(values), CANDLES_HEIGHT / 2)


def _paths(places: np.ndarray, at: dict[str, Floats]) -> tuple[str, str, str]:
    """Whiskers, boxes and means: frame t lies between t and t + 1."""
    rows = list(zip(places.tolist(), *(at[name].tolist() for name in _STATISTICS), strict=True))
    edge = (1 - _BOX) / 2
    return (
        "".join(f"M{t + 0.5} {top:.2f}V{q75:.2f}M{t + 0.5} {q25:.2f}V{end:.2f}" for t, top, q75, _, q25, end in rows),
        "".join(f"M{t + edge:.2f} {q75:.2f}h{_BOX}V{q25:.2f}h-{_BOX}z" for t, _, q75, _, q25, _ in rows),
        "".join(f"M{t + edge:.2f} {mean:.2f}h{_BOX}" for t, _, _, mean, _, _ in rows),
    )


def _heatmap(about: str, frames: Floats, limits: tuple[float, float]) -> Heatmap:
    """Frames [T, D]; one without values is empty."""
    from matplotlib import colormaps

    low, high = limits
    scaled = (frames - low) / (high - low) if high > low else np.where(np.isfinite(frames), 0.5, np.nan)
    colours = colormaps[_CMAP](np.nan_to_num(scaled), bytes=True)
    colours[np.isnan(frames).any(axis=1)] = 0
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(colours.transpose(1, 0, 2))).save(file, "png")
    return Heatmap(about, low, high, png_uri(file.getvalue()))


def _rows(values: Floats, places: np.ndarray, num_frames: int) -> list[list[float] | None]:
    """Values of each frame to four digits; None for those that have none."""
    rows: list[list[float] | None] = [None] * num_frames
    for place, row in zip(places, values, strict=True):
        rows[place] = [float(f"{value:.4g}") for value in row]
    return rows


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None
