"""Feature maps of two denoisers as files; an image under a condition is one piece of work, and no maps outlive it.

sample_<i>/input_clean.png, input_noisy_t<t>.png      what both models saw
sample_<i>/clean_t0/<layer>.png, noisy_t<t>/…          maps of both models side by side
activations/sample_<i>.parquet                         numbers behind each of these figures
sheets/, consistency.json, consistency.png, README.md  over all images
"""

import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, NonNegativeInt, model_validator

from mien import schema
from mien.analysis import feature_grid
from mien.analysis.compute import Compute, Task, Work, here, named
from mien.analysis.feature_capture import Located
from mien.analysis.feature_consistency import ConsistencyConfig
from mien.analysis.feature_grid import GridConfig, Grids, InputImage
from mien.analysis.feature_numbers import measure
from mien.analysis.feature_pair import CLEAN, Condition, Maps, Pair, Sample
from mien.analysis.feature_sheets import SheetConfig, thumbnail
from mien.config import Config
from mien.datasets.tables import rows_to_table, table_schema, table_writer
from mien.errors import ConfigError
from mien.log import logger
from mien.storage.uri import Store, open_store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVATIONS = "activations/"
SIDES = ("baseline", "curriculum")

Rows = list[dict[str, Any]]
"""Numbers behind the figures of an image under a condition: one for each layer and side."""

_DPI = 150


class FeatureConfig(Config):
    """Which feature maps of two denoisers are compared."""

    num_samples: int = Field(5, ge=1)
    """Images, the first of the held-out ones in their order."""
    timesteps: tuple[NonNegativeInt, ...] = (100, 500, 900)
    """Noise levels at which each image is shown."""
    clean: bool = True
    """Show it without noise too, at timestep 0."""
    noisy: bool = True
    """Show it at `timesteps`; false: only without noise."""
    layers: tuple[str, ...] = ()
    """Taps of the network (in_conv, encoder_level_0 …, bottleneck) or dotted paths of its modules; none: all taps."""
    names: tuple[str, str] = ("Baseline", "Curriculum")
    """What figures call the two models."""
    seed: int = Field(0, ge=0, lt=2**62)
    """Of the noise."""
    grid: GridConfig = GridConfig()
    """Channels and colours."""
    consistency: ConsistencyConfig = ConsistencyConfig()
    """When the models are told apart."""
    sheets: SheetConfig = SheetConfig()
    """Contact sheets."""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        for key in ("timesteps", "layers"):
            given = getattr(self, key)
            if len({*given}) < len(given):
                raise ValueError(f"{key}={list(given)} has one twice; give each once")
        if not self.conditions:
            raise ValueError("neither clean nor noisy images are left; set clean=true, or noisy=true and timesteps")
        return self

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """In the order of the figures."""
        noisy = [Condition(t, is_clean=False) for t in self.timesteps] if self.noisy else []
        return (*([CLEAN] if self.clean else []), *noisy)


