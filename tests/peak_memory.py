"""The peak of memory of a program in a process of its own."""

import subprocess
import sys
from pathlib import Path

# ru_maxrss of a child has the peak of its parent in it, from before exec; VmHWM does not.
_PEAK = """
def peak_mb():
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024
"""


def run_measured(program: str, path: Path, timeout_s: float = 60) -> tuple[str, int]:
    """Run a program that prints one line; `peak_mb()` is defined for it.

    Returns:
        The line, and the peak of the whole process in MiB.
    """
    command = [sys.executable, "-c", f"{_PEAK}\n{program}\nprint(peak_mb())", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr
    line, peak_mb = done.stdout.splitlines()
    return line, int(peak_mb)
