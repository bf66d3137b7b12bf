"""What a plan will take: time, core- and GPU-hours and bytes, from a few clips that were made for real."""

import hashlib
import heapq
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import Field

from mien.datasets import index
from mien.datasets.effort import bytes_in_words, in_words
from mien.errors import MienError
from mien.log import logger
from mien.pipelines.extrapolate import ClusterShapeConfig, Range, Scale, Shape, ranges, rates_of, together
from mien.pipelines.trial import Trial, isolated
from mien.storage.uri import Store

_MAX_SEEN = 64
"""Clips of a plan that are kept: lengths are read from their headers, and those that are tried are among them."""


class EstimateConfig(ClusterShapeConfig):
    """What is tried for an estimate, and the machines that it is for."""

    num_clips: int = Field(3, ge=1, le=100)
    """Clips that are made; three tell little of how much clips differ, so the spread between them is told too."""

    max_s: float = Field(20.0, gt=0, le=3600)
    """About how long making them may take, besides loading the models; of long clips only the middle is made."""

    seed: int = 0
    """Chooses the clips."""


class Survey:
    """Sees every clip of a plan of any length once, and keeps a sample that depends on the seed and the clips alone."""

    def __init__(self, seed: int) -> None:
        """No clip yet."""
        self._seed = seed
        self._kept = list[tuple[int, int, dict[str, Any]]]()
        self.num_clips = 0
        self.ended_s = 0.0
        """Seconds of video in the clips whose end is known."""
        self.num_open = self.open_bytes = 0
        """Clips that end where their video does, and the size of these videos."""

    def see(self, row: dict[str, Any]) -> None:
        """Count one row of the plan."""
        self.num_clips += 1
        if math.isfinite(row["end_s"]):
            self.ended_s += row["end_s"] - row["start_s"]
        else:
            self.num_open += 1
            self.open_bytes += row["source_bytes"]
        drawn = int.from_bytes(hashlib.sha256(f"{self._seed} {row['clip_id']}".encode()).digest()[:8])
        push = heapq.heappush if len(self._kept) < _MAX_SEEN else heapq.heappushpop
        push(self._kept, (-drawn, self.num_clips, row))  # the smallest draws stay: each clip has the same chance

    def sample(self) -> list[dict[str, Any]]:
        """The clips that were kept, in the order of the plan."""
        return [row for _, _, row in sorted(self._kept, key=lambda kept: kept[1])]


def see_plan(survey: Survey, store: Store) -> None:
    """Show a survey the plan that was written."""
    for part in index.read_plan(store):
        for row in part.to_pylist():
            survey.see(row)


