"""The file of Inception's weights as its publisher describes it, with numbers of our own and no network asked."""

import hashlib
import io
import math
from dataclasses import replace

import pytest
import torch

from mien import assets
from mien.origins import Url

CONVOLUTIONS = """
Conv2d_1a_3x3 32x3x3x3
Conv2d_2a_3x3 32x32x3x3
Conv2d_2b_3x3 64x32x3x3
Conv2d_3b_1x1 80x64x1x1
Conv2d_4a_3x3 192x80x3x3
Mixed_5b: branch1x1 64x192x1x1, branch5x5_1 48x192x1x1, branch5x5_2 64x48x5x5, branch3x3dbl_1 64x192x1x1,
  branch3x3dbl_2 96x64x3x3, branch3x3dbl_3 96x96x3x3, branch_pool 32x192x1x1
Mixed_5c: branch1x1 64x256x1x1, branch5x5_1 48x256x1x1, branch5x5_2 64x48x5x5, branch3x3dbl_1 64x256x1x1,
  branch3x3dbl_2 96x64x3x3, branch3x3dbl_3 96x96x3x3, branch_pool 64x256x1x1
Mixed_5d: branch1x1 64x288x1x1, branch5x5_1 48x288x1x1, branch5x5_2 64x48x5x5, branch3x3dbl_1 64x288x1x1,
  branch3x3dbl_2 96x64x3x3, branch3x3dbl_3 96x96x3x3, branch_pool 64x288x1x1
Mixed_6a: branch3x3 384x288x3x3, branch3x3dbl_1 64x288x1x1, branch3x3dbl_2 96x64x3x3, branch3x3dbl_3 96x96x3x3
Mixed_6b: branch1x1 192x768x1x1, branch7x7_1 128x768x1x1, branch7x7_2 128x128x1x7, branch7x7_3 192x128x7x1,
  branch7x7dbl_1 128x768x1x1, branch7x7dbl_2 128x128x7x1, branch7x7dbl_3 128x128x1x7, branch7x7dbl_4 128x128x7x1,
  branch7x7dbl_5 192x128x1x7, branch_pool 192x768x1x1
Mixed_6c: branch1x1 192x768x1x1, branch7x7_1 160x768x1x1, branch7x7_2 160x160x1x7, branch7x7_3 192x160x7x1,
  branch7x7dbl_1 160x768x1x1, branch7x7dbl_2 160x160x7x1, branch7x7dbl_3 160x160x1x7, branch7x7dbl_4 160x160x7x1,
  branch7x7dbl_5 192x160x1x7, branch_pool 192x768x1x1
Mixed_6d: branch1x1 192x768x1x1, branch7x7_1 160x768x1x1, branch7x7_2 160x160x1x7, branch7x7_3 192x160x7x1,
  branch7x7dbl_1 160x768x1x1, branch7x7dbl_2 160x160x7x1, branch7x7dbl_3 160x160x1x7, branch7x7dbl_4 160x160x7x1,
  branch7x7dbl_5 192x160x1x7, branch_pool 192x768x1x1
Mixed_6e: branch1x1 192x768x1x1, branch7x7_1 192x768x1x1, branch7x7_2 192x192x1x7, branch7x7_3 192x192x7x1,
  branch7x7dbl_1 192x768x1x1, branch7x7dbl_2 192x192x7x1, branch7x7dbl_3 192x192x1x7, branch7x7dbl_4 192x192x7x1,
  branch7x7dbl_5 192x192x1x7, branch_pool 192x768x1x1
Mixed_7a: branch3x3_1 192x768x1x1, branch3x3_2 320x192x3x3, branch7x7x3_1 192x768x1x1, branch7x7x3_2 192x192x1x7,
  branch7x7x3_3 192x192x7x1, branch7x7x3_4 192x192x3x3
Mixed_7b: branch1x1 320x1280x1x1, branch3x3_1 384x1280x1x1, branch3x3_2a 384x384x1x3, branch3x3_2b 384x384x3x1,
  branch3x3dbl_1 448x1280x1x1, branch3x3dbl_2 384x448x3x3, branch3x3dbl_3a 384x384x1x3,
  branch3x3dbl_3b 384x384x3x1, branch_pool 192x1280x1x1
Mixed_7c: branch1x1 320x2048x1x1, branch3x3_1 384x2048x1x1, branch3x3_2a 384x384x1x3, branch3x3_2b 384x384x3x1,
  branch3x3dbl_1 448x2048x1x1, branch3x3dbl_2 384x448x3x3, branch3x3dbl_3a 384x384x1x3,
  branch3x3dbl_3b 384x384x3x1, branch_pool 192x2048x1x1
"""
"""Weights of all convolutions, outputs x inputs x height x width."""


def shapes() -> dict[str, tuple[int, ...]]:
    """Entries of the file."""
    found: dict[str, tuple[int, ...]] = {}
    for line in CONVOLUTIONS.replace(",\n ", ",").strip().splitlines():
        block, _, rest = line.rpartition(": ")
        for entry in rest.split(", "):
            name, sizes = entry.split()
            layer = f"{block}.{name}" if block else name
            shape = tuple(map(int, sizes.split("x")))
            norm = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), shape[:1])
            found[f"{layer}.conv.weight"] = shape
            found |= {f"{layer}.bn.{key}": value for key, value in {**norm, "num_batches_tracked": ()}.items()}
    return found | {"fc.weight": (1008, 2048), "fc.bias": (1008,)}


def drawn(seed: int = 0) -> dict[str, torch.Tensor]:
    """Numbers that keep maps alive through all layers, and images apart: no filter answers to brightness alone."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if not shape:
            return torch.tensor(1000)
        if name.endswith(("running_var", "bn.weight")):
            return 0.5 + torch.rand(shape, generator=generator)
        values = torch.randn(shape, generator=generator)
        if len(shape) < 4:
            return 0.3 * values
        return (values - values.mean((1, 2, 3), keepdim=True)) * math.sqrt(2 / math.prod(shape[1:]))

    return {name: draw(name, shape) for name, shape in shapes().items()}


def hollow() -> dict[str, torch.Tensor]:
    """Zeros of the right shapes that take no room in a file."""
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes().items()}


def saved(state: object) -> bytes:
    """The bytes of a file that holds it."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def pin(patch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let these bytes be those of the pinned file."""
    asset = assets.ASSETS["inception"]
    url = Url("https://example.org/inception.pth", hashlib.sha256(content).hexdigest(), len(content))
    patch.setattr(assets, "ASSETS", {**assets.ASSETS, "inception": replace(asset, origins=(url,))})
