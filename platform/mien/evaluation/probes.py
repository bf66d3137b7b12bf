"""What of the expression is in a token: a linear probe to the blendshapes, on clips held out."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.agreement import r_squared, varies
from mien.evaluation.bootstrap import Bootstrap, BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Embedded, Floats, Ints
from mien.evaluation.ridge import RidgeConfig


class ProbeConfig(Config):
    """How blendshapes are read from tokens."""

    ridge: RidgeConfig = RidgeConfig()
    """The probe; every blendshape has its own penalty."""
    min_std: float = Field(0.01, gt=0)
    """A blendshape that varies less, in the training clips or in those held out, is left out: R² would divide by it."""
    seed: int = Field(0, ge=0)
    """Of the order in which the control is shuffled."""

    def build(self, bootstrap: BootstrapConfig) -> "Probe":
        """The probe, and how its intervals are found."""
        return Probe(self, bootstrap)


@dataclass(frozen=True)
class ProbeScore:
    """R² on held-out clips of one kind of input."""

    mean: Estimate
    """Over the blendshapes that vary."""
    per_blendshape: tuple[Estimate, ...]
    """In the order of `ProbeResult.varied`."""
    penalty: tuple[float, ...]
    """Chosen on the training clips."""


@dataclass(frozen=True)
class ProbeResult:
    """R² of the probe from tokens, and what it is to be held against."""

    tokens: ProbeScore
    baseline: ProbeScore
    """From the averaged features of the backbone."""
    shuffled: ProbeScore
    """Fitted on tokens that were dealt out anew among the training frames: what a probe finds in nothing."""
    tokens_minus_baseline: Estimate
    """Of the mean R², on the same resamples."""
    tokens_minus_shuffled: Estimate
    varied: tuple[int, ...]
    """Columns of the blendshapes that were probed."""
    left_out: tuple[int, ...]
    """Columns that hardly vary."""
    num_training_frames: int
    num_training_clips: int
    num_frames: int
    """Held out and with blendshapes, as are the clips."""
    num_clips: int


@dataclass(frozen=True)
class Probe:
    """Fits on training clips, scores on held-out ones; frames without blendshapes take no part."""

    config: ProbeConfig
    bootstrap: BootstrapConfig

    def __call__(self, embedded: Embedded) -> ProbeResult | NotMeasurable:
        """Probe tokens, baseline and shuffled tokens."""
        measured = embedded.where(embedded.is_measured)
        seen, unseen = measured.where(~measured.is_held_out), measured.where(measured.is_held_out)
        if reason := lack(seen, unseen):
            return NotMeasurable(reason)
        is_varied = varies(seen.blendshapes, self.config.min_std) & varies(unseen.blendshapes, self.config.min_std)
        if not is_varied.any():
            return NotMeasurable(f"no blendshape varies by a standard deviation of {self.config.min_std} on both sides")
        return self._score(seen, unseen, np.flatnonzero(is_varied))

    def _score(self, seen: Embedded, unseen: Embedded, varied: Ints) -> ProbeResult:
        rng = np.random.default_rng(self.config.seed)
        inputs = {
            "tokens": (seen.tokens, unseen.tokens),
            "baseline": (seen.baseline, unseen.baseline),
            "shuffled": (rng.permutation(seen.tokens), unseen.tokens),
        }
        bootstrap = self.bootstrap.build(unseen.clip)
        targets = seen.blendshapes[:, varied], unseen.blendshapes[:, varied]
        found = {name: self._probe(x, targets, seen.clip, bootstrap) for name, x in inputs.items()}
        mean = {name: replicates.mean(1) for name, (replicates, _) in found.items()}
        scores = {name: _score_of(bootstrap, *parts) for name, parts in found.items()}
        return ProbeResult(
            **scores,
            tokens_minus_baseline=bootstrap.estimate(mean["tokens"] - mean["baseline"]),
            tokens_minus_shuffled=bootstrap.estimate(mean["tokens"] - mean["shuffled"]),
            varied=tuple(varied.tolist()),
            left_out=tuple(sorted(set(range(seen.blendshapes.shape[1])) - set(varied.tolist()))),
            num_training_frames=len(seen),
            num_training_clips=len(np.unique(seen.clip)),
            num_frames=len(unseen),
            num_clips=bootstrap.num_clips,
        )

    def _probe(
        self, x: tuple[Floats, Floats], y: tuple[Floats, Floats], clip: Ints, bootstrap: Bootstrap
    ) -> tuple[Floats, Floats]:
        """Replicates of R² [1 + num, B], and the penalties [B]; x and y are (training, held out)."""
        ridge = self.config.ridge.build()(x[0], y[0], clip)
        return r_squared(y[1], ridge.predict(x[1]), y[0].mean(0), bootstrap), ridge.penalty


def lack(seen: Embedded, unseen: Embedded) -> str:
    """Why a probe cannot be fitted on these measured frames and scored on those; empty if it can."""
    if (num := len(np.unique(seen.clip))) < 2:
        return f"training clips with blendshapes: {num}; a probe needs two, of which one is left out in turn"
    return "" if len(unseen) else "no held-out clip has blendshapes"


def _score_of(bootstrap: Bootstrap, replicates: Floats, penalty: Floats) -> ProbeScore:
    each = tuple(bootstrap.estimate(column) for column in replicates.T)
    return ProbeScore(bootstrap.estimate(replicates.mean(1)), each, tuple(penalty.tolist()))
