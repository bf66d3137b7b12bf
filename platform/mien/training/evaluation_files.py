"""The report of an evaluation on disk: one JSON document, tables and a figure, each saying what it is about."""

import io
import json
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from mien.evaluation import figure
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.report import HEADLINES, Report, markdown, plain
from mien.storage.uri import Store

JSON, TABLES, FIGURE = "evaluation.json", "evaluation.md", "evaluation.png"


class EvaluateReport(NamedTuple):
    """What was found, and where it lies."""

    path: str
    document: dict[str, Any]
    """All of it, as in evaluation.json."""
    summary: dict[str, str]
    """The headlines, with their intervals."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {"path": self.path, **self.document}


def write(store: Store, report: Report, facts: Mapping[str, Any]) -> EvaluateReport:
    """Write the three files, in place of earlier ones.

    Args:
        store: The output.
        report: All measures.
        facts: What was measured: plain values, `notes` among them.

    Raises:
        StorageError: A file cannot be written.
    """
    document = {**facts, **plain(report)}
    store.replace(TABLES, tables(report, facts).encode())
    store.replace(FIGURE, picture(report, facts))
    store.replace(JSON, json.dumps(document, indent=1, allow_nan=False).encode())
    return EvaluateReport(store.uri, document, summary(report))


def summary(report: Report) -> dict[str, str]:
    """One line for each headline; a measure that there is not, says why once."""
    lines = dict[str, str]()
    for label, (name, path) in HEADLINES.items():
        value = getattr(report, name)
        if isinstance(value, NotMeasurable):
            lines.setdefault(name, f"not measurable: {value.reason}")
            continue
        for part in path.split("."):
            value = getattr(value, part)
        lines[label] = str(value)
    return lines


def tables(report: Report, facts: Mapping[str, Any]) -> str:
    """Markdown of the report, below its title what was measured."""
    title, _, rest = markdown(report).partition("\n")
    backbone = facts["backbone"]
    about = [
        f"- Model: {facts['objective']}, step {facts['step']}, weights `{facts['weights']}`: `{facts['checkpoint']}`",
        f"- Dataset: `{facts['dataset']}`, held out by {facts['split']['by']}",
        f"- Backbone: {backbone['model']} at {backbone['size_px']} px, patch tokens {facts['patch_tokens']}",
        *(f"- **Note:** {note}" for note in facts["notes"]),
    ]
    return "\n".join([title, "", *about, rest])


def picture(report: Report, facts: Mapping[str, Any]) -> bytes:
    """The figure as PNG, with a line below that says what it is about."""
    drawn = figure.draw(report)
    about = [
        f"{facts['objective']}, step {facts['step']} of {facts['checkpoint']} on {facts['dataset']}",
        *facts["notes"],
    ]
    text = "\n".join(line for part in about for line in textwrap.wrap(part, 170))
    drawn.supxlabel(text, fontsize=8, color="#555555")
    file = io.BytesIO()
    drawn.savefig(file, format="png")
    return file.getvalue()
