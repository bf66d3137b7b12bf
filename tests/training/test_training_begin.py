"""A run begins with the models that another one trained, and keeps those that it had not."""

from pathlib import Path

import pytest
import torch

from mien.errors import CheckpointError
from mien.models import checkpoint
from mien.objectives.expression import JointConfig
from mien.objectives.face_id import FaceIdConfig
from mien.objectives.objective import Objective
from mien.objectives.prediction import PredictionConfig
from mien.storage.local import LocalStore
from mien.training.begin import begin_with, is_seed
from pickle_bomb import WRAPPINGS
from training_runs import DIM, JOINT


def joint(**changes: int) -> Objective:
    expression = JOINT["expression"] | changes  # type: ignore[operator]
    return JointConfig.parse(JOINT | {"expression": expression}, "test").build()


def prediction() -> Objective:
    expression = JOINT["expression"]
    predictor = {"embed_dim": DIM, "num_heads": 2, "ff_dim": 12, "num_layers": 1, "max_length": 9}
    return PredictionConfig.parse({"expression": expression, "predictor": predictor}, "test").build()


def ran(place: Path, objective: Objective) -> str:
    parts = {"model": objective.state_dict(), "optimizer": {}, "ema": {}}
    parts["ema"] = {name: tensor + 1 for name, tensor in objective.named_parameters()}
    parts["ema"] = {name: tensor.detach() for name, tensor in parts["ema"].items()}
    checkpoint.write(LocalStore(place), 3, parts, {})
    return str(place)


def test_the_same_models_get_the_averaged_weights_and_others_keep_theirs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before, after = joint(), prediction()
    own = {name: tensor.clone() for name, tensor in after.state_dict().items()}
    begin_with(after, ran(tmp_path, before))
    averaged = dict(before.named_parameters())
    for name, tensor in after.state_dict().items():
        if name.startswith("expression_transformer."):
            assert torch.equal(tensor, averaged[name] + 1), name
        else:
            assert torch.equal(tensor, own[name]), name


def test_nothing_in_common_is_refused(tmp_path: Path) -> None:
    face_id = FaceIdConfig.parse({"model": {"embed_dim": DIM, "num_heads": 2}}, "test").build()
    with pytest.raises(CheckpointError, match="holds no model of this objective, whose models are face_id_model"):
        begin_with(face_id, ran(tmp_path, joint()))


def test_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    place = ran(tmp_path, joint())
    with pytest.raises(CheckpointError, match=r"expression_transformer: is of another arch.*is \[6, 8\], not \[9, 8\]"):
        begin_with(joint(max_subjects=9), place)


def test_a_place_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        begin_with(joint(), str(tmp_path))


def test_a_file_of_the_first_tools_is_known_by_its_name() -> None:
    assert [is_seed(place) for place in ("a/b.pt", "b.pth", "run", "run/checkpoints/step_1", "b.pt/run")] == [
        *(True, True),
        *(False, False, False),
    ]


def test_weights_of_the_first_tools_are_taken_by_model(tmp_path: Path) -> None:
    torch.manual_seed(1)
    old, new = joint(), joint()
    section = {"max_subjects": 6, "num_layers": 1, "num_heads": 2, "embed_dim": DIM}
    content = {
        "expression_transformer_state_dict": old.get_submodule("expression_transformer").state_dict(),
        "config": {"expression_model": section},
    }
    torch.save(content, tmp_path / "old.pt")
    kept = new.state_dict()["expression_reconstruction.patch_embeddings"].clone()
    begin_with(new, str(tmp_path / "old.pt"))
    for name, tensor in old.get_submodule("expression_transformer").state_dict().items():
        assert torch.equal(new.state_dict()[f"expression_transformer.{name}"], tensor), name
    assert torch.equal(new.state_dict()["expression_reconstruction.patch_embeddings"], kept)


@pytest.mark.parametrize("wrapping", ["pickle", "pt"])
def test_a_pickle_runs_nothing(tmp_path: Path, wrapping: str) -> None:
    (tmp_path / "old.pt").write_bytes(WRAPPINGS[wrapping](tmp_path / "mark"))
    with pytest.raises(CheckpointError):
        begin_with(joint(), str(tmp_path / "old.pt"))
    assert not (tmp_path / "mark").exists()
