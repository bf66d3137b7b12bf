"""Whether expressions change from frame to frame, and by how much: numbers, and the text that tells them."""

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.analysis import style
from mien.analysis.sequence import Values, sequence
from mien.analysis.style import NO_CHANGE
from mien.errors import DatasetError
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.embedded import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONSTANT = "Expressions are constant across all frames! They may be extracted only from the identity image."


@dataclass(frozen=True)
class Variation:
    """Changes are L2 norms of x_t+1 - x_t over the dimensions."""

    is_constant: bool
    """Every number equals that of the first frame, to 1e-5 and to 1e-5 of itself."""
    mean_change: float
    max_change: float
    min_change: float
    mean_norm: float
    """L2 norm of a frame."""
    relative_change: float | None
    """Mean change over mean norm; none where all frames are 0."""
    num_repeated: int
    """Frames that are the one before, to the last bit: no camera takes such."""

    def __str__(self) -> str:
        """One line; changes have six decimals."""
        share = "" if self.relative_change is None else f", {self.relative_change:.3%} of the norm"
        return (
            f"constant: {self.is_constant}; frame-to-frame change: mean {self.mean_change:.6f}{share}, "
            f"max {self.max_change:.6f}, min {self.min_change:.6f}; repeated frames: {self.num_repeated}"
        )


def changes(frames: Floats) -> Floats:
    """L2 norm of x_t+1 - x_t: [T, D] to [T - 1]."""
    return np.asarray(np.linalg.norm(np.diff(frames, axis=0), axis=1))


def variation(values: Values) -> Variation | NotMeasurable:
    """Measure one clip; one frame alone says nothing.

    Raises:
        DatasetError: The values are not a sequence.
    """
    frames = sequence(values)
    if len(frames) < 2:
        return NotMeasurable(f"frames: {len(frames)}; a change needs 2")
    change, norm = changes(frames), float(np.linalg.norm(frames, axis=1).mean())
    return Variation(
        is_constant=bool(np.allclose(frames[0], frames, atol=NO_CHANGE)),
        mean_change=float(change.mean()),
        max_change=float(change.max()),
        min_change=float(change.min()),
        mean_norm=norm,
        relative_change=float(change.mean()) / norm if norm > 0 else None,
        num_repeated=int((np.diff(frames, axis=0) == 0).all(axis=1).sum()),
    )


def warning(found: Variation | NotMeasurable) -> str | None:
    """What a person has to be told aloud: that nothing varies, or that nobody can say."""
    if isinstance(found, NotMeasurable):
        return f"Variation is not measurable: {found.reason}"
    return CONSTANT if found.is_constant else None


def lines(values: Values) -> list[str]:
    """Shape and variation; a warning comes last, if there is one."""
    frames, found = sequence(values), variation(values)
    told = [f"frames: {len(frames)}, dimensions: {frames.shape[1]}"]
    told += [] if isinstance(found, NotMeasurable) else [str(found)]
    warned = warning(found)
    return ["; ".join(told), *([warned] if warned else [])]


def caption(figure: "Figure", values: Values) -> None:
    """Tell the variation below the panels of a figure."""
    told = lines(values)
    style.caption(figure, "\n".join(told), is_warning=len(told) > 1)


def numbers(values: Values) -> dict[str, Any]:
    """Plain values of one clip: what was given, its variation, mean and std of each dimension.

    `sha256` is that of the frames: two steps of a training with the same one show the same thing.
    """
    frames, found = sequence(values), variation(values)
    return {
        "given_shape": list(np.shape(values)),
        "num_frames": len(frames),
        "num_dimensions": frames.shape[1],
        "sha256": hashlib.sha256(frames.tobytes()).hexdigest(),
        "variation": {"not_measurable": found.reason} if isinstance(found, NotMeasurable) else asdict(found),
        "warning": warning(found),
        "dimension_mean": frames.mean(0).tolist(),
        "dimension_std": frames.std(0).tolist(),
    }


def text(values: Values, num_dimensions: int = 10) -> str:
    """The report as lines; mean and std of the first dimensions alone."""
    frames = sequence(values)
    rows = [
        f"dimension {number}: mean {mean:.6f}, std {std:.6f}"
        for number, (mean, std) in enumerate(zip(frames.mean(0), frames.std(0), strict=True))
    ]
    told = [part for line in lines(values) for part in line.split("; ")]
    return "\n".join([f"given shape: {list(np.shape(values))}", *told, *rows[:num_dimensions]])


def diagnosis(values: Values, place: str) -> dict[str, Any]:
    """Whether what is about to be logged is the whole sequence, and whether it moves; raises nothing.

    Returns:
        `is_sequence`, `problem` (None where there is none) and, of a sequence, all `numbers`.
    """
    try:
        sequence(values, place)
    except DatasetError as error:
        return {"is_sequence": False, "problem": str(error)}
    found = numbers(values)
    return {"is_sequence": True, "problem": found["warning"], **found}
