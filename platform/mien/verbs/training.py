"""Verbs that train models and judge them."""

import time
from typing import Annotated, Any

import typer

from mien.verbs.verb import DryRun, Json, Words, call, emit, finish, lines, read_config

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
    finish(started, report.path, f"mien evaluate {report.path} dataset={config.dataset}")


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
