"""What a trial runs, as a series of reports: one process trains by itself, several are workers of Ray Train."""

from collections.abc import Generator
from typing import NamedTuple

import torch

from mien.models import checkpoint
from mien.pipelines.cluster import ClusterConfig
from mien.storage.claim import CONFIG
from mien.storage.uri import Store
from mien.training import evaluate, train
from mien.training.evaluate import EvaluateConfig
from mien.training.job import TrainConfig
from mien.training.mail import Report
from mien.training.notice import NoNotices
from mien.training.prepare import prepare
from mien.training.worker import reports as in_this_process
from mien.training.world import World
from mien.tuning import synthetic
from mien.tuning.job import TrialEvaluationConfig, TuneConfig
from mien.tuning.synthetic import SyntheticConfig


class Course(NamedTuple):
    """A training under way."""

    num_steps: int
    """After these it has ended."""
    reports: Generator[Report]
    """Of each validation, whose checkpoint is committed; the first may be of a checkpoint that was there."""


def course(sweep: TuneConfig, config: TrainConfig | SyntheticConfig, number: int, store: Store) -> Course:
    """Begin a training, or go on from its newest checkpoint.

    Args:
        sweep: What the trial belongs to.
        config: Of the trial.
        number: Of the trial.
        store: Output of the trial.

    Raises:
        MienError: It cannot begin; what happens on the way is raised by the reports.
    """
    if isinstance(config, SyntheticConfig):
        return Course(config.num_steps, _from_checkpoint(store, synthetic.reports(config, number, store)))
    store.replace(CONFIG, config.to_yaml().encode())
    checkpoint.clear_orphans(store)
    job, weights = prepare(config, store)
    if config.workers.bounds[1] > 1:
        running = train.reports(job, weights)
    else:
        world = World(device=torch.device("cuda" if config.workers.use_gpu else "cpu"))
        running = in_this_process(job, world, NoNotices(), weights)
    told = _from_checkpoint(store, running)
    return Course(job.num_steps, _measured(told, sweep.evaluation, store) if sweep.evaluates else told)


def _from_checkpoint(store: Store, running: Generator[Report]) -> Generator[Report]:
    """What was validated at the newest checkpoint, too: a process may have died before it told of it."""
    found = checkpoint.newest(store)
    if found is not None:
        yield Report(found.step, dict(found.facts["metrics"]))
    yield from running


def _measured(told: Generator[Report], config: TrialEvaluationConfig, store: Store) -> Generator[Report]:
    """Reports with the measures of `mien evaluate`."""
    asked = EvaluateConfig(
        checkpoint=store.uri,
        max_frames=config.max_frames,
        evaluation=config.measures,
        cluster=ClusterConfig(),
    )
    for report in told:
        yield report._replace(metrics=report.metrics | evaluate.numbers(asked))
