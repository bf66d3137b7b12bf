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
