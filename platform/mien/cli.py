"""The command line: verbs and what they start, by name, so that `--help` loads no heavy library.

stdout carries the result alone (one JSON document with `--json`); everything else goes to stderr. Exit codes stand in
`mien.errors`. A verb is one function in the module of its kind; what they share is in `mien.verbs.verb`.
"""

import sys
import traceback
from typing import Annotated

import typer

from mien import __version__, log
from mien.errors import MienError
from mien.verbs import analyze, clips, datasets, demos, exchange, ingest, jobs, machine, training, video

_INTERRUPTED = 130

app = typer.Typer(
    name="mien",
    help="Face video into datasets: ingest, plan, serialize, inspect, verify, export, forget; and tools for video.",
    epilog="Example: mien serialize configs/serialize/faces.yaml source=VIDEOS output=DATASET",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (jobs, training, analyze, demos, clips, ingest, datasets, exchange, video, machine):
    app.add_typer(room.app)


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


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
