"""The swap test: a face made of one person's token and another's identity shows whose expression and whose identity."""

from dataclasses import dataclass, fields

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.agreement import correlation, r_squared, varies
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Floats, Ints


class SwapConfig(Config):
    """Which blendshapes count."""

    min_std: float = Field(0.01, gt=0)
    """A blendshape that varies less over the source frames is left out."""

    def build(self, bootstrap: BootstrapConfig) -> "Swap":
        """The test, and how its intervals are found."""
        return Swap(self, bootstrap)


@dataclass(frozen=True)
class Swapped:
    """N swapped images: the expression of a source frame on the face of a target subject.

    Raises:
        ValueError: Shapes do not fit, or a number is not finite.
    """

    source_blendshapes: Floats
    """[N, B], measured on the source frame."""
    swapped_blendshapes: Floats
    """[N, B], measured on the swapped image, or read by the probe from the token of that image."""
    identity: Floats
    """[N, E], identity embedding of the swapped image."""
    source_identity: Floats
    """[N, E], mean embedding of the true frames of the source's subject."""
    target_identity: Floats
    """[N, E], mean embedding of the true frames of the target subject."""
    clip: Ints
    """[N], of the source frame."""
    centre: Floats
    """[B], mean blendshapes of the training frames."""

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        num, num_blendshapes, width = len(self.clip), self.centre.shape[-1], self.identity.shape[-1]
        expected = {
            "clip": (num,),
            "centre": (num_blendshapes,),
            **dict.fromkeys(("source_blendshapes", "swapped_blendshapes"), (num, num_blendshapes)),
            **dict.fromkeys(("identity", "source_identity", "target_identity"), (num, width)),
        }
        for field in fields(self):
            values = getattr(self, field.name)
            if values.shape != expected[field.name]:
                raise ValueError(f"{field.name}: has shape {values.shape}, not {expected[field.name]} like the others")
            if not np.isfinite(values).all():
                raise ValueError(f"{field.name}: holds NaN or infinity; leave out swaps in which no face was measured")


@dataclass(frozen=True)
class SwapResult:
    """Expression must follow the source, identity the target."""

    expression_r_squared: Estimate
    """Against the source frame, mean over the blendshapes that vary."""
    expression_correlation: Estimate
    """Likewise; blind to a shift or a scale."""
    cosine_to_target: Estimate
    cosine_to_source: Estimate
    cosine_to_target_minus_source: Estimate
    share_nearer_to_target: Estimate
    """Of the swaps; identity that stays with the source gives 0, one that is neither's 0.5."""
    num_blendshapes: int
    num_frames: int
    num_clips: int


@dataclass(frozen=True)
class Swap:
    """Scores swaps; intervals are over the source's clips."""

    config: SwapConfig
    bootstrap: BootstrapConfig

    def __call__(self, swapped: Swapped) -> SwapResult | NotMeasurable:
        """Score expression and identity."""
        if not len(swapped.clip):
            return NotMeasurable("there is no swapped image")
        varied = varies(swapped.source_blendshapes, self.config.min_std)
        if not varied.any():
            return NotMeasurable(f"no blendshape of the sources has a standard deviation of {self.config.min_std}")
        bootstrap = self.bootstrap.build(swapped.clip)
        truth, shown = swapped.source_blendshapes[:, varied], swapped.swapped_blendshapes[:, varied]
        to_target = bootstrap.mean(cosine(swapped.identity, swapped.target_identity))
        to_source = bootstrap.mean(cosine(swapped.identity, swapped.source_identity))
        return SwapResult(
            bootstrap.estimate(r_squared(truth, shown, swapped.centre[varied], bootstrap).mean(1)),
            bootstrap.estimate(correlation(truth, shown, bootstrap).mean(1)),
            bootstrap.estimate(to_target),
            bootstrap.estimate(to_source),
            bootstrap.estimate(to_target - to_source),
            bootstrap.estimate(bootstrap.mean(nearer_to_target(swapped))),
            num_blendshapes=int(varied.sum()),
            num_frames=len(swapped.clip),
            num_clips=bootstrap.num_clips,
        )


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosine of each pair of rows, [N, E] to [N]."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(norms, 1e-12))


def nearer_to_target(swapped: Swapped) -> Floats:
    """1 where the identity is nearer to the target than to the source, 0.5 where to both alike, else 0: [N]."""
    margin = cosine(swapped.identity, swapped.target_identity) - cosine(swapped.identity, swapped.source_identity)
    return np.asarray((np.sign(margin) + 1) / 2)
