"""What a model made of a dataset, frame by frame: the input of every measure in this room."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Embedded:
    """N frames of clips that are each seen in training or held out.

    Raises:
        ValueError: Shapes do not fit, a number is not finite, a clip is on both sides, of two subjects, or has two
            frames at one time.
    """

    tokens: Floats
    """[N, D], expression tokens."""
    baseline: Floats
    """[N, F], features of the backbone, averaged over the patches."""
    blendshapes: Floats
    """[N, B], scores 0 to 1; a row of NaN where no face was measured."""
    clip: Ints
    """[N], number of the clip; two people in one clip are two clips here."""
    time_s: Floats
    """[N], within the source video."""
    subject: Ints
    """[N], number of the person."""
    is_held_out: Bools
    """[N], the clip was not seen in training."""

    def __post_init__(self) -> None:
        """Refuse what would give wrong numbers later."""
        for field in fields(self):
            self._require_shape(field.name)
        for name in ("tokens", "baseline", "time_s"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name}: holds NaN or infinity; leave these frames out")
        if not (np.isfinite(self.blendshapes).all(1) | np.isnan(self.blendshapes).all(1)).all():
            raise ValueError("blendshapes: a row is finite or all NaN; make it all NaN where no face was measured")
        for name in ("subject", "is_held_out"):
            if (clip := self._clip_with_two(getattr(self, name))) is not None:
                raise ValueError(f"{name}: differs within clip {clip}; a clip has one subject and is on one side")
        moments = np.stack([self.clip, self.time_s])
        if np.unique(moments, axis=1).shape[1] < len(self.clip):
            raise ValueError("time_s: a clip has two frames at one time; number the people in it as clips of their own")

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.clip)

    @property
    def is_measured(self) -> Bools:
        """[N], frames with blendshapes."""
        return np.asarray(np.isfinite(self.blendshapes).all(1))

    def where(self, keep: Bools | Ints) -> "Embedded":
        """The frames where a mask [N] is true, or those at these places."""
        return Embedded(*(getattr(self, field.name)[keep] for field in fields(self)))

    def _require_shape(self, name: str) -> None:
        shape, num_axes = getattr(self, name).shape, 2 if name in {"tokens", "baseline", "blendshapes"} else 1
        if len(shape) != num_axes or shape[0] != len(self.clip):
            raise ValueError(f"{name}: has shape {shape}, not {num_axes} axes with {len(self.clip)} frames like clip")

    def _clip_with_two(self, values: Ints | Bools) -> int | None:
        """A clip within which the values differ, if there is one."""
        pairs = np.unique(np.stack([self.clip, values.astype(self.clip.dtype)]), axis=1)
        repeated = pairs[0, 1:][np.diff(pairs[0]) == 0]
        return int(repeated[0]) if len(repeated) else None
