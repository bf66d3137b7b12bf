"""Run the benchmarks beside this file: one JSON document per ratio on stdout, everything else on stderr.

`run.py [NAME]` runs bench_NAME.py, or all of them. A benchmark's `run()` yields dicts with `bench`, `ratio`, `bound`
(null where nothing is promised), `better` ("higher" or "lower"), `ours`, `other` and `unit`. The exit code is 1 if a
promise is broken or a benchmark fails.
"""

import importlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import traceback
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
    if result["bound"] is None:
        return True
    is_higher = {"higher": True, "lower": False}[result["better"]]
    return bool(result["ratio"] >= result["bound"] if is_higher else result["ratio"] <= result["bound"])


def finite(line: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()}


def main(wanted: list[str]) -> int:
    """Exit code."""
    chosen = names(wanted)
    results = only_for_results()
    sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]
    broken = 0
    for name in chosen:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            for result in importlib.import_module(name).run():
                print(json.dumps(finite(result) | {"versions": versions()}), file=results, flush=True)
                broken += not keeps_promise(result)
        except Exception:  # noqa: BLE001  the other benchmarks still run
            traceback.print_exc()
            broken += 1
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
