"""What a sweep costs: a few steps of its training are done, and the rest is counted."""

import tempfile
import time
from typing import Any, NamedTuple

from mien.storage.uri import open_store
from mien.training import log
from mien.training.job import TrainConfig
from mien.tuning.course import course
from mien.tuning.job import TuneConfig

_NUM_STEPS, _NUM_REPORTS = 3, 3
"""Steps between two reports of the probe, and its reports; the first is warm-up."""


class Probe(NamedTuple):
    """How long one process takes."""

    step_s: float
    report_s: float
    """A validation, its checkpoint, and what is measured besides."""


def estimate(config: TuneConfig, num_steps: int) -> dict[str, Any]:
    """Steps of all trials, and hours of cores; where trials are stopped early, as many as their rungs leave.

    Raises:
        MienError: The training cannot begin.
    """
    repeats = config.repeats.num_configs * config.repeats.num_seeds
    share = config.scheduler.share(config.goal(num_steps))
    trials = config.num * share + repeats
    found = {
        "steps_at_most": num_steps * (config.num + repeats),
        "steps_expected": round(num_steps * trials),
    }
    if not isinstance(config.train, TrainConfig):
        return found
    workers = config.train.workers
    if workers.use_gpu or workers.bounds[1] > 1:
        return found | {"hours": "not measured: a trial has a GPU or several workers, and this is one process"}
    probed = probe(config)
    trial_s = num_steps * probed.step_s + config.goal(num_steps).num_reports * probed.report_s
    return found | {
        "step_s": probed.step_s,
        "report_s": probed.report_s,
        "trial_s": trial_s,
        "core_hours": trials * trial_s * workers.num_cpus / 3600,
    }


def probe(config: TuneConfig) -> Probe:
    """Train a little in this process; nothing of it stays.

    Raises:
        MienError: The training cannot begin.
    """
    changes = {
        "num_steps": _NUM_STEPS * _NUM_REPORTS,
        "validation.every_steps": _NUM_STEPS,
        "checkpoints.every_steps": _NUM_STEPS * _NUM_REPORTS,
        "log.every_steps": _NUM_STEPS,
        "log.tensorboard": False,
    }
    with tempfile.TemporaryDirectory(prefix="mien-tune-") as folder:
        store = open_store(folder)
        trial = config.trial({**config.build().sample(0), **changes}, folder)
        times = list[float]()
        for _ in course(config, trial, 0, store).reports:
            times.append(time.monotonic())
        lines = [line for line in log.read(store) if line["kind"] == "train"]
    step_s = sum(line["step_s"] for line in lines[1:]) / (len(lines) - 1)
    return Probe(step_s, max(0.0, (times[-1] - times[0]) / (_NUM_REPORTS - 1) - _NUM_STEPS * step_s))
