"""The command line: verbs and what they start, by name, so that `--help` loads no heavy library.

stdout carries the result alone (one JSON document with `--json`); everything else goes to stderr. Exit codes stand in
`mien.errors`.
"""

import contextlib
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mien import __version__, log
from mien.errors import ConfigError, MienError

CONFIGS = {"serialize": "mien.pipelines.serialize:SerializeConfig"}
"""Folder below configs/ -> class that its files are."""

_INTERRUPTED = 130

app = typer.Typer(
    name="mien",
    help="Face video into datasets: plan, serialize, inspect, verify, forget.",
    epilog="Example: mien serialize configs/serialize/faces.yaml source=VIDEOS output=DATASET",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
assets_app = typer.Typer(help="Model files: list, pull, verify.", no_args_is_help=True)
config_app = typer.Typer(help="Configs: show the resolved one, print the JSON schema.", no_args_is_help=True)
app.add_typer(assets_app, name="assets")
app.add_typer(config_app, name="config")

Words = Annotated[list[str] | None, typer.Argument(metavar="[CONFIG.yaml] [key.path=value]...")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")]
Place = Annotated[str, typer.Argument(metavar="DATASET", help="Folder of a dataset.")]
AssetNames = Annotated[list[str] | None, typer.Argument(help="Names; all by default.")]
Job = Annotated[str, typer.Option(help="Job that the config is for.")]
Unfinished = Annotated[bool, typer.Option("--unfinished", help="Read what is committed so far.")]


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code. No traceback for a user's mistake; `MIEN_DEBUG=1` shows it."""
    log.setup()
    try:
        code = app(args=arguments, prog_name="mien", standalone_mode=False)
    except MienError as error:
        _complain(str(error))
        code = error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last line of defence: a defect of mien, still one line
        code = _unexpected(error)
    if code == _INTERRUPTED:  # also what typer makes of an interrupt
        _complain("interrupted; what is committed stays, the same command resumes")
    sys.exit(code or 0)


def _unexpected(error: Exception) -> int:
    """Exit code of an error that is not ours: usage errors of the command line say how it is used."""
    show = getattr(error, "show", None)
    if show is not None:
        show()
        return int(getattr(error, "exit_code", 2))
    _complain(f"{type(error).__name__}: {error}. This is a defect of mien; MIEN_DEBUG=1 shows where")
    return 1


def _complain(message: str) -> None:
    if log.is_debug() and sys.exception():
        traceback.print_exc()
    for line in message.splitlines():
        log.logger.error("mien: %s", line)


def load(target: str) -> Any:
    """The object behind `module:name`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def call(target: str, *arguments: Any, **options: Any) -> Any:
    """What `module:name` returns. Whatever it or a library below it prints goes to stderr: stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        return load(target)(*arguments, **options)


def read_config(job: str, words: list[str] | None) -> Any:
    """The config of a job from an optional YAML file and overrides, in any order."""
    words = words or []
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise ConfigError(f"give one config file, not {len(files)}: {' '.join(files)}")
    path = Path(files[0]) if files else None
    return load(CONFIGS[job]).load(path, [word for word in words if "=" in word])


def emit(result: Any, as_json: bool, human: Callable[[], str]) -> None:
    """Print a result: one JSON document in ASCII, or the text a person reads."""
    typer.echo(json.dumps(result, indent=2, default=str) if as_json else human())


def lines(values: dict[str, Any]) -> str:
    """`key  value` lines, empty values left out."""
    shown = {key: value for key, value in values.items() if value not in (None, "", {}, [])}
    width = max((len(key) for key in shown), default=0)
    return "\n".join(f"{key:<{width}}  {_short(value)}" for key, value in shown.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_short(key)} {_short(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else log.printable(str(value))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned columns; nothing for no rows."""
    if not rows:
        return "nothing"
    cells = [list(rows[0]), *([_short(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def finish(started: float, place: str, following: str) -> None:
    """The last lines of a verb: where the output is, how long it took, what comes next."""
    log.logger.info("output   %s", place)
    log.logger.info("took     %.1f s", time.monotonic() - started)
    log.logger.info("next     %s", following)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


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
        call("mien.pipelines.estimate:see_plan", survey, store)
    else:
        planned = call("mien.pipelines.plan:preview_plan", config, watch=survey.see)
    report, rows = planned
    if not as_json or no_estimate:
        _emit_plan(report, rows, as_json=as_json)
    if no_estimate:
        return
    estimate = call("mien.pipelines.estimate:estimate", config, survey)
    whole = {**report.to_json(), "first_clips": rows, "estimate": estimate.to_json()}
    emit(whole, as_json, lambda: f"\n{lines(estimate.summary())}")


def _emit_plan(report: Any, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    result = report.to_json()
    emit({**result, "first_clips": rows}, as_json, lambda: f"{table(rows)}\n\n{lines(result)}")


@app.command()
def status(
    place: Place,
    watch: Annotated[bool, typer.Option("--watch", help="Show it until the run is finished, or until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Say how far a run is, from any terminal: clips, pace, time left, failures, and whether it is at work."""
    seen = call(f"mien.datasets.status:{'watch' if watch else 'look'}", place)
    emit(seen.to_json(), as_json, lambda: lines(seen.summary()))


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


@app.command()
def doctor(as_json: Json = False) -> None:
    """Try everything that must work on this machine and print the repair; exit code 4 if something does not."""
    report = call("mien.doctor:examine")
    emit([check._asdict() for check in report], as_json, lambda: "\n".join(map(_checked, report)))
    if any(check.state == "error" for check in report):
        raise load("mien.errors:PreflightError")("something does not work here; the repairs stand above")


def _checked(check: Any) -> str:
    line = f"{check.state:<6}{check.name:<12}{check.found}"
    return f"{line}\n{'':<18}fix: {check.repair}" if check.repair else line


@app.command()
def quickstart(
    folder: Annotated[Path, typer.Argument(help="Where to put videos and dataset.")] = Path("quickstart"),
    as_json: Json = False,
) -> None:
    """Render three sample videos and make a dataset of them: no download but the detector, no account, no GPU."""
    started = time.monotonic()
    result = call("mien.demos.quickstart:run", folder)
    emit(result, as_json, lambda: lines(result))
    finish(started, result["contact_sheet"], result["next"])


@app.command()
def emulator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 9023,
    folder: Annotated[Path | None, typer.Option(help="Keep objects here; by default in memory.")] = None,
    bucket: Annotated[list[str] | None, typer.Option(help="Make this bucket; may be given again.")] = None,
    as_json: Json = False,
) -> None:
    """Serve gs:// on this machine until Ctrl-C: Cloud Storage for tests and laptops, on 127.0.0.1 alone.

    Example: mien emulator --bucket faces --folder FOLDER
    """
    with call("mien.storage.emulator.server:Server", port, folder) as server:
        for name in bucket or ():
            server.ensure_bucket(name)
        emit({"url": server.url, "buckets": bucket or [], "folder": folder}, as_json, lambda: server.url)
        log.logger.info("use it   export STORAGE_EMULATOR_HOST=%s", server.url)
        log.logger.info("end it   Ctrl-C")
        call("mien.storage.emulator.server:serve", server)


@assets_app.command("list")
def assets_list(as_json: Json = False) -> None:
    """Model files, where they are, and their licence."""
    _emit_assets(call("mien.assets:status"), as_json=as_json)


@assets_app.command("pull")
def assets_pull(names: AssetNames = None, as_json: Json = False) -> None:
    """Download model files into the cache, checked by their sums."""
    _emit_assets(call("mien.assets:pull", names or ()), as_json=as_json)


@assets_app.command("verify")
def assets_verify(names: AssetNames = None, as_json: Json = False) -> None:
    """Recompute the sums of model files; exit code 4 if one is absent or damaged."""
    _emit_assets(call("mien.assets:verify", names or ()), as_json=as_json)


def _emit_assets(found: list[Any], *, as_json: bool) -> None:
    rows = [status._asdict() for status in found]
    shown = ("name", "state", "size_bytes", "licence", "path", "purpose")
    emit(rows, as_json, lambda: table([{key: row[key] for key in shown} for row in rows]))


@config_app.command("show")
def config_show(words: Words = None, job: Job = "serialize", as_json: Json = False) -> None:
    """Print the resolved config: defaults, file and overrides together; itself a valid config."""
    config = read_config(job, words)
    emit(config.dump(), as_json, lambda: config.to_yaml().rstrip())


@config_app.command("schema")
def config_schema(job: Job = "serialize", as_json: Json = False) -> None:
    """Print the JSON schema of a job's config, for editors."""
    del as_json  # a JSON schema is JSON either way
    typer.echo(json.dumps(load(CONFIGS[job]).model_json_schema(), indent=2))