def png_of(figure: "Figure") -> bytes:
    """A figure as PNG, cut to what it shows."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, bbox_inches="tight", pil_kwargs={"compress_level": 1})  # 3 % larger
    return data.getvalue()


def pictures_of(number: int, config: FeatureConfig, layers: Sequence[str]) -> list[str]:
    """Names of all pictures of one image: one for each condition, and one for each layer under it."""
    folder = f"sample_{number}"
    return [
        f"{folder}/{name}"
        for condition in config.conditions
        for name in (condition.input_name, *(f"{condition.name}/{layer}.png" for layer in layers))
    ]


def _rows_of(number: int) -> str:
    """The numbers behind the figures of an image, written after all of these."""
    return f"{ACTIVATIONS}sample_{number}.parquet"


def draw_samples(
    pair: Pair, samples: Iterable[Sample], config: FeatureConfig, store: Store, compute: Compute = here
) -> list[int]:
    """Figures and numbers of the first `num_samples` images, but of those that are there; gives the numbers of all.

    Args:
        pair: The two models.
        samples: Images, taken as they are needed.
        config: What is drawn of them.
        store: Where it goes.
        compute: Who runs the networks and draws: a task for each image under each condition.

    Raises:
        ConfigError: There is no image, or an image, a timestep or a layer is not one of the networks'.
        CheckpointError: A model puts out values that are no numbers.
        StorageError: A file cannot be written.
    """
    pair.require_timesteps(one.t for one in config.conditions)
    numbers = list[int]()
    drawn = compute(drawing, [pair, config, store.uri], _tasks(samples, config, store, numbers))
    while rows := [*islice(drawn, len(config.conditions))]:
        _write_rows(store, rows)
        logger.info("drawn    sample_%d", rows[0][0]["sample"])
    if not numbers:
        raise ConfigError("num_samples: there is no held-out image to show; give another split or dataset")
    return numbers


def _tasks(
    samples: Iterable[Sample], config: FeatureConfig, store: Store, numbers: list[int]
) -> Iterator[Task[tuple[Sample, Condition]]]:
    """Of each image that is not done one for each condition; `numbers` takes those of all images."""
    there = {entry.name for entry in store.list(ACTIVATIONS)}
    for sample in islice(samples, config.num_samples):
        numbers.append(sample.number)
        if _rows_of(sample.number) in there:
            logger.info("resume   sample_%d is done", sample.number)
            continue
        for condition in config.conditions:
            yield Task(f"sample_{sample.number}/{condition.name} ({sample.name})", (sample, condition))


def drawing(pair: Pair, config: FeatureConfig, place: str) -> Work[tuple[Sample, Condition], Rows]:
    """From an image under a condition to the numbers behind its figures, which are in the output then."""
    return _drawing(pair.moved(), config, open_store(place))


def _drawing(pair: Pair, config: FeatureConfig, store: Store) -> Work[tuple[Sample, Condition], Rows]:
    """One pass of each network for each task."""

    def draw(of: tuple[Sample, Condition]) -> Rows:
        sample, condition = of
        given = pair.input_of(sample, condition, config.seed)
        image = InputImage(f"{condition.title} (Sample {sample.number})", given.x[0].numpy())
        store.replace(f"sample_{sample.number}/{condition.input_name}", png_of(feature_grid.draw_input(image)))
        with pair.reading(config.layers) as read:
            return [*_draw_layers(read(given), pair.located(config.layers), (sample, condition, config), store)]

    return named(draw)


def _draw_layers(
    maps: tuple[Maps, Maps], located: Sequence[Located], of: tuple[Sample, Condition, FeatureConfig], store: Store
) -> Iterator[dict[str, Any]]:
    """Draw every layer; one row for each model."""
    sample, condition, config = of
    for layer in located:
        both = maps[0][layer.name], maps[1][layer.name]
        title = f"{layer.name} | {condition.name} | Sample {sample.number}"
        data = feature_grid.grids(title, config.names, both, config.grid)
        figure = f"sample_{sample.number}/{condition.name}/{layer.name}.png"
        store.replace(figure, png_of(feature_grid.draw(data, config.grid)))
        about = {"sample": sample.number, "image": sample.name, "condition": condition.name, "t": condition.t}
        about |= {"layer": layer.name, "module": layer.path, "figure": figure}
        for number, side in enumerate(SIDES):
            yield {**about, "side": side, **_row(both[number].numpy(), data, number)}


def _row(maps: Any, data: Grids, number: int) -> dict[str, Any]:
    """Numbers of one side of a figure."""
    side = data.sides[number]
    return {
        **dict(zip(("num_channels", "map_height", "map_width"), maps.shape, strict=True)),
        **asdict(measure(maps)),
        **{f"shown_{name}": value for name, value in asdict(side.numbers).items()},
        **{
            f"shown_{name}": json.dumps(values.tolist())
            for name, values in (("channels", side.channels), ("from", side.low), ("to", side.high))
        },
        "thumb": thumbnail(side),
    }


def _write_rows(store: Store, conditions: Iterable[Rows]) -> None:
    """The table of an image, which appears when all its figures are there."""
    scratch, name = store.scratch(), ""
    try:
        path = scratch / "rows.parquet"
        with table_writer(path, table_schema(schema.ACTIVATIONS)) as writer:
            for rows in conditions:
                name = _rows_of(rows[0]["sample"])
                writer.write_table(rows_to_table(rows, schema.ACTIVATIONS))
        store.replace_file(path, name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def facts_of(pair: Pair, config: FeatureConfig) -> dict[str, Any]:
    """What is compared with what, as plain values."""
    schedules = [model.process.schedule.dump() for model in (pair.baseline, pair.curriculum)]
    notes = ["the two schedules differ; noise is that of the baseline"] if schedules[0] != schedules[1] else []
    about: Mapping[str, Any] = dict(zip(SIDES, pair.facts, strict=False))
    modules = {one.name: one.path for one in pair.located(config.layers)}
    return {**about, "schedule": schedules[0], "modules": modules, "notes": notes, "config": config.dump()}
