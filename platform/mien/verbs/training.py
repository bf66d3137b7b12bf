"""Verbs that train models and judge them."""

import time
from typing import Annotated, Any

import typer

from mien.verbs.verb import DryRun, Json, Words, call, emit, finish, lines, read_config, table

app = typer.Typer()


@app.command()
def train(
    words: Words = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what is there and start over.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Stop a run that is at work on the output.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Train a model on a dataset. The same command resumes.

    Example: mien train configs/train/joint_small.yaml dataset=DATASET output=RUN
    """
    started = time.monotonic()
    config = read_config("train", words)
    if dry_run:
        found: dict[str, Any] = call("mien.training.train:dry_run", config)
        emit(found, as_json, lambda: lines(found))
        return
    report = call("mien.training.train:run", config, fresh=fresh, take_over=take_over)
    emit(report.to_json(), as_json, lambda: lines(report.to_json()))
    of_pairs = config.objective.kind == "bridge"  # which are not what it was trained on
    what = "bridging.source=FILE bridging.target=FILE" if of_pairs else f"dataset={config.dataset}"
    finish(started, report.path, f"mien evaluate {report.path} {what}")


@app.command()
def tune(
    words: Words = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what is there and start over.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try the trials again that failed.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Stop a run that is at work on the output.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Search loss weights, schedules, or any other key of a training, by many short ones. The same command resumes.

    Example: mien tune configs/tune/joint_small.yaml dataset=DATASET output=SWEEP
    """
    started = time.monotonic()
    config = read_config("tune", words)
    if dry_run:
        found: dict[str, Any] = call("mien.tuning.tune:dry_run", config)
        emit(found, as_json, lambda: _told(found))
        return
    options = {"fresh": fresh, "take_over": take_over, "retry_failed": retry_failed}
    report = call("mien.tuning.tune:run", config, **options)
    emit(report.to_json(), as_json, lambda: lines(report.to_json()))
    finish(started, report.path, f"mien train {report.path}/best.yaml output=RUN")


def _told(found: dict[str, Any]) -> str:
    """A plan of a sweep, its first trials last."""
    rest = {key: value for key, value in found.items() if key != "first_trials"}
    return f"{lines(rest)}\n\n{table(found['first_trials'])}"


@app.command()
def evaluate(
    place: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A run, or RUN/checkpoints/step_….")],
    words: Words = None,
    as_json: Json = False,
) -> None:
    """Measure a model on held-out clips: expression and identity in its token, pictures, movement, swaps.

    Example: mien evaluate RUN dataset=DATASET
    """
    started = time.monotonic()
    config = read_config("evaluate", words).model_copy(update={"checkpoint": place})
    report = call("mien.training.evaluate:run", config)
    emit(report.to_json(), as_json, lambda: lines(report.summary))
    finish(started, report.path, f"see {report.path}/evaluation.md and evaluation.png")
