"""How alike vectors are within a clip, between clips of one person, and between people: by cosine."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.dataset_vectors import Vectors
from mien.analysis.feature_sheets import spread
from mien.analysis.style import ColourMap, FigureConfig, Size
from mien.errors import DatasetError
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Bools, Floats, Ints
from mien.evaluation.figure import draw_reason
from mien.evaluation.report import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Group = Literal["clip", "person", "people"]
GROUPS: dict[Group, tuple[str, str]] = {
    "clip": ("within a clip", style.SERIES[0]),
    "person": ("one person, two clips", style.SERIES[1]),
    "people": ("two people", style.SERIES[2]),
}
"""Pairs of frames -> what a figure calls them, and their colour."""

_BINS = 50
_NAME_CHARS = 18


class SubjectSimilarityConfig(FigureConfig):
    """Which frames are compared, and how the figure looks."""

    title: str = Field("Similarity", max_length=200)
    """Begins the title of the figure."""
    size_in: Size = (21, 6.5)
    """Width and height in inches."""
    dpi: int = Field(120, ge=20, le=600)
    """Pixels per inch."""
    cmap: ColourMap = "viridis"
    """Of the matrix."""
    max_frames: int = Field(2000, ge=2, le=20_000)
    """Frames that are compared with each other, spread evenly over the clips; the matrix has their square."""
    max_clips: int = Field(32, ge=1, le=200)
    """Clips with a violin of their own."""
    max_people: int = Field(24, ge=2, le=200)
    """Rows of the matrix."""
    centred: bool = False
    """Subtract the mean of all frames first: what all faces share makes every cosine large."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals, over people."""


@dataclass(frozen=True)
class Separation:
    """Whether people are told apart, over clips that have another clip of their person and one of somebody else.

    Intervals are over people: the clips of one are alike or not together. They are somewhat narrow, for a pair is of
    two people: at 95 %, those of 4 to 20 people who do not differ held a margin of 0 in 86 to 94 % of planted scenes.
    """

    margin: Estimate
    """Mean cosine to other clips of the same person minus that to clips of others."""
    nearest: Estimate
    """Share of clips whose most similar other clip is of the same person."""
    chance: float
    """That share if the nearest clip were any."""
    num_clips: int

    def __str__(self) -> str:
        """One line."""
        return (
            f"Same person minus others, other clips: {self.margin}. "
            f"Nearest other clip is of the same person: {self.nearest}; by chance {self.chance:.3f}"
        )


@dataclass(frozen=True)
class Similarity:
    """What pairs of frames say."""

    pairs: dict[Group, Floats]
    """Cosines of the pairs of each kind, negative ones too."""
    clips: list[tuple[str, Floats]]
    """Name of each clip with two frames or more, and the cosines within it."""
    people: list[str]
    matrix: Floats
    """[P, P]: mean cosine of frames of two people; on the diagonal of two clips of one person; NaN where there are
    none."""
    separation: Separation | NotMeasurable


def similarity(vectors: Vectors, config: SubjectSimilarityConfig) -> Similarity:
    """Compare all frames that are taken with each other.

    Raises:
        DatasetError: No two frames can be compared, or a vector has no direction.
    """
    taken = _taken(vectors.clip, config.max_frames)
    clip, subject = vectors.clip[taken], vectors.subject[taken]
    cosine = _cosines(vectors, taken, config)
    if len(taken) < 2:
        raise DatasetError(f"{vectors.place}: {len(taken)} frame has nothing to be compared with; give two or more")
    upper = np.triu(np.ones(cosine.shape, bool), 1)
    same_clip, same_person = clip[:, None] == clip, subject[:, None] == subject
    masks: dict[Group, Bools] = {
        "clip": same_clip & upper,
        "person": same_person & ~same_clip & upper,
        "people": ~same_person & upper,
    }
    between = _between_clips(cosine, clip)
    own = vectors.subject[np.unique(vectors.clip, return_index=True)[1]]
    return Similarity(
        pairs={name: cosine[mask] for name, mask in masks.items()},
        clips=_within(cosine, clip, vectors.clip_names),
        people=vectors.subject_names,
        matrix=_matrix(cosine, subject, same_clip),
        separation=_separation(between, own, config.bootstrap),
    )


