"""Which objectives there are. A kind is one file with its config, and one name here."""

from typing import Annotated

from pydantic import Field

from mien.objectives.bridge import EmbeddingBridgeConfig
from mien.objectives.diffusion import DdpmConfig
from mien.objectives.expression import JointConfig
from mien.objectives.face_id import FaceIdConfig
from mien.objectives.objective import Objective
from mien.objectives.prediction import PredictionConfig

ObjectiveConfig = Annotated[
    JointConfig | PredictionConfig | FaceIdConfig | DdpmConfig | EmbeddingBridgeConfig, Field(discriminator="kind")
]
"""Every kind of objective."""


def build(config: ObjectiveConfig) -> Objective:
    """Networks with random parameters (torch's own generator: seed it first), and what is asked of them."""
    return config.build()
