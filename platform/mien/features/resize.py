"""Images to the size that a network or a target has: as image processors do it, and as TensorFlow once did."""

import torch
from torch.nn import functional


def resize(pixels: torch.Tensor, size_px: int, mode: str) -> torch.Tensor:
    """Antialiased resize of uint8 [B, 3, H, H] where the pixels are, rounded as image processors do it."""
    return (resize_whole if pixels.device.type == "cpu" else resize_by_axis)(pixels, size_px, mode)


def resize_whole(pixels: torch.Tensor, size_px: int, mode: str) -> torch.Tensor:
    """Antialiased resize of uint8 [B, 3, H, H] on the CPU, as image processors do it.

    Under 4 % of the values differ from theirs, by one or two; in float 20 % would, in ten times the time.
    """
    return functional.interpolate(pixels, (size_px, size_px), mode=mode, antialias=True)


def resize_by_axis(pixels: torch.Tensor, size_px: int, mode: str) -> torch.Tensor:
    """The same where uint8 cannot be resized, on a GPU: image processors round after the width and after the height."""
    for size in ((pixels.shape[2], size_px), (size_px, size_px)):
        resized = functional.interpolate(pixels.float(), size, mode=mode, antialias=True)
        pixels = resized.add_(0.5).floor_().clamp_(0, 255)
    return pixels


def resize_as_tensorflow(pixels: torch.Tensor, size_px: int) -> torch.Tensor:
    """Bilinear resize of floats [B, C, H, W] as TensorFlow 1 did it by default: FID is made with it.

    Not antialiased, and pixel i of the result lies at i · H / size_px of the image: its first pixels are the image's.
    """
    return _widened(_widened(pixels, size_px).mT, size_px).mT


def _widened(pixels: torch.Tensor, size_px: int) -> torch.Tensor:
    """Along the last axis; beyond the last pixel there is that pixel."""
    width = pixels.shape[-1]
    place = torch.arange(size_px, dtype=torch.float32, device=pixels.device) * (width / size_px)
    left = place.floor().long()
    low, high = pixels[..., left], pixels[..., (left + 1).clamp(max=width - 1)]
    return low + (high - low) * (place - left)
