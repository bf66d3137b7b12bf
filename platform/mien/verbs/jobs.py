"""Verbs that plan, run and watch a job."""

import time
from typing import Annotated, Any

import typer

from mien.verbs.verb import DryRun, Json, Place, Words, call, emit, finish, lines, read_config, table

app = typer.Typer()

_MAX_SHOWN_CHARS = 40
"""Of a text in a table."""


@app.command()
def serialize(
    words: Words = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what is there and start over.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try the clips again that failed.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="Stop a run that is at work on the output.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Turn videos into a dataset. The same command resumes.

    Example: mien serialize configs/serialize/faces.yaml source=VIDEOS output=DATASET format.kind=hdf5
    """
    started = time.monotonic()
    config = read_config("serialize", words)
    if dry_run:
        _emit_plan(*call("mien.pipelines.serialize:dry_run", config), as_json=as_json)
        return
    options = {"fresh": fresh, "retry_failed": retry_failed, "take_over": take_over}
    report = call("mien.pipelines.serialize:run", config, **options)
    emit(report.to_json(), as_json, lambda: lines(report.summary()))
    finish(started, report.path, f"mien inspect {report.path}")
    report.check(config.max_failed)


@app.command()
def plan(
    words: Words = None,
    dry_run: DryRun = False,
    no_estimate: Annotated[bool, typer.Option("--no-estimate", help="Plan only; try no clip.")] = False,
    as_json: Json = False,
) -> None:
    """Decide which clips a serialize config makes, and write the plan into its output, if one is given.

    A few of them are made for real, to tell how long all will take.

    Example: mien plan configs/serialize/faces.yaml source=VIDEOS estimate.num_nodes=4 estimate.num_cpus=16
    """
    config = read_config("serialize", words)
    survey = call("mien.pipelines.estimate:Survey", config.estimate.seed)
    if config.output and not dry_run:
        store = call("mien.storage.uri:open_store", config.output)
        planned = call("mien.pipelines.serialize:plan", config, store) or call(
            "mien.pipelines.plan:standing_plan", store
        )
        if not no_estimate:
            call("mien.pipelines.estimate:see_plan", survey, store)
    else:
        planned = call("mien.pipelines.plan:preview_plan", config, watch=None if no_estimate else survey.see)
    report, rows = planned
    if not as_json or no_estimate:
        _emit_plan(report, rows, as_json=as_json)
    if not no_estimate:
        _emit_estimate(config, survey, planned, as_json=as_json)
    report.check(config.source)


def _emit_estimate(config: Any, survey: Any, planned: Any, *, as_json: bool) -> None:
    report, rows = planned
    estimate = call("mien.pipelines.estimate:estimate", config, survey)
    whole = {**report.to_json(), "first_clips": rows, "estimate": estimate.to_json()}
    emit(whole, as_json, lambda: f"\n{lines(estimate.summary())}")


def _emit_plan(report: Any, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    emit({**report.to_json(), "first_clips": rows}, as_json, lambda: _told(report, rows))


def _told(report: Any, rows: list[dict[str, Any]]) -> str:
    """The first clips, counts, and what was found of each keyword."""
    result = report.to_json()
    matches = result.pop("matches")
    said = [table(_filled(rows)), lines(result)]
    if matches:
        said.append(table([{"keyword": keyword, **counts} for keyword, counts in matches["keywords"].items()]))
        said.append(lines({key: value for key, value in matches.items() if key != "keywords"}))
    return "\n\n".join(said)


def _filled(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the columns that are empty in all of them, and without long texts."""
    filled = {key for row in rows for key, value in row.items() if value not in ("", None)} - {"matches"}
    return [{key: _cut(value) for key, value in row.items() if key in filled} for row in rows]


def _cut(value: Any) -> Any:
    is_long = isinstance(value, str) and len(value) > _MAX_SHOWN_CHARS and not value.startswith(("/", "gs://"))
    return f"{value[:_MAX_SHOWN_CHARS]}…" if is_long else value


@app.command()
def status(
    place: Place,
    watch: Annotated[bool, typer.Option("--watch", help="Show it until the run is finished, or until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Say how far a run is, from any terminal: clips, pace, time left, failures, and whether it is at work."""
    seen = call(f"mien.datasets.status:{'watch' if watch else 'look'}", place)
    emit(seen.to_json(), as_json, lambda: lines(seen.summary()))
