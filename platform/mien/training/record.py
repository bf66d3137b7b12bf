"""What a run leaves behind on the way: log lines, validations, figures, checkpoints; and which of these it keeps."""

import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from mien import draws
from mien.errors import MienError
from mien.evaluation.tiles import tiles
from mien.objectives.diffusion import Ddpm
from mien.objectives.expression import Joint
from mien.objectives.objective import Outcome
from mien.training import expressions, similarity
from mien.training.hardware import hardware
from mien.training.keep import Saver
from mien.training.log import RunLog
from mien.training.log import read as read_log
from mien.training.pictures import Pictures, reconstruction_grid
from mien.training.setup import Setup
from mien.training.state import State, require_same
from mien.training.validate import Seen, Validator
from mien.training.windows import Step, share
from mien.training.world import World

_VALIDATED_AT_ONCE = 4
"""Clips of a forward pass without gradients, which takes less memory than one clip with them."""

_NUM_SHOWN = 6
"""Held-out windows of the grid of reconstructions."""
_NUM_SAMPLED, _SAMPLE_SEED = 16, 0
"""Images of the grid of samples, and the seed of their noise: the same at every step and in every run."""

Pass = tuple[Outcome, Any]
"""What one forward pass made of a batch."""


class Pace:
    """How fast steps go between two lines of the log."""

    def __init__(self) -> None:
        """Begin now."""
        self._clips, self._steps, self._waited_s, self._since = 0, 0, 0.0, time.monotonic()

    def step(self, num_clips: int, waited_s: float) -> None:
        """One step more, over all workers, and how long it waited for its data."""
        self._clips, self._steps, self._waited_s = self._clips + num_clips, self._steps + 1, self._waited_s + waited_s

    def leave_out(self, seconds: float) -> None:
        """Time that was spent on something else."""
        self._since += seconds

    def told(self) -> dict[str, float]:
        """Clips per second, seconds of a step, share of these that was waiting."""
        took_s = max(1e-9, time.monotonic() - self._since)
        return {
            "clips_per_s": self._clips / took_s,
            "step_s": took_s / max(1, self._steps),
            "data_wait_share": self._waited_s / took_s,
        }


