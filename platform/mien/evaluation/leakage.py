"""How much of who someone is can be read from a token: a linear probe for the subject, on clips held out."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Embedded, Floats, Ints
from mien.evaluation.ridge import RidgeConfig


class LeakageConfig(Config):
    """How subjects are read from tokens."""

    ridge: RidgeConfig = RidgeConfig()
    """The classifier; all subjects share one penalty, so that their scores compare."""
    num_shuffles: int = Field(10, ge=1, le=100)
    """How often the control deals out the subjects anew; its accuracy is the mean."""
    seed: int = Field(0, ge=0)
    """Of these shuffles."""

    def build(self, bootstrap: BootstrapConfig) -> "LeakageProbe":
        """The probe, and how its intervals are found."""
        return LeakageProbe(self, bootstrap)


@dataclass(frozen=True)
class LeakageResult:
    """Balanced accuracy of the subject on held-out clips: the mean over subjects of their share of frames named right.

    Clips of one session share its light and camera: where a split is not by session, recordings are recognised too.
    """

    tokens: Estimate
    baseline: Estimate
    """The ceiling: from the averaged features of the backbone."""
    shuffled: Estimate
    """The floor: the subjects of the training clips are dealt out anew among these clips; mean over the shuffles, whose
    own scatter its interval does not hold."""
    tokens_minus_shuffled: Estimate
    baseline_minus_tokens: Estimate
    chance: float
    """Balanced accuracy of any answer that does not look at the frame: 1 / number of subjects."""
    tokens_of_frames: Estimate
    """Plain accuracy over frames, where a subject with more of them counts for more."""
    majority: float
    """Plain accuracy of always naming the subject with the most training frames."""
    subjects: tuple[int, ...]
    """Numbers of the people that took part."""
    of_subject: tuple[Estimate, ...]
    """Share of the frames of each that the tokens name right; intervals over the clips of the one person."""
    num_subjects: int
    """With clips on both sides; others take no part."""
    num_subjects_left_out: int
    num_training_clips: int
    num_clips: int
    num_frames: int
    """Held out, as are the clips."""


@dataclass(frozen=True)
class LeakageProbe:
    """Ridge classifier (least squares on ±1, the highest score wins) in which every subject has the same weight."""

    config: LeakageConfig
    bootstrap: BootstrapConfig

    def __call__(self, embedded: Embedded) -> LeakageResult | NotMeasurable:
        """Probe tokens, baseline and shuffled labels."""
        both = np.intersect1d(embedded.subject[~embedded.is_held_out], embedded.subject[embedded.is_held_out])
        num_others = len(np.unique(embedded.subject)) - len(both)
        if len(both) < 2:
            return NotMeasurable(f"subjects with clips on both sides of the split: {len(both)}; a probe needs two")
        kept = embedded.where(np.isin(embedded.subject, both))
        seen, unseen = kept.where(~kept.is_held_out), kept.where(kept.is_held_out)
        return self._score(seen, unseen, num_others)

    def _score(self, seen: Embedded, unseen: Embedded, num_others: int) -> LeakageResult:
        right = {
            "tokens": self._is_right(seen.tokens, unseen.tokens, seen, unseen),
            "baseline": self._is_right(seen.baseline, unseen.baseline, seen, unseen),
            "shuffled": self._by_shuffled(seen, unseen),
        }
        bootstrap, weight = self.bootstrap.build(unseen.clip), balanced(unseen.subject)
        found = {name: bootstrap.total(weight * values) / bootstrap.total(weight) for name, values in right.items()}
        names, counts = np.unique(seen.subject, return_counts=True)
        return LeakageResult(
            **{name: bootstrap.estimate(replicates) for name, replicates in found.items()},
            tokens_minus_shuffled=bootstrap.estimate(found["tokens"] - found["shuffled"]),
            baseline_minus_tokens=bootstrap.estimate(found["baseline"] - found["tokens"]),
            chance=1 / len(names),
            tokens_of_frames=bootstrap.estimate(bootstrap.mean(right["tokens"])),
            majority=float(np.mean(unseen.subject == names[counts.argmax()])),
            subjects=tuple(names.tolist()),
            of_subject=tuple(self._share(right["tokens"], unseen, name) for name in names),
            num_subjects=len(names),
            num_subjects_left_out=num_others,
            num_training_clips=len(np.unique(seen.clip)),
            num_clips=bootstrap.num_clips,
            num_frames=len(unseen),
        )

    def _share(self, right: Floats, unseen: Embedded, subject: int) -> Estimate:
        """Of the frames of one person, some of which are held out."""
        rows = unseen.subject == subject
        bootstrap = self.bootstrap.build(unseen.clip[rows])
        return bootstrap.estimate(bootstrap.mean(right[rows]))

    def _is_right(self, x: Floats, x_unseen: Floats, seen: Embedded, unseen: Embedded) -> Floats:
        """1 for frames whose subject is named right, else 0: [N]."""
        return np.asarray(self._named(x, seen.subject, seen.clip, x_unseen) == unseen.subject, np.float64)

    def _named(self, x: Floats, subject: Ints, clip: Ints, x_unseen: Floats) -> Ints:
        """Subject that the classifier names for each frame of `x_unseen`, [N]."""
        names, number = np.unique(subject, return_inverse=True)
        targets = 2.0 * np.eye(len(names))[number] - 1
        ridge = self.config.ridge.build(is_shared=True)(x, targets, clip, balanced(subject))
        return np.asarray(names[ridge.predict(x_unseen).argmax(1)])

    def _by_shuffled(self, seen: Embedded, unseen: Embedded) -> Floats:
        """Share of shuffles after which each frame is named right, [N].

        Whole clips are dealt out: were it frames, a clip would hold every label, and the floor were that of an easier
        mistake than the one to be measured.
        """
        rng = np.random.default_rng(self.config.seed)
        _, first, number = np.unique(seen.clip, return_index=True, return_inverse=True)
        right = np.zeros(len(unseen))
        for _ in range(self.config.num_shuffles):
            subject = rng.permutation(seen.subject[first])[number]
            right += self._named(seen.tokens, subject, seen.clip, unseen.tokens) == unseen.subject
        return right / self.config.num_shuffles


def balanced(subject: Ints) -> Floats:
    """Weights [N] with which every subject counts the same; they sum to N."""
    names, number, counts = np.unique(subject, return_inverse=True, return_counts=True)
    return np.asarray(len(subject) / (len(names) * counts[number]))
