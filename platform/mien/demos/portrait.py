"""Two people made from one public-domain portrait: the astronaut Eileen Collins (NASA), as scikit-image carries it.

Coordinates are pixels of the 512 x 512 portrait, x to the right and y down; pictures are kept at `SCALE` times that.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mien.errors import PreflightError

Image = npt.NDArray[np.uint8]
Field = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]

SIZE_PX = 512
SCALE = 2

FACE_BOX: Box = (177, 82, 272, 177)
"""x0, y0, x1, y1 of the face as BlazeFace (short range) draws it on the still portrait."""

_FACE = (
    "184,84 190,76 203,80 240,83 262,90 269,104 271,126 282,128 274,140 262,160 "
    "258,188 184,188 182,150 178,134 169,116 180,118"
)
"""Outline of face, ears and neck, as the points of an SVG polygon: hair begins where it ends."""

_SUIT = "118,195 104,214 66,242 48,266 22,330 10,512 300,512 280,430 364,350 358,275 310,235"
"""Outline of the space suit; a rocket of the same red stands beyond it."""


@dataclass(frozen=True)
class Subject:
    """One person, drawn facing as in the portrait.

    `texture` and `grid` stay apart so that a moving face is read once: a picture is `texture` read at `grid`.
    """

    name: str
    texture: Image
    """Recoloured portrait before its shape changes [1024, 1024, 3]."""
    grid: Field
    """Where in `texture` each pixel of the picture is read, x and y in portrait px [1024, 1024, 2]."""
    is_mirrored: bool
    """Whether the camera shows this person mirrored."""
    voice_hz: float
    phase: float
    """Shifts the person's movements in time, so that two people do not move alike."""

    def picture(self) -> Image:
        """The still picture, uint8 [1024, 1024, 3]."""
        return remap(self.texture, self.grid)


def astronaut() -> Image:
    """The portrait, RGB uint8 [512, 512, 3].

    Raises:
        PreflightError: scikit-image, which carries it, is not installed.
    """
    try:
        from skimage import data
    except ImportError:
        remedy = 'pip install "mien[quickstart]"'
        raise PreflightError(f"sample videos: scikit-image, which carries the portrait, is missing: {remedy}") from None
    return np.ascontiguousarray(data.astronaut())


def subjects() -> tuple[Subject, Subject]:
    """Subject `a`, the portrait as it is, and subject `b`, another hair, skin, suit and face shape, mirrored."""
    size = SIZE_PX * SCALE
    texture: Image = cv2.resize(astronaut(), (size, size), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    axis = (np.arange(size, dtype=np.float32) + 0.5) / SCALE - 0.5
    x, y = (field.astype(np.float32) for field in np.meshgrid(axis, axis))
    a = Subject("a", texture, np.stack([x, y], -1), is_mirrored=False, voice_hz=196.0, phase=0.0)
    b = Subject("b", _recolour(texture, x, y), _reshape(x, y), is_mirrored=True, voice_hz=131.0, phase=1.7)
    return a, b


def remap(picture: Image, grid: Field) -> Image:
    """Read a picture of `SCALE` pixels per portrait px at x and y in portrait px [h, w, 2]: uint8 [h, w, 3]."""
    pixels = (grid + 0.5) * SCALE - 0.5
    read: Image = cv2.remap(picture, pixels, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return read


def row(*numbers: float) -> Field:
    """Numbers to calculate with fields, float32 [len(numbers)]; plain numpy would widen the fields to float64."""
    return np.array(numbers, np.float32)


def smoothstep(values: Field, low: float, high: float) -> Field:
    """0 up to `low`, 1 from `high` on, with a continuous slope between."""
    t: Field = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Field, y: Field, centre: tuple[float, float], radius: tuple[float, float]) -> Field:
    """Gaussian of height 1; `radius` holds its two standard deviations in the unit of x and y."""
    height: Field = np.exp(-0.5 * (((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2))
    return height


def ellipse(x: Field, y: Field, centre: tuple[float, float], radius: tuple[float, float], soft: float) -> Field:
    """1 inside an ellipse and 0 outside; the edge is `soft` times the radius wide."""
    r = np.hypot((x - centre[0]) / radius[0], (y - centre[1]) / radius[1])
    return 1 - smoothstep(r, 1 - soft / 2, 1 + soft / 2)


def _recolour(texture: Image, x: Field, y: Field) -> Image:
    """Black hair, tanned skin and a blue suit; background, eyes and teeth stay."""
    hue, saturation, value = np.moveaxis(cv2.cvtColor(texture, cv2.COLOR_RGB2HSV).astype(np.float32), -1, 0)
    face = _inside(_FACE)
    is_hair = ellipse(x, y, (227, 78), (82, 72), 0.1) * (1 - face) * smoothstep(saturation, 36, 58)
    is_skin = face * smoothstep(saturation, 26, 46) * smoothstep(value, 60, 110)
    hue = np.where(hue > 90, hue - 180, hue)
    is_orange = smoothstep(saturation, 85, 125) * smoothstep(hue, -4, -1) * (1 - smoothstep(hue, 15, 19))
    picture: Field = texture.astype(np.float32)
    grey = (picture @ row(0.3, 0.59, 0.11))[..., None]
    picture = _blend(picture, grey * row(0.36, 0.30, 0.28) + 6, is_hair)
    picture = _blend(picture, 255 * (picture / row(255)) ** row(1.3, 1.5, 1.6), is_skin)
    picture = _blend(picture, picture[..., ::-1] * row(0.75, 0.8, 0.85), is_orange * _inside(_SUIT))
    return picture.clip(0, 255).astype(np.uint8)


def _inside(outline: str) -> Field:
    """1 inside a polygon of portrait px and 0 outside, with an edge 3 px wide [1024, 1024]."""
    points = [[int(number) for number in point.split(",")] for point in outline.split()]
    mask = np.zeros((SIZE_PX * SCALE, SIZE_PX * SCALE), np.float32)
    cv2.fillPoly(mask, [np.array(points, np.int32) * SCALE], 1.0)
    soft: Field = cv2.GaussianBlur(mask, None, sigmaX=1.5 * SCALE)
    return soft


def _blend(under: Field, over: Field, share: Field) -> Field:
    return under + (over - under) * share[..., None]


def _reshape(x: Field, y: Field) -> Field:
    """A broader jaw, a longer nose and less hair, as the place each pixel is read from [h, w, 2]."""
    jaw = bump(x, y, (225, 160), (40, 20))
    hair = bump(x, y, (152, 88), (17, 34)) - bump(x, y, (302, 84), (17, 34))
    nose = bump(x, y, (222, 128), (12, 12))
    crown = bump(x, y, (226, 8), (60, 16))
    return np.stack([x - (x - 225) * 0.16 * jaw - 13 * hair, y - 3 * nose - 9 * crown], -1).astype(np.float32)
