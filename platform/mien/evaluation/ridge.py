"""Ridge regression in closed form, with a penalty that is chosen by leaving whole clips out."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field, PositiveFloat

from mien.config import Config
from mien.evaluation.embedded import Floats, Ints


class RidgeConfig(Config):
    """How the penalty is chosen."""

    penalties: tuple[PositiveFloat, ...] = Field((1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6), min_length=1)
    """Tried ones, for standardised inputs and the sum (not the mean) of squared errors, like scikit-learn's alpha."""
    num_folds: int = Field(5, ge=2, le=100)
    """Parts of the training clips, each left out once; fewer where there are fewer clips."""

    def build(self, is_shared: bool = False) -> "RidgeFit":
        """What fits; with `is_shared`, all targets have the same penalty."""
        return RidgeFit(self, is_shared)


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map."""

    coefficients: Floats
    """[D, B], for inputs as they are."""
    intercept: Floats
    """[B]."""
    penalty: Floats
    """[B], the one that was chosen for each target."""

    def predict(self, x: Floats) -> Floats:
        """[N, D] to [N, B]."""
        predicted: Floats = x @ self.coefficients + self.intercept
        return predicted


@dataclass(frozen=True)
class RidgeFit:
    """Fits a ridge regression (Hoerl and Kennard 1970, eq. 2.1) on standardised inputs."""

    config: RidgeConfig
    is_shared: bool = False

    def __call__(self, x: Floats, y: Floats, clip: Ints, weight: Floats | None = None) -> Ridge:
        """Choose the penalty with the least error on clips left out, then fit on all.

        Means and standard deviations of a fold are those of its own training frames.

        Args:
            x: Inputs [N, D].
            y: Targets [N, B].
            clip: Number of the clip of each frame, [N].
            weight: Of each frame, [N]; all 1 if none.

        Raises:
            ValueError: There are fewer than two clips, so none can be left out.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        weight = np.ones(len(x)) if weight is None else weight
        error = self._errors(x, y, _folds(clip, self.config.num_folds), weight)
        if self.is_shared:
            error = np.broadcast_to(error.sum(1, keepdims=True), error.shape)
        best = error.argmin(0)
        coefficients, intercept = _solve(x, y, weight, self.config.penalties)
        columns = np.arange(y.shape[1])
        penalty = np.asarray(self.config.penalties)[best]
        return Ridge(coefficients[best, :, columns].T, intercept[best, columns], penalty)

    def _errors(self, x: Floats, y: Floats, fold: Ints, weight: Floats) -> Floats:
        """Weighted squared error on clips left out, per penalty and target: [P, B]."""
        error = np.zeros((len(self.config.penalties), y.shape[1]))
        for number in np.unique(fold):
            out = fold == number
            coefficients, intercept = _solve(x[~out], y[~out], weight[~out], self.config.penalties)
            missed = x[out] @ coefficients + intercept[:, None] - y[out]  # [P, n, B]
            error += np.einsum("n,pnb->pb", weight[out], missed**2)
        return error


def _folds(clip: Ints, num_folds: int) -> Ints:
    """Which fold each frame is in, [N]: clips are dealt out in the order of their numbers."""
    names, number = np.unique(clip, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"clip: there are {len(names)} clips; choosing a penalty needs two, of which one is left out")
    return np.asarray(number % min(num_folds, len(names)))


def _solve(x: Floats, y: Floats, weight: Floats, penalties: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Coefficients [P, D, B] and intercepts [P, B] for every penalty, from one eigendecomposition.

    That of the D x D matrix of products, whose cost does not grow with the number of frames; its eigenvectors are the
    right singular vectors of the weighted inputs.
    """
    total = weight.sum()
    mean, offset = weight @ x / total, weight @ y / total
    scale = np.sqrt(weight @ (x - mean) ** 2 / total)
    scale = np.where(scale > 1e-9 * (1 + np.abs(mean)), scale, np.inf)  # an input that is constant predicts nothing
    z = (x - mean) / scale
    values, vectors = np.linalg.eigh((z.T * weight) @ z)
    projected = vectors.T @ ((z.T * weight) @ (y - offset))
    shrunk = projected / (np.maximum(values, 0)[:, None] + np.asarray(penalties)[:, None, None])
    coefficients = (vectors @ shrunk) / scale[:, None]
    return coefficients, offset - mean @ coefficients
