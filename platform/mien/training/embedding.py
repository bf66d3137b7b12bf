"""What a trained model makes of a clip: tokens, scores of its pictures, and faces with another's expression."""

from typing import NamedTuple

import numpy as np
import safetensors.numpy
import torch

from mien import schema
from mien.analysis.clip_tokens import TokenMaker
from mien.datasets.dataset import Sample, open_dataset
from mien.datasets.frames import crop_pixels
from mien.errors import CheckpointError
from mien.evaluation.image_scores import MIN_SIDE_PX, FrameScores, MeanImages, score_frames
from mien.features.registry import Resolved
from mien.objectives.expression import Joint
from mien.objectives.load import Weights, load_objective
from mien.training.clip_tasks import NOBODY, ClipTask
from mien.training.forward import images_of

Arrays = dict[str, np.ndarray]
"""What is known of the frames of one clip, by the names below; F frames, those with a face."""

TASK = "task"
"""The `ClipTask` as int64 [7]."""
TIME_S, BLENDSHAPES = "time_s", "blendshapes"
"""[F], and [F, 52] where the dataset has them."""
TOKENS, POOLED = "tokens", "pooled"
"""[F, D] of the model, and [F, E]: patch tokens of the backbone, averaged."""
IMAGE_SUM = "image_sum"
"""Sum of the true images [3, S, S], of training clips of a model that makes images."""
SWAPPED_TOKENS, SWAPPED_POOLED = "swapped_tokens", "swapped_pooled"
"""The same as TOKENS and POOLED, of the face of the target with the expression of each frame."""
PSNR, SSIM = "psnr_db/", "ssim/"
"""Followed by a system of `FrameScores`: [F] each."""


class EmbeddingJob(NamedTuple):
    """What every worker is given; small."""

    checkpoint: str
    """One checkpoint, not a run: the newest of a run may be another one by the time that a worker starts."""
    weights: Weights
    dataset: str
    backbone: Resolved
    """The frozen network that made the tokens of the run."""
    is_stored: bool
    """The dataset has these very tokens."""
    batch: int
    """Frames of a forward pass."""