def numbers(vectors: Vectors, config: SubjectSimilarityConfig) -> dict[str, Any]:
    """Statistics of each kind of pairs and of each clip, the matrix, and whether people are told apart."""
    found = similarity(vectors, config)
    return {
        **vectors.facts(),
        "centred": config.centred,
        "pairs": {name: _statistics(values) for name, values in found.pairs.items()},
        "clips": {name: _statistics(values) for name, values in found.clips},
        "people": found.people,
        "matrix": [[None if math.isnan(value) else value for value in row] for row in found.matrix.tolist()],
        "separation": plain(found.separation),
        "level": config.bootstrap.level,
    }


def draw(vectors: Vectors, config: SubjectSimilarityConfig) -> "Figure":
    """Left: histograms by kind of pair; middle: one violin per clip; right: people against people.

    Raises:
        DatasetError: No two frames can be compared, or a vector has no direction.
    """
    found = similarity(vectors, config)
    figure = config.canvas()
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.2, 1.2, 1])
    _draw_histograms(left, found)
    _draw_clips(middle, found, config)
    _draw_matrix(right, found, config)
    centred = ", minus the mean of all" if config.centred else ""
    told = vectors.facts()
    figure.suptitle(
        f"{config.title} - {vectors.place}{centred}: {told['num_frames']} frames, {told['num_clips']} clips, "
        f"{told['num_subjects']} people",
        parse_math=False,
    )
    style.caption(figure, sentence(found.separation))
    return figure


def sentence(separation: Separation | NotMeasurable) -> str:
    """Whether people are told apart, in one line."""
    if isinstance(separation, NotMeasurable):
        return f"Whether people are told apart is not measurable: {separation.reason}"
    return str(separation)


