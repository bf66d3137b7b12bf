"""The joint objective against its networks called frame by frame, and what freezing leaves to learn."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from clip_batches import CONFIGS, backward, clips, objective
from mien.errors import ConfigError
from mien.models.expression_transformer import ExpressionTransformer
from mien.models.reconstruction import Reconstruction
from mien.objectives.expression import Joint, JointConfig

JOINT = CONFIGS["joint"]
FROZEN = JOINT.model_copy(update={"freeze_expression_transformer": True})


def test_a_batch_is_its_frames_one_by_one() -> None:
    """As the networks are wired: each frame's token, its subject's embedding, and positions with offsets."""
    model, batch = objective(JOINT).eval(), clips((4, 2))
    assert isinstance(model, Joint)
    token_model, image_model = model.expression_transformer, model.expression_reconstruction
    assert isinstance(token_model, ExpressionTransformer)
    assert isinstance(image_model, Reconstruction)
    outcome, errors = model(batch), []
    assert batch.images is not None
    for clip, length in enumerate((4, 2)):
        subject = batch.subjects[clip : clip + 1]
        images = []
        for frame in range(length):
            token = token_model(batch.tokens[clip, frame][None], batch.positions, subject)
            torch.testing.assert_close(outcome.tokens[clip, frame], token[0])
            positions = batch.positions + token_model.delta_pos_embed[0]
            there = torch.ones(1, 1, dtype=torch.bool)
            images.append(image_model(token_model.subject_embeddings(subject), token, positions, there))
        errors.append(F.mse_loss(torch.cat(images), batch.images[clip, :length]))
    found, expected = outcome.terms["reconstruction"].sum, torch.stack(errors).sum()
    torch.testing.assert_close(found, expected)
    shared = [token_model.delta_pos_embed, token_model.subject_embeddings.weight]  # learn from pixels on two ways
    gradients, others = torch.autograd.grad(found, shared), torch.autograd.grad(expected, shared)
    torch.testing.assert_close(gradients, others, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("mode", [True, False])
def test_a_frozen_token_neither_learns_nor_shakes(mode: bool) -> None:
    free, frozen = objective(JOINT), objective(FROZEN)
    frozen.load_state_dict(free.state_dict())
    frozen.train(mode)
    assert frozen.training == mode
    assert not any(part.training for part in frozen.get_submodule("expression_transformer").modules())
    assert all(part.training == mode for part in frozen.get_submodule("expression_reconstruction").modules())
    tokens = frozen(clips()).tokens
    assert not tokens.requires_grad
    assert torch.equal(tokens, free.eval()(clips()).tokens)


def test_a_frozen_token_leaves_the_error_of_pixels_alone_to_learn_from() -> None:
    frozen = objective(FROZEN)
    sums, _, gradients = backward(frozen, clips())
    assert set(sums) == {"reconstruction"} == set(frozen.weights(0, 1)) == set(frozen.counts(clips()))
    assert {name.partition(".")[0] for name in gradients} == {"expression_reconstruction"}


def test_a_batch_without_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images: are missing.*load the crops"):
        objective(JOINT)(replace(clips(), images=None))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"expression": {"embed_dim": 768}}, "embed_dim is 768 in expression and 384 in reconstruction"),
        ({"reconstruction": {"num_patches": 64}}, "num_patches is 1369 in expression and 64 in reconstruction"),
        ({"expression": {"kind": "subject_invariant"}}, "make the kind of reconstruction subject_reconstruction"),
    ],
)
def test_networks_that_do_not_fit_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        JointConfig.parse(values, "run.yaml")


def test_a_checkpoint_holds_the_networks_under_their_names() -> None:
    names = {name.partition(".")[0] for name in objective(JOINT).state_dict()}
    assert names == {"expression_transformer", "expression_reconstruction"}


COMPILED = """
import torch
from clip_batches import CONFIGS, clips, objective
model, batch = objective(CONFIGS["joint"]).train(), clips()
expected = model(batch).tokens
torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(batch).tokens, expected)
assert not torch.equal(expected, model.eval()(batch).tokens), "nothing was dropped"
"""


def test_a_compiled_step_is_one_graph_with_the_same_dropout(repository: Path) -> None:
    """In a process of its own: the shapes that are checked under pytest would break the graph."""
    places = os.pathsep.join([str(repository / "tests"), str(repository / "platform")])
    subprocess.run([sys.executable, "-c", COMPILED], check=True, env={**os.environ, "PYTHONPATH": places})
