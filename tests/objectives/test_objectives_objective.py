"""What holds for every objective: batches, padding, order and splits change nothing."""

import pytest
import torch
from torch import Tensor

from clip_batches import CONFIGS, backward, chosen, clips, objective
from mien.losses.weights import Anchors
from mien.models.layers import Dropout
from mien.objectives.expression import JointConfig

ALL = pytest.mark.parametrize("kind", CONFIGS)
UNCOUPLED = pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind != "face id"])


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1.0, value.abs().max().item())
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12 * scale, msg=name)


@ALL
def test_padding_changes_nothing(kind: str) -> None:
    model = objective(CONFIGS[kind])
    for found, expected in zip(backward(model, clips(padded_to=13)), backward(model, clips()), strict=True):
        same(found, expected)


@ALL
def test_the_order_of_clips_changes_nothing(kind: str) -> None:
    model = objective(CONFIGS[kind].model_copy(update={"max_pairs": 50} if kind == "face id" else {}))
    for found, expected in zip(backward(model, chosen(clips(), [2, 0, 3, 1])), backward(model, clips()), strict=True):
        same(found, expected)


@UNCOUPLED
@pytest.mark.parametrize("parts", [[[0, 1], [2, 3]], [[3], [0, 2, 1]], [[0], [1], [2], [3]]])
def test_parts_of_a_batch_add_up_to_the_batch(kind: str, parts: list[list[int]]) -> None:
    model, batch = objective(CONFIGS[kind]), clips()
    split = [chosen(batch, part, int(batch.mask[part].sum(1).max())) for part in parts]
    for found, expected in zip(backward(model, *split), backward(model, batch), strict=True):
        same(found, expected)


@ALL
def test_tokens_of_a_batch_are_those_of_each_clip_alone(kind: str) -> None:
    model, batch = objective(CONFIGS[kind]), clips()
    together = model(batch).tokens
    for clip, length in enumerate(batch.mask.sum(1).tolist()):
        alone = model(chosen(batch, [clip], length)).tokens
        torch.testing.assert_close(together[clip, :length], alone[0], rtol=1e-12, atol=1e-12)


@ALL
@pytest.mark.parametrize("lengths", [(8, 3, 1, 7), (1, 1), (0, 6), (2,)])
def test_counts_are_those_of_a_forward_pass(kind: str, lengths: tuple[int, ...]) -> None:
    model, batch = objective(CONFIGS[kind]), clips(lengths)
    outcome = model(batch)
    assert {name: term.count.item() for name, term in outcome.terms.items()} == {
        name: count.item() for name, count in model.counts(batch).items()
    }
    assert tuple(outcome.terms) == model.term_names
    assert all(term.sum.isfinite() for term in outcome.terms.values())


@ALL
def test_every_parameter_that_may_learn_does(kind: str) -> None:
    """Exact zeros are those that must be: scores over one place, and biases of keys, are part of larger parameters."""
    model = objective(CONFIGS[kind])
    _, _, gradients = backward(model, clips())
    still = {name for name, p in model.named_parameters() if p.requires_grad and not gradients[name].any()}
    assert still == set()


@ALL
def test_another_key_is_another_mask_and_eval_needs_none(kind: str) -> None:
    model, batch = objective(CONFIGS[kind]), clips()
    other = chosen(batch, [0, 1, 2, 3])
    other.keys.add_(1)
    assert torch.equal(model(batch).tokens, model(batch).tokens)
    assert not torch.allclose(model(batch).tokens, model(other).tokens)
    model.eval()
    assert torch.equal(model(batch).tokens, model(other).tokens)


@ALL
def test_every_dropout_of_all_networks_has_its_own_site(kind: str) -> None:
    sites = [part.site for part in objective(CONFIGS[kind]).modules() if isinstance(part, Dropout)]
    assert len(set(sites)) == len(sites) > 0


def test_weights_are_those_of_the_step_itself() -> None:
    config = JointConfig()
    weights = objective(CONFIGS["joint"]).weights(1500, 10_000)
    assert weights == {
        "reconstruction": pytest.approx(0.105),
        "temporal": pytest.approx(0.35),
        "diversity": pytest.approx(0.25),
    }
    assert config.weights.reconstruction == Anchors(initial=0.01, warmup=0.2, final=0.5)
