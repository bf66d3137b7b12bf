"""Intervals by the jackknife: a group of images is left out at a time, and what then changes tells the variance.

For statistics of two sets that a bootstrap would shift, since its resamples hold an image more than once. Where both
sets are of one distribution, such a statistic hardly changes with any image, and the intervals are wider than promised.
"""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.bootstrap import Estimate
from mien.evaluation.embedded import Floats, Ints

MIN_LEFT = 2
"""Images that must be left for a covariance, or a pair."""


class JackknifeConfig(Config):
    """How intervals are found."""

    num_groups: int = Field(20, ge=2, le=1000)
    """Groups of each set, as equal as its clips allow; fewer where there are fewer clips."""
    level: float = Field(0.95, ge=0.5, lt=1)
    """Probability that an interval holds the statistic's mean over sets as large as these."""
    seed: int = Field(0, ge=0)
    """Of how clips are dealt out into groups, and of what else is drawn for a score."""

    def groups(self, num: int, clip: Ints | None, stream: int) -> list[Ints]:
        """Rows of each group; one group of all rows where no more can be left out.

        Args:
            num: Rows of the set.
            clip: [num], number of the clip of each row, which is left out as a whole; None if rows are independent.
            stream: Number of the set.

        Raises:
            ValueError: There is not one clip for each row.
        """
        clip = np.arange(num) if clip is None else clip
        if len(clip) != num:
            raise ValueError(f"clip: has {len(clip)} numbers for {num} images; give one for each")
        names, number = np.unique(clip, return_inverse=True)
        dealt = np.random.default_rng([self.seed, stream]).permutation(len(names)) % self.num_groups
        rows: list[Ints] = [np.flatnonzero(dealt[number] == group) for group in range(min(len(names), self.num_groups))]
        return rows if num - max(map(len, rows)) >= MIN_LEFT else [np.arange(num)]

    def estimate(self, whole: float, left_out: Sequence[Floats]) -> Estimate:
        """A statistic of independent sets, with no interval where a set has one group.

        The variances of the sets (Tukey 1958) add up; the interval is that of Student's
        distribution with the degrees of freedom of Welch (1947).

        Args:
            whole: Statistic of all rows.
            left_out: For each set, the statistic without one group after the other; empty where it has one group.
        """
        from scipy.special import stdtrit

        if min(map(len, left_out)) < 2:
            return Estimate(whole, math.nan, math.nan)
        variances = [(len(values) - 1) * float(np.var(values)) for values in left_out]
        total = sum(variances)
        if total == 0:
            return Estimate(whole, whole, whole)
        shares = [
            (variance / total) ** 2 / (len(values) - 1) for variance, values in zip(variances, left_out, strict=True)
        ]
        reach = float(stdtrit(1 / sum(shares), (1 + self.level) / 2)) * math.sqrt(total)
        return Estimate(whole, whole - reach, whole + reach)
