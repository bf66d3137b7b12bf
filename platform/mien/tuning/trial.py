"""One trial: an actor of Ray Tune that trains until its next report, and waits to hear whether it goes on.

What it reported is written down before it is told, and told again when the sweep is resumed: schedulers and searchers
then decide by what they decided by before, and no step is trained twice.
"""

import math
import time
from collections.abc import Generator
from typing import Any

from ray.tune import Trainable

from mien.errors import CheckpointError, MienError, StorageError, TrainingError
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.storage.uri import open_store
from mien.training.job import TrainConfig
from mien.tuning import desk
from mien.tuning.course import course
from mien.tuning.desk import Donor, Run, Told
from mien.tuning.job import TuneConfig
from mien.tuning.search import REPORT, STEP
from mien.tuning.synthetic import SyntheticConfig

_KEPT = 6
"""Checkpoints that trials of a population keep: others may go on from one a while after it was made."""


class TrialActor(Trainable):  # type: ignore[misc]
    """Runs one trial after the other, as Ray Tune says; what each is stands in `config["trial"]`."""

    def setup(self, config: dict[str, Any], sweep: TuneConfig | None = None) -> None:
        """Begin with one trial of a sweep."""
        if sweep is None:
            raise ValueError("sweep: is required")
        self._sweep, self._store = sweep, open_store(sweep.output)
        self._telling: Generator[Told] | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Leave this trial as it is, and take another; the process and what it has loaded stay."""
        self.cleanup()
        self._trial: dict[str, Any] = new_config["trial"]
        self._pointer: Donor | None = None
        self._last: Told | None = None
        self._num_told = 0
        return True

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on from here; from a checkpoint of another trial, if it is one."""
        self._pointer = Donor(**checkpoint) if checkpoint else None

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:  # noqa: ARG002  Ray's name
        """Where this trial is; the checkpoint itself lies in its output since before it told of it."""
        number = self._trial["number"]
        run = desk.newest(self._store, number)
        return Donor(number, run.run if run else 0, self._last.step if self._last else 0)._asdict()

    def step(self) -> dict[str, Any]:
        """Train until the next report."""
        self._telling = self._telling or self._tell()
        try:
            told = next(self._telling)
        except StorageError:
            raise  # a full disk or a silent bucket is no fault of the trial: Ray Tune, or the next command, tries again
        except (MienError, StopIteration) as error:
            return self._failed(error)
        self._last, self._num_told = told, self._num_told + 1
        metrics = {name: told.metrics.get(name, math.nan) for name in self._sweep.metrics}
        return {STEP: told.step, REPORT: self._num_told, **metrics, "done": told.is_last}

    def cleanup(self) -> None:
        """End what is under way; its checkpoints stay."""
        if self._telling is not None:
            self._telling.close()
        self._telling = None

    def _failed(self, error: Exception) -> dict[str, Any]:
        """The end of a trial that would fail again the same way: Ray Tune is told of numbers that are none."""
        desk.fail(self._store, self._trial["number"], str(error) or "it ended without a report")
        step = self._last.step if self._last else 0
        return {STEP: step, REPORT: self._num_told, **dict.fromkeys(self._sweep.metrics, math.nan), "done": True}

    def _tell(self) -> Generator[Told]:
        """What was told before, then what comes."""
        failure = desk.failure(self._store, self._trial["number"])
        if failure:
            raise TrainingError(failure)
        run = self._begun()
        told = desk.read_told(self._store, run)
        if not self._sweep.is_population:
            yield from told
        if not (told and told[-1].is_last):
            yield from self._train(run, told)
        elif self._sweep.is_population:
            yield told[-1]

    def _train(self, run: Run, told: list[Told]) -> Generator[Told]:
        training = desk.training_of(self._store, run)
        config = self._config(run, training.uri)
        behind_s, since = told[-1].seconds if told else 0.0, time.monotonic()
        num_steps, reports = course(self._sweep, config, run.number, training)
        done = max(told[-1].step if told else 0, run.donor.step if run.donor else 0)
        try:
            for report in reports:
                if report.step <= done:
                    continue
                self._require(report.metrics)
                behind_s += time.monotonic() - since
                told.append(Told(report.step, report.metrics, behind_s, report.step >= num_steps))
                desk.write_told(self._store, run, told)
                yield told[-1]
                since = time.monotonic()
        finally:
            reports.close()

    def _config(self, run: Run, output: str) -> TrainConfig | SyntheticConfig:
        config = self._sweep.trial(run.values, output, run.repeat)
        if isinstance(config, SyntheticConfig):
            return config
        log = config.log.model_copy(update={"wandb_group": config.log.wandb_group or self._store.uri})
        kept = max(config.checkpoints.keep, _KEPT if self._sweep.is_population else 0)
        checkpoints = config.checkpoints.model_copy(update={"keep": kept})
        return config.model_copy(update={"log": log, "checkpoints": checkpoints})

    def _require(self, metrics: dict[str, float]) -> None:
        """Refuse a metric that is not there, at the first report already.

        Raises:
            TrainingError: One is missing.
        """
        for name in self._sweep.metrics:
            if name not in metrics:
                there = ", ".join(sorted(set(metrics) - {"loss"}))
                raise TrainingError(f"metrics: {name} is not reported; there are {there}")

    def _begun(self) -> Run:
        """The run that this trial goes on with."""
        number, place = self._trial["number"], self._trial.get("place") or {}
        run = desk.newest(self._store, number)
        if run is None:
            space = self._sweep.build()
            values = self._trial.get("values") or space.values(place)
            repeat, repeat_of = self._trial.get("repeat", 0), self._trial.get("repeat_of")
            run = desk.begin(self._store, Run(number, 0, values, place, repeat, repeat_of))
        donor = self._pointer
        if donor is None or donor.number == number or _is_from(run, donor, place):
            return run
        return self._adopt(run, donor, place)

    def _adopt(self, run: Run, donor: Donor, place: dict[str, float]) -> Run:
        """A new run, from the checkpoint of another trial: first its copy, then the record that makes it count."""
        giver = desk.training_of(self._store, Run(donor.number, donor.run, {}, {}))
        found = _from(giver.uri, donor.step)
        begun = run._replace(
            run=run.run + 1,
            values=self._sweep.build().values(place),
            place=place,
            donor=donor._replace(step=found.step),
        )
        checkpoint.copy(found, desk.training_of(self._store, begun))
        return desk.begin(self._store, begun)


def _is_from(run: Run, donor: Donor, place: dict[str, float]) -> bool:
    """Whether a run was begun by this very exchange, before its process died."""
    return run.donor is not None and run.donor[:2] == donor[:2] and run.place == place


def _from(uri: str, step: int) -> Checkpoint:
    """The first checkpoint at a step or after it: the one meant may be gone, when many trials share few machines.

    Raises:
        CheckpointError: There is none.
    """
    store = open_store(uri)
    for name in checkpoint.names(store):
        found = checkpoint.read(store, name)
        if found.step >= step:
            return found
    raise CheckpointError(f"{uri}: has no checkpoint at step {step} or after it")
