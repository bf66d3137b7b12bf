"""All measures of one model: run, as one JSON document and as a table."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from mien.config import Config
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Embedded
from mien.evaluation.image_scores import FrameScores, ImageResult, compare
from mien.evaluation.leakage import LeakageConfig, LeakageResult
from mien.evaluation.probes import ProbeConfig, ProbeResult
from mien.evaluation.smoothness import SmoothnessConfig, SmoothnessResult
from mien.evaluation.swap import SwapConfig, Swapped, SwapResult

TITLES = {
    "probe": "Expression in the token (R² of a linear probe to the blendshapes)",
    "leakage": "Identity in the token (balanced accuracy of a linear probe to the subject)",
    "images": "Reconstruction",
    "smoothness": "Movement of the token",
    "swap": "Swap of expression and identity",
}
"""Fields of `Report` that hold a measure, in the order of the table."""
HEADLINES = {
    "expression R²": ("probe", "tokens.mean"),
    "… minus baseline": ("probe", "tokens_minus_baseline"),
    "subject accuracy": ("leakage", "tokens"),
    "… minus shuffled": ("leakage", "tokens_minus_shuffled"),
    "PSNR (dB)": ("images", "psnr_db.reconstruction"),
    "… minus subject mean": ("images", "psnr_db.reconstruction_minus_subject_mean"),
    "relative jitter": ("smoothness", "relative_jitter"),
    "swap: expression R²": ("swap", "expression_r_squared"),
    "swap: nearer to target": ("swap", "share_nearer_to_target"),
}
"""Label -> measure of the report, and the estimate within it."""


class EvaluationConfig(Config):
    """How a model is measured."""

    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals of all measures."""
    probe: ProbeConfig = ProbeConfig()
    """Expression in the token."""
    leakage: LeakageConfig = LeakageConfig()
    """Identity in the token."""
    smoothness: SmoothnessConfig = SmoothnessConfig()
    """Movement of the token."""
    swap: SwapConfig = SwapConfig()
    """Expression of one person on the face of another."""


@dataclass(frozen=True)
class Counts:
    """What was measured on."""

    num_frames: int
    num_frames_with_blendshapes: int
    num_training_clips: int
    num_held_out_clips: int
    num_subjects: int


@dataclass(frozen=True)
class Report:
    """Every measure, or why there is none."""

    config: EvaluationConfig
    blendshapes: tuple[str, ...]
    """Names of the columns."""
    counts: Counts
    probe: ProbeResult | NotMeasurable
    leakage: LeakageResult | NotMeasurable
    images: ImageResult | NotMeasurable
    smoothness: SmoothnessResult | NotMeasurable
    swap: SwapResult | NotMeasurable


def evaluate(
    embedded: Embedded,
    blendshapes: Sequence[str],
    config: EvaluationConfig,
    scores: FrameScores | None = None,
    swapped: Swapped | None = None,
) -> Report:
    """Measure everything that the data allow.

    Args:
        embedded: Frames of training and held-out clips.
        blendshapes: Names of its columns of blendshapes.
        config: How to measure.
        scores: Of reconstructed held-out frames, if there are any.
        swapped: Swapped images, if there are any.

    Raises:
        ValueError: There is not one name for each blendshape.
    """
    if len(blendshapes) != embedded.blendshapes.shape[1]:
        raise ValueError(f"{len(blendshapes)} names for {embedded.blendshapes.shape[1]} blendshapes; give one for each")
    bootstrap = config.bootstrap
    return Report(
        config=config,
        blendshapes=tuple(blendshapes),
        counts=_count(embedded),
        probe=config.probe.build(bootstrap)(embedded),
        leakage=config.leakage.build(bootstrap)(embedded),
        images=compare(scores, bootstrap) if scores else NotMeasurable("no image was reconstructed"),
        smoothness=config.smoothness.build(bootstrap)(embedded),
        swap=config.swap.build(bootstrap)(swapped) if swapped else NotMeasurable("no image was swapped"),
    )


