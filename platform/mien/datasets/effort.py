"""What it took to make a dataset, from its commit records alone: the runs, and what their workers were busy with.

A record tells of its shard `run_id`, `started_at` (of the run), `finished_at` and `effort`: the time of each stage and
the machines. A sum over records survives every resume; a run that committed nothing leaves no trace.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PlainEffort = Mapping[str, Sequence[float]]
"""Stage -> busy time as a record has it: [wall_s, core_s, gpu_s]."""


@dataclass(frozen=True)
class Busy:
    """Time that workers of a stage took, summed over them."""

    wall_s: float = 0.0
    """While they were occupied, be it only by waiting."""
    core_s: float = 0.0
    """Of processor cores, all threads together."""
    gpu_s: float = 0.0
    """Of GPUs: while they were occupied, times the share of a GPU that each had."""

    def __add__(self, other: "Busy") -> "Busy":
        """Both together."""
        return Busy(self.wall_s + other.wall_s, self.core_s + other.core_s, self.gpu_s + other.gpu_s)

    def __mul__(self, factor: float) -> "Busy":
        """So many times as much."""
        return Busy(self.wall_s * factor, self.core_s * factor, self.gpu_s * factor)

    def plain(self) -> list[float]:
        """As a commit record has it, to the millisecond."""
        return [round(self.wall_s, 3), round(self.core_s, 3), round(self.gpu_s, 3)]


class Stopwatch:
    """Measures what this process does from here on."""

    def __init__(self, num_gpus: float = 0.0) -> None:
        """Start; `num_gpus` is what this process has of GPUs."""
        self._num_gpus = num_gpus
        self._wall_s, self._core_s = time.perf_counter(), time.process_time()

    def read(self) -> Busy:
        """What was measured so far."""
        wall_s = time.perf_counter() - self._wall_s
        return Busy(wall_s, time.process_time() - self._core_s, wall_s * self._num_gpus)


def add_to(total: dict[str, Busy], part: PlainEffort) -> None:
    """Add the busy time of one part to the total, in place."""
    for stage, values in part.items():
        total[stage] = total.get(stage, Busy()) + Busy(*values)


class Effort:
    """Adds up commit records, one at a time and in any order."""

    def __init__(self) -> None:
        """No record yet."""
        self.busy = dict[str, Busy]()
        """By stage."""
        self.num_bytes = 0
        """Of the committed shards."""
        self.num_shards = 0
        self.num_untimed = 0
        """Records of a version that kept no times."""
        self._runs = dict[str, tuple[float, float]]()
        self._hosts = set[str]()

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> "Effort":
        """What all these records tell."""
        effort = cls()
        for record in records:
            effort.add(record)
        return effort

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one record."""
        self.num_shards += 1
        self.num_bytes += sum(file["size_bytes"] for file in record["files"])
        if "effort" not in record:
            self.num_untimed += 1
            return
        start, end = record["started_at"], max(record["started_at"], record["finished_at"])
        first, last = self._runs.get(record["run_id"], (start, end))
        self._runs[record["run_id"]] = min(first, start), max(last, end)
        add_to(self.busy, record["effort"]["busy"])
        self._hosts.update(record["effort"]["hosts"])

    @property
    def num_runs(self) -> int:
        """Runs that committed a shard."""
        return len(self._runs)

    @property
    def num_hosts(self) -> int:
        """Machines that worked on what was committed."""
        return len(self._hosts)

    @property
    def wall_s(self) -> float:
        """From the start of each run to its last commit: without the gaps between runs, overlaps once."""
        total_s, until = 0.0, 0.0
        for start, end in sorted(self._runs.values()):
            total_s += max(0.0, end - max(start, until))
            until = max(until, end)
        return total_s

    @property
    def days(self) -> tuple[str, str]:
        """First and last day of work, in UTC; empty texts if no record tells."""
        if not self._runs:
            return "", ""
        starts, ends = zip(*self._runs.values(), strict=True)
        return _day(min(starts)), _day(max(ends))


def _day(unix_time: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix_time))


def in_words(seconds: float) -> str:
    """A length of time in the unit that suits it: `12.3 s`, `12.3 min` or `12.3 h`."""
    for unit_s, unit in ((1, "s"), (60, "min")):
        if seconds < 100 * unit_s:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds / 3600:,.1f} h"


def bytes_in_words(num_bytes: float) -> str:
    """A size in the decimal unit that suits it: `512 B`, `12.3 kB`, `4.5 TB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} TB"
