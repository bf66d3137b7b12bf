"""Terms against a plain loop over clips without padding, and against values known in closed form."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from mien.losses import terms
from mien.losses.terms import Term

LENGTHS = [12, 7, 6, 2, 1, 0]
LENGTH = 13


def cos(a: Tensor, b: Tensor) -> Tensor:
    return F.cosine_similarity(a, b, dim=-1)


def coherence(e: Tensor) -> Tensor | None:
    return torch.stack([1 - cos(e[n], e[n + 1]) for n in range(len(e) - 1)]).mean() if len(e) > 1 else None


def gap(e: Tensor) -> Tensor | None:
    return torch.stack([cos(e[n], e[n + 5]).abs() for n in range(len(e) - 5)]).mean() if len(e) > 5 else None


def temporal(e: Tensor) -> Tensor | None:
    jump, still = coherence(e), gap(e)
    return None if jump is None else 0.7 * jump + (0 if still is None else 0.3 * still)


def diversity(e: Tensor, stride: int = 5, clamp: bool = True) -> Tensor | None:
    e = e[::stride]
    if len(e) < 2:
        return None
    mean = torch.stack([cos(a, b) for a, b in combinations(e, 2)]).mean()
    return mean.clamp(min=0) if clamp else mean


def consistency(e: Tensor) -> Tensor | None:
    return e.var(dim=0).mean() if len(e) > 1 else None


def prediction(e: Tensor) -> Tensor | None:
    """What is foretold stands in the second half of the dimensions."""
    e, foretold = e[:, :4], e[:, 4:]
    return torch.stack([1 - cos(foretold[n], e[n + 1]) for n in range(len(e) - 1)]).mean() if len(e) > 1 else None


CASES: dict[str, tuple[Callable[..., Term], Callable[[Tensor], Tensor | None]]] = {
    "coherence": (terms.coherence, coherence),
    "gap": (terms.consistency_gap, gap),
    "temporal": (terms.temporal, temporal),
    "diversity": (terms.diversity, diversity),
    "diversity of all": (
        lambda e, mask: terms.diversity(e, mask, 1, clamp=False),
        lambda e: diversity(e, 1, clamp=False),
    ),
    "identity": (terms.identity_consistency, consistency),
    "prediction": (lambda e, mask: terms.prediction(e[..., 4:], e[..., :4], mask, detach_target=False), prediction),
}


def clips(filler: float) -> tuple[Tensor, Tensor]:
    """Clips of many lengths, with `filler` in the padding."""
    mask = torch.arange(LENGTH) < torch.tensor(LENGTHS)[:, None]
    drawn = torch.randn(len(LENGTHS), LENGTH, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(mask[..., None], drawn, filler).requires_grad_(), mask


@pytest.mark.parametrize("filler", [0.0, 1e3, float("nan")])
@pytest.mark.parametrize("name", CASES)
def test_a_term_is_that_of_a_loop_over_clips_and_padding_has_no_gradient(name: str, filler: float) -> None:
    term, reference = CASES[name]
    tokens, mask = clips(filler)
    found = term(tokens, mask)
    found.sum.backward()
    other = tokens.detach().clone().requires_grad_()
    values = [reference(other[n, :length]) for n, length in enumerate(LENGTHS)]
    defined = [value for value in values if value is not None]
    assert found.count == len(defined)
    expected = torch.stack(defined).sum()
    expected.backward()
    torch.testing.assert_close(found.sum, expected, rtol=1e-12, atol=1e-12)
    assert tokens.grad is not None
    assert other.grad is not None
    torch.testing.assert_close(tokens.grad[mask], other.grad[mask], rtol=1e-10, atol=1e-12)
    assert not tokens.grad[~mask].any()


@pytest.mark.parametrize("name", CASES)
def test_no_clip_that_counts_is_zero_and_still_has_a_gradient(name: str) -> None:
    tokens = torch.randn(2, 1, 8, requires_grad=True)
    found = CASES[name][0](tokens, torch.ones(2, 1, dtype=torch.bool))
    found.sum.backward()
    assert (found.sum.item(), found.count.item()) == (0, 0)
    assert tokens.grad is not None
    assert not tokens.grad.any()


def one_clip(tokens: Tensor) -> tuple[Tensor, Tensor]:
    return tokens[None], torch.ones(1, len(tokens), dtype=torch.bool)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(torch.eye(30)[:1].expand(30, 30), (0, 1, 0.3, 1)), (torch.eye(30), (1, 0, 0.7, 0))],
    ids=["identical", "orthonormal"],
)
def test_closed_forms(tokens: Tensor, expected: tuple[float, ...]) -> None:
    clip = one_clip(tokens)
    found = [term(*clip) for term in (terms.coherence, terms.consistency_gap, terms.temporal, terms.diversity)]
    torch.testing.assert_close([term.sum.item() for term in found], [float(value) for value in expected])
    assert [term.count.item() for term in found] == [1, 1, 1, 1]


def test_opposite_tokens_gain_nothing_unless_asked() -> None:
    clip = one_clip(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert terms.diversity(*clip, stride=1).sum == 0
    assert terms.diversity(*clip, stride=1, clamp=False).sum == -1


def test_a_frame_that_is_missing_within_a_clip_makes_no_pair() -> None:
    tokens, mask = one_clip(torch.eye(4))
    mask[0, 1] = False
    assert terms.coherence(tokens, mask).sum == 1
    assert terms.coherence(tokens, torch.tensor([[True, False, True, False]])).count == 0


def test_pixels_are_compared_within_the_mask_alone() -> None:
    images, targets = torch.rand(2, 2, 3, 3, 4, 4)
    images.requires_grad_()
    mask = torch.tensor([[True, True, False], [False, False, False]])
    found = terms.reconstruction(images, targets, mask)
    torch.testing.assert_close(found.sum, F.mse_loss(images[0, :2], targets[0, :2]))
    assert found.count == 1
    found.sum.backward()
    assert images.grad is not None
    assert not images.grad[~mask].any()


def test_a_detached_target_gets_no_gradient() -> None:
    predicted, tokens = torch.randn(2, 1, 3, 4).requires_grad_()
    mask = torch.ones(1, 3, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(terms.prediction(predicted, tokens, mask).sum, tokens, allow_unused=True)
    assert gradient is None
    (gradient,) = torch.autograd.grad(terms.prediction(predicted, tokens, mask, False).sum, tokens)
    assert gradient[:, 1:].any()


def contrastive(tokens: Tensor, subjects: Tensor, valid: Tensor, temperature: float, max_pairs: int) -> tuple[Any, int]:
    """Two lists of pairs, each cut, as of Python."""
    usable = [n for n in range(len(tokens)) if valid[n]]
    pairs = list(combinations(usable, 2))
    same = [pair for pair in pairs if subjects[pair[0]] == subjects[pair[1]]][:max_pairs]
    different = [pair for pair in pairs if subjects[pair[0]] != subjects[pair[1]]][:max_pairs]
    logits = torch.stack([cos(tokens[a], tokens[b]) / temperature for a, b in same + different])
    labels = torch.tensor([1.0] * len(same) + [0.0] * len(different), dtype=logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels), len(labels)


@pytest.mark.parametrize("max_pairs", [2, 7, 50])
def test_contrast_is_that_of_two_lists_of_pairs(max_pairs: int) -> None:
    tokens = torch.randn(9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    subjects, valid = torch.tensor([0, 1, 0, 2, 2, 2, 1, 0, 5]), torch.ones(9, dtype=torch.bool)
    valid[3] = False
    found = terms.contrastive(tokens, subjects, valid, 0.5, max_pairs)
    mean, num_pairs = contrastive(tokens, subjects, valid, 0.5, max_pairs)
    assert found.count == num_pairs
    torch.testing.assert_close(found.sum / found.count, mean)


def test_one_clip_makes_no_contrast() -> None:
    tokens = torch.randn(1, 5, requires_grad=True)
    found = terms.contrastive(tokens, torch.tensor([0]), torch.tensor([True]))
    found.sum.backward()
    assert (found.sum.item(), found.count.item()) == (0, 0)
