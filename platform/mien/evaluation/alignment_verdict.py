"""What numbers of a bridge say, and what to do then: good, mixed, poor, or not distinguishable from no bridge."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mien.config import Config
from mien.evaluation.alignment import System
from mien.evaluation.bootstrap import Estimate, NotMeasurable

Verdict = Literal["good", "mixed", "poor", "not distinguishable"]

ADVICE: dict[Verdict, tuple[str, ...]] = {
    "good": ("integrate it into the full pipeline",),
    "mixed": (
        "run the full test set",
        "check whether the gain of a class goes with its gain in the task's metric",
        "lead uncertain rows alone (`uncertain_share`)",
    ),
    "poor": (
        "check the training: loss curves, and what it was trained on",
        "check that the mean belongs to the adapted embeddings of the same modality",
        "try other start steps and numbers of steps (`sweep.start_steps`, `sweep.num_steps`)",
        "try another scale (`sweep.scales`)",
        "train longer, or with more data",
    ),
    "not distinguishable": (
        "measure more rows: the interval of the change holds 0",
        "try other start steps and numbers of steps (`sweep.start_steps`, `sweep.num_steps`)",
    ),
}
"""What follows from a verdict."""


class VerdictConfig(Config):
    """Where verdicts begin."""

    good_percent: float = Field(20, gt=0)
    """Gain of the mean similarity from which a change is good, if the spread falls too, in percent."""
    mixed_percent: float = Field(2, ge=0)
    """Gain below which a change whose spread grows is poor, in percent."""
    min_similarity: float = Field(0.1, gt=0, lt=1)
    """Mean similarity before, below which a gain in percent of it tells nothing: no change counts as good then."""
    min_spread: float = Field(0.5, gt=0, le=1)
    """Share of the distance between rows that must be left: below, they are smoothed over."""
    min_variety: float = Field(0.5, gt=0, le=1)
    """Share of the directions, and of the texts that are nearest, that must be left: below, modes have collapsed."""


@dataclass(frozen=True)
class Judgement:
    """Of one system against what was before."""

    verdict: Verdict
    percent: Estimate
    """Change of the mean similarity, in percent of that before."""
    reasons: tuple[str, ...]
    is_smoothed: bool
    """Rows came so near to each other that they hardly differ."""
    is_collapsed: bool
    """Few directions or few nearest texts are left."""
    advice: tuple[str, ...]


def judge(before: System, after: System, config: VerdictConfig) -> Judgement:
    """A verdict by the gain of the mean similarity to the nearest text, its interval and the spread.

    To be near to some text is no merit by itself: what smooths rows over, collapses modes or finds fewer right texts is
    poor, however near.

    Raises:
        ValueError: `after` is what was before.
    """
    if after.minus_before is None or after.percent is None:
        raise ValueError(f"{after.name}: nothing was before it; give a system after a bridge")
    left = after.measures.intra_distance.value / max(before.measures.intra_distance.value, 1e-12)
    variety = {
        name: getattr(after.spread, name) / max(getattr(before.spread, name), 1e-12)
        for name in ("effective_rank", "num_nearest")
    }
    is_smoothed, is_collapsed = left < config.min_spread, min(variety.values()) < config.min_variety
    faults = [f"rows keep {left:.0%} of their distance from each other: over-smoothing"] if is_smoothed else []
    if is_collapsed:
        directions, texts = variety["effective_rank"], variety["num_nearest"]
        faults.append(f"{directions:.0%} of the directions and {texts:.0%} of the nearest texts are left: collapse")
    top_1 = after.minus_before.top_1
    if not isinstance(top_1, NotMeasurable) and top_1.high < 0:
        faults.append(f"fewer rows have their own text nearest: top-1 {top_1}")
    verdict, reason = _by_similarity(before, after, after.percent, config)
    verdict = "poor" if faults else verdict
    return Judgement(verdict, after.percent, (reason, *faults), is_smoothed, is_collapsed, ADVICE[verdict])


def _by_similarity(before: System, after: System, percent: Estimate, config: VerdictConfig) -> tuple[Verdict, str]:
    std = before.spread.similarity_std, after.spread.similarity_std
    gain = f"similarity {percent.value:+.1f} % ({percent.low:+.1f} to {percent.high:+.1f})"
    gain += f", std {std[0]:.3f} → {std[1]:.3f}"
    if not (percent.low > 0 or percent.high < 0):  # NaN: there is no interval
        return "not distinguishable", f"{gain}: the interval holds 0, or there is none"
    is_wider = std[1] >= std[0]
    if percent.value <= 0 or (is_wider and percent.value < config.mixed_percent):
        return "poor", gain
    similarity = before.measures.similarity.value
    if similarity < config.min_similarity:
        return "mixed", f"{gain}: of a similarity of {similarity:.3f}, so that the percentage tells little"
    return ("good" if percent.value >= config.good_percent and not is_wider else "mixed"), gain
