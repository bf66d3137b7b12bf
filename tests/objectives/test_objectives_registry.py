import pytest
from pydantic import TypeAdapter

from clip_batches import CONFIGS
from mien.config import Config
from mien.errors import ConfigError
from mien.objectives.expression import Joint
from mien.objectives.face_id import FaceId
from mien.objectives.prediction import Prediction
from mien.objectives.registry import ObjectiveConfig, build

CLASSES = {"joint": Joint, "prediction": Prediction, "face_id": FaceId}


class Run(Config):
    objective: ObjectiveConfig
    """What is trained."""


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_is_read_back_and_built(kind: str) -> None:
    values = CONFIGS[kind].dump()
    config = TypeAdapter(ObjectiveConfig).validate_python(values)
    assert config == CONFIGS[kind]
    assert type(build(config)) is CLASSES[values["kind"]]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.kind: 'gan' is not one of"):
        Run.parse({"objective": {"kind": "gan"}}, "run.yaml")


def test_weights_are_given_in_short() -> None:
    run = Run.load(
        None, ["objective.kind=joint", "objective.weights.temporal=0", "objective.weights.diversity=[0,1,2]"]
    )
    assert run.objective.weights.dump()["temporal"] == {"kind": "constant", "level": 0.0}
    assert run.objective.weights.dump()["diversity"]["warmup"] == 1.0
