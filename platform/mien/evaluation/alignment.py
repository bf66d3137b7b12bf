"""One modality beside another in one frame of reference: how near, how spread, how told apart, before and after.

Systems are ways of the same rows: as they were, and after each bridge. A system minus what was before is a paired
difference: both see the same resamples. Intervals are over groups of rows (images); the texts are given.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mien.config import Config
from mien.diffusion import bridge
from mien.diffusion.bridge import Frame
from mien.evaluation import set_distances
from mien.evaluation.bootstrap import Bootstrap, BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Bools, Floats, Ints
from mien.evaluation.jackknife import JackknifeConfig
from mien.evaluation.retrieval import nearest, ranks
from mien.evaluation.set_distances import Distance
from mien.losses.collapse import collapse_metrics

NO_ANSWER = -1
"""Of a row whose text is not known."""


class AlignmentConfig(Config):
    """How two modalities are compared."""

    frame: Frame = "raw"
    """Frame of all comparisons: that of the extractor, or around the mean of the texts."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """Intervals of means."""
    jackknife: JackknifeConfig = JackknifeConfig()
    """Intervals of distances of distributions."""
    num_directions: int = Field(128, ge=1, le=10_000)
    """Of the sliced Wasserstein distance."""
    max_rows: int = Field(2000, ge=10)
    """Rows of each side for distances of distributions, whose cost grows with their square; drawn if there are more."""
    seed: int = Field(0, ge=0)
    """Of directions and of these rows."""


@dataclass(frozen=True)
class Scene:
    """What all systems have in common.

    Raises:
        ValueError: There are fewer than two texts or rows, shapes differ, or an embedding has no direction.
    """

    text: Floats
    """As an extractor gives them, [m, d]."""
    answer: Ints
    """Row of the text of each row [n], NO_ANSWER where it is not known."""
    group: Ints
    """Number of the image of each row [n]."""

    def __post_init__(self) -> None:
        if len(self.text) < 2:
            raise ValueError(f"text: {len(self.text)} embedding; what is nearest is told of two classes and more")
        if self.answer.shape != self.group.shape or len(self.answer) < 2:
            raise ValueError(
                f"rows: {len(self.answer)} with {len(self.group)} groups; give two rows and more, one each"
            )


@dataclass(frozen=True)
class Rows:
    """Rows of one system."""

    unit: Floats
    """In the frame, length 1 [n, d]."""
    norm: Floats
    """Lengths as they were given [n]."""
    similarity: Floats
    """Cosine to the nearest text [n]."""
    margin: Floats
    """By how much it is nearer than the second [n]."""
    nearest: Ints
    """Row of that text [n]."""
    alignment: Floats
    """Cosine to the own text [n], 0 where it is not known."""
    rank: Ints
    """Texts that are at least as near as the own one [n]; -1 where it is not known."""


@dataclass(frozen=True)
class Measures:
    """Of all rows, or how they changed."""

    similarity: Estimate
    """Mean cosine to the nearest text."""
    norm: Estimate
    """Mean length; that of bridged rows is 1 by construction, and says nothing."""
    intra_distance: Estimate
    """Mean cosine distance of two rows."""
    text_distance: Estimate
    """Mean cosine distance to the nearest text: 1 - similarity, and no further evidence."""
    gap: Estimate
    """Distance of the means of rows and of texts (Liang et al. 2022)."""
    kernel_distance: Estimate
    """Squared maximum mean discrepancy."""
    sliced_wasserstein: Estimate
    alignment: Estimate | NotMeasurable
    """Mean cosine to the own text."""
    top_1: Estimate | NotMeasurable
    """Share of the rows whose own text is the nearest."""
    top_5: Estimate | NotMeasurable


@dataclass(frozen=True)
class Spread:
    """What has no interval: how rows differ from each other."""

    similarity_std: float
    norm_std: float
    effective_rank: float
    """Directions in which rows vary (Roy and Vetterli 2007)."""
    num_nearest: float
    """Texts that are somebody's nearest, by the exponential of the entropy: 1 where all rows have one."""
    top_share: float
    """Share of the rows that have the most frequent one."""


@dataclass(frozen=True)
class System:
    """One way of the rows."""

    name: str
    rows: Rows
    measures: Measures
    spread: Spread
    minus_before: Measures | None
    """None for what was before."""
    percent: Estimate | None
    """Change of the similarity, in percent of that before."""


class _Statistics(NamedTuple):
    """Rows, and what estimates are made of, by the names of `Measures`."""

    rows: Rows
    replicates: dict[str, Floats]
    distances: dict[str, Distance]


def compare(before: Floats, after: Mapping[str, Floats], scene: Scene, config: AlignmentConfig) -> list[System]:
    """Measure rows as they were, and after each bridge.

    Args:
        before: As an extractor gives them, [n, d].
        after: The same rows in the raw frame [n, d], by the name of what led them.
        scene: Texts, answers and groups.
        config: How.

    Returns:
        The system `before`, then the others in their order.

    Raises:
        ValueError: Shapes differ, or an embedding has no direction.
    """
    measured = _Measured(scene, config, before)
    first = measured.statistics(before)
    systems = [measured.system("before", first, None)]
    for name, values in after.items():
        if values.shape != before.shape:
            raise ValueError(
                f"{name}: has shape {[*values.shape]}, but rows before {[*before.shape]}; give the same rows"
            )
        systems.append(measured.system(name, measured.statistics(values), first))
    return systems


