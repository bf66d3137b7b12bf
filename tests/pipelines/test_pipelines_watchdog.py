import subprocess
import sys

import pytest

from mien.pipelines.watchdog import process_ends_after

PATIENCE_S = 60


def ended(body: str) -> subprocess.CompletedProcess[str]:
    """How a process ends that runs the line below a watchdog of a tenth of a second, and then goes on for longer."""
    program = "\n".join(
        [
            "import ctypes, time",
            "from mien.pipelines.watchdog import process_ends_after",
            "with process_ends_after(0.1):",
            f"    {body}",
            "time.sleep(0.3)",
            "print('survived')",
        ]
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


@pytest.mark.parametrize("hang", ["time.sleep(600)", "ctypes.PyDLL(None).sleep(600)"], ids=["sleeps", "holds the lock"])
def test_a_process_that_hangs_is_ended_and_says_where(hang: str) -> None:
    done = ended(hang)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Timeout" in done.stderr
    assert 'File "<string>", line 4' in done.stderr


def test_a_block_that_ends_in_time_ends_the_watch() -> None:
    done = ended("pass")
    assert (done.returncode, done.stdout) == (0, "survived\n")


def test_a_block_that_fails_ends_the_watch_as_well() -> None:
    with pytest.raises(ZeroDivisionError), process_ends_after(3600):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("end", "code"),
    [("os._exit(1)", 1), ("os.kill(os.getpid(), 9)", -9), ("raise ValueError", 1), ("pass", 0), ("sys.exit(3)", 3)],
)
def test_an_end_without_a_word_is_told_by_another_process(end: str, code: int) -> None:
    program = f"import os, sys\nfrom mien.pipelines.watchdog import last_words\nwith last_words():\n    {end}\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (code, "")
    told = [line for line in done.stderr.splitlines() if line.startswith("mien: ")]
    assert len(told) == ("os." in end)
    assert all("this process ended without a word" in line and line.endswith("it resumes") for line in told)
