"""What a bridge does class by class: who gains, who loses, and whether the rare and the unseen do."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.errors import ConfigError
from mien.evaluation.alignment import NO_ANSWER, Rows, Scene, mean_of_some
from mien.evaluation.bootstrap import Bootstrap, BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Bools, Floats
from mien.evaluation.student import paired_interval

Change = Literal["better", "worse", "not distinguishable"]


class ClassesConfig(Config):
    """Which classes are told apart."""

    rare_below: int = Field(10, ge=1)
    """Classes with fewer rows are rare, as in HICO-DET."""
    unseen: tuple[str, ...] = ()
    """Classes that the bridge was not trained with; none: all were seen."""
    num_listed: int = Field(10, ge=1)
    """Best and worst classes that a report names."""

    def require_known(self, names: Sequence[str]) -> None:
        """Refuse unseen classes that are no texts.

        Raises:
            ConfigError: One is none.
        """
        if unknown := sorted({*self.unseen} - {*names}):
            raise ConfigError(f"classes.unseen: {unknown[0]!r} is no text; give names of texts")


@dataclass(frozen=True)
class ClassChange:
    """One class."""

    name: str
    num_rows: int
    is_rare: bool
    is_seen: bool
    before: float
    """Mean cosine to the own text."""
    after: float
    difference: Estimate
    """Over images, by Student's t; those of all classes hold together (Bonferroni)."""
    top_1_before: float
    top_1_after: float
    change: Change


@dataclass(frozen=True)
class GroupChange:
    """Classes together."""

    name: str
    num_classes: int
    num_rows: int
    alignment: Estimate | NotMeasurable
    """Change of the mean cosine to the own text, over images."""
    top_1: Estimate | NotMeasurable
    """Change of the share whose own text is the nearest."""


@dataclass(frozen=True)
class ClassReport:
    """A system against what was before."""

    classes: tuple[ClassChange, ...]
    """The one with the largest gain first."""
    groups: tuple[GroupChange, ...]
    """All, rare, common, seen, unseen."""
    correlation: Estimate | NotMeasurable
    """Of the gains in cosine and in top-1 over classes (Spearman): whether the one stands for the other."""

    @property
    def worse(self) -> tuple[ClassChange, ...]:
        """Classes that lost, the worst first."""
        return tuple(one for one in reversed(self.classes) if one.change == "worse")


def by_class(
    rows: tuple[Rows, Rows], scene: Scene, names: Sequence[str], config: ClassesConfig, bootstrap: BootstrapConfig
) -> ClassReport | NotMeasurable:
    """Changes of each class, of the rare and the common, the seen and the unseen.

    Args:
        rows: Before and after.
        scene: Of both.
        names: Of the texts [m].
        config: Which are rare or unseen.
        bootstrap: Of the intervals of groups; its level is that of all.

    Raises:
        ConfigError: An unseen class is no text.
    """
    config.require_known(names)
    present = np.unique(scene.answer[scene.answer != NO_ANSWER])
    if not len(present):
        return NotMeasurable("no row has a label that is the name of a text")
    level = 1 - (1 - bootstrap.level) / len(present)
    found = [_class(rows, scene, int(row), names, level) for row in present]
    found = [
        replace(one, is_rare=one.num_rows < config.rare_below, is_seen=one.name not in config.unseen) for one in found
    ]
    built = bootstrap.build(scene.group)
    kinds = {
        "all": [*found],
        "rare": [one for one in found if one.is_rare],
        "common": [one for one in found if not one.is_rare],
        "seen": [one for one in found if one.is_seen],
        "unseen": [one for one in found if not one.is_seen],
    }
    answers = {name: row for row, name in enumerate(names)}
    groups = [_group(name, {answers[one.name] for one in some}, rows, scene, built) for name, some in kinds.items()]
    ordered = sorted(found, key=lambda one: -one.difference.value)
    return ClassReport(tuple(ordered), tuple(groups), _correlation(found, bootstrap))


def _class(rows: tuple[Rows, Rows], scene: Scene, row: int, names: Sequence[str], level: float) -> ClassChange:
    own = scene.answer == row
    before, after = (one.alignment[own] for one in rows)
    difference = paired_interval(_by_image(after - before, scene.group[own]), level)
    change: Change = "better" if difference.low > 0 else "worse" if difference.high < 0 else "not distinguishable"
    return ClassChange(
        name=names[row],
        num_rows=int(own.sum()),
        is_rare=False,
        is_seen=True,
        before=float(before.mean()),
        after=float(after.mean()),
        difference=difference,
        top_1_before=float((rows[0].rank[own] == 0).mean()),
        top_1_after=float((rows[1].rank[own] == 0).mean()),
        change=change,
    )


def _by_image(values: Floats, group: Floats) -> Floats:
    """Mean of each image: its rows are not independent."""
    _, number = np.unique(group, return_inverse=True)
    return np.asarray(np.bincount(number, values) / np.bincount(number))


def _group(
    name: str, texts: AbstractSet[int], rows: tuple[Rows, Rows], scene: Scene, bootstrap: Bootstrap
) -> GroupChange:
    chosen: Bools = np.isin(scene.answer, sorted(texts))
    if not texts:
        missing = NotMeasurable(f"no class is {name}")
        return GroupChange(name, 0, 0, missing, missing)

    def change(values: list[Floats]) -> Estimate:
        return bootstrap.estimate(mean_of_some(bootstrap, values[1] - values[0], chosen))

    top_1 = [(one.rank == 0).astype(np.float64) for one in rows]
    return GroupChange(name, len(texts), int(chosen.sum()), change([one.alignment for one in rows]), change(top_1))


def _correlation(found: Sequence[ClassChange], config: BootstrapConfig) -> Estimate | NotMeasurable:
    """Spearman's over classes, its interval by resampled classes."""
    gains = np.array([[one.difference.value, one.top_1_after - one.top_1_before] for one in found])
    if len(found) < 3 or (np.ptp(gains, axis=0) == 0).any():
        return NotMeasurable("fewer than three classes, or all of them gain alike")
    from scipy.stats import rankdata

    ranks = rankdata(gains, axis=0)
    ranks = ranks - ranks.mean(0)
    products = np.stack([ranks[:, 0] * ranks[:, 1], ranks[:, 0], ranks[:, 1], *(ranks * ranks).T], axis=1)
    bootstrap = config.build(np.arange(len(found)))
    both, first, second, first_2, second_2 = bootstrap.mean(products).T
    spread = (first_2 - first**2) * (second_2 - second**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return bootstrap.estimate(np.where(spread > 0, (both - first * second) / np.sqrt(spread), np.nan))