class Embedder:
    """Model and backbone in memory, on the GPU if there is one; called with one clip after the other."""

    def __init__(self, job: EmbeddingJob, weights: bytes | None = None, means: MeanImages | None = None) -> None:
        """Load both networks.

        Args:
            job: What is embedded by what.
            weights: File of the backbone, where this machine does not see the driver's disk.
            means: Of the training clips; with them, held-out clips of a joint model are scored and swapped.

        Raises:
            CheckpointError: It cannot be read.
            AssetError: The weights of the backbone cannot be had.
            DatasetError: There is none.
        """
        self._job, self._means = job, means
        self._maker = TokenMaker(load_objective(job.checkpoint, job.weights).objective, job.backbone, weights)
        self._joint = self._maker.objective if isinstance(self._maker.objective, Joint) else None
        self._dataset = open_dataset(job.dataset)

    def __call__(self, task: ClipTask) -> Arrays:
        """Embed one clip.

        Raises:
            CheckpointError: The model makes numbers that are none.
            DatasetError: The clip is damaged.
        """
        sample = self._dataset.sample(task.sample)
        kept = np.flatnonzero(np.asarray(sample["face"]) != schema.FACE_NONE)
        found: Arrays = {TASK: np.array(task, np.int64), TIME_S: np.asarray(sample["time_s"])[kept]}
        if BLENDSHAPES in sample.columns:
            found[BLENDSHAPES] = np.asarray(sample[BLENDSHAPES])[kept]
        parts = [self._part(task, *inputs) for inputs in self._inputs(sample, kept)]
        for name in parts[0] if parts else ():
            values = [part[name] for part in parts]
            found[name] = np.sum(values, axis=0) if name == IMAGE_SUM else np.concatenate(values)
        if not all(np.isfinite(found[name]).all() for name in (TOKENS, SWAPPED_TOKENS) if name in found):
            raise CheckpointError(
                f"{self._job.checkpoint}: its tokens are no numbers (clip {sample.clip_id}); take an earlier one"
            )
        return found

    def _inputs(self, sample: Sample, kept: np.ndarray) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
        """Crops uint8 [n, H, H, 3] and stored patch tokens [n, P, D] of one forward pass each, where there is need."""
        crops = stored = None
        if self._joint is not None or not self._job.is_stored:
            crops = crop_pixels(sample["crop"], self._dataset.crop_size_px)
        if self._job.is_stored:
            stored = np.asarray(sample["feature"])
        places = [kept[start : start + self._job.batch] for start in range(0, len(kept), self._job.batch)]
        return [(self._moved(crops, rows), self._moved(stored, rows)) for rows in places]

    def _moved(self, values: np.ndarray | None, rows: np.ndarray) -> torch.Tensor | None:
        return None if values is None else torch.from_numpy(values[rows]).to(self._maker.device)

    @torch.inference_mode()
    def _part(self, task: ClipTask, crops: torch.Tensor | None, stored: torch.Tensor | None) -> Arrays:
        """All that is known of the frames of one forward pass."""
        patches = self._maker.patches(_given(stored, crops))
        tokens = self._maker.tokens(patches, task.row)
        found = {TOKENS: tokens, POOLED: patches.mean(1)}
        if self._joint is None or crops is None or not task.is_known:
            return _plain(found)
        truth = images_of(crops, self._joint.config.reconstruction.image_size_px)
        if not task.is_held_out:
            return _plain(found | {IMAGE_SUM: truth.sum(0)})
        scores = self._scores(task, self._faces(self._joint, tokens, task.row), truth)
        return _plain(found | self._swapped(self._joint, task, tokens)) | scores

    def _faces(self, joint: Joint, tokens: torch.Tensor, row: int) -> torch.Tensor:
        """The face of one subject with the expressions of tokens [n, D]: [n, 3, S, S] in 0..1."""
        subject = joint.conditions.subject(torch.full((len(tokens),), row, device=self._maker.device))
        positions = joint.conditions.positions(self._maker.positions)
        mask = torch.ones(1, len(tokens), dtype=torch.bool, device=self._maker.device)
        images: torch.Tensor = joint.expression_reconstruction(subject, tokens, positions, mask)
        return images

    def _scores(self, task: ClipTask, images: torch.Tensor, truth: torch.Tensor) -> Arrays:
        if self._means is None or truth.shape[-1] < MIN_SIDE_PX:
            return {}
        person, clip = np.full(len(images), task.person), np.full(len(images), task.sample)
        return _named(score_frames(images, truth, person, clip, self._means))

    def _swapped(self, joint: Joint, task: ClipTask, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        """The swapped faces, seen again as crops are: through eight bits, the backbone and the expression model."""
        if task.target == NOBODY:
            return {}
        images = self._faces(joint, tokens, task.target_row)
        patches = self._maker.patches((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
        return {SWAPPED_TOKENS: self._maker.tokens(patches, task.target_row), SWAPPED_POOLED: patches.mean(1)}


def _given(stored: torch.Tensor | None, crops: torch.Tensor | None) -> torch.Tensor:
    """What patch tokens are made of: themselves, where they are stored."""
    given = crops if stored is None else stored
    if given is None:
        raise ValueError("a clip has neither stored tokens nor crops that the backbone could make them of")
    return given


def packed(arrays: Arrays) -> bytes:
    """The arrays of a clip in one piece: how they come back from a worker."""
    return bytes(safetensors.numpy.save({name: np.ascontiguousarray(values) for name, values in arrays.items()}))


def unpacked(data: bytes) -> Arrays:
    """What `packed` was given."""
    return dict(safetensors.numpy.load(data))


def _plain(tensors: dict[str, torch.Tensor]) -> Arrays:
    return {name: tensor.float().cpu().numpy() for name, tensor in tensors.items()}


def _named(scores: FrameScores) -> Arrays:
    kinds = {PSNR: scores.psnr_db, SSIM: scores.ssim}
    return {f"{kind}{system}": values for kind, found in kinds.items() for system, values in found.items()}
