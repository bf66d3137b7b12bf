"""Whether a translator brings embeddings of one modality nearer to another, on held-out pairs and beyond chance.

Everything is compared in one frame, that of the target: embeddings before and after, and the targets themselves. What
costs nothing, moving the mean, is judged beside it, as is noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mien.config import Config
from mien.diffusion import bridge
from mien.diffusion.bridge import Frame
from mien.evaluation.bootstrap import Bootstrap, BootstrapConfig, Estimate
from mien.evaluation.embedded import Floats
from mien.evaluation.retrieval import ranks
from mien.evaluation.translators import TrainingPairs, Translator, mean_shift, noise

Verdict = Literal["helps", "does not help", "harms"]


class BridgingConfig(Config):
    """How translators are judged."""

    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals, over answers: the rows of one answer are not independent."""
    frame: Frame = "raw"
    """Frame of all comparisons: that of the extractor, or around the mean of the target."""
    min_change: float = Field(0.01, ge=0, lt=1)
    """A change of a cosine, or of a share of the queries, that is no larger than this matters to nobody."""
    noise_strength: float = Field(0.5, gt=0)
    """Of the control that only adds noise, in lengths of an embedding."""
    seed: int = 0
    """Of that noise."""


@dataclass(frozen=True)
class HeldOutPairs:
    """Embeddings of the source, and which of the gallery's targets each belongs to.

    Raises:
        ValueError: Shapes do not fit, an answer is not in the gallery, or an embedding has no direction.
    """

    source: Float[Tensor, "n d"]
    gallery: Float[Tensor, "m d"]
    """Targets among which the right one is looked for, each once: two that are alike count against each other."""
    answer: Int64[Tensor, " n"]
    """Row of the gallery."""

    def __post_init__(self) -> None:
        if self.answer.shape != self.source.shape[:1] or not len(self.answer):
            raise ValueError(f"answer: has shape {list(self.answer.shape)} for {len(self.source)} rows; give one each")
        if bool(((self.answer < 0) | (self.answer >= len(self.gallery))).any()):
            raise ValueError(f"answer: must be a row of the gallery, in 0 ≤ answer < {len(self.gallery)}")
        if self.source.shape[1:] != self.gallery.shape[1:]:
            shapes = f"source {list(self.source.shape)}, gallery {list(self.gallery.shape)}"
            raise ValueError(f"both modalities need one width: {shapes}; embed them by one model")
        for side in ("source", "gallery"):
            object.__setattr__(self, side, bridge.normalise(getattr(self, side), None, 1.0))


@dataclass(frozen=True)
class Measures:
    """Of all rows, every answer counting the same; or how they changed."""

    alignment: Estimate
    """Cosine to the paired target."""
    top_1: Estimate
    """Share of the rows whose paired target is the nearest of the gallery."""
    top_5: Estimate
    """Share of those for which it is among the nearest five."""


@dataclass(frozen=True)
class Judged:
    """One translator."""

    name: str
    trained_on: str
    """Empty where nothing is learnt."""
    verdict: Verdict
    measures: Measures
    mean_gap: float
    """Distance between the mean of the translated rows and that of their targets."""
    minus_before: Measures
    """Change by the translation, on the same resamples."""
    minus_mean_shift: Measures
    """What it does beyond moving the mean."""


@dataclass(frozen=True)
class BridgingReport:
    """Every translator against no translation."""

    config: BridgingConfig
    num_rows: int
    num_answers: int
    size_of_gallery: int
    before: Measures
    mean_gap_before: float
    translators: tuple[Judged, ...]
    """The controls first."""


@dataclass(frozen=True)
class _Rows:
    """What is known of each row, [n] each, and the gap between the means."""

    values: dict[str, Floats]
    mean_gap: float


