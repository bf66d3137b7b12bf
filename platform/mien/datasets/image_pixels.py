"""A stranger's picture as RGB pixels of one size: behind this module every kind of file looks the same."""

import io
from typing import Annotated, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from mien.config import Config
from mien.errors import MediaError
from mien.log import printable

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class CentreConfig(Config):
    """The largest square in the middle."""

    kind: Literal["centre"] = "centre"
    """Kind of transform."""

    def cut(self, image: Image.Image) -> Image.Image:
        """The square; where a row or column is over, it is one at the bottom or on the right."""
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        return image.crop((left, top, left + side, top + side))


class CelebaConfig(Config):
    """The face in an aligned image of CelebA: 148 x 148 pixels from row 40 and column 15 on."""

    kind: Literal["celeba"] = "celeba"
    """Kind of transform."""

    def cut(self, image: Image.Image) -> Image.Image:
        """The square.

        Raises:
            MediaError: The image is not 178 x 218: the crop of any other would be of something else.
        """
        if image.size != (178, 218):
            raise MediaError(f"is {image.width} x {image.height}, not 178 x 218 as the aligned images of CelebA")
        return image.crop((15, 40, 163, 188))


TransformConfig = Annotated[CentreConfig | CelebaConfig, Field(discriminator="kind")]


class PixelsConfig(Config):
    """How an image becomes a square of pixels. The first frame counts; colour profiles are not applied."""

    transform: TransformConfig = CentreConfig()
    """Which square of it; that is then resized."""
    filter: Literal["box", "bilinear", "bicubic", "lanczos"] = "bicubic"
    """Of Pillow's resize, which antialiases with each."""
    background: Literal["black", "white"] = "black"
    """What is behind transparent pixels."""
    max_pixels: int = Field(50_000_000, ge=1, le=89_000_000)
    """Width times height of the largest image that is decoded: a small file can hold one that fills the memory."""

    def prepare(self, data: bytes, size_px: int) -> np.ndarray:
        """RGB uint8 [size_px, size_px, 3] of an encoded image, turned as its EXIF orientation says.

        Raises:
            MediaError: It is of no kind that is let in, damaged, cut off, too large or too small; a reason without a
                name.
        """
        try:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            if image.width * image.height > self.max_pixels:
                raise MediaError(f"has {image.width} x {image.height} pixels, more than max_pixels={self.max_pixels}")
            square = self.transform.cut(_rgb(ImageOps.exif_transpose(image), self.background))
            return np.asarray(square.resize((size_px, size_px), _FILTERS[self.filter]))
        except (MediaError, MemoryError):
            raise
        except UnidentifiedImageError:
            raise MediaError(f"is no image of {', '.join(_FORMATS)}") from None
        except Exception as error:  # noqa: BLE001  on damaged files each of Pillow's readers fails in its own way
            raise MediaError(printable(str(error)) or type(error).__name__) from None


def _rgb(image: Image.Image, background: str) -> Image.Image:
    """Any mode as RGB, what is transparent laid over a colour."""
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode == "F":
        raise MediaError("has pixels in floating point, whose black and white are not known")
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as grey of 8, rounded; Pillow's own conversion cuts all above 255 off."""
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
