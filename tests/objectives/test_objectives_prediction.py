"""The predictor's objective against its networks called clip by clip."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from clip_batches import CONFIGS, clips, objective
from mien.errors import ConfigError
from mien.losses.weights import Anchors
from mien.objectives.prediction import Prediction, PredictionConfig

CONFIG = CONFIGS["prediction"]


def test_terms_are_those_of_each_clip_alone_over_all_its_frames() -> None:
    model, lengths = objective(CONFIG).eval(), (5, 2, 1)
    assert isinstance(model, Prediction)
    batch = clips(lengths)
    outcome = model(batch)
    errors = []
    for clip, length in enumerate(lengths[:2]):
        subjects = batch.subjects[clip].expand(length)
        tokens = model.expression_transformer(batch.tokens[clip, :length], batch.positions, subjects)
        for frame in range(1, length):
            foretold = model.transformer_decoder(tokens[None, :frame], torch.ones(1, frame, dtype=torch.bool))[0, -1]
            errors.append((1 - F.cosine_similarity(foretold, tokens[frame], dim=0)) / (length - 1))
    assert outcome.terms["prediction"].count == 2
    torch.testing.assert_close(outcome.terms["prediction"].sum, torch.stack(errors).sum())


def test_a_detached_target_changes_the_gradient_alone() -> None:
    detached, attached = objective(CONFIG), objective(CONFIG.model_copy(update={"detach_target": False}))
    sums = [model(clips()).terms["prediction"].sum for model in (detached, attached)]
    assert torch.equal(sums[0], sums[1])
    query = "expression_transformer.expression_query"
    gradients = [
        torch.autograd.grad(total, model.get_parameter(query))[0]
        for total, model in zip(sums, (detached, attached), strict=True)
    ]
    assert all(gradient.any() for gradient in gradients)
    assert not torch.allclose(*gradients)


def test_the_defaults_are_those_of_the_first_run() -> None:
    config = PredictionConfig()
    assert (config.expression.num_heads, config.expression.num_layers, config.expression.hidden_dim) == (8, 4, 1536)
    assert config.weights.prediction == Anchors(initial=0.01, warmup=0.15, final=0.5)


def test_a_clip_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="17 frames is longer than max_length 16"):
        objective(CONFIG)(clips(padded_to=17))


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="embed_dim is 384 in expression and 768 in predictor"):
        PredictionConfig.parse({"predictor": {"embed_dim": 768}}, "run.yaml")


def test_a_checkpoint_holds_the_networks_under_their_names() -> None:
    names = {name.partition(".")[0] for name in objective(CONFIG).state_dict()}
    assert names == {"expression_transformer", "transformer_decoder"}
