"""What a trained model says of the faces of a clip: a token for each frame, from crops or from stored patch tokens."""

from typing import NamedTuple

import numpy as np
import torch

from mien.datasets.dataset import Dataset
from mien.features.network import Network
from mien.features.recorded import differing
from mien.features.registry import Resolved
from mien.log import logger
from mien.objectives.face_id import FaceId
from mien.objectives.objective import Objective
from mien.objectives.prediction import Prediction


class Foretold(NamedTuple):
    """Tokens of a clip from its second frame on, [T - 1, D] each."""

    target: np.ndarray
    """That came."""
    prediction: np.ndarray
    """That was foretold from all frames before."""


class TokenMaker:
    """Model and backbone in memory, on the GPU if there is one."""

    def __init__(self, objective: Objective, backbone: Resolved, file: bytes | None = None) -> None:
        """Load the backbone.

        Args:
            objective: Of joint, prediction or face_id, as it was trained.
            backbone: The frozen network that made the tokens of the run.
            file: Its weights, where this machine does not see them.

        Raises:
            AssetError: The weights of the backbone cannot be had.
        """
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.objective = objective.to(self.device)
        self._is_told_who = not isinstance(self.objective, FaceId)
        self._model = self.objective.get_submodule("expression_transformer" if self._is_told_who else "face_id_model")
        self._backbone = Network(backbone, file)
        self.positions = self._backbone.positions().to(self.device)

    def patches(self, frames: torch.Tensor) -> torch.Tensor:
        """Patch tokens [n, P, D] of crops uint8 [n, H, H, 3]; what is patch tokens already comes back as it is."""
        return self._backbone.embed(frames) if frames.dtype == torch.uint8 else frames

    def tokens(self, patches: torch.Tensor, row: int) -> torch.Tensor:
        """What the model says of faces [n, P, D], all of the subject of one row of its table: [n, D]."""
        rows = [torch.full((len(patches),), row, device=self.device)] if self._is_told_who else []
        tokens: torch.Tensor = self._model(patches, self.positions, *rows)
        return tokens

    @torch.inference_mode()
    def of_frames(self, frames: np.ndarray, row: int, batch: int) -> np.ndarray:
        """Tokens float32 [F, D] of all frames of a clip, `batch` of them in a forward pass.

        Args:
            frames: Crops uint8 [F, H, H, 3], or patch tokens float32 [F, P, D].
            row: Of the subject, in the model's table.
            batch: How many at once.
        """
        parts = [torch.from_numpy(part).to(self.device) for part in _parts(frames, batch)]
        return torch.cat([self.tokens(self.patches(part), row) for part in parts]).float().cpu().numpy()

    @torch.inference_mode()
    def foretold(self, tokens: np.ndarray) -> Foretold | None:
        """What the predictor of a model says of tokens [T, D], as many as it can read; None where there is none."""
        if not isinstance(self.objective, Prediction) or len(tokens) < 2:
            return None
        given = torch.from_numpy(tokens[: self.objective.config.predictor.max_length])[None].to(self.device)
        mask = torch.ones(given.shape[:2], dtype=torch.bool, device=self.device)
        predicted = self.objective.transformer_decoder(given, mask)[0].float().cpu().numpy()
        return Foretold(tokens[1 : len(predicted)], predicted[:-1])


def has_tokens(dataset: Dataset, backbone: Resolved) -> bool:
    """Whether a dataset has the patch tokens of a backbone; else they are computed from its crops."""
    made_by = dict(dataset.record.get("models", {}).get("feature", {}))
    keys = differing(made_by, backbone)
    if keys:
        reason = f"those of the dataset are others: {', '.join(keys)} differ" if made_by else "the dataset has none"
        logger.info("tokens   computed from crops (%s)", reason)
    return not keys


def _parts(frames: np.ndarray, batch: int) -> list[np.ndarray]:
    return [frames[start : start + batch] for start in range(0, len(frames), batch)]
