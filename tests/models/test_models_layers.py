"""Layers against their counterparts in torch.nn, and masks against the keys that they come from."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mien import draws
from mien.models.layers import (
    Attention,
    Decoder,
    DecoderLayer,
    Dropout,
    Encoder,
    EncoderLayer,
    TransformerConfig,
    evaluation,
    number_dropouts,
)

CONFIG = TransformerConfig(embed_dim=16, num_heads=4, ff_dim=24, dropout=0.0)
DROPPING = TransformerConfig(embed_dim=16, num_heads=4, ff_dim=24, dropout=0.3)
CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()


def keys(num: int) -> Tensor:
    return draws.keys(0, "dropout", torch.arange(num))


def randomised(module: Any) -> Any:
    """Biases and norms begin as 0 and 1, which would hide that they are mixed up."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return module


def compare(
    ours: nn.Module, theirs: nn.Module, run: Callable[[nn.Module], Tensor], like: Callable[[nn.Module], Tensor]
) -> None:
    """State dicts fit both ways; outputs and gradients are the same, in float64."""
    theirs.double().load_state_dict(randomised(ours.double()).state_dict())
    ours.load_state_dict(theirs.state_dict())
    out, expected = run(ours), like(theirs)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    for (name, one), (other_name, other) in zip(ours.named_parameters(), sorted_like(theirs, ours), strict=True):
        assert name == other_name
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-9, msg=name)


def sorted_like(theirs: nn.Module, ours: nn.Module) -> list[tuple[str, nn.Parameter]]:
    found = dict(theirs.named_parameters())
    return [(name, found[name]) for name, _ in ours.named_parameters()]


@pytest.mark.parametrize("visible", [None, CAUSAL], ids=["all", "causal"])
@pytest.mark.parametrize("explicit", [False, True])
def test_attention_is_that_of_torch(visible: Tensor | None, explicit: bool) -> None:
    query, memory = torch.randn(2, 2, 5, 16, dtype=torch.float64)
    ours, theirs = Attention(16, 4, 0.0), nn.MultiheadAttention(16, 4, batch_first=True)
    if explicit:
        ours.dropout = Dropout(1e-20)  # so small that none is dropped, and the weights are computed one by one
    seen = None if visible is None else visible.expand(2, 5, 5)
    hidden = None if visible is None else ~visible
    compare(
        ours,
        theirs,
        lambda module: module(query, memory, keys(2), seen),
        lambda module: module(query, memory, memory, attn_mask=hidden, need_weights=False)[0],
    )


def test_attention_to_one_place_is_that_of_torch() -> None:
    x = torch.randn(3, 1, 16, dtype=torch.float64)
    ours = Attention(16, 4, 0.0)
    compare(
        ours,
        nn.MultiheadAttention(16, 4, batch_first=True),
        lambda module: module(x, x, None),
        lambda module: module(x, x, x, need_weights=False)[0],
    )


def test_scores_of_one_place_get_no_gradient_at_all() -> None:
    """At this width and precision the fused kernel gives queries and keys one of rounding noise."""
    attention = Attention(256, 4, 0.0)
    attention(torch.randn(8, 1, 256), torch.randn(8, 1, 256), None).pow(3).sum().backward()
    assert attention.in_proj_weight.grad is not None
    assert not attention.in_proj_weight.grad[:512].any()
    assert attention.in_proj_weight.grad[512:].any()


@pytest.mark.parametrize("num_places", [1, 6])
def test_the_bias_of_keys_has_no_gradient_at_all(num_places: int) -> None:
    attention = randomised(Attention(16, 4, 0.2))
    attention(torch.randn(2, 3, 16), torch.randn(2, num_places, 16), keys(2)).square().sum().backward()
    assert attention.in_proj_bias.grad is not None
    assert not attention.in_proj_bias.grad[16:32].any()
    assert attention.in_proj_bias.grad[32:].all()


@pytest.mark.parametrize("visible", [None, CAUSAL], ids=["all", "causal"])
def test_an_encoder_is_that_of_torch(visible: Tensor | None) -> None:
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    hidden = None if visible is None else ~visible
    seen = None if visible is None else visible.expand(2, 5, 5)
    compare(
        EncoderLayer(CONFIG), layer, lambda module: module(x, None, seen), lambda module: module(x, src_mask=hidden)
    )
    compare(
        Encoder(CONFIG, 2),
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        lambda module: module(x, None, seen),
        lambda module: module(x, mask=hidden),
    )