def _taken(clip: Ints, max_frames: int) -> Ints:
    """Places of frames spread evenly, the same number of each clip where there are enough."""
    counts = np.bincount(clip)
    share = max(1, max_frames // max(1, len(counts)))
    kept = [spread(np.flatnonzero(clip == number).tolist(), share) for number in spread(range(len(counts)), max_frames)]
    return np.array([place for places in kept for place in places], np.int64)


def _cosines(vectors: Vectors, taken: Ints, config: SubjectSimilarityConfig) -> Floats:
    values = vectors.values[taken]
    values = values - values.mean(0) if config.centred else values
    length = np.linalg.norm(values, axis=1, keepdims=True)
    if not length.all():
        bad = int((length == 0).sum())
        raise DatasetError(
            f"{vectors.place}: {bad} of {len(taken)} vectors are 0 and have no direction; leave them out"
        )
    unit = values / length
    return np.asarray(np.clip(unit @ unit.T, -1, 1))


def _between_clips(cosine: Floats, clip: Ints) -> Floats:
    """Mean cosine of the frames of every two clips: [N, N] to [C, C]."""
    _, number = np.unique(clip, return_inverse=True)
    member = np.eye(number.max() + 1)[number]
    counts = member.sum(0)
    return np.asarray(member.T @ cosine @ member / np.outer(counts, counts))


def _separation(between: Floats, person: Ints, config: BootstrapConfig) -> Separation | NotMeasurable:
    same = (person[:, None] == person) & ~np.eye(len(person), dtype=bool)
    others = person[:, None] != person
    able = np.flatnonzero(same.any(1) & others.any(1))
    if not len(able):
        return NotMeasurable("no person has two clips, or there is one person only")
    margins = np.array([between[row, same[row]].mean() - between[row, others[row]].mean() for row in able])
    nearest = np.where(np.eye(len(person), dtype=bool), -np.inf, between).argmax(1)
    is_right = (person[nearest] == person)[able].astype(float)
    chance = float(same[able].sum(1).mean() / (len(person) - 1))
    bootstrap = config.build(person[able])
    margin, near = (bootstrap.estimate(bootstrap.mean(values)) for values in (margins, is_right))
    return Separation(margin, near, chance, len(able))


def _within(cosine: Floats, clip: Ints, names: tuple[str, ...]) -> list[tuple[str, Floats]]:
    found = []
    for number in np.unique(clip):
        block = cosine[np.ix_(clip == number, clip == number)]
        if len(block) > 1:
            found.append((names[number], block[np.triu_indices(len(block), 1)]))
    return found


def _matrix(cosine: Floats, subject: Ints, same_clip: Bools) -> Floats:
    member = np.eye(subject.max() + 1)[subject]
    total, num = member.T @ np.where(same_clip, 0, cosine) @ member, member.T @ ~same_clip @ member
    return np.asarray(np.divide(total, num, out=np.full(total.shape, np.nan), where=num > 0))


def _statistics(values: Floats) -> dict[str, float | int]:
    if not len(values):
        return {"count": 0}
    spread_of = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    return {**{name: float(value) for name, value in spread_of.items()}, "count": len(values)}


def _draw_histograms(axes: "Axes", found: Similarity) -> None:
    """One scale of bins; shares, for there are far more pairs of two people than of one."""
    low = min(values.min() for values in found.pairs.values() if len(values))
    edges = np.linspace(min(low, 1 - 1e-3), 1, _BINS + 1)
    for name, (label, colour) in GROUPS.items():
        values = found.pairs[name]
        if not len(values):
            axes.plot([], [], color=colour, label=f"{label}: no pair")
            continue
        share = np.histogram(values, edges)[0] / len(values)
        text = f"{label}: {values.mean():.3f} ± {values.std():.3f} ({len(values)} pairs)"
        axes.stairs(share, edges, color=colour, fill=True, alpha=0.25)
        axes.stairs(share, edges, color=colour, lw=1.5, label=text)
    axes.set(yscale="log", xlabel="cosine of two frames", ylabel="share of the pairs")
    axes.set_ylim(top=20 * axes.get_ylim()[1])  # the legend stands above the histograms
    style.title(axes, "All pairs: mean ± std")
    axes.legend(loc="upper left", fontsize=8)


def _draw_clips(axes: "Axes", found: Similarity, config: SubjectSimilarityConfig) -> None:
    from matplotlib.ticker import MaxNLocator

    if not found.clips:
        style.title(axes, "Within each clip")
        return draw_reason(axes, NotMeasurable("no clip has two frames"))
    shown = spread(found.clips, config.max_clips)
    axes.violinplot([values for _, values in shown], showmeans=True, showmedians=True)
    axes.set(xlabel=f"clip ({len(shown)} of {len(found.clips)})", ylabel="cosine of two frames")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    means = np.array([values.mean() for _, values in found.clips])
    style.title(axes, f"Within each clip, mean and median: {means.mean():.3f} ± {means.std():.3f}")
    return None


def _draw_matrix(axes: "Axes", found: Similarity, config: SubjectSimilarityConfig) -> None:
    style.title(axes, "Person against person, different clips")
    if len(found.people) < 2:
        return draw_reason(axes, NotMeasurable("there is one person only"))
    shown = spread(range(len(found.people)), config.max_people)
    axes.set_facecolor("#dddddd")
    image = axes.imshow(found.matrix[np.ix_(shown, shown)], cmap=config.cmap, interpolation="nearest")
    names = [_short(found.people[place]) for place in shown]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(len(shown)), names, fontsize=7, parse_math=False)
    axes.tick_params(axis="x", rotation=90)
    axes.figure.colorbar(image, ax=axes, fraction=0.046, pad=0.02, label="mean cosine (grey: no such pair)")
    return None


def _short(name: str) -> str:
    return name if len(name) <= _NAME_CHARS else f"…{name[1 - _NAME_CHARS :]}"
