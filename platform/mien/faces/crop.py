"""Cut a face out of a frame as a square of fixed size, and pack images as JPEG."""

import math
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from mien.config import Config
from mien.errors import DatasetError
from mien.faces.detect import Box, area, centre, shared, side
from mien.faces.task import Rgb

MAX_JPEG_SIDE_PX = 4096
"""Twice the largest crop; a stranger's JPEG of 300 bytes may claim 12 GB."""


class CropConfig(Config):
    """What a crop shows and how it is stored."""

    size_px: int = Field(518, ge=16, le=2048)
    """Side of the crop; 518 is 37 patches of 14 px."""
    padding_factor: float = Field(0.25, ge=0, le=4)
    """Margin on each side in face sides. The face mesh reaches 0.68 sides from the middle of BlazeFace's box, so
    0.25 (0.75 from the middle) holds every mesh of the measured videos; 0.1 cuts the forehead."""
    encoding: Literal["jpeg", "raw"] = "jpeg"
    """How the crop is stored."""
    jpeg_quality: int = Field(95, ge=1, le=100)
    """JPEG quality."""


def crop_box(face: Box, padding_factor: float) -> Box:
    """Square around the middle of a face box: its longer side and a margin of `padding_factor` sides all around."""
    (x, y), half = centre(face), side(face) * (0.5 + padding_factor)
    return x - half, y - half, x + half, y + half


def crop(rgb: Rgb, box: Box, size_px: int) -> tuple[Rgb, float]:
    """Show a square of the frame at a fixed size, aspect kept, sub-pixel exact.

    Enlarging is bilinear, shrinking averages areas. Outside the frame its border pixels repeat.

    Args:
        rgb: Frame, uint8 [H, W, 3].
        box: Square in px of the frame; may leave it.
        size_px: Side of the result.

    Returns:
        Crop, uint8 [size_px, size_px, 3], and the share of it that lies outside the frame, 0 to 1.

    Raises:
        ValueError: The box is empty or not a square.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    if not width > 0 or abs(width - height) > 1e-3 * width:
        raise ValueError(f"crop box {box}: must be a square of positive size; make it by crop_box")
    oversampling = max(1, int(np.ceil(width / size_px - 1e-6)))
    scale = oversampling * size_px / width
    # Pixel centres lie at +0.5: output u shows source (u + 0.5) / scale + x0 - 0.5.
    dx, dy = ((0.5 - start) * scale - 0.5 for start in box[:2])
    matrix = np.array([[scale, 0, dx], [0, scale, dy]])
    side_px = oversampling * size_px
    warped = cv2.warpAffine(rgb, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if oversampling > 1:
        warped = cv2.resize(warped, (size_px, size_px), interpolation=cv2.INTER_AREA)
    inside = shared(box, (0, 0, rgb.shape[1], rgb.shape[0]))
    return np.asarray(warped, np.uint8), max(0.0, 1 - inside / area(box))


def encode_jpeg(rgb: Rgb, quality: int) -> bytes:
    """Pack RGB uint8 [H, W, 3] as a JPEG.

    With full colour resolution (4:4:4): on face crops 1 dB closer than 4:2:0, for a quarter more bytes.
    """
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)[1])


def decode_jpeg(data: bytes) -> Rgb:
    """Unpack a JPEG into RGB uint8 [H, W, 3].

    Raises:
        DatasetError: The bytes are not a whole JPEG, or one far larger than any crop.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    is_jpeg = data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9" and _long_side_px(data) <= MAX_JPEG_SIDE_PX
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if is_jpeg else None
    if bgr is None:
        raise DatasetError(f"{len(data)} bytes are not a whole JPEG of a crop; run `mien verify`")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _long_side_px(data: bytes) -> float:
    """What the frame header (SOF) of a JPEG claims; infinite where none is found (ITU-T T.81, section B.2.2)."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF != data[at + 1]:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return max(int.from_bytes(data[at + 5 : at + 7]), int.from_bytes(data[at + 7 : at + 9]))
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return math.inf


def thumbnail(rgb: Rgb, long_side_px: int, quality: int) -> bytes:
    """Shrink a frame uint8 [H, W, 3] to a long side, never enlarge, and pack it as a JPEG."""
    scale = min(1.0, long_side_px / max(rgb.shape[:2]))
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return encode_jpeg(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), quality)
