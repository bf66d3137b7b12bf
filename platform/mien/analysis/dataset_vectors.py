"""One vector for each frame of a dataset, of some of its clips: what figures about vectors are drawn from."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pyarrow.compute as pc
from pydantic import Field

from mien.analysis.dataset_tracks import TracksConfig
from mien.datasets.dataset import Dataset, Sample
from mien.errors import DatasetError
from mien.evaluation.embedded import Floats, Ints

VectorColumn = Literal["feature", "blendshapes", "landmarks", "head_pose", "box"]


class VectorsConfig(TracksConfig):
    """Which vectors, and of how many frames."""

    column: VectorColumn = "feature"
    """Column of the dataset; patch tokens are averaged over the patches, other tensors laid flat."""
    max_frames: int = Field(300, ge=1)
    """Frames of each that are kept: the first ones that have a vector."""


@dataclass(frozen=True)
class Vectors:
    """N frames of C clips; two people in one clip are two clips here.

    Raises:
        ValueError: Shapes do not fit.
        DatasetError: There is no frame, or a number is not finite.
    """

    values: Floats
    """[N, D]."""
    clip: Ints
    """[N], number of the clip, 0 to C - 1."""
    frame: Ints
    """[N], number of the frame within its clip, rising; frames without a vector leave gaps."""
    clip_names: tuple[str, ...]
    """[C]."""
    subjects: tuple[str, ...]
    """[C], who is in each clip."""
    place: str
    """What an error calls them."""
    num_left_out: int = 0
    """Frames that were read and had no vector."""

    def __post_init__(self) -> None:
        """Refuse what would give wrong numbers later."""
        num = len(self.values)
        if self.values.ndim != 2 or {self.clip.shape, self.frame.shape} != {(num,)}:
            raise ValueError(
                f"values {self.values.shape}, clip {self.clip.shape}, frame {self.frame.shape}: do not fit"
            )
        if len(self.subjects) != len(self.clip_names):
            raise ValueError(f"{len(self.subjects)} subjects for {len(self.clip_names)} clips; give one each")
        if not num:
            raise DatasetError(f"{self.place}: none of its frames has a vector; give clips with faces")
        if bad := int((~np.isfinite(self.values).all(1)).sum()):
            raise DatasetError(f"{self.place}: {bad} of {num} vectors are not finite; leave these frames out")

    @property
    def subject(self) -> Ints:
        """[N], number of the person, in the order of their first clips."""
        number = {name: place for place, name in enumerate(dict.fromkeys(self.subjects))}
        return np.array([number[name] for name in self.subjects])[self.clip]

    @property
    def subject_names(self) -> list[str]:
        """By that number."""
        return list(dict.fromkeys(self.subjects))

    def facts(self) -> dict[str, Any]:
        """What the vectors are of, as plain values."""
        return {
            "place": self.place,
            "num_frames": len(self.values),
            "num_frames_left_out": self.num_left_out,
            "num_dimensions": self.values.shape[1],
            "num_clips": len(self.clip_names),
            "num_subjects": len(self.subject_names),
        }


def lacking(dataset: Dataset, column: str) -> str | None:
    """Why a dataset has no such vectors, as its index and its first face track tell it; none where it has them."""
    if not pc.sum(dataset.index_file.column("num_detected")).as_py():
        return "no clip shows a face"
    columns = dataset.sample(0).columns
    if column in columns:
        return None
    has = ", ".join(name for name in columns if name in get_args(VectorColumn)) or "no vectors"
    return f"is not there, but {has}; name another as vectors.column, or serialize with features"


def read(dataset: Dataset, config: VectorsConfig) -> Vectors:
    """Read them clip by clip; of a clip no more stays in memory than its vectors.

    Args:
        dataset: Of `mien serialize`.
        config: Which.

    Raises:
        DatasetError: The dataset lacks the column or has no clip, or no frame has a vector.
    """
    place = f"{dataset.uri}: column {config.column}{_warning(dataset, config.column)}"
    if reason := lacking(dataset, config.column):
        raise DatasetError(f"{place}: {reason}")
    parts, names, subjects, num_left_out = [], list[str](), list[str](), 0
    for number in config.choose(dataset):
        sample = dataset.sample(number)
        frames = _vectors(sample, config.column)
        frame = np.flatnonzero(np.isfinite(frames).all(1))
        num_left_out += len(frames) - len(frame)
        if len(frame):
            kept = frame[: config.max_frames]
            parts.append((frames[kept].astype(np.float64), np.full(len(kept), len(names)), kept))
            names.append(f"{sample.clip_id}/{sample.track}")
            subjects.append(sample.row["subject"] or sample.row["source_uri"])
    if not parts:
        raise DatasetError(f"{place}: none of {len(dataset)} face tracks has a frame with a vector")
    values, clip, frame = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Vectors(values, clip, frame, tuple(names), tuple(subjects), place, num_left_out)


def _warning(dataset: Dataset, column: str) -> str:
    """Stands wherever the vectors are named: features of a network that was not trained mean nothing."""
    models = dataset.record.get("models", {}).values()
    is_random = column == "feature" and any(facts.get("weights") == "random" for facts in models)
    return " of RANDOM weights" if is_random else ""


def _vectors(sample: Sample, column: str) -> Floats:
    """[T, D]; NaN where a frame has none."""
    values = np.asarray(sample[column])
    if column == "feature" and values.ndim == 3:  # patch tokens [T, P, D]
        return np.asarray(values.mean(1, dtype=np.float32))
    return values.reshape(len(values), -1)
