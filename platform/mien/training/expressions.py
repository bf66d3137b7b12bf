"""What training logs of expressions: the tokens of whole held-out clips, and whether they move."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mien.analysis import candlestick, difference_map, movement, style, target_prediction, variation
from mien.analysis.candlestick import CandlestickConfig
from mien.analysis.difference_map import DifferenceMapConfig
from mien.analysis.movement import MovementConfig
from mien.analysis.target_prediction import Pair, TargetPredictionConfig
from mien.log import logger
from mien.training.similarity import require_sequence
from mien.training.validate import Seen

_DPI = 75
"""Of pictures that a tracker keeps at every checkpoint."""
_LEFT_OUT = ("dimension_mean", "dimension_std", "given_shape", "warning", "variation")


class Shown(NamedTuple):
    """One clip: its frames that count."""

    tokens: np.ndarray
    """[T, D], T of 2 or more."""
    pair: Pair | None
    """Tokens that came, and what was foretold of them; none where nothing foretells."""


def shown(seen: Seen, num_clips: int) -> list[Shown]:
    """The first validated clips with two frames or more.

    Raises:
        ValueError: What was validated are not the tokens of clips, frame by frame.
    """
    if seen.tokens is None:
        return []
    require_sequence(seen.tokens, seen.mask)
    able = (seen.mask.sum(1) > 1).nonzero().flatten().tolist()[:num_clips]
    return [Shown(seen.tokens[clip][seen.mask[clip]].numpy(), _pair(seen, clip)) for clip in able]


def figures(clips: list[Shown], step: int) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of each picture: candles above a heatmap, movement; of a predictor target, prediction, difference.

    Raises:
        DatasetError: The tokens are no numbers.
    """
    for number, clip in enumerate(clips):
        said: dict[str, Any] = {"title": f"Expression Tokens, step {step}, clip {number}", "dpi": _DPI}
        drawn = {
            "candles": candlestick.draw(clip.tokens, CandlestickConfig(**said)),
            "movement": movement.draw(clip.tokens, MovementConfig(**said)),
        }
        if clip.pair:
            drawn["target_prediction"] = target_prediction.draw(clip.pair, TargetPredictionConfig(**said))
            drawn["difference"] = difference_map.draw(clip.pair, DifferenceMapConfig(**said))
        for name, figure in drawn.items():
            yield f"expression_{name}" + (f"_clip{number}" if number else ""), style.png(figure)


class Watch:
    """Tells of what is logged whether it is a sequence, whether it moves, and whether it is what was logged before."""

    def __init__(self) -> None:
        """Nothing was logged yet."""
        self._before = (0, "")
        self._told = ""

    def __call__(self, clip: Shown, step: int, *, learns: bool = True) -> dict[str, Any]:
        """Look at one clip, the same at every step; a person is warned of each problem once.

        Args:
            clip: What is logged.
            step: Of the validation.
            learns: Whether the tokens are expected to change from one validation to the next.

        Returns:
            Plain values for a line of the log.
        """
        found = variation.diagnosis(clip.tokens, f"expression tokens of step {step}")
        changes = found.get("variation") or {}
        problem = found["problem"] or self._repeated(found, changes, learns)
        self._before = (step, found.get("sha256", ""))
        kind = (problem or "").partition(":")[0]
        if problem and kind != self._told:
            logger.warning("step %d: %s", step, problem)
        self._told = kind
        return {**{key: value for key, value in found.items() if key not in _LEFT_OUT}, **changes, "problem": problem}

    def _repeated(self, found: dict[str, Any], changes: dict[str, Any], learns: bool) -> str | None:
        step, sum_before = self._before
        if learns and found["sha256"] == sum_before:
            return f"Expression tokens do not change with training: they are those of step {step}, to the last bit"
        if changes["num_repeated"]:
            of = f"{changes['num_repeated']} of {found['num_frames']}"
            return f"Expression tokens repeat: {of} frames are the one before, to the last bit"
        return None


def _pair(seen: Seen, clip: int) -> Pair | None:
    """What was foretold at each frame of the next; frames without a face have neither."""
    if seen.tokens is None or seen.predicted is None or clip >= len(seen.predicted):
        return None
    mask = seen.mask[clip]
    both = mask[:-1] & mask[1:]
    if not both.any():
        return None
    return Pair(seen.tokens[clip][1:][both].numpy(), seen.predicted[clip][:-1][both].numpy())
