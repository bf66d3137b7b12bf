"""Expressions of one clip, and where they come from."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mien.analysis.clip_choice import Shown
from mien.analysis.sequence import Values
from mien.analysis.target_prediction import Pair
from mien.errors import DatasetError


@dataclass(frozen=True)
class Expressions:
    """What figures show, and what they say about it."""

    name: str
    """Ends the names of its files."""
    title: str
    """What figures call it."""
    values: Values
    """[T, D]; of [B, T, D] the first item is shown."""
    pair: Pair | None = None
    """Target and prediction, where there are both."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Where it comes from, as plain values."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know."""


def of_clip(shown: Shown, values: np.ndarray, name: str, what: str, pair: Pair | None = None) -> Expressions:
    """Values [F, D] of the frames of a clip that are shown; frames of which some are not finite are left out.

    Args:
        shown: The frames.
        values: Of each of them.
        name: Ends the names of files.
        what: The values are.
        pair: Target and prediction, where there are both.

    Raises:
        DatasetError: No frame is left.
    """
    is_there = np.isfinite(values).all(axis=1)
    if not is_there.any():
        raise DatasetError(f"clip {shown.clip_id}: no frame of it has {what}; choose another clip or column")
    num = int((~is_there).sum())
    notes = (*shown.notes, *([f"{num} frames with a face have no {what} and are left out"] if num else []))
    facts = {**shown.facts, "values": what, "rows": shown.rows[is_there].tolist()}
    facts["time_s"] = shown.time_s[is_there].tolist()
    return Expressions(name, f"Clip {shown.label}, {what}", values[is_there], pair, facts, notes)
