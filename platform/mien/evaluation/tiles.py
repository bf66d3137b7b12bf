"""Images side by side in one PNG, for people."""

import io

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor


def tiles(images: Float[Tensor, "n c s t"], columns: int) -> bytes:
    """PNG of images in [-1, 1], row by row; what is left of the last row stays black."""
    rows = -(-len(images) // columns)
    blank = torch.full((rows * columns - len(images), *images.shape[1:]), -1.0)
    cells = torch.cat([images.float().cpu(), blank]).reshape(rows, columns, *images.shape[1:])
    return png_of((cells.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2).clamp(-1, 1) + 1) / 2)


def png_of(pixels: Float[Tensor, "c h w"]) -> bytes:
    """PNG of one picture in [0, 1], grey or in colours."""
    values = (pixels.expand(3, -1, -1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(data, "png")
    return data.getvalue()
