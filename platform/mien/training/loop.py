"""The loop of one worker: the same steps on one machine or many, from the start or from a checkpoint.

A step is a pure function of the state and its number. Losses are sums over the clips of the whole batch divided by
their number over all workers, so that it does not matter who has which clips, nor in how many forward passes.
"""

import contextlib
import json
import math
import time
import warnings
from collections.abc import Generator, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mien.diffusion.pacing import Progress
from mien.errors import MienError, TrainingError
from mien.log import logger
from mien.models import checkpoint
from mien.models.clip_norm import fold_pending
from mien.objectives.objective import Outcome
from mien.training.gradients import ExactSum
from mien.training.notice import HOLD_S, HOLDING, Leaving, Notices
from mien.training.optim import gradient_norm, set_rate
from mien.training.record import Record
from mien.training.setup import Setup
from mien.training.windows import Step, share, steps
from mien.training.world import World


class Loop:
    """Takes a run from the step it is at to the last one."""

    def __init__(self, setup: Setup, world: World, notices: Notices, record: Record) -> None:
        """Take what was set up on this worker."""
        self._setup, self._world, self._notices, self._record = setup, world, notices, record
        self._config, self._state = setup.job.config, setup.state
        self._num_steps = setup.job.num_steps
        self._leaving = Leaving()
        size, is_exact = self._config.batch.size, self._config.batch.exact and not setup.objective.couples_clips
        self._is_by_clip = is_exact
        self._sum = ExactSum(setup.objective, size) if is_exact and (world.size > 1 or size > 2) else None
        self._parallel = self._replicated(setup.objective)

    def _replicated(self, objective: nn.Module) -> nn.Module:
        """The network as it is called: compiled if asked for, and with gradients summed over the workers."""
        module: nn.Module = torch.compile(objective) if self._config.compile else objective  # type: ignore[assignment]
        if self._world.size == 1 or self._is_by_clip:
            return module
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 renames broadcast_buffers; 2.11 knows no other
            return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)

    def run(self) -> None:
        """Every step that is left, with validations and checkpoints on the way.

        Raises:
            MienError: The run cannot go on, on this worker or another; all of them raise it at the same step.
        """
        for _ in self.steps():
            pass

    def steps(self) -> Generator[int]:
        """The same, one step at a time: yields how many are done. Whoever closes it leaves the run as it is.

        Raises:
            MienError: The run cannot go on.
        """
        numbers = range(self._state.step, self._num_steps)
        feed = steps(self._setup.reader, numbers, self._places, self._config.data.read_ahead)
        with contextlib.closing(self._record), contextlib.closing(feed):
            while self._state.step < self._num_steps:
                self._take(self._next(feed))
                yield self._state.step
            self._record.end(self._state)

    def _places(self, step: int) -> list[range]:
        """Places of each forward pass of this worker."""
        own = share(step, self._config.batch.size, self._world.rank, self._world.size)
        each = 1 if self._is_by_clip else self._config.batch.per_forward or len(own)
        return [range(start, min(start + each, own.stop)) for start in range(own.start, own.stop, each)]

    def _next(self, feed: Iterator[Step]) -> Step | MienError:
        """Data of the next step, or why there is none: the others must hear of it before they wait for this worker."""
        try:
            return next(feed)
        except MienError as error:
            return error

    def _take(self, data: Step | MienError) -> None:
        """Agree with the others, then do one step, and what is due after it."""
        failure = data if isinstance(data, MienError) else self._record.failure()
        saves, holds, stops = self._agree(failure)
        if stops or isinstance(data, MienError):
            raise self._first(failure)
        if saves or holds:
            self._record.save(self._state, at_once=True)
        if holds:
            self._hold()
        self._setup.objective.begin(self._progress())
        batches = [self._batch(clips) for clips in data.clips]
        counts = self._counts(batches)
        outcomes = self._step(batches, counts, data)
        if self._setup.objective.follows:
            self._follow(outcomes)
        self._record.after_step(self._state, [*zip(outcomes, batches, strict=True)], counts, data)

    def _batch(self, clips: Any) -> Any:
        return self._setup.batches.make(clips, self._state.step)

    def _progress(self) -> Progress:
        """How far the run is; the same on every worker."""
        step = self._state.step
        epoch = step * self._config.batch.size // len(self._setup.reader.order)
        return Progress(epoch, step, step / self._num_steps)

    def _follow(self, outcomes: list[Outcome]) -> None:
        """Tell the objective what all workers saw, in the order of the samples of the step."""
        own = {name: torch.cat([outcome.seen[name] for outcome in outcomes]) for name in outcomes[0].seen}
        parts = self._world.objects({name: values.cpu() for name, values in own.items()})
        self._setup.objective.follow({name: torch.cat([part[name] for part in parts]) for name in own})

    def _agree(self, failure: MienError | None) -> list[bool]:
        """Whether any worker wishes to save, to stop until it is ended, or to give up; before one waits for another."""
        save, hold = self._leaving.look(self._notices.deadline_s(), time.time(), self._record.last_save_s)
        wishes = [save, hold or self._notices.wants_hold(), failure is not None]
        agreed = self._world.sum(torch.tensor(wishes, dtype=torch.float32, device=self._world.device))
        return [value > 0 for value in agreed.tolist()]

    def _counts(self, batches: list[Any]) -> dict[str, float]:
        """Clips of every loss over all workers: what their sums are divided by."""
        objective, names = self._setup.objective, self._setup.objective.term_names
        own = torch.zeros(len(names), dtype=torch.float64, device=self._world.device)
        for batch in batches:  # no count is read back before all are summed: a GPU's queue runs on until then
            found = objective.counts(batch, self._world.gather)
            own += torch.stack([found[name] for name in names])
        return dict(zip(names, self._world.sum(own).tolist(), strict=True))

    def _first(self, failure: MienError | None) -> MienError:
        """The failure of the first worker that has one: all of them end with it."""
        failures: list[MienError | None] = self._world.objects(failure)
        return next(error for error in failures if error is not None)

    def _hold(self) -> None:
        """Everything is saved; whoever asked for it ends this worker, and no step is lost."""
        logger.info("step %d: saved, waiting to be moved", self._state.step)
        self._world.objects(None)
        HOLDING.hold(HOLD_S)

    def _step(self, batches: list[Any], counts: dict[str, float], data: Step) -> list[Outcome]:
        """One step of the optimiser."""
        step, objective = self._state.step, self._setup.objective
        weights = objective.weights(step, self._num_steps)
        self._state.optimizer.zero_grad(set_to_none=True)
        outcomes = []
        for number, batch in enumerate(batches):
            with self._unsynced(is_last=number == len(batches) - 1), self._narrow():
                outcome: Outcome = self._parallel(batch, self._world.gather)
            parts = [weights[name] * term.sum / max(1.0, counts[name]) for name, term in outcome.terms.items()]
            total: torch.Tensor = torch.stack(parts).sum()
            if isinstance(self._parallel, DistributedDataParallel):
                total = total * self._world.size  # it divides by the number of workers
            total.backward()  # type: ignore[no-untyped-call]
            outcomes.append(outcome)
            if self._sum:
                self._sum.take()
        if self._sum:
            self._sum.give(self._world)
        norm = gradient_norm(objective, self._config.optimizer.clip_norm).item()
        if not math.isfinite(norm):
            self._not_a_number(norm, data)
        set_rate(self._state.optimizer, self._config.optimizer.rate_at(step, self._num_steps))
        self._state.optimizer.step()
        fold_pending(objective, self._world.sum)
        self._state.step += 1
        if self._state.ema:
            self._state.ema.update()
        self._record.gradient_norm = norm
        return outcomes

    def _unsynced(self, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients are summed over the workers in the last backward pass of a step alone."""
        if is_last or not isinstance(self._parallel, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._parallel.no_sync()

    def _narrow(self) -> contextlib.AbstractContextManager[Any]:
        if self._config.precision != "bfloat16":
            return contextlib.nullcontext()
        return torch.autocast(self._world.device.type, torch.bfloat16)

    def _not_a_number(self, norm: float, data: Step) -> None:
        """Say which clips were in the batch, and stop before the weights are lost.

        Raises:
            TrainingError: Always.
        """
        clips = [self._setup.name_of(window) for part in data.clips for window in part.windows]
        clips = [clip for part in self._world.objects(clips) for clip in part]
        store, name = self._record.store, f"nonfinite_step_{data.number}.json"
        if self._world.is_first:
            store.replace(name, json.dumps({"step": data.number, "clips": clips}, indent=1).encode())
        latest = checkpoint.pointed(store, checkpoint.LATEST).get("checkpoint")
        begin = f"with the last checkpoint, {latest}, which is good (begin_with)" if latest else "without a checkpoint"
        raise TrainingError(
            f"step {data.number}: the gradient is {norm}; the clips of the batch are in {store.uri}/{name}. If these "
            f"are sound, begin a new output {begin}, and a lower optimizer.learning_rate or optimizer.clip_norm=1"
        )
