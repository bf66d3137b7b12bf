"""Loss terms on padded clips: each a sum over clips and the number of clips, so that a mean over all ranks is exact.

`mask` [b, t] is True where there is a frame. What stands elsewhere changes no value and gets no gradient; a clip for
which a term is undefined, a single frame where pairs are compared, adds neither to the sum nor to the number.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Tokens = Float[Tensor, "b t d"]
Mask = Bool[Tensor, "b t"]

CONTRAST_FRAMES = 5
"""Frames between two tokens that should differ: a sixth of a second at 30 frames per second."""


class Term(NamedTuple):
    """A loss over clips; its mean is `sum / count`, once both are summed over ranks."""

    sum: Float[Tensor, ""]
    """Over clips, of the value of each."""
    count: Int64[Tensor, ""]  # type: ignore[assignment]  # hides the method of tuples, which nobody needs here
    """Clips that have a value, or pairs of clips where a term says so."""


def reconstruction(images: Float[Tensor, "b t c h w"], targets: Float[Tensor, "b t c h w"], mask: Mask) -> Term:
    """Mean squared error over the pixels and frames of a clip."""
    return _total(*_mean((images - targets).square().mean((-3, -2, -1)), mask))


def coherence(tokens: Tokens, mask: Mask) -> Term:
    """1 - cos(e_t, e_t+1), mean over neighbouring frames: how much a token jumps."""
    return _total(*_jump(tokens, mask))


def consistency_gap(tokens: Tokens, mask: Mask) -> Term:
    """|cos(e_t, e_t+5)|, mean over frames: how much a token stays what it was."""
    return _total(*_standstill(tokens, mask))


def temporal(tokens: Tokens, mask: Mask, coherence_weight: float = 0.7, contrast_weight: float = 0.3) -> Term:
    """Weighted sum of coherence and consistency gap; a clip too short for one of them has 0 there."""
    jump, has_jump = _jump(tokens, mask)
    standstill, has_standstill = _standstill(tokens, mask)
    return _total(coherence_weight * jump + contrast_weight * standstill, has_jump | has_standstill)


def diversity(tokens: Tokens, mask: Mask, stride: int = 5, clamp: bool = True) -> Term:
    """Mean cosine of two different tokens among every `stride`-th: (|Σ e|² - n) / (n (n - 1)).

    Args:
        tokens: Expression tokens.
        mask: Of the frames.
        stride: Frames from one that is compared to the next.
        clamp: Nothing is gained below 0, by tokens that point away from each other.
    """
    tokens, mask = tokens[:, ::stride], mask[:, ::stride]
    n = mask.sum(1)
    between = _unit(tokens, mask).sum(1).square().sum(-1) - n
    mean = between / (n * (n - 1)).clamp(min=1)
    return _total(mean.clamp(min=0) if clamp else mean, n >= 2)


def prediction(predicted: Tokens, tokens: Tokens, mask: Mask, detach_target: bool = True) -> Term:
    """1 - cos(predicted_t, e_t+1), mean over all frames that have a next one.

    Args:
        predicted: At each frame, the token expected after it.
        tokens: Expression tokens.
        mask: Of the frames.
        detach_target: No gradient through e_t+1, which otherwise learns to be easily predicted, at best constant.
    """
    target = tokens.detach() if detach_target else tokens
    cosine = (_unit(predicted, mask)[:, :-1] * _unit(target, mask)[:, 1:]).sum(-1)
    return _total(*_mean(1 - cosine, mask[:, :-1] & mask[:, 1:]))


def identity_consistency(tokens: Tokens, mask: Mask) -> Term:
    """Unbiased variance over the frames of a clip, mean over dimensions: a person stays the same."""
    n = mask.sum(1)
    there = mask[..., None]
    tokens = torch.where(there, tokens, 0)
    centred = torch.where(there, tokens - (tokens.sum(1) / n.clamp(min=1)[:, None])[:, None], 0)
    variance = centred.square().sum(1).mean(-1) / (n - 1).clamp(min=1)
    return _total(variance, n >= 2)


def contrastive(
    tokens: Float[Tensor, "b d"],
    subjects: Int64[Tensor, " b"],
    valid: Bool[Tensor, " b"],
    temperature: float = 0.5,
    max_pairs: int = 50,
) -> Term:
    """Binary cross-entropy of whether two clips show one subject, with cosine / temperature as logit.

    The sum and the number are of pairs, not of clips. A pair counts once, in the order of clips; of pairs of one
    subject and of pairs of two, the first `max_pairs` each.

    Args:
        tokens: One identity vector per clip.
        subjects: Of the clips.
        valid: Clips that have a vector.
        temperature: Divides cosines.
        max_pairs: Pairs of either kind.
    """
    first, second = torch.triu_indices(len(tokens), len(tokens), offset=1, device=tokens.device)
    same, usable = subjects[first] == subjects[second], valid[first] & valid[second]
    used = _first(usable & same, max_pairs) | _first(usable & ~same, max_pairs)
    unit = _unit(tokens, valid)
    logits = (unit @ unit.T)[first, second] / temperature
    entropy = F.binary_cross_entropy_with_logits(logits, same.to(logits.dtype), reduction="none")
    return Term(torch.where(used, entropy, 0).sum(), used.sum())


def _jump(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    cosine, pairs = _cosine_at(1, tokens, mask)
    return _mean(1 - cosine, pairs)


def _standstill(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    cosine, pairs = _cosine_at(CONTRAST_FRAMES, tokens, mask)
    return _mean(cosine.abs(), pairs)


def _cosine_at(gap: int, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of each token with the one `gap` frames later, [b, t - gap], and whether both are there."""
    unit = _unit(tokens, mask)
    return (unit[:, :-gap] * unit[:, gap:]).sum(-1), mask[:, :-gap] & mask[:, gap:]


def _unit(tokens: Tensor, mask: Tensor) -> Tensor:
    """Tokens of length one; zero where there is none, so that what stands there gets no gradient, not even NaN."""
    return F.normalize(torch.where(mask[..., None], tokens, 0), dim=-1)


def _mean(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Per clip [b], over the valid ones of [b, n], and whether there is one."""
    count = valid.sum(1)
    return torch.where(valid, values, 0).sum(1) / count.clamp(min=1), count > 0


def _total(values: Tensor, defined: Tensor) -> Term:
    return Term(torch.where(defined, values, 0).sum(), defined.sum())


def _first(chosen: Tensor, num: int) -> Tensor:
    """The first `num` that are True."""
    return chosen & (chosen.cumsum(0) <= num)
