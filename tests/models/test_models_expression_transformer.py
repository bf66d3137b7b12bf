"""Expression tokens against the same network of torch's modules."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mien import draws
from mien.models.expression_transformer import (
    ExpressionTransformer,
    ExpressionTransformerConfig,
    SubjectInvariantTransformerConfig,
)
from mien.models.layers import Dropout
from mien.models.positions import sinusoidal_grid

SMALL: dict[str, Any] = {"embed_dim": 16, "num_heads": 4, "num_layers": 2, "ff_dim": 24, "num_patches": 9}
KINDS = [ExpressionTransformerConfig(**SMALL, max_subjects=5), SubjectInvariantTransformerConfig(**SMALL)]


def faces(num: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(num, 9, 16), torch.randn(9, 16), torch.arange(num)


def keys(num: int = 3) -> Tensor:
    return draws.keys(0, "dropout", torch.arange(num))


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_sizes_of_the_default_are_known() -> None:
    model = ExpressionTransformerConfig().build()
    assert parameters(model) == 7_971_072
    assert parameters(model.transformer_decoder) == 7_104_000
    assert model.subject_embeddings.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.delta_pos_embed.std().item() == pytest.approx(0.02, rel=0.02)


def test_a_token_is_that_of_the_modules_of_torch() -> None:
    tokens, positions, subjects = faces()
    model = KINDS[0].build().eval()
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 24, batch_first=True), 2).eval()
    decoder.load_state_dict(model.transformer_decoder.state_dict())
    with torch.no_grad():
        subject = model.subject_embeddings.weight[subjects]
        memory = torch.cat([subject[:, None], tokens + positions + model.delta_pos_embed], dim=1)
        read = decoder(model.expression_query.expand(3, 1, 16), memory)
        expected = F.normalize(model.layer_norm(model.output_projection(read)), dim=-1)[:, 0]
    torch.testing.assert_close(model(tokens, positions, subjects), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_tokens_have_length_one_and_inference_is_eval(config: Any) -> None:
    model, arguments = config.build(), faces()
    noisy = model(*arguments, keys())
    torch.testing.assert_close(noisy.norm(dim=-1), torch.ones(3))
    inferred = model.inference(*arguments)
    assert model.training
    assert not inferred.requires_grad
    assert not torch.allclose(noisy, inferred)
    torch.testing.assert_close(model.eval()(*arguments), inferred, rtol=0, atol=0)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_a_face_does_not_see_its_neighbours(config: Any) -> None:
    model, (tokens, positions, subjects) = config.build().double(), faces()
    together = model(tokens.double(), positions.double(), subjects, keys())
    alone = [
        model(tokens[n : n + 1].double(), positions.double(), subjects[n : n + 1], keys()[n : n + 1]) for n in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_every_dropout_has_its_own_site(config: Any) -> None:
    sites = [part.site for part in config.build().modules() if isinstance(part, Dropout)]
    assert len(set(sites)) == len(sites) == 12


def test_subject_and_offsets_learn_from_the_token() -> None:
    model: ExpressionTransformer = KINDS[0].build()  # type: ignore[assignment]
    tokens, positions, subjects = faces()
    model(tokens, positions, subjects, keys())[:, 0].sum().backward()
    assert model.subject_embeddings.weight.grad is not None
    assert model.subject_embeddings.weight.grad[:3].any(1).all()
    assert not model.subject_embeddings.weight.grad[3:].any()
    assert model.delta_pos_embed.grad is not None
    assert model.delta_pos_embed.grad.any()


def test_positions_are_moved_by_the_offsets_and_pass_gradients() -> None:
    model = KINDS[0].build()
    moved = model.positions(faces()[1])
    torch.testing.assert_close(moved, faces()[1] + model.delta_pos_embed[0])
    assert moved.requires_grad


def test_a_subject_without_a_row_is_refused() -> None:
    tokens, positions, _ = faces()
    with pytest.raises(ValueError, match="subject 7 has no row: max_subjects is 5"):
        KINDS[0].build()(tokens, positions, torch.tensor([0, 7, 1]), keys())


def test_the_invariant_design_hears_of_no_subject_and_has_its_own_positions() -> None:
    model = KINDS[1].build().eval()
    tokens, positions, subjects = faces()
    assert torch.equal(model(tokens, positions, subjects), model(tokens, 0 * positions, subjects + 900))
    torch.testing.assert_close(model.positions(positions), sinusoidal_grid(9, 16), rtol=0, atol=0.01)
    assert set(dict(model.named_buffers())) == {"pos_base"}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_a_dimension_too_many_is_refused(config: Any) -> None:
    tokens, positions, subjects = faces()
    with pytest.raises((ValueError, RuntimeError), match=r"three dimensions|same number of dimensions"):
        config.build().eval()(tokens[:, None], positions, subjects)
