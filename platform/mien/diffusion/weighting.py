"""How much the loss of a timestep counts, for each kind of prediction.

A rule is a weight on the squared error of x_0. The errors of one network in the three predictions differ by factors of
the timestep alone: |eps error|² = SNR |x_0 error|² and |v error|² = (SNR + 1) |x_0 error|², so that the same rule is
that weight divided by the factor (Hang et al. 2023, section 3.3).
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Float64
from pydantic import Field
from torch import Tensor

from mien.config import Config
from mien.diffusion.schedule import Prediction, Schedule

Table = Float64[Tensor, "T"]


class UnweightedConfig(Config):
    """Every timestep counts alike, whatever is predicted (`L_simple` of Ho et al. 2020, eq. 14)."""

    kind: Literal["none"] = "none"
    """Kind of weighting."""

    def weights(self, schedule: Schedule, prediction: Prediction) -> Table:
        """1 for each timestep [T]."""
        del prediction
        return torch.ones_like(schedule.snr)


class SnrConfig(Config):
    """The error of x_0 counts by its signal-to-noise ratio: `L_simple`, whatever is predicted."""

    kind: Literal["snr"] = "snr"
    """Kind of weighting."""

    max_snr: float = Field(1000.0, gt=0)
    """A larger ratio counts as this one; without a bound the first timestep outweighs the middle 20,000 times."""

    def weights(self, schedule: Schedule, prediction: Prediction) -> Table:
        """Weight of each timestep [T]."""
        return schedule.snr.clamp(max=self.max_snr) / _factor(schedule, prediction)


class MinSnrConfig(Config):
    """As by the ratio, up to a low bound, so that no timestep dominates (Hang et al. 2023, eq. 7)."""

    kind: Literal["min_snr"] = "min_snr"
    """Kind of weighting."""

    gamma: float = Field(5.0, gt=0)
    """The bound."""

    def weights(self, schedule: Schedule, prediction: Prediction) -> Table:
        """Weight of each timestep [T]."""
        return schedule.snr.clamp(max=self.gamma) / _factor(schedule, prediction)


class P2Config(Config):
    """Timesteps where content forms count more than the clean-up of the last noise (Choi et al. 2022, eq. 8)."""

    kind: Literal["p2"] = "p2"
    """Kind of weighting."""

    k: float = Field(1.0, gt=0)
    """Bounds the weight where there is only noise."""

    gamma: float = Field(1.0, ge=0)
    """How sharply the weight falls; 0 for none."""

    def weights(self, schedule: Schedule, prediction: Prediction) -> Table:
        """Weight of each timestep [T]."""
        return schedule.snr / (self.k + schedule.snr) ** self.gamma / _factor(schedule, prediction)


WeightingConfig = Annotated[UnweightedConfig | SnrConfig | MinSnrConfig | P2Config, Field(discriminator="kind")]


def _factor(schedule: Schedule, prediction: Prediction) -> Tensor:
    """Squared error of the prediction over that of x_0 [T]."""
    factors = {"eps": schedule.snr, "x_0": torch.ones_like(schedule.snr), "v": schedule.snr + 1}
    return factors[prediction]
