"""Clips that a person lists: a table of source, start and end, with any columns to carry along."""

import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from mien.clips.by_source import BySource
from mien.clips.clip import Clip, Source, from_labels, to_labels
from mien.clips.naming import located
from mien.clips.rows import MAX_SHOWN, Row, name_of, number_of, read_rows, refuse
from mien.clips.rule import Probe, Rule, RuleConfig
from mien.log import printable

_OWN = ("source", "start_s", "end_s", "subject")
"""Columns that are not carried along as labels."""


class ListConfig(RuleConfig):
    """The clips of a table; no video is opened."""

    kind: Literal["list"] = "list"

    path: str = Field(min_length=1)
    """CSV, JSON lines or Parquet, on the disk or in a bucket, with the columns source (a place, or a name below the
    place of the sources, `0.tar/a.mp4` in a tar), start_s and end_s (seconds on the container's time line; without an
    end the clip ends with its video). `subject` is who is in it; every other column becomes a label."""

    def build(self, root: str) -> Rule:
        """The rule, with all rows checked; names are relative to the root.

        Raises:
            ConfigError: The table cannot be read, or a row of it has no usable span; the lines are named.
        """
        return ListRule(self, root)


class ListRule(Rule):
    """`list` at work."""

    config: ListConfig

    def __init__(self, config: ListConfig, root: str) -> None:
        """Read the table once."""
        super().__init__(config)
        self._root, self._rows = root, BySource()
        problems, num_problems = list[tuple[int, str]](), 0
        for row in read_rows(config.path):
            problem = self._add(row)
            if problem:
                num_problems += 1
                problems += [(row.line, problem)] * (len(problems) < MAX_SHOWN)
        refuse(config.path, problems, num_problems)

    def _add(self, row: Row) -> str:
        """Keep a row; what is wrong with it, empty if nothing is."""
        values = row.values
        name = values.get("source")
        if not isinstance(name, str) or not name:
            return "has no source"
        try:
            start_s, end_s = number_of(values.get("start_s")), number_of(values.get("end_s"))
        except (ValueError, TypeError):
            return f"start_s={values.get('start_s')} or end_s={values.get('end_s')} is no number"
        end_s = math.inf if end_s is None else end_s
        if start_s is None or not 0 <= start_s < end_s or math.isinf(start_s):
            return f"has no span: start_s={values.get('start_s')}, end_s={values.get('end_s')}"
        carried = {key: value for key, value in values.items() if key not in _OWN}
        kept = [start_s, end_s, name_of(values.get("subject")), to_labels(carried)]
        line = self._rows.add(located(name, self._root), row.line, kept, f"{start_s!r} {end_s!r}")
        return f"has the source and span of line {line}" if line else ""

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """The clips that are listed of a source, in the order of the list."""
        del probe
        rows = self._rows.of(source.uri)
        if not rows:
            self.left_out["not in clips.path"] += 1
        for start_s, end_s, subject, labels in rows:
            yield Clip(
                source._replace(subject=subject or source.subject),
                start_s,
                end_s,
                "list",
                labels=_over(source.labels, labels),
            )

    def finish(self) -> None:
        """Every row must have met its source.

        Raises:
            ConfigError: One has not; its line is named.
        """
        unused: list[tuple[int, str]] = [
            (row.line, f"{printable(row.uri)} is not among the sources") for row in self._rows.unused(MAX_SHOWN)
        ]
        refuse(self.config.path, unused, self._rows.num_unused)


def _over(below: str, above: str) -> str:
    """Labels of a list over those of the source."""
    values: dict[str, Any] = from_labels(below) | from_labels(above)
    return to_labels(values) if above else below
