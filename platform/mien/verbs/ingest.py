"""The verb that brings files from elsewhere below an output."""

import time
from typing import Annotated, Any

import typer

from mien.verbs.verb import DryRun, Json, Words, call, emit, finish, lines, read_config, table

app = typer.Typer()


@app.command()
def ingest(
    words: Words = None,
    test: Annotated[
        bool, typer.Option("--test", help="Try the rights on the output: sign in, list, write, read, delete.")
    ] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Stop a run that is at work on the output.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Bring a list of addresses into a folder or bucket, proved by size and sums. The same command resumes.

    Example: mien ingest source=LIST.csv output=gs://BUCKET/VIDEOS
    """
    started = time.monotonic()
    config = read_config("ingest", words)
    if test:
        _test(config, as_json=as_json)
        return
    if dry_run:
        plan = call("mien.pipelines.ingest:dry_run", config)
        numbers = {"num_items": plan.num_items, "num_left": plan.num_left}
        emit(plan.to_json(), as_json, lambda: f"{table(plan.first_left)}\n\n{lines(numbers)}")
        return
    report = call("mien.pipelines.ingest:run", config, take_over=take_over)
    emit(report.to_json(), as_json, lambda: lines(report.summary()))
    finish(started, report.path, f"mien plan configs/serialize/faces.yaml source={report.path}")
    call("mien.pipelines.ingest:check", report, config.max_failed)


def _test(config: Any, *, as_json: bool) -> None:
    found = call("mien.pipelines.ingest:rights", config)
    rows = [right._asdict() for right in found]
    emit(rows, as_json, lambda: table(rows))
    call("mien.storage.rights:require_all", found, config.output)