def plain(value: Any) -> Any:
    """A report, or a part of one, as plain values that JSON can hold; NaN becomes null."""
    if isinstance(value, Config):
        return value.dump()
    if isinstance(value, NotMeasurable):
        return {"not_measurable": value.reason}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(tuple(value.tolist()))
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers(report: Report) -> dict[str, float]:
    """Every estimate by the names that lead to it, as `probe.tokens.mean`; what could not be measured is left out."""
    return {path: value for name in TITLES for path, value in _numbers(getattr(report, name), name)}


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Estimate):
        yield path, value.value
    elif is_dataclass(value) and not isinstance(value, NotMeasurable):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name), f"{path}.{field.name}")


def markdown(report: Report) -> str:
    """Tables for people: every number with its interval, and what could not be measured."""
    counts = ", ".join(f"{words(f.name)}: {getattr(report.counts, f.name)}" for f in fields(report.counts))
    level = f"{report.config.bootstrap.level:.0%}"
    lines = ["# Evaluation", "", f"{counts.capitalize()}. Intervals: {level}, over clips.", ""]
    for name, title in TITLES.items():
        lines += [f"## {title}", "", *_section(getattr(report, name)), ""]
    if isinstance(report.probe, ProbeResult):
        lines += ["## R² of each blendshape", "", *_each_blendshape(report.probe, report.blendshapes), ""]
    return "\n".join(lines)


def _section(result: Any) -> list[str]:
    if isinstance(result, NotMeasurable):
        return [f"Not measurable: {result.reason}."]
    return ["| Measure | Value | Interval |", "|---|---:|---|", *(f"| {row} |" for row in _rows(result))]


def _rows(result: Any, prefix: str = "") -> Iterator[str]:
    """Cells of each number of a result and of the results within it."""
    for field in fields(result):
        value, label = getattr(result, field.name), f"{prefix}{words(field.name)}"
        if isinstance(value, Estimate):
            yield f"{label} | {value.value:.3f} | {_interval(value)}"
        elif isinstance(value, NotMeasurable):
            yield f"{label} | – | not measurable: {value.reason}"
        elif is_dataclass(value):
            yield from _rows(value, f"{label}: ")
        elif isinstance(value, int | float):
            yield f"{label} | {value:.3f} | " if isinstance(value, float) else f"{label} | {value} | "


def _each_blendshape(probe: ProbeResult, names: Sequence[str]) -> list[str]:
    scores = (probe.tokens, probe.baseline, probe.shuffled)
    lines = ["| Blendshape | Tokens | Baseline | Shuffled |", "|---|---|---|---|"]
    for place, column in enumerate(probe.varied):
        cells = " | ".join(str(score.per_blendshape[place]) for score in scores)
        lines.append(f"| {names[column]} | {cells} |")
    left_out = ", ".join(names[column] for column in probe.left_out) or "none"
    return [*lines, "", f"Left out, for they hardly vary: {left_out}."]


def _interval(estimate: Estimate) -> str:
    return "none" if math.isnan(estimate.low) else f"{estimate.low:.3f} to {estimate.high:.3f}"


def words(name: str) -> str:
    """Words of a field's name, with its unit in brackets."""
    for suffix, unit in {"_s": " (s)", "_db": " (dB)"}.items():
        name = name.removesuffix(suffix) + unit if name.endswith(suffix) else name
    for part, sign in {"num_": "", "_minus_": " − ", "r_squared": "R²", "psnr": "PSNR", "ssim": "SSIM"}.items():
        name = name.replace(part, sign)
    return name.replace("_", " ")


def _count(embedded: Embedded) -> Counts:
    return Counts(
        num_frames=len(embedded),
        num_frames_with_blendshapes=int(embedded.is_measured.sum()),
        num_training_clips=len(np.unique(embedded.clip[~embedded.is_held_out])),
        num_held_out_clips=len(np.unique(embedded.clip[embedded.is_held_out])),
        num_subjects=len(np.unique(embedded.subject)),
    )