class _Measured:
    """Resamples, directions and texts that all systems share."""

    def __init__(self, scene: Scene, config: AlignmentConfig, before: Floats) -> None:
        self._scene, self._bootstrap = scene, config.bootstrap.build(scene.group)
        self._jackknife, self._answered = config.jackknife, scene.answer != NO_ANSWER
        self._mean = mean_of(scene.text) if config.frame == "centred" else None
        self.text = placed(scene.text, self._mean)
        self._some, some_text = (_drawn(len(side), config) for side in (before, self.text))
        self._some_text = self.text[some_text]
        self._groups = config.jackknife.groups(len(self._some), scene.group[self._some], 0)
        self._all_groups = config.jackknife.groups(len(before), scene.group, 0)
        self._directions = set_distances.directions(before.shape[1], config.num_directions, config.seed)
        unit = placed(before, self._mean)[self._some]
        self._width = set_distances.bandwidth(np.concatenate([unit, self._some_text]))

    def rows(self, values: Floats) -> Rows:
        unit, answer = placed(values, self._mean), np.maximum(self._scene.answer, 0)
        x, text = torch.from_numpy(unit), torch.from_numpy(self.text)
        found = nearest(x, text)
        return Rows(
            unit=unit,
            norm=np.linalg.norm(values.astype(np.float64), axis=1),
            similarity=found.cosine.numpy(),
            margin=found.margin.numpy(),
            nearest=found.row.numpy(),
            alignment=np.where(self._answered, (unit * self.text[answer]).sum(1), 0.0),
            rank=np.where(self._answered, ranks(x, text, torch.from_numpy(answer)).numpy(), -1),
        )

    def statistics(self, values: Floats) -> _Statistics:
        rows, mean = self.rows(values), self._bootstrap.mean
        own = {"alignment": rows.alignment, "top_1": rows.rank == 0, "top_5": (rows.rank >= 0) & (rows.rank < 5)}
        some = rows.unit[self._some]
        return _Statistics(
            rows,
            {
                "similarity": mean(rows.similarity),
                "norm": mean(rows.norm),
                "intra_distance": 1 - self._bootstrap.mean_of_pairs(rows.unit),
                "text_distance": mean(1 - rows.similarity),
                **{name: mean_of_some(self._bootstrap, each, self._answered) for name, each in own.items()},
            },
            {
                "gap": set_distances.mean_gap(rows.unit, self.text, self._all_groups),
                "kernel_distance": set_distances.kernel_distance(some, self._some_text, self._width, self._groups),
                "sliced_wasserstein": set_distances.sliced_wasserstein(
                    some, self._some_text, self._directions, self._groups
                ),
            },
        )

    def system(self, name: str, own: _Statistics, before: _Statistics | None) -> System:
        measures, spread = self._measures(own, None), _spread(own.rows, len(self.text))
        if before is None:
            return System(name, own.rows, measures, spread, None, None)
        first, now = (each.replicates["similarity"] for each in (before, own))
        percent = self._bootstrap.estimate(100 * (now - first) / np.abs(first))
        return System(name, own.rows, measures, spread, self._measures(own, before), percent)

    def _measures(self, own: _Statistics, before: _Statistics | None) -> Measures:
        """Estimates, or those of differences."""
        found: dict[str, Any] = {}
        for name, values in own.replicates.items():
            minus = values - before.replicates[name] if before else values
            found[name] = self._bootstrap.estimate(minus)
        for name, one in own.distances.items():
            other = before.distances[name] if before else Distance(0.0, np.zeros_like(one.left_out))
            found[name] = self._jackknife.estimate(one.whole - other.whole, [one.left_out - other.left_out])
        if not self._answered.any():
            missing = NotMeasurable("no row has a label that is the name of a text")
            found |= dict.fromkeys(("alignment", "top_1", "top_5"), missing)
        return Measures(**found)


def mean_of(values: Floats) -> Floats:
    """Mean of the unit vectors of rows [n, d]: where the centred frame has its origin."""
    return np.asarray(placed(values, None).mean(0))


def placed(values: Floats, mean: Floats | None) -> Floats:
    """Unit vectors in the frame of a mean, or in that of the extractor: float64 [n, d].

    Raises:
        ValueError: An embedding is not finite, is zero or is the mean itself, or the widths differ.
    """
    centre = None if mean is None else torch.from_numpy(np.asarray(mean, np.float64))
    return np.asarray(bridge.normalise(torch.from_numpy(np.asarray(values, np.float64)), centre, 1.0).numpy())


def mean_of_some(bootstrap: Bootstrap, values: Floats | Bools, chosen: Bools) -> Floats:
    """Mean of the chosen rows [n]: replicates, NaN where a resample has none of them."""
    num = bootstrap.total(chosen.astype(np.float64))
    with np.errstate(invalid="ignore"):
        return np.where(num > 0, bootstrap.total(np.where(chosen, values, 0.0)) / num, np.nan)


def _spread(rows: Rows, num_texts: int) -> Spread:
    share = np.bincount(rows.nearest, minlength=num_texts) / len(rows.nearest)
    some = share[share > 0]
    return Spread(
        similarity_std=float(rows.similarity.std()),
        norm_std=float(rows.norm.std()),
        effective_rank=collapse_metrics(torch.from_numpy(rows.unit))["effective_rank"],
        num_nearest=math.exp(-float((some * np.log(some)).sum())),
        top_share=float(share.max()),
    )


def _drawn(num: int, config: AlignmentConfig) -> Ints:
    """Rows for distances of distributions."""
    if num <= config.max_rows:
        return np.arange(num)
    return np.sort(np.random.default_rng([config.seed, num]).choice(num, config.max_rows, replace=False))
