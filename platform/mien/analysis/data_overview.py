"""A dataset at a glance: how long, how large, how complete; what failed, and who is in it."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mien.analysis import style
from mien.analysis.dataset_tracks import TracksConfig
from mien.analysis.style import FigureConfig, Size
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.inspect import durations_s, summarize
from mien.evaluation.embedded import Floats, Ints
from mien.schema import FACE_INTERPOLATED, FACE_NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
_NO_CLIP = "no clip could be made"
_MANY_PEOPLE = 60
_LABEL_CHARS = 34
_LEAST_BARS = 5
"""Fewer do not grow wider."""


class DataOverviewConfig(FigureConfig):
    """How much is read, and how the figure looks."""

    title: str = Field("Dataset", max_length=200)
    """Begins the title of the figure."""
    size_in: Size = (18, 9)
    """Width and height in inches."""
    dpi: int = Field(120, ge=20, le=600)
    """Pixels per inch."""
    bins: int = Field(40, ge=5, le=500)
    """Of the histograms."""
    tracks: TracksConfig = TracksConfig()
    """Face tracks whose frames are read for sizes and gaps."""
    max_reasons: int = Field(12, ge=1, le=50)
    """Reasons of failures with a bar of their own."""


@dataclass(frozen=True)
class Overview:
    """What the index says of S face tracks, and what the frames of M of them say."""

    summary: dict[str, Any]
    """As `mien inspect` tells it."""
    duration_s: Floats
    """[S]."""
    face_share: Floats
    """[S], share of the frames in which the face was detected."""
    face_px: Floats
    """[M'], shorter side of the detected face, median over the frames of a track; M' tracks have one."""
    bridged_s: Floats
    """Lengths of gaps that the track bridges."""
    empty_s: Floats
    """Lengths of gaps without a face."""
    num_measured: int
    """M."""
    failures: dict[tuple[str, str], int]
    """Stage and error -> clips, the most frequent first."""
    tracks_of_person: Ints
    """[P], face tracks of each known person, the most first."""


def overview(dataset: Dataset, config: DataOverviewConfig) -> Overview:
    """Read it: of the index a few columns, of the shards two columns of some tracks, one track at a time.

    Raises:
        DatasetError: A shard is missing or damaged.
    """
    index, failed = dataset.index_file, dataset.failure_file.table(["stage", "error_type"])
    num_frames, num_detected = (np.asarray(index.column(name).to_numpy()) for name in ("num_frames", "num_detected"))
    duration_s = durations_s(dataset)
    taken = config.tracks.choose(dataset)
    measured = [_measured(dataset.sample(row), duration_s[row] / max(1, num_frames[row])) for row in taken]
    dataset.close()
    sides, bridged, empty = ([one[part] for one in measured] for part in range(3))
    face_px = np.array(sides, float)
    summary = summarize(dataset)
    return Overview(
        summary=summary,
        duration_s=duration_s,
        face_share=num_detected / np.maximum(num_frames, 1),
        face_px=face_px[np.isfinite(face_px)],
        bridged_s=np.concatenate([np.empty(0), *bridged]),
        empty_s=np.concatenate([np.empty(0), *empty]),
        num_measured=len(taken),
        failures=dict(Counter((row["stage"], row["error_type"]) for row in failed.to_pylist()).most_common()),
        tracks_of_person=np.array(sorted(summary["subjects"].values(), reverse=True), np.int64),
    )


def numbers(found: Overview) -> dict[str, Any]:
    """Counts and percentiles; nobody is named."""
    kept = {name: value for name, value in found.summary.items() if name not in {"subjects", "failures"}}
    return {
        **kept,
        "num_people": len(found.tracks_of_person),
        "num_measured": found.num_measured,
        "distributions": {
            "duration_s": _percentiles(found.duration_s),
            "face_share": _percentiles(found.face_share),
            "face_px": _percentiles(found.face_px),
            "bridged_gap_s": _percentiles(found.bridged_s),
            "empty_gap_s": _percentiles(found.empty_s),
            "tracks_of_person": _percentiles(found.tracks_of_person),
        },
        "failures": [{"stage": stage, "error": error, "num": num} for (stage, error), num in found.failures.items()],
    }


def draw(found: Overview, config: DataOverviewConfig) -> "Figure":
    """Six panels: durations, shares with a face, sizes, gaps, failures by reason, face tracks of each person."""
    figure = config.canvas()
    (duration, share, size), (gaps, failures, people) = figure.subplots(2, 3)
    _histogram(duration, ("Length of face tracks", "s", "face tracks"), found.duration_s, config.bins)
    _histogram(
        share, ("Frames with a detected face", "share of the frames", "face tracks"), found.face_share, config.bins
    )
    share.set_xlim(0, 1.05)
    some = f" ({found.num_measured} of {len(found.duration_s)} tracks)"
    _histogram(size, (f"Size of faces{some}", "shorter side, px", "face tracks"), found.face_px, config.bins)
    _draw_gaps(gaps, found, config.bins)
    style.title(gaps, f"Frames in a row without detection{some}")
    _draw_failures(failures, found.failures, config.max_reasons)
    _draw_people(people, found.tracks_of_person)
    figure.suptitle(f"{config.title} - {found.summary['path']}", parse_math=False)
    style.caption(figure, sentence(found), is_warning=not found.summary["finished"])
    return figure


def sentence(found: Overview) -> str:
    """What is in it, in one line."""
    of = found.summary
    text = (
        f"{of['num_clips']} clips with {of['num_samples']} face tracks from {of['num_sources']} videos; "
        f"{of['num_frames']} frames, {of['duration_s'] / 3600:.3g} h, a face in {of['face_share']:.1%}; "
        f"known people: {len(found.tracks_of_person)}; failed clips: {of['num_failed']}"
    )
    return text if of["finished"] else f"UNFINISHED, what is there so far: {text}"


def gaps(face: Ints, status: int) -> Ints:
    """Lengths of the runs of frames with one status: [T] to [runs]."""
    edges = np.diff(np.concatenate([[0], (face == status).astype(np.int8), [0]]))
    return np.asarray(np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1))


def _measured(sample: Sample, frame_s: float) -> tuple[float, Floats, Floats]:
    """Median shorter side of the face, px, NaN without one; lengths of bridged and of empty gaps, s."""
    face, box = np.asarray(sample["face"]), np.asarray(sample["box"], float)
    sides = (box[:, 2:] - box[:, :2]).min(1)
    sides = sides[np.isfinite(sides)]  # where the face was detected
    side = float(np.median(sides)) if len(sides) else np.nan
    return side, gaps(face, FACE_INTERPOLATED) * frame_s, gaps(face, FACE_NONE) * frame_s


def _percentiles(values: Floats | Ints) -> dict[str, Any]:
    if not len(values):
        return {"num": 0}
    found = np.percentile(values, _PERCENTILES).tolist()
    return {
        "num": len(values),
        "mean": float(values.mean()),
        "percentiles": {str(percent): value for percent, value in zip(_PERCENTILES, found, strict=True)},
    }


def _histogram(axes: "Axes", labels: tuple[str, str, str], values: Floats, bins: int) -> None:
    """Logarithmic bins where values reach over three orders of magnitude."""
    name, x, y = labels
    style.title(axes, name)
    if not len(values):
        return _say(axes, "no face was detected" if x.endswith("px") else _NO_CLIP)
    axes.hist(values, _edges(values, bins), color=style.BLUE, alpha=0.85)
    median = float(np.median(values))
    axes.axvline(median, color=style.RED, ls="--", lw=1.2, label=f"median {median:.3g}")
    axes.set(xlabel=x, ylabel=y, xscale="log" if _is_wide(values) else "linear")
    _count_axis(axes)
    axes.legend(fontsize=8)
    return None


def _draw_gaps(axes: "Axes", found: Overview, bins: int) -> None:
    both = np.concatenate([found.bridged_s, found.empty_s])
    if not len(both):
        return _say(axes, "a face was detected in every frame" if found.num_measured else _NO_CLIP)
    edges = _edges(both, bins)
    for values, label, colour in (
        (found.bridged_s, "bridged by the track", style.SERIES[1]),
        (found.empty_s, "no face", style.RED),
    ):
        axes.hist(values, edges, color=colour, alpha=0.6, label=f"{label}: {len(values)}, {values.sum():.4g} s")
    axes.set(xlabel="s", ylabel="gaps", xscale="log" if _is_wide(both) else "linear")
    _count_axis(axes)
    axes.legend(fontsize=8)
    return None


def _draw_failures(axes: "Axes", failures: dict[tuple[str, str], int], max_reasons: int) -> None:
    style.title(axes, f"Failures by reason, clips: {sum(failures.values())}")
    if not failures:
        return _say(axes, "nothing failed")
    bars = [(f"{error} in {stage}"[:_LABEL_CHARS], num) for (stage, error), num in failures.items()]
    if left_over := bars[max_reasons:]:
        bars = [*bars[:max_reasons], (f"{len(left_over)} other reasons", sum(num for _, num in left_over))]
    labels, counts = zip(*bars, strict=True)
    axes.bar_label(axes.barh(range(len(bars)), counts, color=style.RED, alpha=0.75), padding=3)
    axes.set_yticks(range(len(bars)), labels, parse_math=False)
    axes.set_xlabel("clips")
    axes.locator_params(axis="x", integer=True)
    axes.set_ylim(max(len(bars), _LEAST_BARS) - 0.5, -0.5)
    axes.margins(x=0.15)
    return None


def _draw_people(axes: "Axes", tracks: Ints) -> None:
    style.title(axes, f"Face tracks of each person: {len(tracks)} people")
    if not len(tracks):
        return _say(axes, "no clip says who is in it")
    if len(tracks) <= _MANY_PEOPLE:
        axes.bar(np.arange(1, len(tracks) + 1), tracks, color=style.BLUE, alpha=0.85)
    else:
        axes.stairs(tracks, np.arange(len(tracks) + 1) + 0.5, fill=True, color=style.BLUE, alpha=0.85)
    axes.set(xlabel="person, by number of face tracks", ylabel="face tracks")
    _count_axis(axes)
    return None


def _count_axis(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="y", alpha=0.3)


def _say(axes: "Axes", text: str) -> None:
    """In place of a panel that has nothing to show."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)


def _edges(values: Floats, bins: int) -> list[float]:
    low, high = float(values.min()), float(values.max())
    if _is_wide(values):
        return list(np.geomspace(low, high, bins + 1).tolist())
    if low == high:
        low, high = low - max(1e-3, abs(low) / 2), high + max(1e-3, abs(high) / 2)
        bins |= 1  # of an odd number the one in the middle stands around the value
    return list(np.linspace(low, high, bins + 1).tolist())


def _is_wide(values: Floats) -> bool:
    return bool(values.min() > 0 and values.max() > 1000 * values.min())
