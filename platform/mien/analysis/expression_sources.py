"""Where expressions come from: a dataset, a checkpoint that looks at its clips, a file of arrays, or made ones."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from mien.analysis import synthetic
from mien.analysis.clip_choice import ClipsConfig, Shown, opened, shown
from mien.analysis.compute import Compute, here
from mien.analysis.expressions import Expressions, of_clip
from mien.analysis.synthetic import SyntheticConfig
from mien.analysis.target_prediction import Pair
from mien.config import Config
from mien.datasets.array_file import first_of, read_arrays
from mien.errors import ConfigError, DatasetError

Column = Literal["blendshapes", "feature", "landmarks"]
_COLUMNS: tuple[Column, ...] = ("blendshapes", "feature", "landmarks")

_EXPRESSIONS = "expression_embed"
"""What the first tools call expressions."""
_PICKLES = (".pt", ".pth")


class DatasetSourceConfig(ClipsConfig):
    """What a dataset says of each frame with a face."""

    kind: Literal["dataset"] = "dataset"
    """Kind of source."""
    column: Column | None = None
    """Blendshapes 0..1, features of the frozen network (patch tokens are averaged), or landmarks in px of the crop; by
    default the first of these that the dataset has."""

    def settled(self) -> Self:
        """As it is."""
        return self

    def read(self) -> Iterator[Expressions]:
        """Every chosen clip.

        Raises:
            ConfigError: No dataset is named, or a clip is not in it.
            DatasetError: It is none, or lacks what is asked for.
        """
        dataset = opened(self)
        for one in shown(dataset, self):
            column = self._column_of(one, dataset.uri)
            values = np.asarray(one.sample[column], np.float32)[one.rows]
            values = values.mean(1) if column == "feature" and values.ndim == 3 else values.reshape(len(values), -1)
            yield of_clip(one, values, one.name_in("dataset", self), column)

    def _column_of(self, one: Shown, place: str) -> Column:
        there = [name for name in _COLUMNS if name in one.sample.columns]
        wanted = self.column or next(iter(there), None)
        if wanted is None or wanted not in there:
            has = f"only {', '.join(there)}" if there else "serialize it with landmarks or features"
            raise DatasetError(f"{place}: has no {wanted or ' or '.join(_COLUMNS)}; {has}")
        return wanted


class CheckpointSourceConfig(ClipsConfig):
    """Expression tokens that a trained model makes of the clips of a dataset; of a predictor also what it foretells."""

    kind: Literal["checkpoint"] = "checkpoint"
    """Kind of source."""
    dataset: str = ""
    """Dataset of `mien serialize`; by default that of the run."""
    checkpoint: str = ""
    """Output of `mien train`, of which the newest checkpoint is taken, or RUN/checkpoints/step_…; or a .pt of the
    earlier tools that holds expressions."""
    weights: Literal["ema", "model"] = "ema"
    """`ema`: averages over the steps, where the run has them; `model`: as the last step left them."""
    batch: int = Field(16, ge=1, le=4096)
    """Frames of a forward pass."""

    @property
    def is_stored(self) -> bool:
        """Whether the expressions themselves are in the file."""
        return self.checkpoint.endswith(_PICKLES)

    def settled(self) -> Self:
        """With the checkpoint that is the newest now, and with the dataset of the run, where none is named.

        Raises:
            ConfigError: No checkpoint is named.
            CheckpointError: There is none, or it makes no tokens of faces.
        """
        if not self.checkpoint:
            raise ConfigError("source.checkpoint: is required; name the output of `mien train`, or a .pt")
        if self.is_stored:
            return self
        from mien.analysis import expression_checkpoint  # loads torch and transformers

        found = expression_checkpoint.settled(self.checkpoint)
        dataset = self.dataset or expression_checkpoint.dataset_of(found)
        return self.model_copy(update={"checkpoint": found.uri, "dataset": dataset})

    def read(self, compute: Compute = here) -> Iterator[Expressions]:
        """Every chosen clip; or the expressions that a .pt holds.

        Args:
            compute: Who looks at the clips.

        Raises:
            ConfigError: A clip is not in the dataset.
            CheckpointError: It cannot be read, makes no tokens of faces, or a .pt holds no expressions.
            DatasetError: The dataset is none, unfinished or damaged.
            PreflightError: The run's frozen network cannot be had.
        """
        from mien.analysis import expression_checkpoint

        if self.is_stored:
            return iter([expression_checkpoint.stored(self.checkpoint)])
        return expression_checkpoint.applied(self.checkpoint, self.weights, self.batch, self, compute)


class FileSourceConfig(Config):
    """Arrays of a file; with target and prediction, both beside each other."""

    kind: Literal["file"] = "file"
    """Kind of source."""
    file: str = ""
    """An .npy, .npz or .parquet, here or in a bucket."""
    expressions: str | None = None
    """Name of the array, [T, D] or [B, T, D]; by default expression_embed, target, or the only one there is."""
    target: str = "target"
    """Name of the array of what should be."""
    prediction: str = "prediction"
    """Name of the array of what a model made; where the file has both, they are compared."""

    def settled(self) -> Self:
        """As it is."""
        return self

    def read(self) -> Iterator[Expressions]:
        """The one clip that it holds.

        Raises:
            ConfigError: No file is named, it is of another kind, or has no such array.
            DatasetError: It is damaged, or holds objects that only code could read.
            StorageError: It cannot be read.
        """
        if not self.file:
            raise ConfigError("source.file: is required; name an .npy, .npz or .parquet")
        arrays = read_arrays(self.file, self._wanted)
        values = arrays[self._name([*arrays])]
        pair = Pair(*(arrays[name] for name in self._pair([*arrays]))) if self._pair([*arrays]) else None
        yield Expressions("file", "Expressions", values, pair, {"file": self.file})

    def _wanted(self, there: Sequence[str]) -> list[str]:
        return [*dict.fromkeys([self._name(there), *self._pair(there)])]

    def _pair(self, there: Sequence[str]) -> list[str]:
        """Names of target and prediction; nothing unless there are both."""
        both = [self.target, self.prediction]
        return both if {*both} <= {*there} else []

    def _name(self, there: Sequence[str]) -> str:
        only = [*there] if len(there) == 1 else []
        wanted = [_EXPRESSIONS, self.target, *only] if self.expressions is None else [self.expressions]
        return first_of(wanted, there, self.file, "source.expressions")


class SyntheticSourceConfig(SyntheticConfig):
    """Expressions whose truth is known: some that vary, and the first frame of them repeated."""

    kind: Literal["synthetic"] = "synthetic"
    """Kind of source."""

    def settled(self) -> Self:
        """As it is."""
        return self

    def read(self) -> Iterator[Expressions]:
        """Both."""
        facts = {"synthetic": self.dump()}
        yield Expressions("variation", "Synthetic Expressions", synthetic.expressions(self), facts=facts)
        yield Expressions("constant", "Constant Synthetic Expressions", synthetic.constant(self), facts=facts)


SourceConfig = Annotated[
    DatasetSourceConfig | CheckpointSourceConfig | FileSourceConfig | SyntheticSourceConfig, Field(discriminator="kind")
]
"""Every kind of source."""
