"""Verbs about this machine and its set-up: doctor, quickstart, emulator, assets, config."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mien import log
from mien.verbs.verb import CONFIGS, Json, Words, call, emit, finish, lines, load, read_config, table

app = typer.Typer()
assets_app = typer.Typer(help="Model files: list, pull, verify.", no_args_is_help=True)
config_app = typer.Typer(help="Configs: show the resolved one, print the JSON schema.", no_args_is_help=True)
app.add_typer(assets_app, name="assets")
app.add_typer(config_app, name="config")

AssetNames = Annotated[list[str] | None, typer.Argument(help="Names; by default all that are not optional.")]
Job = Annotated[str, typer.Option(help="Job that the config is for.")]


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
def config_show(words: Words = None, job: Job = "", as_json: Json = False) -> None:
    """Print the resolved config: defaults, file and overrides together; itself a valid config.

    The folder of the file tells the job, as in configs/train/ or configs/analyze/warp/.
    """
    config = read_config(job or _job_of(words or []), words)
    emit(config.dump(), as_json, lambda: config.to_yaml().rstrip())


def _job_of(words: list[str]) -> str:
    folders = (Path(word).absolute().parent.parts for word in words if "=" not in word)
    jobs = ("/".join(parts[-depth:]) for parts in folders for depth in (2, 1))
    return next((job for job in jobs if job in CONFIGS), "serialize")


@config_app.command("schema")
def config_schema(job: Job = "serialize", as_json: Json = False) -> None:
    """Print the JSON schema of a job's config, for editors."""
    del as_json  # a JSON schema is JSON either way
    typer.echo(json.dumps(load(CONFIGS[job]).model_json_schema(), indent=2))
