"""What evaluations of joint models say of each claim about them, and of each person; models side by side."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.feature_sheets import spread
from mien.analysis.style import FigureConfig, Picture, Size
from mien.errors import DatasetError
from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.figure import draw_reason
from mien.evaluation.report import TITLES
from mien.storage.uri import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Documents = Mapping[str, Mapping[str, Any]]
"""What a figure calls a model -> what `mien evaluate` found, as in evaluation.json."""
Verdict = Literal["yes", "no", "open"]
"""Whether an interval lies on the claimed side of the reference, on the other one, or on both."""

JSON, FOLDER = "evaluation.json", "evaluation"
_FACTS = ("checkpoint", "step", "weights", "objective", "dataset", "split", "backbone", "notes", "counts")
_MAX_TICKS = 40
_MARKS: dict[Verdict, str] = {
    "yes": "filled: holds",
    "open": "hollow: not distinguishable",
    "no": "cross: does not hold",
}
_SAID: dict[Verdict, str] = {name: mark.partition(": ")[2] for name, mark in _MARKS.items()}


class Claim(NamedTuple):
    """A number of the report and what it is claimed to be."""

    measure: str
    """Field of the report."""
    path: str
    """The estimate within it."""
    says: str
    reference: float = 0.0
    """What the number is where the claim is about nothing."""
    side: Literal["above", "below"] = "above"
    """Where the number is claimed to lie."""


CLAIMS = {
    "Expression in the token: R²": (
        Claim("probe", "tokens.mean", "blendshapes can be read"),
        Claim("probe", "tokens_minus_baseline", "better than from the mean feature"),
        Claim("probe", "tokens_minus_shuffled", "better than from nothing"),
    ),
    "Identity in the token: balanced accuracy": (
        Claim("leakage", "baseline_minus_tokens", "people are harder to tell than from features"),
        Claim("leakage", "tokens_minus_shuffled", "people are no easier to tell than by chance", side="below"),
    ),
    "Reconstruction: PSNR, dB": (
        Claim("images", "psnr_db.reconstruction_minus_subject_mean", "nearer than the person's mean image"),
        Claim("images", "psnr_db.reconstruction_minus_overall_mean", "nearer than the mean image of all"),
    ),
    "Reconstruction: SSIM": (
        Claim("images", "ssim.reconstruction_minus_subject_mean", "nearer than the person's mean image"),
        Claim("images", "ssim.reconstruction_minus_overall_mean", "nearer than the mean image of all"),
    ),
    "Movement of the token": (
        Claim("smoothness", "neighbour_cosine_minus_shuffled", "neighbours are more alike than any two frames"),
        Claim("smoothness", "relative_jitter", "smoother than in shuffled order", 1.0, "below"),
        Claim("smoothness", "timing.correlation", "follows the movement of the face"),
    ),
    "Swap of expression and identity": (
        Claim("swap", "expression_correlation", "expression follows the source"),
        Claim("swap", "cosine_to_target_minus_source", "identity is nearer to the target: cosine"),
        Claim("swap", "share_nearer_to_target", "identity is nearer to the target: share", 0.5),
    ),
}
"""Panels and their claims."""


class EvaluationClaimsConfig(FigureConfig):
    """Size and names of the figures."""

    title: str = Field("Evaluation", max_length=200)
    """Begins the title of the figures."""
    size_in: Size = (10, 2.7)
    """Width and height of one panel, in inches."""
    dpi: int = Field(120, ge=20, le=600)
    """Pixels per inch."""
    columns: int = Field(2, ge=1, le=4)
    """Panels beside each other."""


def require_joint(document: Mapping[str, Any], place: str) -> None:
    """Refuse what is no report of the measures that claims are about.

    Raises:
        DatasetError: It is another document; the message names the place.
    """
    if missing := [name for name in TITLES if not isinstance(document.get(name), dict)]:
        kind = document.get("objective", "unknown")
        raise DatasetError(
            f"{place}: is no evaluation of expression tokens (objective {kind}): it has no {', '.join(missing)}; give "
            "what `mien evaluate` wrote of a joint model, or of another one with tokens"
        )


def judged(document: Mapping[str, Any], claim: Claim) -> tuple[Estimate | NotMeasurable, Verdict]:
    """The number behind a claim, and whether it bears it out."""
    found: Any = document[claim.measure]
    for part in claim.path.split("."):
        if not isinstance(found, Mapping) or "not_measurable" in found:
            break
        found = found.get(part)
    if not isinstance(found, Mapping) or found.get("value") is None:
        reason = found.get("not_measurable") if isinstance(found, Mapping) else None
        return NotMeasurable(str(reason or "the evaluation does not tell")), "open"
    estimate = _estimate(found)
    sign = 1 if claim.side == "above" else -1
    low, high = sorted((sign * (estimate.low - claim.reference), sign * (estimate.high - claim.reference)))
    return estimate, "yes" if low > 0 else "no" if high < 0 else "open"


def numbers(documents: Documents) -> dict[str, Any]:
    """Facts of each model, every claim with its number, interval and verdict, and the share of each person."""
    return {
        label: {
            **{name: document[name] for name in _FACTS if name in document},
            "claims": [_told(document, panel, claim) for panel, claims in CLAIMS.items() for claim in claims],
            "people": [{"person": person, **_plain(share)} for person, share in people(document)],
        }
        for label, document in documents.items()
    }


def draw(documents: Documents, config: EvaluationClaimsConfig) -> "Figure":
    """One panel for each kind of number; a row for each claim, a mark for each model, a line at the reference.

    Raises:
        DatasetError: A document is no such evaluation, or there is none.
    """
    _require(documents)
    figure, panels = config.panels(len(CLAIMS), config.columns)
    for axes, (title, claims) in zip(panels, CLAIMS.items(), strict=True):
        style.title(axes, title)
        _draw_claims(axes, claims, documents)
    _legend(figure, documents, config)
    level = {document["config"]["bootstrap"]["level"] for document in documents.values()}
    intervals = "lines: intervals over clips, at " + ", ".join(f"{one:.0%}" for one in sorted(level))
    style.caption(figure, f"{intervals}; {', '.join(_MARKS.values())}; dashed: the reference")
    return figure


def draw_people(documents: Documents, config: EvaluationClaimsConfig) -> "Figure":
    """How often each person is recognised from the token, the most recognised first; dashed: chance.

    Raises:
        DatasetError: A document is no such evaluation, or there is none.
    """
    _require(documents)
    figure, panels = config.panels(len(documents), 1)
    for number, (axes, (label, document)) in enumerate(zip(panels, documents.items(), strict=True)):
        style.title(axes, f"{config.title} - {label}: frames of each person that the token names right")
        found = sorted(people(document), key=lambda one: -one[1].value)
        if not found:
            draw_reason(axes, _without_people(document))
            continue
        value, lengths = _with_lengths([share for _, share in found])
        places, colour = np.arange(len(found)), style.SERIES[number % len(style.SERIES)]
        axes.bar(places, value, color=colour, alpha=0.75)
        axes.errorbar(places, value, yerr=lengths, fmt="none", ecolor="black", lw=1, capsize=2)
        axes.axhline(document["leakage"]["chance"], color=style.RED, ls="--", lw=1.2)
        told = spread(places.tolist(), _MAX_TICKS)
        axes.set_xticks(told, [str(found[place][0]) for place in told])
        axes.set(xlabel="person, by number in the dataset (dashed: chance)", ylabel="share", ylim=(0, 1.05))
    return figure


def people(document: Mapping[str, Any]) -> list[tuple[int, Estimate]]:
    """Number and share of each person that was looked for; none where nobody was."""
    leakage = document["leakage"]
    return [
        (int(person), _estimate(share))
        for person, share in zip(leakage.get("subjects", ()), leakage.get("of_subject", ()), strict=True)
    ]


def read(store: Store) -> dict[str, Any]:
    """The document that `mien evaluate` left at a place, or below it: a run has its evaluation in a folder.

    Raises:
        DatasetError: There is none, or it is no evaluation of expression tokens.
        StorageError: It cannot be read.
    """
    found = {entry.name for entry in store.list(FOLDER)}
    name = next((name for name in (JSON, f"{FOLDER}/{JSON}") if name in found), None)
    if name is None:
        raise DatasetError(f"{store.uri}/{JSON}: is not there; give the output of `mien evaluate`, or its run")
    place = f"{store.uri}/{name}"
    try:
        document = json.loads(store.read(name))
    except ValueError as error:
        raise DatasetError(f"{place}: is damaged: {error}; run `mien evaluate` again") from None
    require_joint(document if isinstance(document, dict) else {}, place)
    return dict(document)


def pictures(documents: Documents, config: EvaluationClaimsConfig) -> list[Picture]:
    """The claims about these models, and the people that they recognise.

    Raises:
        DatasetError: A document is no such evaluation, or there is none.
    """
    told = numbers(documents)
    people_of = {label: one["people"] for label, one in told.items()}
    return [
        style.picture("claims", draw(documents, config), told),
        style.picture("people", draw_people(documents, config), people_of),
    ]


def sentences(document: Mapping[str, Any]) -> list[str]:
    """Every claim about a model with its verdict and number, a line each."""
    claims = [claim for panel in CLAIMS.values() for claim in panel]
    return [_sentence(claim, *judged(document, claim)) for claim in claims]


def _require(documents: Documents) -> None:
    if not documents:
        raise DatasetError("evaluations: none is given; give the output of `mien evaluate`")
    for label, document in documents.items():
        require_joint(document, label)


def _estimate(found: Mapping[str, Any]) -> Estimate:
    """As the report had it; JSON has no NaN."""
    return Estimate(*(math.nan if found[key] is None else float(found[key]) for key in ("value", "low", "high")))


def _plain(estimate: Estimate) -> dict[str, float | None]:
    values = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _told(document: Mapping[str, Any], panel: str, claim: Claim) -> dict[str, Any]:
    found, verdict = judged(document, claim)
    about = {"panel": panel, "claim": claim.says, "number": f"{claim.measure}.{claim.path}"}
    if isinstance(found, NotMeasurable):
        return {**about, "not_measurable": found.reason}
    return {**about, "reference": claim.reference, "side": claim.side, **_plain(found), "verdict": verdict}


def _sentence(claim: Claim, found: Estimate | NotMeasurable, verdict: Verdict) -> str:
    said = f"not measurable: {found.reason}" if isinstance(found, NotMeasurable) else f"{_SAID[verdict]}: {found}"
    return f"{claim.says} ({claim.measure}.{claim.path}): {said}"


def _without_people(document: Mapping[str, Any]) -> NotMeasurable:
    reason = document["leakage"].get("not_measurable", "the evaluation was made by a version that did not tell people")
    return NotMeasurable(str(reason))


def _draw_claims(axes: "Axes", claims: Sequence[Claim], documents: Documents) -> None:
    found = [[judged(document, claim) for document in documents.values()] for claim in claims]
    reasons = [one.reason for row in found for one, _ in row if isinstance(one, NotMeasurable)]
    if len(reasons) == len(claims) * len(documents):
        return draw_reason(axes, NotMeasurable(reasons[0]))
    step = 0.7 / len(documents)
    for row, (claim, of_models) in enumerate(zip(claims, found, strict=True)):
        axes.plot([claim.reference] * 2, [row - 0.45, row + 0.45], color="black", ls="--", lw=1)
        for number, (estimate, verdict) in enumerate(of_models):
            y = row + (number - (len(documents) - 1) / 2) * step
            _draw_estimate(axes, y, estimate, (verdict, style.SERIES[number % len(style.SERIES)], claim.reference))
    axes.set_yticks(range(len(claims)), [claim.says for claim in claims])
    axes.set_ylim(len(claims) - 0.5, -0.5)
    axes.margins(x=0.18)
    axes.grid(axis="x", alpha=0.3)
    return None


def _draw_estimate(
    axes: "Axes", y: float, estimate: Estimate | NotMeasurable, look: tuple[Verdict, str, float]
) -> None:
    verdict, colour, reference = look
    if isinstance(estimate, NotMeasurable):
        axes.text(reference, y, " not measurable", color=colour, size=8, va="center")
        return
    (value,), lengths = _with_lengths([estimate])
    marker = {"yes": "o", "open": "o", "no": "X"}[verdict]
    face = "white" if verdict == "open" else colour
    axes.errorbar([value], [y], xerr=lengths, fmt=marker, color=colour, mfc=face, ms=7, lw=1.5, capsize=3)
    right = value + lengths[1, 0]
    axes.annotate(f"{value:.3f}", (right, y), (6, 0), textcoords="offset points", va="center", size=8)


def _legend(figure: "Figure", documents: Documents, config: EvaluationClaimsConfig) -> None:
    """The models by their colours, as the title; a single one needs none."""
    from matplotlib.lines import Line2D

    labels = [f"{label}, step {document.get('step', '–')}" for label, document in documents.items()]
    if len(labels) == 1:
        figure.suptitle(f"{config.title} - {labels[0]}", parse_math=False)
        return
    marks = [Line2D([], [], color=style.SERIES[n % len(style.SERIES)], marker="o") for n in range(len(labels))]
    look: dict[str, Any] = {"loc": "outside upper center", "ncols": len(labels), "frameon": False}
    drawn = figure.legend(marks, labels, title=config.title, title_fontsize=12, **look)
    for text in (*drawn.get_texts(), drawn.get_title()):
        text.set_parse_math(False)


def _with_lengths(estimates: Sequence[Estimate]) -> tuple[Any, Any]:
    """Values [n] and the lengths [2, n] of their intervals, 0 where there is none."""
    value, low, high = np.array([[one.value, one.low, one.high] for one in estimates]).T
    return value, np.maximum(np.nan_to_num(np.stack([value - low, high - value])), 0)
