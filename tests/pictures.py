"""Encoded images for tests, made by Pillow."""

import io
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """RGB uint8 [height, width, 3] that no two seeds have in common."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as a file of a kind."""
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, kind, **options)
    return file.getvalue()


def png(seed: int, size_px: int = 8) -> bytes:
    """A small square of noise."""
    return encoded(noise(size_px, size_px, seed))