def judge(
    pairs: HeldOutPairs, training: TrainingPairs, translators: Sequence[Translator], config: BridgingConfig
) -> BridgingReport:
    """Compare translators with no translation, and with the controls.

    Args:
        pairs: Held-out rows, of which no translator has seen any.
        training: What means are taken from.
        translators: With both controls before them in the report.
        config: How to judge.

    Raises:
        ValueError: The widths differ, or a translator gives what has no direction.
    """
    bootstrap = config.bootstrap.build(pairs.answer.cpu().numpy())
    control = mean_shift(training)
    target_mean = training.means[1] if config.frame == "centred" else None
    before, shifted = (_rows(x, pairs, target_mean) for x in (pairs.source, control(pairs.source)))

    def judged(translator: Translator) -> Judged:
        after = _rows(translator(pairs.source), pairs, target_mean)
        gains, beyond = (_measures(after, bootstrap, other) for other in (before, shifted))
        verdict = verdict_of(gains, beyond, config.min_change)
        measures = _measures(after, bootstrap)
        return Judged(translator.name, translator.trained_on, verdict, measures, after.mean_gap, gains, beyond)

    return BridgingReport(
        config=config,
        num_rows=len(pairs.source),
        num_answers=bootstrap.num_clips,
        size_of_gallery=len(pairs.gallery),
        before=_measures(before, bootstrap),
        mean_gap_before=before.mean_gap,
        translators=tuple(judged(one) for one in (control, noise(config.noise_strength, config.seed), *translators)),
    )


def verdict_of(minus_before: Measures, minus_mean_shift: Measures, min_change: float) -> Verdict:
    """By intervals: a change counts where all of its interval lies beyond `min_change`.

    What lowers alignment or top-1 harms. What raises one of both helps, unless moving the mean does more.
    """
    changes = minus_before.alignment, minus_before.top_1
    beyond = minus_mean_shift.alignment, minus_mean_shift.top_1
    if any(change.high < -min_change for change in changes):
        return "harms"
    is_beaten = any(change.high < -min_change for change in beyond)
    return "helps" if any(change.low > min_change for change in changes) and not is_beaten else "does not help"


def markdown(report: BridgingReport) -> str:
    """Tables for people: every number with its interval."""
    facts = f"{report.num_rows} held-out rows, {report.num_answers} answers, gallery of {report.size_of_gallery}"
    level = f"{report.config.bootstrap.level:.0%}"
    names = [f"{one.name}, trained on {one.trained_on}" if one.trained_on else one.name for one in report.translators]
    measured = [f"| none | | {_cells(report.before)} | {report.mean_gap_before:.3f} |"]
    changed = list[str]()
    for name, one in zip(names, report.translators, strict=True):
        measured.append(f"| {name} | {one.verdict} | {_cells(one.measures)} | {one.mean_gap:.3f} |")
        changed.append(f"| {name} | {_changes(one.minus_before)} | {_changes(one.minus_mean_shift)} |")
    return "\n".join(
        [
            f"{facts}; frame: {report.config.frame}. Intervals: {level}, over answers.",
            "",
            "| Translator | Verdict | Alignment | Top-1 | Top-5 | Mean gap |",
            "|---|---|---|---|---|---:|",
            *measured,
            "",
            "| Change | Alignment | Top-1 | Alignment beyond mean shift | Top-1 beyond mean shift |",
            "|---|---|---|---|---|",
            *changed,
        ]
    )


def _changes(change: Measures) -> str:
    return f"{change.alignment} | {change.top_1}"


def _cells(measures: Measures) -> str:
    return " | ".join(str(getattr(measures, field.name)) for field in fields(measures))


def _rows(x: Tensor, pairs: HeldOutPairs, target_mean: Tensor | None) -> _Rows:
    """Each row against the gallery, in one frame."""
    x, gallery = (bridge.normalise(side, target_mean, 1.0) for side in (x, pairs.gallery))
    targets = gallery[pairs.answer]
    rank = ranks(x, gallery, pairs.answer)
    values = {"alignment": functional.cosine_similarity(x, targets), "top_1": rank < 1, "top_5": rank < 5}
    return _Rows(
        {name: value.cpu().numpy().astype(np.float64) for name, value in values.items()},
        float((x.mean(0) - targets.mean(0)).norm()),
    )


def _measures(rows: _Rows, bootstrap: Bootstrap, minus: _Rows | None = None) -> Measures:
    """Means over rows, or of their differences from other rows."""
    values = rows.values if minus is None else {name: rows.values[name] - minus.values[name] for name in rows.values}
    return Measures(**{name: bootstrap.estimate(bootstrap.mean_of_clips(each)) for name, each in values.items()})
