"""One run: its config, and what the driver found out for the workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from mien.config import Config
from mien.datasets.subjects import Subjects
from mien.features.registry import Resolved
from mien.objectives.expression import JointConfig
from mien.objectives.registry import ObjectiveConfig
from mien.pipelines.cluster import ClusterConfig
from mien.training.augment import AugmentConfig
from mien.training.ema import EmaConfig
from mien.training.keep import CheckpointConfig
from mien.training.log import LogConfig
from mien.training.optim import OptimizerConfig
from mien.training.sample_data import CropDataConfig, EmbeddingDataConfig, ImageDataConfig
from mien.training.validate import ValidationConfig
from mien.training.windows import DataConfig as ClipDataConfig

_NOT_IDENTITY = {"output", "cluster", "workers", "log", "checkpoints", "num_steps", "num_epochs", "max_failures"}
"""Keys that may differ when a run is resumed: they change where and how long it runs, not what a step does."""


def _kind_of(values: Any) -> str:
    """Clips, where it is not said."""
    kind = values.get("kind", "clips") if isinstance(values, Mapping) else getattr(values, "kind", "clips")
    return str(kind)


DataConfig = Annotated[
    Annotated[ClipDataConfig, Tag("clips")]
    | Annotated[ImageDataConfig, Tag("images")]
    | Annotated[CropDataConfig, Tag("crops")]
    | Annotated[EmbeddingDataConfig, Tag("embeddings")],
    Discriminator(_kind_of),
]
"""Every kind of data."""

SAMPLES_OF = {"ddpm": ("images", "crops"), "bridge": ("embeddings",)}
"""Objective -> kinds of data that it learns from, where these are not clips."""


class BatchConfig(Config):
    """Clips of one optimiser step. The number of workers changes none of it."""

    size: int = Field(1, ge=1)
    """Clips of a step, over all workers."""
    per_forward: int | None = Field(None, ge=1)
    """Clips of a forward pass on one worker, where not `exact`; gradients of several passes are added up. By default
    all at once."""
    exact: bool = True
    """Clips go through the network one by one, all frames of each at once, and their gradients are summed in float64:
    any number of workers, with as many threads each, learns the same weights. `false` takes several clips at once,
    which is faster where clips are small, and sums by DDP: weights then differ by rounding, which Adam can turn into
    1e-4 in some hundred steps. Objectives that compare clips with each other are never exact."""

    @model_validator(mode="after")
    def _one_by_one(self) -> Self:
        if self.exact and self.per_forward not in {None, 1}:
            raise ValueError(f"batch.per_forward={self.per_forward} needs batch.exact=false: exact goes clip by clip")
        return self


class TrainWorkersConfig(Config):
    """Who trains. Nothing here changes what is learnt, up to rounding."""

    num: int | tuple[int, int] = 1
    """Workers, or [least, most]: the run shrinks and grows with the cluster."""
    num_cpus: float = Field(1.0, gt=0, allow_inf_nan=False)
    """CPUs of a worker, and threads of its network."""
    use_gpu: bool = False
    """Whether each has a GPU of its own."""
    resources: dict[str, float] = Field(default_factory=dict)
    """Custom resources of a worker, as its machines name them."""

    @model_validator(mode="after")
    def _counted(self) -> Self:
        least, most = self.bounds
        if not 1 <= least <= most:
            raise ValueError(f"workers.num: needs 1 ≤ least ≤ most, not {self.num}")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """Fewest and most workers."""
        return self.num if isinstance(self.num, tuple) else (self.num, self.num)


class TrainConfig(Config):
    """One run of `mien train`."""

    dataset: str
    """Dataset of `mien serialize`, a folder or gs://; or what else `data.kind` reads."""
    output: str = ""
    """Where checkpoints and logs go; on several machines a place that all of them see, as gs:// is."""
    objective: ObjectiveConfig = JointConfig()
    """Models and losses."""
    begin_with: str = ""
    """Checkpoint whose models this run begins with: a run, one of its checkpoints, or a .pt of the earlier tools."""
    data: DataConfig = ClipDataConfig()
    """What is read of the dataset."""
    augment: AugmentConfig = AugmentConfig()
    """Random changes of training clips."""
    batch: BatchConfig = BatchConfig()
    """Clips of a step."""
    num_epochs: float = Field(3.0, gt=0, allow_inf_nan=False)
    """Times that every window is seen."""
    num_steps: int | None = Field(None, ge=1)
    """Optimiser steps, in place of epochs."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """How weights move."""
    ema: EmaConfig | None = None
    """Average of the weights, which evaluations and demos then use."""
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    """Of the forward pass; weights, averages and sums are float32 under bfloat16 too."""
    compile: bool = False
    """Compile the network: a minute at the start, faster steps on a GPU."""
    seed: int = Field(0, ge=0, lt=2**62)
    """Of weights, order, windows, dropout and augmentation."""
    validation: ValidationConfig = ValidationConfig()
    """Held-out clips, every so often."""
    checkpoints: CheckpointConfig = CheckpointConfig()
    """When the run is saved."""
    log: LogConfig = LogConfig()
    """What is written down."""
    workers: TrainWorkersConfig = TrainWorkersConfig()
    """Who trains."""
    max_failures: int = Field(20, ge=0)
    """Times that workers may die of something other than a notice, before the run gives up; it resumes."""
    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs."""

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.batch.size < self.workers.bounds[1]:
            raise ValueError(
                f"batch.size: {self.batch.size} clips cannot be divided among {self.workers.bounds[1]} workers "
                "(workers.num); give each a clip at least"
            )
        if self.batch.per_forward is not None and self.objective.kind == "face_id":
            raise ValueError("batch.per_forward: face_id compares the clips of a step with each other; leave it out")
        kinds = SAMPLES_OF.get(self.objective.kind, ("clips",))
        if self.data.kind not in kinds:
            raise ValueError(f"data.kind={self.data.kind}: {self.objective.kind} learns from {' or '.join(kinds)}")
        if self.data.kind != "clips" and self.augment != AugmentConfig():
            raise ValueError("augment: is of clips; of images there is data.flip")
        if self.data.kind == "clips" and self.augment.changes_pixels and self.data.tokens == "stored":
            raise ValueError("augment: changes of pixels need data.tokens=online: stored tokens do not follow them")
        return self

    def identity(self) -> dict[str, Any]:
        """The keys that decide what a step does."""
        return {key: value for key, value in self.dump().items() if key not in _NOT_IDENTITY}


@dataclass(frozen=True)
class Job:
    """What every worker is given."""

    config: TrainConfig
    num_steps: int
    subjects: Subjects
    positions: np.ndarray
    """Position embeddings of the patches: float32 [P, D]; empty where there are none."""
    backbone: Resolved | None
    """The frozen network of online tokens."""
    facts: dict[str, Any]
    """Plain values that every checkpoint carries: code version, dataset, provenance of the tokens."""
