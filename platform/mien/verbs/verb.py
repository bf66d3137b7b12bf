"""What every verb shares: its arguments, the call by name, the result on stdout and the last lines on stderr."""

import contextlib
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mien import log
from mien.errors import ConfigError

CONFIGS = {
    "analyze/capture": "mien.analysis.analyze_capture:CaptureRunConfig",
    "analyze/data": "mien.analysis.analyze_data:DataFiguresConfig",
    "analyze/embeddings": "mien.verbs.spread:EmbeddingsRunConfig",
    "analyze/evaluation": "mien.analysis.analyze_evaluation:EvaluationFiguresConfig",
    "analyze/expressions": "mien.verbs.spread:ExpressionsRunConfig",
    "analyze/features": "mien.verbs.spread:FeaturesRunConfig",
    "analyze/report": "mien.analysis.analyze_report:ReportConfig",
    "analyze/training": "mien.analysis.analyze_training:TrainingFiguresConfig",
    "analyze/warp": "mien.analysis.analyze_warp:WarpConfig",
    "evaluate": "mien.training.evaluate:EvaluateConfig",
    "ingest": "mien.pipelines.ingest:IngestConfig",
    "serialize": "mien.pipelines.serialize:SerializeConfig",
    "train": "mien.training.job:TrainConfig",
    "tune": "mien.tuning.job:TuneConfig",
}
"""Folder below configs/, which is the verb -> class that its files are."""

Words = Annotated[list[str] | None, typer.Argument(metavar="[CONFIG.yaml] [key.path=value]...")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")]
Place = Annotated[str, typer.Argument(metavar="DATASET", help="Folder of a dataset.")]
Unfinished = Annotated[bool, typer.Option("--unfinished", help="Read what is committed so far.")]


def load(target: str) -> Any:
    """The object behind `module:name`."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def call(target: str, *arguments: Any, **options: Any) -> Any:
    """What `module:name` returns. Whatever it or a library below it prints goes to stderr: stdout is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        return load(target)(*arguments, **options)


def read_config(job: str, words: list[str] | None) -> Any:
    """The config of a job from an optional YAML file and overrides, in any order."""
    return config_of(CONFIGS[job], words)


def config_of(target: str, words: list[str] | None) -> Any:
    """The same for the class behind `module:name`."""
    words = words or []
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise ConfigError(f"give one config file, not {len(files)}: {' '.join(files)}")
    path = Path(files[0]) if files else None
    return load(target).load(path, [word for word in words if "=" in word])


def emit(result: Any, as_json: bool, human: Callable[[], str]) -> None:
    """Print a result: one JSON document in ASCII, or the text a person reads."""
    typer.echo(json.dumps(result, indent=2, default=str) if as_json else human())


def lines(values: dict[str, Any]) -> str:
    """`key  value` lines, empty values left out."""
    shown = {key: value for key, value in values.items() if value not in (None, "", {}, [])}
    width = max((len(key) for key in shown), default=0)
    return "\n".join(f"{key:<{width}}  {_short(value)}" for key, value in shown.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_short(key)} {_short(item)}" for key, item in value.items())
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else log.printable(str(value))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned columns; nothing for no rows."""
    if not rows:
        return "nothing"
    cells = [list(rows[0]), *([_short(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def finish(started: float, place: str, following: str) -> None:
    """The last lines of a verb: where the output is, how long it took, what comes next."""
    log.logger.info("output   %s", place)
    log.logger.info("took     %.1f s", time.monotonic() - started)
    log.logger.info("next     %s", following)
