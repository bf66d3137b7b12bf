"""Rows of subjects: checked before they are looked up, and laid out so that no two are alike."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


def check_subjects(subjects: Int64[Tensor, " n"], max_subjects: int) -> None:
    """Refuse a row that is not there.

    On an accelerator, and where the network is compiled, the look-up itself checks, with a less helpful message:
    reading numbers back would stop the queue, and break the graph.

    Raises:
        ValueError: A subject on the CPU is not in 0 ≤ subject < max_subjects.
    """
    if subjects.device.type != "cpu" or torch.compiler.is_compiling():
        return
    outside = subjects[(subjects < 0) | (subjects >= max_subjects)]
    if len(outside):
        raise ValueError(
            f"subject {int(outside[0])} has no row: max_subjects is {max_subjects}; number subjects from 0, or raise it"
        )


def orthonormal_rows(num_rows: int, dim: int) -> Float[Tensor, "n d"]:
    """Random unit rows, orthogonal within each block of `dim` rows: more than `dim` cannot all be so."""
    blocks = [nn.init.orthogonal_(torch.empty(min(dim, num_rows - at), dim)) for at in range(0, num_rows, dim)]
    return torch.cat(blocks)
