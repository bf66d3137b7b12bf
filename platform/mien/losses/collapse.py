"""Whether tokens still tell faces apart: what to watch beside losses that pull them together."""

import torch
from jaxtyping import Float
from torch import Tensor

_NOISE = 1e-12
"""Share of the mean squared length below which a variance is rounding: the squared precision of float32, and some."""


def collapse_metrics(tokens: Float[Tensor, "n d"]) -> dict[str, float]:
    """Three signs of collapse, over all tokens of a set.

    Returns:
        `token_variance`: unbiased, mean over dimensions; 0 if all are one. `effective_rank`: exponential of the entropy
        of the covariance's spectrum (Roy and Vetterli 2007); from 1 if all lie on a line to d, and 0 if all are one.
        `mean_cosine`: of two different tokens, in -1 … 1, negative ones included.

    Raises:
        ValueError: There are fewer than two tokens.
    """
    n = len(tokens)
    if n < 2:
        raise ValueError(f"{n} tokens cannot have collapsed; give two or more")
    tokens = tokens.detach().double()
    covariance = tokens.T.cov()
    between = torch.nn.functional.normalize(tokens, dim=-1).sum(0).square().sum() - n
    return {
        "token_variance": covariance.trace().item() / tokens.shape[1],
        "effective_rank": _effective_rank(covariance, noise=_NOISE * tokens.square().sum(-1).mean().item()),
        "mean_cosine": between.item() / (n * (n - 1)),
    }


def _effective_rank(covariance: Tensor, noise: float) -> float:
    spectrum = torch.linalg.eigvalsh(covariance)
    spectrum = spectrum[spectrum > noise]
    if not len(spectrum):
        return 0.0
    share = spectrum / spectrum.sum()
    return float(torch.special.entr(share).sum().exp())
