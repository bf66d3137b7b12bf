"""Whether two models differ in a number of their activation maps in the same direction over all images.

Images are what is independent of each other; layers and timesteps of one image are not. So differences are averaged
within an image first, and an interval is that of a mean over images. It is Student's: a bootstrap of five differences
would end at the smallest of them, whatever the level. Where several layers or timesteps are judged side by side, their
intervals are widened for it (Bonferroni).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mien.analysis.feature_numbers import Floats
from mien.config import Config
from mien.evaluation.bootstrap import Estimate
from mien.evaluation.student import paired_interval

Verdict = Literal["higher", "lower", "mixed", "not distinguishable"]
"""Of the curriculum against the baseline; `mixed`: higher under some condition, and lower under another."""

HIGHER: Verdict = "higher"
LOWER: Verdict = "lower"
MIXED: Verdict = "mixed"
UNKNOWN: Verdict = "not distinguishable"


class ConsistencyConfig(Config):
    """When two models are told apart."""

    level: float = Field(0.95, ge=0.5, lt=1)
    """Of the intervals: of one that stands alone, or of all together that stand side by side."""


class Table(NamedTuple):
    """Numbers of one measure."""

    measure: str
    layers: tuple[str, ...]
    conditions: tuple[str, ...]
    values: Floats
    """[samples, layers, conditions, 2], baseline first; NaN where one is not defined."""


@dataclass(frozen=True)
class Comparison:
    """Curriculum minus baseline."""

    layer: str
    """Empty: all of them."""
    condition: str
    """Empty: all of them."""
    num: int
    """Pairs: images × layers × conditions, less those in which the measure is not defined."""
    higher: int
    lower: int
    equal: int
    baseline: float
    """Mean over the pairs."""
    curriculum: float
    difference: Estimate
    """Mean over images."""
    effect: float
    """Mean difference in standard deviations of the differences of images (d_z of Cohen 1988); NaN without a spread."""
    verdict: Verdict


@dataclass(frozen=True)
class Consistency:
    """One measure."""

    measure: str
    num_samples: int
    level: float
    verdict: Verdict
    overall: Comparison
    by_condition: tuple[Comparison, ...]
    by_layer: tuple[Comparison, ...]
    cells: tuple[Comparison, ...]
    """Every layer under every condition."""

    def sentence(self) -> str:
        """The verdict in words, with what it rests on."""
        one = self.overall
        said = {
            HIGHER: "is higher in the curriculum",
            LOWER: "is lower in the curriculum",
            MIXED: "is higher or lower in the curriculum, as the condition is",
            UNKNOWN: "does not tell the two models apart",
        }[self.verdict]
        few = "; one image has no interval" if self.num_samples < 2 else ""
        return (
            f"{self.measure.replace('_', ' ')} {said}: higher in {one.higher}, lower in {one.lower}, equal in "
            f"{one.equal} of {one.num} pairs; mean difference {_number(one.difference)}{few}"
        )


def compare(table: Table, config: ConsistencyConfig) -> Consistency:
    """Differences of one measure, over everything and part by part.

    Raises:
        ValueError: The table is empty.
    """
    if not table.values.size:
        raise ValueError(f"{table.measure}: there is nothing to compare")
    layers, conditions = range(len(table.layers)), range(len(table.conditions))
    overall = _comparison(table, slice(None), slice(None), config.level)
    by_condition = _family(table, [(slice(None), one) for one in conditions], config)
    by_layer = _family(table, [(one, slice(None)) for one in layers], config)
    cells = _family(table, [(layer, condition) for layer in layers for condition in conditions], config)
    found = {one.verdict for one in by_condition}
    verdict = MIXED if {HIGHER, LOWER} <= found else overall.verdict
    num_samples = len(table.values)
    return Consistency(table.measure, num_samples, config.level, verdict, overall, by_condition, by_layer, cells)


def _family(table: Table, parts: Sequence[tuple[Any, Any]], config: ConsistencyConfig) -> tuple[Comparison, ...]:
    level = 1 - (1 - config.level) / len(parts)
    return tuple(_comparison(table, layer, condition, level) for layer, condition in parts)


def _comparison(table: Table, layer: Any, condition: Any, level: float) -> Comparison:
    chosen = table.values[:, layer, condition].reshape(len(table.values), -1, 2)
    known = np.isfinite(chosen[..., 0]) & np.isfinite(chosen[..., 1])
    difference = chosen[..., 1] - chosen[..., 0]
    per_sample = np.array(
        [row[there].mean() for row, there in zip(difference, known, strict=True) if there.any()], np.float64
    )
    baseline, curriculum = chosen[known].mean(axis=0) if known.any() else (math.nan, math.nan)
    estimate = paired_interval(per_sample, level)
    spread = float(per_sample.std(ddof=1)) if len(per_sample) > 1 else 0.0
    return Comparison(
        layer="" if isinstance(layer, slice) else table.layers[layer],
        condition="" if isinstance(condition, slice) else table.conditions[condition],
        num=int(known.sum()),
        higher=int((difference[known] > 0).sum()),
        lower=int((difference[known] < 0).sum()),
        equal=int((difference[known] == 0).sum()),
        baseline=float(baseline),
        curriculum=float(curriculum),
        difference=estimate,
        effect=estimate.value / spread if spread > 0 else math.nan,
        verdict=HIGHER if estimate.low > 0 else LOWER if estimate.high < 0 else UNKNOWN,
    )


def markdown(found: Sequence[Consistency]) -> Iterator[str]:
    """Lines of a table of the verdicts, then of each measure under each condition and in each layer."""
    yield "| measure | verdict | higher / lower / equal | mean difference (interval) | effect |"
    yield "|---|---|---:|---|---:|"
    for one in found:
        yield f"| {one.measure} | **{one.verdict}** | {_cells(one.overall)} |"
    for title, part in (("condition", "by_condition"), ("layer", "by_layer")):
        yield from [
            "",
            f"| measure | {title} | verdict | higher / lower / equal | mean difference (interval) | effect |",
        ]
        yield "|---|---|---|---:|---|---:|"
        for one in found:
            for row in getattr(one, part):
                yield f"| {one.measure} | {getattr(row, title)} | {row.verdict} | {_cells(row)} |"


def _cells(row: Comparison) -> str:
    effect = "–" if math.isnan(row.effect) else f"{row.effect:+.2f}"
    return f"{row.higher} / {row.lower} / {row.equal} | {_number(row.difference)} | {effect}"


def _number(estimate: Estimate) -> str:
    """Three digits that count: these measures are of very different sizes."""
    if math.isnan(estimate.low):
        return f"{estimate.value:+.3g} (no interval)"
    return f"{estimate.value:+.3g} ({estimate.low:+.3g} to {estimate.high:+.3g})"
