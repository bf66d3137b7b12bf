"""`mien analyze expressions`: candles, movement and variation of clips; target and prediction where there are both."""

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from pydantic import Field

from mien.analysis import (
    candlestick,
    difference_map,
    expression_heatmap,
    movement,
    output,
    style,
    target_prediction,
    variation,
)
from mien.analysis.candlestick import CandlestickConfig
from mien.analysis.compute import Compute, Task, Work, here, named
from mien.analysis.difference_map import DifferenceMapConfig
from mien.analysis.expression_heatmap import ExpressionHeatmapConfig
from mien.analysis.expression_sources import SourceConfig
from mien.analysis.expressions import Expressions
from mien.analysis.movement import MovementConfig
from mien.analysis.output import AnalysisReport
from mien.analysis.sequence import sequence
from mien.analysis.style import FigureConfig
from mien.analysis.target_prediction import Pair, TargetPredictionConfig
from mien.config import Config
from mien.errors import ConfigError
from mien.log import logger
from mien.storage.uri import open_store

_OWNED = ("expression_", "synthetic_expression_")
_NO_SOURCE = (
    "source: is required; give source.kind=dataset source.dataset=DATASET, source.kind=checkpoint "
    "source.checkpoint=RUN, source.kind=file source.file=FILE.npz, or source.kind=synthetic"
)
FigureName = Literal["candlestick", "movement", "heatmap"]
F = TypeVar("F", bound=FigureConfig)


class ExpressionsConfig(Config):
    """One run of `mien analyze expressions`."""

    source: SourceConfig | None = None
    """Where the expressions come from."""
    output: str = "visualization_output"
    """Where figures and numbers go, a folder or gs://."""
    figures: tuple[Literal["candlestick", "movement", "heatmap"], ...] = Field(
        ("candlestick", "movement"), min_length=1
    )
    """What is drawn of each clip: candles above a heatmap; deviation from the temporal mean above the change from frame
    to frame; a plain heatmap of each item of a batch."""
    candlestick: CandlestickConfig = CandlestickConfig()
    """Candles."""
    movement: MovementConfig = MovementConfig()
    """Movement."""
    heatmap: ExpressionHeatmapConfig = ExpressionHeatmapConfig()
    """Plain heatmap."""
    target_prediction: TargetPredictionConfig = TargetPredictionConfig()
    """Target above prediction, drawn where the source has both."""
    difference_map: DifferenceMapConfig = DifferenceMapConfig()
    """Prediction minus target."""


def run(config: ExpressionsConfig, *, fresh: bool = False, compute: Compute = here) -> AnalysisReport:
    """Draw every clip of the source; nothing is written before all of them are read and found to be sequences.

    Args:
        config: What is drawn of what.
        fresh: Delete an earlier analysis first.
        compute: Who looks at the clips as a model does, and who draws them: a task for each.

    Raises:
        ConfigError: No source is given, or it lacks a clip or an array that is named.
        CheckpointError: A checkpoint cannot be read, or makes no expressions.
        DatasetError: The dataset or file is damaged, or what it holds is no sequence of numbers.
        PreflightError: The frozen network of a run cannot be had.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    if config.source is None:
        raise ConfigError(_NO_SOURCE)
    source = config.source.settled()
    config = config.model_copy(update={"source": source})
    clips = [*(source.read(compute) if source.kind == "checkpoint" else source.read())]
    for one in clips:
        _require_drawable(one)
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    drawn = compute(_drawing, [config, store.uri], (Task(one.title, one) for one in clips))
    found = [_seen(row, store.uri) for row in drawn]
    document = {"source": source.dump(), "clips": found}
    text = ["\n\n".join("\n".join(_told(one, row)) for one, row in zip(clips, found, strict=True))]
    return output.finish(store, document, text, found[0]["figures"][0])


def _require_drawable(one: Expressions) -> None:
    """Refuse what is no sequence, or a prediction of other frames than its target."""
    sequence(one.values)
    if one.pair is not None:
        one.pair.frames()


def _drawing(config: ExpressionsConfig, place: str) -> Work[Expressions, dict[str, Any]]:
    """From a clip to its row of the result; its figures are in the output then."""
    store, prefix = open_store(place), "synthetic_" if config.source and config.source.kind == "synthetic" else ""

    def draw(one: Expressions) -> dict[str, Any]:
        figures = []
        for name, figure, numbers in _figures(one, config, prefix):
            style.save(store, name, figure, {**one.facts, **numbers})
            figures.append(f"{name}.png")
        stats = f"{prefix}expression_stats_{one.name}.txt"
        store.replace(stats, f"{variation.text(one.values)}\n".encode())
        found = variation.numbers(one.values)
        said = {key: found[key] for key in ("given_shape", "num_frames", "num_dimensions", "variation", "warning")}
        row = {"name": one.name, "title": one.title, **one.facts, "notes": [*one.notes], **said, "stats": stats}
        difference = {"difference": _difference(one.pair)} if one.pair is not None else {}
        return {**row, **difference, "figures": figures}

    return named(draw)


def _seen(row: dict[str, Any], place: str) -> dict[str, Any]:
    """A row, after a person was told of it."""
    for figure in row["figures"]:
        logger.info("figure   %s/%s", place, figure)
    for note in (*row["notes"], *([row["warning"]] if row["warning"] else [])):
        logger.warning("note     %s: %s", row["title"], note)
    return row


def _figures(one: Expressions, config: ExpressionsConfig, prefix: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, figure and the numbers behind it, one at a time."""
    values, name = one.values, one.name
    if "candlestick" in config.figures:
        figure = candlestick.draw(values, _titled(config.candlestick, one))
        yield f"{prefix}expression_candles_{name}", figure, candlestick.numbers(values)
    if "movement" in config.figures:
        figure = movement.draw(values, _titled(config.movement, one))
        yield f"{prefix}expression_movement_{name}", figure, movement.numbers(values)
    if "heatmap" in config.figures:
        for item, frames in expression_heatmap.of_batch(values, 0, f"{prefix}expression_heatmap_{name}"):
            figure = expression_heatmap.draw(frames, _titled(config.heatmap, one))
            yield item, figure, expression_heatmap.numbers(frames)
    if one.pair is not None:
        figure = target_prediction.draw(one.pair, _titled(config.target_prediction, one))
        yield f"{prefix}expression_target_prediction_{name}", figure, target_prediction.numbers(one.pair)
        figure = difference_map.draw(one.pair, _titled(config.difference_map, one))
        yield f"{prefix}expression_difference_{name}", figure, difference_map.numbers(one.pair)


def _titled(config: F, one: Expressions) -> F:
    """With the name of the clip as title, unless another was given."""
    is_default = config.title == type(config).model_fields["title"].default
    return config.model_copy(update={"title": one.title}) if is_default else config


def _difference(pair: Pair) -> dict[str, Any]:
    """Numbers of the whole clip."""
    found = target_prediction.numbers(pair)
    return {key: value for key, value in found.items() if not key.endswith("_by_frame")}


def _told(one: Expressions, row: dict[str, Any]) -> Iterator[str]:
    """A clip for a person: what it is, how it varies, how far a prediction is off."""
    yield one.title
    yield variation.text(one.values)
    yield from (f"note: {note}" for note in one.notes)
    if "difference" in row:
        found = row["difference"]
        mean, most = found["mean_absolute_difference"], found["max_absolute_difference"]
        yield f"prediction minus target: mean |difference| {mean:.4f}, max {most:.4f}"