@pytest.mark.parametrize("num_queries", [1, 4])
def test_a_decoder_is_that_of_torch(num_queries: int) -> None:
    x = torch.randn(2, num_queries, 16, dtype=torch.float64)
    memory = torch.randn(2, 7, 16, dtype=torch.float64)
    layer = nn.TransformerDecoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    compare(DecoderLayer(CONFIG), layer, lambda module: module(x, memory, None), lambda module: module(x, memory))
    compare(
        Decoder(CONFIG, 2),
        nn.TransformerDecoder(layer, 2),
        lambda module: module(x, memory, None),
        lambda module: module(x, memory),
    )


def test_dropout_keeps_its_share_and_scales_the_rest() -> None:
    dropout = Dropout(0.25)
    dropped = dropout(torch.ones(100, 1000), keys(100))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert abs((dropped == 0).float().mean().item() - 0.25) < 0.005


def test_dropout_is_off_in_eval_mode_and_at_zero() -> None:
    x = torch.randn(3, 5)
    assert Dropout(0.5).eval()(x, None) is x
    assert Dropout(0.0)(x, None) is x


def test_dropout_without_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="give one per sample"):
        Dropout(0.5)(torch.randn(3, 5), None)


def test_a_mask_depends_on_the_key_and_the_site_alone() -> None:
    first, second = Dropout(0.5), Dropout(0.5)
    number_dropouts(nn.ModuleList([first, second]))
    x = torch.ones(4, 200)
    together = first(x, keys(4))
    assert torch.equal(together[2:3], first(x[:1], keys(4)[2:3]))
    assert not torch.equal(together, second(x, keys(4)))


@pytest.mark.parametrize("layer", [EncoderLayer(DROPPING), DecoderLayer(DROPPING)])
def test_every_dropout_of_a_layer_drops_as_in_torch(layer: EncoderLayer) -> None:
    """Each place of a mask, with all others off, changes the output: none is forgotten or without keys."""
    number_dropouts(layer)
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    arguments = (x, memory) if isinstance(layer, DecoderLayer) else (x,)
    dropouts = [part for part in layer.modules() if isinstance(part, Dropout)]
    theirs = (nn.TransformerDecoderLayer if isinstance(layer, DecoderLayer) else nn.TransformerEncoderLayer)(16, 4, 24)
    attentions = sum(isinstance(part, nn.MultiheadAttention) for part in theirs.modules())
    assert len(dropouts) == attentions + sum(isinstance(part, nn.Dropout) for part in theirs.modules())
    whole = layer.eval()(*arguments, None)
    for dropout in dropouts:
        dropout.train()
        assert not torch.allclose(layer(*arguments, keys(2)), whole), dropout.site
        dropout.eval()


@pytest.mark.parametrize("rows", [(2, 5), (4, 5), (2, 9)])
def test_a_mask_of_weights_begins_alike_whatever_follows(rows: tuple[int, int]) -> None:
    attention = Attention(16, 4, 0.5)
    whole = attention._drop(torch.ones(1, 4, 4, 9), keys(1))
    assert torch.equal(attention._drop(torch.ones(1, 4, *rows), keys(1)), whole[..., : rows[0], : rows[1]])


def test_attention_drops_weights_as_a_mean_of_many_keys_shows() -> None:
    attention = randomised(Attention(16, 4, 0.3))
    query, memory = torch.randn(1, 2, 16), torch.randn(1, 3, 16)
    many = attention(query.expand(20_000, -1, -1), memory.expand(20_000, -1, -1), keys(20_000))
    error = (many.mean(0) - attention.eval()(query, memory, None)[0]) / (many.std(0) / 20_000**0.5)
    assert error.square().mean().sqrt().item() == pytest.approx(1, abs=0.8)  # in standard errors
    assert error.abs().max() < 4


def test_evaluation_gives_every_part_its_mode_back() -> None:
    layer = EncoderLayer(DROPPING)
    layer.dropout1.eval()
    modes = [part.training for part in layer.modules()]
    with evaluation(layer):
        assert not any(part.training for part in layer.modules())
        assert not torch.is_grad_enabled()
    assert [part.training for part in layer.modules()] == modes


def test_widths_that_heads_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="embed_dim 10 is not a multiple of num_heads 4"):
        TransformerConfig(embed_dim=10, num_heads=4)


def test_what_is_null_follows_from_the_rest() -> None:
    config = TransformerConfig(embed_dim=16, dropout=0.2)
    assert (config.hidden_dim, config.weight_dropout) == (64, 0.2)
    assert TransformerConfig(attention_dropout=0.0, dropout=0.2).weight_dropout == 0.0
