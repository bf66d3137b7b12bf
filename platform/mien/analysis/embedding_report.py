"""The report of embeddings as text: what the first tool said, in its order, with intervals; and tables of systems."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from mien.analysis.embedding_sweep import Point, best
from mien.evaluation.alignment import Measures, System
from mien.evaluation.alignment_verdict import Judgement
from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.classes import ClassReport
from mien.log import printable

_RULE = "=" * 60
_THIN = "-" * 60
_COLUMNS = ("similarity", "alignment", "top_1", "gap", "kernel_distance", "sliced_wasserstein", "intra_distance")


def summary(
    before: System, after: System | None, judgement: Judgement | None, facts: Mapping[str, Any], text_norm: float
) -> str:
    """Of one bridge, or of none.

    Args:
        before: Rows as they were.
        after: After the bridge.
        judgement: Of it.
        facts: `configuration`, `data` and `notes`, plain values.
        text_norm: Mean length of the texts.
    """
    lines = [_RULE, "EMBEDDING DISTRIBUTION ANALYSIS REPORT", _RULE]
    lines += _section("Configuration", [f"{key}: {value}" for key, value in facts["configuration"].items()])
    lines += _section("Data Summary", [f"{key}: {value}" for key, value in facts["data"].items()])
    lines += _section("Notes", facts["notes"]) if facts["notes"] else []
    lines += _section("Metrics: Cosine Similarity (to the nearest text)", _similarity(before, after))
    lines += _section("Metrics: Feature Norms", _norms(before, after, text_norm))
    lines += _section("Metrics: Distribution Distances", _distances(before, after))
    lines += _section("Conclusions", _conclusions(after, judgement))
    return "\n".join([*map(printable, lines), _RULE, ""])


def table(systems: Sequence[System], judgements: Mapping[str, Judgement]) -> Iterator[str]:
    """Every system: verdict and measures; then how each changed."""
    heads = " | ".join(name.replace("_", " ") for name in _COLUMNS)
    yield f"| system | verdict | {heads} |"
    yield "|---" * (2 + len(_COLUMNS)) + "|"
    for one in systems:
        verdict = judgements[one.name].verdict if one.name in judgements else ""
        yield f"| {escaped(one.name)} | {verdict} | {_cells(one.measures)} |"
    yield from ["", f"| minus before | | {heads} |", "|---" * (2 + len(_COLUMNS)) + "|"]
    for one in systems:
        if one.minus_before:
            yield f"| {escaped(one.name)} | {one.percent} % | {_cells(one.minus_before)} |"


def classes(report: ClassReport, num: int) -> Iterator[str]:
    """Groups, the best classes, and all that got worse."""
    yield "| group | classes | rows | change of the cosine to the own text | change of top-1 |"
    yield "|---|---:|---:|---|---|"
    for group in report.groups:
        changes = f"{_told(group.alignment)} | {_told(group.top_1)}"
        yield f"| {group.name} | {group.num_classes} | {group.num_rows} | {changes} |"
    for title, some in (("Best", report.classes[:num]), ("Got worse", report.worse)):
        yield from ["", f"{title} ({len(some)}):", ""]
        for one in some:
            rows = f"{one.num_rows} rows{', rare' if one.is_rare else ''}{'' if one.is_seen else ', unseen'}"
            top_1 = f"top-1 {one.top_1_before:.2f} → {one.top_1_after:.2f}"
            yield f"- {escaped(one.name)} ({rows}): {one.difference}, {top_1}"


def sweep(points: Sequence[Point]) -> Iterator[str]:
    """Every way of the bridge."""
    yield "| start step | number of steps | scale | change (%) | similarity | std | top-1 | verdict | ms per row |"
    yield "|---:|---:|---:|---|---|---:|---|---|---:|"
    top = best(points)
    for one in points:
        mark = "**" if one is top else ""
        yield (
            f"| {one.start_step} | {one.num_steps} | {one.scale:g} | {one.judgement.percent} | {one.similarity} | "
            f"{one.similarity_std:.3f} | {_told(one.top_1)} | {mark}{one.judgement.verdict}{mark} | "
            f"{1000 * one.seconds_per_row:.2f} |"
        )


def escaped(text: str) -> str:
    """Somebody's text, as text, in Markdown."""
    return "".join(f"&#{ord(char)};" if char in "|`*_[]\\" else html.escape(char) for char in printable(text))


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, _THIN, *(f"  {line}" for line in lines)]


def _similarity(before: System, after: System | None) -> list[str]:
    lines = [f"Before: {before.measures.similarity} +/- {before.spread.similarity_std:.4f} (std)"]
    if after and after.minus_before and after.percent:
        lines.append(f"After: {after.measures.similarity} +/- {after.spread.similarity_std:.4f} (std)")
        change, percent = after.minus_before.similarity, after.percent
        lines.append(f"Improvement: {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})")
        lines.append(f"Improvement (%): {percent.value:+.2f} ({percent.low:+.2f} to {percent.high:+.2f})")
    return lines


def _norms(before: System, after: System | None, text_norm: float) -> list[str]:
    lines = [f"Visual (Before): {before.measures.norm} +/- {before.spread.norm_std:.4f} (std)"]
    if after:
        lines.append(f"Visual (After): {after.measures.norm} +/- {after.spread.norm_std:.4f} (std)")
        lines.append("  (a bridge gives rows of length 1, whatever it does)")
    return [*lines, f"Text (Target): {text_norm:.4f}"]


def _distances(before: System, after: System | None) -> list[str]:
    titles = {
        "intra_distance": "Intra-visual",
        "text_distance": "Visual->Text (1 - similarity)",
        "gap": "Modality gap",
        "kernel_distance": "Kernel (MMD^2)",
        "sliced_wasserstein": "Sliced Wasserstein",
    }
    sides = [("Before", before), *([("After", after)] if after else [])]
    return [
        f"{title} ({label}): {getattr(one.measures, name)}" for name, title in titles.items() for label, one in sides
    ]


def _conclusions(after: System | None, judgement: Judgement | None) -> list[str]:
    if after is None or judgement is None or after.minus_before is None:
        return ["Diffusion was not applied: visual against text alone", "Give a bridge (`bridges`) to see its effect"]
    change = after.minus_before.similarity
    if change.low > 0:
        lines = [
            "Diffusion bridge IMPROVES visual->text alignment",
            f"Similarity increased by {change.value:.4f}",
            "This suggests diffusion successfully reduces modality gap"
            if after.minus_before.gap.high < 0
            else "The gap between the means did not shrink with it",
        ]
    elif change.high < 0:
        lines = [
            "Diffusion bridge DECREASES visual->text alignment",
            f"Similarity decreased by {-change.value:.4f}",
            "Adjust its parameters, train more, or change the normalisation",
        ]
    else:
        lines = ["The change of visual->text alignment is NOT DISTINGUISHABLE from none"]
    lines += [f"Verdict: {judgement.verdict.upper()}", *(f"- {reason}" for reason in judgement.reasons)]
    return [*lines, "Next:", *(f"- {one}" for one in judgement.advice)]


def _cells(measures: Measures) -> str:
    known = {field.name for field in fields(measures)}
    return " | ".join(_told(getattr(measures, name)) for name in _COLUMNS if name in known)


def _told(value: Estimate | NotMeasurable) -> str:
    return "–" if isinstance(value, NotMeasurable) else str(value)
