"""Each row of one modality against all of another, so many rows at a time that memory does not grow with them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

_CHUNK_ROWS = 1024
"""Rows that are compared with the whole gallery at a time."""


class Nearest(NamedTuple):
    """What is nearest to each row."""

    cosine: Float[Tensor, " n"]
    """To the nearest of the gallery."""
    row: Int64[Tensor, " n"]
    """Its row in the gallery."""
    margin: Float[Tensor, " n"]
    """By how much it is nearer than the second, in cosines; 0 where there is no second."""


def ranks(x: Float[Tensor, "n d"], gallery: Float[Tensor, "m d"], answer: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """How many others of the gallery are at least as near as the right one; all of them unit vectors."""

    def rank(cosine: Tensor, right: Tensor) -> Tensor:
        return (cosine >= cosine.gather(1, right[:, None])).sum(1) - 1

    parts = zip(_cosines(x, gallery), torch.split(answer, _CHUNK_ROWS), strict=True)
    return torch.cat([rank(cosine, right) for cosine, right in parts])


def nearest(x: Float[Tensor, "n d"], gallery: Float[Tensor, "m d"]) -> Nearest:
    """The nearest of the gallery; all of them unit vectors."""
    num = min(2, len(gallery))
    found = [torch.topk(cosine, num, dim=1) for cosine in _cosines(x, gallery)]
    cosine, row = (torch.cat([getattr(one, name) for one in found]) for name in ("values", "indices"))
    return Nearest(cosine[:, 0], row[:, 0], cosine[:, 0] - cosine[:, 1] if num == 2 else torch.zeros(len(x)))


def _cosines(x: Tensor, gallery: Tensor) -> Iterator[Tensor]:
    return (rows @ gallery.T for rows in torch.split(x, _CHUNK_ROWS))