def spread_out(rows: Sequence[dict[str, Any]], num_first: int) -> list[dict[str, Any]]:
    """All the rows, but first some that lie evenly over them."""
    num_first = min(num_first, len(rows))
    first = [(2 * number + 1) * len(rows) // (2 * num_first) for number in range(num_first)]
    return [rows[place] for place in first] + [row for place, row in enumerate(rows) if place not in first]


class NoEstimate(NamedTuple):
    """There is none; the plan is good all the same."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()

    def summary(self) -> dict[str, str]:
        """What a person reads."""
        return {"no estimate": self.reason}


class Estimate(NamedTuple):
    """What all clips of a plan will take."""

    cluster: Shape
    video_s: float
    """Seconds of video in all clips."""
    measured: dict[str, Any]
    """What it rests on."""
    rates: dict[str, Range]
    """By names that end in their unit."""
    totals: dict[str, Range]
    """By names that end in their unit, `_h` for hours."""
    limited_by: str
    """The stage whose workers decide how long it takes, or `all cores`."""
    notes: list[str]
    """What the numbers leave out, or take for granted."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        ranges = {"rates": self.rates, "totals": self.totals}
        plain = {key: {name: each._asdict() for name, each in found.items()} for key, found in ranges.items()}
        return {**self._asdict(), "cluster": self.cluster._asdict(), **plain}

    def summary(self) -> dict[str, str]:
        """What a person reads."""
        measured = self.measured
        said = {
            "estimate for": f"{self.cluster}",
            "measured on": f"{measured['num_clips']} clips, {measured['video_s']:.3g} s of video, in "
            f"{measured['took_s']:.0f} s; in brackets what the lowest and the highest of them alone would tell",
            "video": f"{in_words(self.video_s)}, {self.totals['num_frames'].said('{:,.0f}'.format)} frames",
            "time": f"{self.totals['wall_h'].said(lambda hours: in_words(3600 * hours))}, limited by {self.limited_by}",
        }
        said |= {key: self.totals[name].said() for key, name in _TOTALS.items() if name in self.totals}
        said["output"] = self.totals["output_bytes"].said(bytes_in_words)
        said["a frame"] = self.rates["bytes_per_frame"].said(bytes_in_words)
        said |= {key: f"{self.rates[name].said()} {unit}" for key, name, unit in _RATES if name in self.rates}
        return said | {f"note {number}": note for number, note in enumerate(self.notes, 1)}


_TOTALS = {"core-hours": "core_h", "GPU-hours": "gpu_h"}
_RATES = (
    ("cut", "cut_core_s_per_video_s", "core-s per s of video"),
    ("features", "features_core_s_per_frame", "core-s per frame, measured on CPU"),
    ("features", "features_gpu_s_per_frame", "GPU-s per frame"),
    ("write", "write_core_s_per_gb", "core-s per GB"),
)


def estimate(config: Any, survey: Survey) -> Estimate | NoEstimate:
    """Try a few clips of a plan and extrapolate.

    Args:
        config: A `SerializeConfig`.
        survey: What was planned.
    """
    num_clips = config.estimate.num_clips
    logger.info("estimate trying %d clips, about %.0f s (--no-estimate: none)", num_clips, config.estimate.max_s)
    try:
        trial = isolated(config, spread_out(survey.sample(), num_clips))
    except MienError as error:
        return NoEstimate(" ".join(str(error).split()))
    if not trial.tried:
        first, num_failed = trial.failures[0], len(trial.failures)
        return NoEstimate(f"none of the clips that were tried could be made; the first of {num_failed}: {first}")
    return extrapolate(config, survey, trial)


def extrapolate(config: Any, survey: Survey, trial: Trial) -> Estimate:
    """All clips of a plan from some that were tried, as if they were made at the same rates."""
    shape = Shape.of(config.estimate, trial.num_gpus)
    open_s = survey.open_bytes * trial.open_s / trial.open_bytes if trial.open_bytes else 0.0
    scale = Scale(config, shape, survey.num_clips, survey.ended_s + open_s)
    parts = [(together(trial.tried), len(trial.tried)), *((each, 1) for each in trial.tried)]
    rates = ranges([rates_of(part) for part, _ in parts])
    totals = ranges([scale.totals(part, num_parts) for part, num_parts in parts])
    measured = {
        "num_clips": len(trial.tried),
        "num_failed": len(trial.failures),
        "video_s": parts[0][0].video_s,
        "num_frames": parts[0][0].num_frames,
        "took_s": trial.took_s,
        "seed": config.estimate.seed,
    }
    limited_by = scale.limit(parts[0][0])
    return Estimate(shape, scale.video_s, measured, rates, totals, limited_by, _notes(config, survey, trial))


def _notes(config: Any, survey: Survey, trial: Trial) -> list[str]:
    """What a reader of the numbers should know."""
    notes = [
        "machines that do nothing else; without the start of Ray and what is made at the end (tables, card, pictures)"
    ]
    num_open = sum(math.isinf(clip["end_s"]) for clip in survey.sample())
    if survey.num_open > num_open:
        notes.append(f"lengths from the headers of {num_open} of {survey.num_open} videos, by size")
    if config.workers.features.num_gpus and config.features and not trial.num_gpus:
        notes.append("features measured on CPU, since there is no GPU here: GPU-hours are unknown, and time is less")
    if config.clips.kind == "scored":
        notes.append("without the scoring of the candidates, which comes before and goes through the same models")
    if trial.failures:
        notes.append(
            f"{len(trial.failures)} more clips failed, and none is left out of the estimate: {trial.failures[0]}"
        )
    return notes
