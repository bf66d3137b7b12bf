"""Foretold tokens against the same network of torch's modules."""

import pytest
import torch
from torch import Tensor, nn

from mien import draws
from mien.models.layers import Dropout
from mien.models.predictor import PredictorConfig

CONFIG = PredictorConfig(embed_dim=16, num_heads=4, num_layers=2, max_length=6)


def clips(num: int, length: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(num, length, 16), torch.ones(num, length, dtype=torch.bool)


def test_the_sizes_of_the_default_are_known() -> None:
    assert sum(p.numel() for p in PredictorConfig().build().parameters()) == 7_265_664


def test_predictions_are_those_of_the_modules_of_torch() -> None:
    model, (tokens, mask) = CONFIG.build().eval(), clips(2, 5)
    layer = nn.TransformerEncoderLayer(16, 4, 64, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    encoder.load_state_dict(model.transformer_encoder.state_dict())
    causal = torch.full((5, 5), -torch.inf).triu(1)
    read = encoder(tokens + model.position_embeddings[:, :5], causal)
    expected = model.output_projection(model.layer_norm(read))
    torch.testing.assert_close(model(tokens, mask), expected, rtol=1e-5, atol=1e-5)


def test_no_frame_sees_a_later_one() -> None:
    model, (tokens, mask) = CONFIG.build().eval(), clips(1, 5)
    later = tokens.clone()
    later[:, 3] += 1
    before, after = model(tokens, mask), model(later, mask)
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(-1).all()


def test_nobody_sees_a_frame_that_is_not_there() -> None:
    model, (tokens, mask) = CONFIG.build().eval(), clips(1, 5)
    mask[0, [0, 2]] = False
    other = torch.where(mask[..., None], tokens, 100.0)
    assert torch.equal(model(tokens, mask)[mask], model(other, mask)[mask])
    trained = model.train()(other, mask, draws.keys(0, "dropout", torch.arange(1)))
    assert trained.isfinite().all()
    trained[mask].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_clip_does_not_see_its_neighbours_with_dropout() -> None:
    model, (tokens, mask) = CONFIG.build().double(), clips(3, 4)
    keys = draws.keys(0, "dropout", torch.arange(3))
    together = model(tokens.double(), mask, keys)
    alone = [model(tokens[n : n + 1].double(), mask[n : n + 1], keys[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)


def test_the_next_token_follows_the_last_valid_frame() -> None:
    model, (tokens, mask) = CONFIG.build(), clips(3, 5)
    mask[1, 3:] = False
    mask[2, 1:] = False
    following = model.predict_next(tokens, mask)
    assert model.training
    whole = model.eval()(tokens, mask)
    torch.testing.assert_close(following, torch.stack([whole[0, 4], whole[1, 2], whole[2, 0]]))


def test_a_clip_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="7 frames is longer than max_length 6"):
        CONFIG.build()(*clips(1, 7))


@pytest.mark.usefixtures("unchecked")
def test_frames_taken_for_clips_are_refused() -> None:
    tokens, _ = clips(5, 1)
    with pytest.raises(ValueError, match=r"give .*\[b, t\]"):
        CONFIG.build().eval()(tokens, torch.ones(1, 5, dtype=torch.bool))


def test_every_dropout_has_its_own_site() -> None:
    sites = [part.site for part in CONFIG.build().modules() if isinstance(part, Dropout)]
    assert len(set(sites)) == len(sites) == 8
