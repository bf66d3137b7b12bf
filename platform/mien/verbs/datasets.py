"""Verbs that read, prove and change a finished dataset."""

import contextlib
import sys
import time
from typing import Annotated

import typer

from mien import log
from mien.errors import ConfigError, MienError
from mien.verbs.verb import DryRun, Json, Place, Unfinished, call, emit, finish, lines, load, table

app = typer.Typer()


@app.command()
def inspect(place: Place, unfinished: Unfinished = False, as_json: Json = False) -> None:
    """Say what is in a dataset: clips, frames, faces, columns, failures."""
    dataset = call("mien.datasets:open", place, allow_unfinished=unfinished)
    summary = call("mien.datasets.inspect:summarize", dataset)
    samples = call("mien.datasets.inspect:sample_rows", dataset)
    emit({**summary, "samples": samples}, as_json, lambda: f"{table(samples)}\n\n{lines(summary)}")


@app.command()
def head(
    place: Place,
    num_rows: Annotated[int, typer.Option("-n", "--rows", min=1, help="Frames to print.")] = 3,
    unfinished: Unfinished = False,
    as_json: Json = False,
) -> None:
    """Print the first frames of a dataset."""
    dataset = call("mien.datasets:open", place, allow_unfinished=unfinished)
    rows = call("mien.datasets.inspect:head", dataset, num_rows)
    emit(rows, as_json, lambda: "\n\n".join(lines(row) for row in rows) or "nothing")


@app.command()
def verify(place: Place, as_json: Json = False) -> None:
    """Recompute every checksum and count, open every shard; exit code 1 if anything is wrong."""
    started = time.monotonic()
    result = call("mien.datasets.verify:verify", call("mien.datasets:open", place))
    emit(result, as_json, lambda: lines(result))
    log.logger.info("took     %.1f s", time.monotonic() - started)
    if not result["ok"]:
        raise load("mien.errors:DatasetError")(f"{place}: {len(result['problems'])} problems")


@app.command()
def forget(
    place: Place,
    who: Annotated[str, typer.Argument(metavar="subject=NAME", help="Name in the column `subject`.")],
    reason: Annotated[str, typer.Option(help="For the audit record; it must not name the person.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove a person from a dataset for good: crops, features, pictures, names. The same command resumes.

    Example: mien forget DATASET subject=s07 --reason "consent withdrawn"
    """
    started = time.monotonic()
    subject = _subject(who)
    store = call("mien.storage.uri:open_store", place)
    extent = call("mien.datasets.erasure:survey", store, subject)
    if dry_run or not extent.num_clips:
        emit({"path": store.uri, "removed": extent._asdict()}, as_json, lambda: lines(extent._asdict()))
        return
    if not yes:
        _confirm(f"Remove {extent.num_clips} clips with {extent.num_frames} frames from {store.uri} for good?")
    with load("mien.storage.lease:held")(store):
        report = call("mien.datasets.forget:forget", store, subject, reason)
    emit(report.to_json(), as_json, lambda: lines({**report.removed._asdict(), "audit": report.audit}))
    for line in report.outside:
        log.logger.info("outside  %s", line)
    finish(started, report.path, f"mien verify {report.path}")


def _subject(word: str) -> str:
    key, _, name = word.partition("=")
    if key != "subject" or not name:
        raise ConfigError(f"{word!r}: say whom to forget as subject=NAME")
    return name


def _confirm(question: str) -> None:
    """Ask on a terminal; where nobody can answer, `--yes` must have been given."""
    if not sys.stdin.isatty():
        raise ConfigError("forget deletes for good and there is no terminal to ask on; add --yes")
    with contextlib.redirect_stdout(sys.stderr):
        answer = typer.confirm(question, err=True)
    if not answer:
        raise MienError("nothing was changed")
