"""The command line as a user runs it: in this process, or in one of its own."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mien.cli import main
from mien.log import logger

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 300
"""Far beyond what any of these commands takes, and an end to one that hangs."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        """Lines of the error message."""
        return [line for line in self.err.splitlines() if line.startswith("mien: ")]


def run_here(capfd: pytest.CaptureFixture[str], *words: str) -> Ended:
    """Run a command in this process; a Ray that is connected is used."""
    capfd.readouterr()
    with _kept_logger(), pytest.raises(SystemExit) as ended:
        main(list(words))
    return Ended(int(ended.value.code or 0), *capfd.readouterr())


def run_process(*words: str, **environment: str) -> Ended:
    """Run the console script."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mien"), *words],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def start_job(*words: str, script: str = "serialize", **environment: str) -> subprocess.Popen[str]:
    """Start the script that a cluster starts for a verb; the caller ends it."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "jobs" / f"{script}.py"), *words],
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def clean_environment(**environment: str) -> dict[str, str]:
    """This environment without what would change how a command behaves."""
    return {key: value for key, value in os.environ.items() if key not in {"MIEN_DEBUG", "RAY_ADDRESS"}} | environment


def assert_refused(ended: Ended, code: int, *parts: str) -> None:
    """One line that says all the parts, nothing on stdout, no traceback, the exit code."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    assert len(ended.complaints) == 1, ended.err
    assert [part for part in parts if part not in ended.complaints[0]] == [], ended.err


@contextlib.contextmanager
def _kept_logger() -> Iterator[None]:
    """What `main` does to the logger of this process is undone."""
    kept = logger.handlers[:], logger.propagate, logger.level
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = kept[0], kept[1]
        logger.setLevel(kept[2])