class Record:
    """Of one worker; only the first one writes."""

    def __init__(self, setup: Setup, world: World, log: RunLog | None) -> None:
        """Begin at the step that the run is at."""
        self._setup, self._world, self._log = setup, world, log
        self._config, self.store = setup.job.config, setup.store
        self._saver = Saver(self.store, self._config.checkpoints)
        self._facts = {**setup.job.facts, "hardware": hardware(world)}
        self._failure: MienError | None = None
        self._saved_step = setup.state.step
        num_windows = min(self._config.validation.max_windows, len(setup.held_out.order))
        self._validator = Validator(setup.held_out, lambda c: setup.batches.make(c, None), world, num_windows)
        self._metrics = dict[str, float]()
        self._seen: Seen | None = None
        self._watch = expressions.Watch()
        draws = self._config.log.figures or self._config.log.log_media
        self._pictures = Pictures(log, self.store) if log and draws else None
        self._grid = b""
        self._pace = Pace()
        self.gradient_norm = 0.0
        self.last_save_s = 0.0

    def failure(self) -> MienError | None:
        """Why the last checkpoint could not be written, if it could not: the run must not go on without."""
        return self._failure

    def after_step(self, state: State, passes: list[Pass], counts: Mapping[str, float], data: Step) -> None:
        """Log, validate and save where it is time for it."""
        self._pace.step(self._config.batch.size, data.waited_s)
        is_last = state.step == self._setup.job.num_steps
        if state.step % self._config.log.every_steps == 0 or is_last:
            self._log_step(state, passes, counts)
        if self._is_due(state):
            self._validate(state)
        if state.step % self._config.checkpoints.every_steps == 0 or is_last:
            self.save(state, at_once=is_last)

    def report(self, state: State) -> dict[str, float] | None:
        """What was validated after the step just done, once its checkpoint is committed; None where nothing was.

        Raises:
            MienError: It could not be written; every worker raises it.
        """
        if not self._is_due(state):
            return None
        self.save(state, at_once=True)
        self._require_written()
        return self._metrics

    def _is_due(self, state: State) -> bool:
        """Whether a validation follows the step just done."""
        return state.step % self._config.validation.every_steps == 0 or state.step == self._setup.job.num_steps

    def _log_step(self, state: State, passes: list[Pass], counts: Mapping[str, float]) -> None:
        """Losses of the step just done, over all workers, and how fast steps go."""
        names = self._setup.objective.term_names
        own = torch.stack([torch.stack([each.terms[name].sum.detach() for each, _ in passes]).sum() for name in names])
        sums = self._world.sum(own.double()).tolist()
        weights = self._setup.objective.weights(state.step - 1, self._setup.job.num_steps)
        terms = {
            name: total / counts[name] if counts[name] else math.nan for name, total in zip(names, sums, strict=True)
        }
        if self._log:
            values = {
                "loss": sum(weights[name] * value for name, value in terms.items() if not math.isnan(value)),
                **terms,
                **{f"weight/{name}": weight for name, weight in weights.items()},
                "learning_rate": self._config.optimizer.rate_at(state.step - 1, self._setup.job.num_steps),
                "gradient_norm": self.gradient_norm,
                "epoch": state.step * self._config.batch.size / len(self._setup.reader.order),
                **self._pace.told(),
                **self._setup.objective.told(),
                **self._of_tokens(passes),
            }
            self._log.write(state.step, "train", values)
        self._pace = Pace()

    def _of_tokens(self, passes: list[Pass]) -> dict[str, float]:
        """Similarity within this worker's clips of the step."""
        clips = [
            clip
            for outcome, batch in passes
            if outcome.tokens is not None
            for clip in similarity.per_clip(outcome.tokens, batch.mask)
        ]
        if not clips and passes[0][0].tokens is None:
            return {}
        return {f"similarity_{key}": value for key, value in similarity.statistics(similarity.pooled(clips)).items()}

    def _validate(self, state: State) -> None:
        started, batch = time.monotonic(), self._config.batch
        if state.ema:
            state.ema.swap()
        try:
            weights = self._setup.objective.weights(state.step - 1, self._setup.job.num_steps)
            at_once = _VALIDATED_AT_ONCE if batch.exact else batch.per_forward or batch.size
            fitting = min(batch.size, at_once * self._world.size)  # what memory is known for
            self._seen = self._validator(self._setup.objective, weights, fitting)
            self._grid = self._made()
        finally:
            if state.ema:
                state.ema.swap()
        self._metrics = self._seen.metrics
        if self._log:
            self._log.write(state.step, "validation", self._metrics)
            self._watch_expressions(self._log, self._seen, state.step)
        self._pace.leave_out(time.monotonic() - started)

    def _watch_expressions(self, log: RunLog, seen: Seen, step: int) -> None:
        """Of the first held-out clip: whether what is logged is a whole sequence, moves, and changes with training."""
        for clip in expressions.shown(seen, 1):
            log.write(step, "expression", self._watch(clip, step, learns=not self._setup.objective.frozen))

    def save(self, state: State, *, at_once: bool = False) -> None:
        """Hold the replicas against each other and save; `at_once` waits until the checkpoint is committed.

        Raises:
            TrainingError: The replicas differ.
        """
        if state.step == self._saved_step and not at_once:
            return
        require_same(state, self._world)
        started = time.monotonic()
        if self._world.is_first:
            self._write(state, at_once=at_once)
        if at_once:
            self._world.objects(None)
            self.last_save_s = time.monotonic() - started
        self._saved_step = state.step

    def _write(self, state: State, *, at_once: bool) -> None:
        is_new = state.step != self._saved_step
        if is_new and self._log:
            self._log.begin_segment(state.step)  # before the checkpoint: a run that goes on from it has lines up to it
        metrics = {name: value for name, value in self._metrics.items() if math.isfinite(value)}  # JSON has no other
        try:
            if is_new:
                self._saver.save(state, {**self._facts, "metrics": metrics})
            if at_once:
                self._saver.wait()
        except MienError as error:
            self._failure = error
        if is_new and self._pictures:
            self._draw(self._pictures, state.step)

    def _made(self) -> bytes:
        """Pictures that the model makes, the same windows or the same noise every time."""
        objective, config = self._setup.objective, self._config.log
        if isinstance(objective, Ddpm) and config.figures:  # of nobody, so that no one needs to be asked
            return self._sampled(objective)
        return self._reconstructed() if self._pictures and config.log_media else b""

    def _sampled(self, objective: Ddpm) -> bytes:
        """Samples, divided among the workers."""
        own = share(0, _NUM_SAMPLED, self._world.rank, self._world.size)
        keys = draws.keys(_SAMPLE_SEED, "samples", torch.arange(_NUM_SAMPLED), 0)[own.start : own.stop]
        parts = self._world.objects(objective.sample(keys.to(self._world.device)).cpu())
        return tiles(torch.cat(parts), _NUM_SAMPLED // 2) if self._world.is_first else b""

    def _reconstructed(self) -> bytes:
        """The same held-out windows every time; nothing where the objective makes no pictures."""
        objective, reader = self._setup.objective, self._setup.held_out
        if not isinstance(objective, Joint):
            return b""
        return reconstruction_grid(objective, self._setup.batches.make(reader.read(self._shown()), None))

    def _shown(self) -> list[int]:
        """Windows that are spread over all that are held out."""
        num = len(self._setup.held_out.order)
        return [number * num // _NUM_SHOWN for number in range(_NUM_SHOWN)] if num > _NUM_SHOWN else [*range(num)]

    def _draw(self, pictures: Pictures, step: int) -> None:
        if self._seen is not None and self._config.log.figures:
            pictures.similarities(self._seen, step)
            pictures.expressions(self._seen, self._config.log.expression_clips, step)
        if self._grid:
            name = "samples" if isinstance(self._setup.objective, Ddpm) else "reconstruction"
            pictures.png(name, self._grid, step)

    def end(self, state: State) -> None:
        """Write what is left of the last checkpoint.

        Raises:
            MienError: It could not be written; every worker raises it.
        """
        if state.step != self._saved_step:
            self.save(state, at_once=True)
        self._require_written()
        if self._log and self._pictures:
            self._log.flush()
            warmup_end = getattr(self._config.optimizer.learning_rate, "warmup_steps", None)
            self._pictures.end([*read_log(self.store)], warmup_end, state.step)

    def _require_written(self) -> None:
        failures = [failure for failure in self._world.objects(self._failure) if failure is not None]
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Write what is left of the log, and finish the checkpoint under way, however the run ended."""
        self._saver.close()
        if self._log:
            self._log.close()

    def summary(self) -> dict[str, Any]:
        """What the driver tells of a finished run."""
        return {"step": self._setup.state.step, "metrics": self._metrics}
