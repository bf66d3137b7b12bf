"""A displacement field: each component as a map, and arrows over the plane."""

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.sequence import Values, numeric
from mien.analysis.style import ColourMap, FigureConfig, Size
from mien.errors import ConfigError, DatasetError
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPONENTS = ("Horizontal", "Vertical", "Depth")
"""Names of the last axis: u to the right, v downwards, w along the depth."""


class WarpFieldConfig(FigureConfig):
    """Size, colours and names of the figure."""

    title: str = Field("Warp Field", max_length=200)
    """Begins the title of every panel."""
    size_in: Size = (18, 6)
    """Width and height in inches of three panels; a volumetric field has a fourth one beside them."""
    cmap: ColourMap = "RdBu_r"
    """Of the components; its middle is 0."""
    arrows: ColourMap = "viridis"
    """Of the arrows, by their magnitude."""
    arrows_per_side: int = Field(20, ge=1, le=200)
    """Over the height; both axes have the same step."""
    arrow_scale: float | None = Field(None, gt=0)
    """How much displacement is drawn as one px: 1 draws true lengths. By default the longest arrow reaches
    the next one; the title says how much that enlarges."""
    depth: int | None = Field(None, ge=0)
    """Slice of a volumetric field that is drawn; the middle one by default."""


def volume(values: Values, place: str = "warp field") -> Floats:
    """The slices of one field, [D, H, W, C]; a plane is one slice with C = 2.

    Args:
        values: In the plane [H, W, 2], [B, H, W, 2] or [B, T, H, W, 2]; volumetric [D, H, W, 3] or [B, D, H, W, 3].
            The first item and frame are taken; for others give `values[item]`.
        place: What an error calls them.

    Raises:
        DatasetError: They are none of these, pixels of images, or not finite.
    """
    if "uint8" in str(getattr(values, "dtype", "")):
        raise DatasetError(f"{place}: is uint8, so pixels and not displacements; give floating-point numbers")
    field = numeric(values, place)
    kind = field.ndim, field.shape[-1] if field.ndim else 0
    if kind in {(3, 2), (4, 2), (5, 2)}:
        return np.asarray(field.reshape(-1, *field.shape[-3:])[:1])
    if kind in {(4, 3), (5, 3)}:
        return np.asarray(field.reshape(-1, *field.shape[-4:])[0])
    raise DatasetError(
        f"{place}: shape {list(field.shape)} is no displacement field; the components stand last: [H, W, 2], "
        "[B, H, W, 2], [B, T, H, W, 2] in the plane, [D, H, W, 3] or [B, D, H, W, 3] in a volume"
    )


def numbers(values: Values) -> dict[str, Any]:
    """Magnitude, and range of each component, over the whole field and by slice.

    Raises:
        DatasetError: The values are no displacement field.
    """
    field = volume(values)
    magnitude = np.linalg.norm(field, axis=-1)
    names = [name.lower() for name in COMPONENTS[: field.shape[-1]]]
    ranges = {
        name: {"min": float(part.min()), "mean": float(part.mean()), "max": float(part.max())}
        for name, part in zip(names, np.moveaxis(field, -1, 0), strict=True)
    }
    return {
        "given_shape": list(np.shape(values)),
        "is_volumetric": len(names) == 3,
        "mean_magnitude": float(magnitude.mean()),
        "max_magnitude": float(magnitude.max()),
        "mean_magnitude_by_slice": magnitude.mean((1, 2)).tolist(),
        "components": ranges,
    }


def draw(values: Values, config: WarpFieldConfig) -> "Figure":
    """A map of each component and the flow in the plane, side by side; of a volume one slice.

    Raises:
        DatasetError: The values are no displacement field.
        ConfigError: The volume has no such slice.
    """
    field = volume(values)
    depth = len(field) // 2 if config.depth is None else config.depth
    if depth >= len(field):
        raise ConfigError(f"depth: there are {len(field)} slices, so none has the number {depth}; give a smaller one")
    plane = field[depth]
    num_panels = plane.shape[-1] + 1
    figure = config.canvas(stretch=num_panels / 3)
    *maps, flow = figure.subplots(1, num_panels)
    for number, axes in enumerate(maps):
        _draw_component(axes, plane[..., number], config)
        style.title(axes, f"{config.title} - {COMPONENTS[number]} Displacement")
    _draw_flow(flow, plane, config)
    if len(maps) == 3:
        style.caption(figure, f"slice {depth} of {len(field)} (counted from 0) of a volumetric field")
    return figure


def _draw_component(axes: "Axes", component: Floats, config: WarpFieldConfig) -> None:
    low, high = style.symmetric(component)
    image = axes.imshow(component, cmap=config.cmap, vmin=low, vmax=high)
    axes.set(xlabel="Width", ylabel="Height")
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02)


def _draw_flow(axes: "Axes", plane: Floats, config: WarpFieldConfig) -> None:
    """Arrows that point where the picture moves: v goes down, as the y axis does."""
    height, width = plane.shape[:2]
    step = max(height // config.arrows_per_side, 1)
    y, x = np.mgrid[0:height:step, 0:width:step]
    u, v = plane[y, x, 0], plane[y, x, 1]
    magnitude = np.hypot(u, v)
    scale = config.arrow_scale or float(magnitude.max()) / step or 1.0
    drawn = axes.quiver(x, y, u, -v, magnitude, cmap=config.arrows, scale_units="x", scale=scale, width=0.004)
    drawn.set_clim(0, 1.25 * max(magnitude.max(), style.NO_CHANGE))  # the lightest colours are not seen on white
    axes.set(xlabel="Width", ylabel="Height", aspect="equal", xlim=(-step, width - 1 + step))
    axes.set_ylim(height - 1 + step, -step)
    style.title(axes, f"{config.title} - Flow Field" + (f" (arrows × {1 / scale:.3g})" if scale != 1 else ""))
    axes.figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02, label="Magnitude")
