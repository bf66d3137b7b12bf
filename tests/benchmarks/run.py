"""Run the benchmarks beside this file: one JSON document per line on stdout, everything else on stderr.

`run.py [NAME]` runs bench_NAME.py, or all of them. A benchmark's `run()` yields dicts of plain values. One that holds
`ratio`, `bound` and `better` ("higher" or "lower") is a promise; the exit code is 1 if one is broken or a benchmark
fails.
"""

import importlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

FOLDER = Path(__file__).parent
PACKAGES = ("mien", "ray", "torch", "av", "mediapipe", "numpy")


def names(wanted: list[str]) -> list[str]:
    """Modules to run, in order of their names."""
    known = sorted(path.stem for path in FOLDER.glob("bench_*.py"))
    chosen = [name for name in known if not wanted or name.removeprefix("bench_") in wanted]
    if not chosen:
        shown = ", ".join(name.removeprefix("bench_") for name in known) or "none"
        print(f"{' '.join(wanted) or 'all'}: no such benchmark; there are: {shown}", file=sys.stderr)
        raise SystemExit(2)
    return chosen


def only_for_results() -> TextIO:
    """The real stdout; what libraries and child processes print to file descriptor 1 goes to stderr from now on."""
    sys.stdout.flush()
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return results


def versions() -> dict[str, str]:
    """What the numbers were measured with."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def keeps_promise(result: dict[str, Any]) -> bool:
    """Whether `ratio` is on the better side of its bound; NaN is not."""
    if "bound" not in result:
        return True
    is_higher = {"higher": True, "lower": False}[result["better"]]
    return bool(result["ratio"] >= result["bound"] if is_higher else result["ratio"] <= result["bound"])


def finite(line: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}


def measure(name: str) -> Iterator[dict[str, Any]]:
    """Results of one benchmark, and of its failure."""
    try:
        yield from importlib.import_module(name).run()
    except Exception as error:  # noqa: BLE001  the other benchmarks still run
        traceback.print_exc()
        yield {"error": f"{type(error).__name__}: {error}"}


def main(wanted: list[str]) -> int:
    """Exit code."""
    chosen = names(wanted)
    results = only_for_results()
    sys.path.insert(0, str(FOLDER))
    common = {"versions": versions(), "machine": {"system": platform.platform(), "num_cpus": os.cpu_count()}}
    code = 0
    for name in chosen:
        print(f"{name} ...", file=sys.stderr, flush=True)
        for result in measure(name):
            is_ok = "error" not in result and keeps_promise(result)
            line = finite({"bench": name.removeprefix("bench_"), **result, "ok": is_ok}) | common
            print(json.dumps(line, default=str), file=results, flush=True)
            code |= not is_ok
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
