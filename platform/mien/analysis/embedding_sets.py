"""Two sets of embeddings and ways between them, from files and checkpoints: what the analysis compares."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field

from mien.config import Config
from mien.datasets.array_file import PICKLES
from mien.datasets.embeddings import ColumnsConfig, EmbeddingRows, numbered, read_rows
from mien.datasets.pickle_arrays import BEFORE, IMAGES, NAMES
from mien.datasets.pickle_arrays import TEXT as ADAPTED
from mien.diffusion import bridge
from mien.diffusion.bridge import BridgeConfig
from mien.errors import CheckpointError, ConfigError, DatasetError, StorageError
from mien.evaluation.alignment import NO_ANSWER, Scene
from mien.evaluation.embedded import Floats
from mien.log import logger
from mien.objectives.bridge import EmbeddingBridge
from mien.objectives.load import Weights, load_objective

VISUAL, TEXT = "visual", "text"
_OF_CAPTURE = [ColumnsConfig(modality_column="modality", keep=kind, groups_column="item") for kind in (VISUAL, TEXT)]
_OF_FIRST_TOOL = [
    ColumnsConfig(column=BEFORE, names_column=NAMES, groups_column=IMAGES),
    ColumnsConfig(column=ADAPTED, names_column="classnames"),
]
"""What is read of a file that holds both modalities."""


class WayConfig(Config):
    """How bridges lead rows, where not as their checkpoints say; the first tool had 100, 100 and 5."""

    start_step: int | None = Field(None, ge=1)
    """Noise level at which a row enters."""
    num_steps: int | None = Field(None, ge=1)
    """Calls of the network on the way, at most so many."""
    scale: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Length of what the network sees."""

    def of(self, own: BridgeConfig) -> dict[str, Any]:
        """The way of a bridge with what is said here in place of its own."""
        said = {"start_step": self.start_step, "num_steps": self.num_steps, "radius": self.scale}
        return own.dump() | {name: value for name, value in said.items() if value is not None}


class SetsConfig(Config):
    """Which embeddings, and what leads the ones to the others."""

    embeddings: str = ""
    """File with both modalities, as the capture writes it, or a pickle of the first tool; or two files:"""
    visual: str = ""
    """File of the rows that are led."""
    text: str = ""
    """File of what they should come to, each name once."""
    visual_columns: ColumnsConfig = ColumnsConfig()
    """What is read of the rows; their label is the name of a text, or their name where there is no label."""
    text_columns: ColumnsConfig = ColumnsConfig()
    """What is read of the texts."""
    after: str = ""
    """File of the same rows after a bridge, where they are made already."""
    after_columns: ColumnsConfig = ColumnsConfig()
    """What is read of it."""
    bridges: tuple[str, ...] = ()
    """Runs of `mien train`, or checkpoints of them; one that cannot be read is left out, and the report says so."""
    weights: Weights = "ema"
    """Of the bridges: averages over the steps, or the last step."""
    way: WayConfig = WayConfig()
    """How the bridges lead."""
    mean_of: str = ""
    """File of rows whose mean is taken away before a bridge, such as those of the training; none: the rows."""
    num_rows: int | None = Field(None, ge=2)
    """Rows at most, the first ones: 100 to start small."""
    batch: int = Field(128, ge=1)
    """Rows that a bridge leads at once; fewer need less memory."""
    mean_shift: bool = True
    """Beside the bridges: what costs nothing, moving the mean."""
    uncertain_share: float = Field(0, ge=0, lt=1)
    """Beside the first bridge: lead this share of the rows alone, whose nearest text is so by least; 0: not."""


class Bridge(NamedTuple):
    """A checkpoint, ready to lead rows."""

    name: str
    objective: EmbeddingBridge
    facts: dict[str, Any]


@dataclass(frozen=True)
class Sets:
    """What is compared."""

    visual: EmbeddingRows
    text: EmbeddingRows
    scene: Scene
    source_mean: torch.Tensor
    """Of the unit vectors of the rows [d]."""
    bridges: tuple[Bridge, ...]
    notes: tuple[str, ...]
    """What a reader must know: rows without a text, bridges that are not there."""
    batch: int

    def lead(self, one: Bridge, rows: Floats, way: BridgeConfig | None = None) -> Floats:
        """Rows [n, d] by a bridge, in the raw frame.

        Raises:
            ValueError: A row cannot be scaled, or the way does not fit the schedule.
        """
        parts = torch.split(torch.from_numpy(np.ascontiguousarray(rows, np.float32)), self.batch)
        return torch.cat([one.objective.translate(x, self.source_mean, "raw", way) for x in parts]).numpy()

    def shifted(self) -> Floats:
        """Rows by moving their mean to that of the texts."""
        target = bridge.normalise(torch.from_numpy(self.text.values), None, 1.0).mean(0)
        return bridge.mean_shift(torch.from_numpy(self.visual.values), self.source_mean, target).numpy()


def open_sets(config: SetsConfig) -> Sets:
    """Read both sets and all bridges.

    Raises:
        ConfigError: A file is not named or lacks a column, widths differ, there is one text, or a name stands twice.
        DatasetError: A file is damaged, or an embedding is no number or has no direction.
        StorageError: A file cannot be read.
    """
    visual, text = _read(config)
    if visual.values.shape[1] != text.values.shape[1]:
        raise ConfigError(
            f"visual has {visual.values.shape[1]} dimensions, text {text.values.shape[1]}; "
            "embed both by one model, or project one of them first"
        )
    scene, notes = _scene(visual, text)
    dim = text.values.shape[1]
    mean = mean_rows(config, dim)
    source_mean = bridge.normalise(torch.from_numpy(visual.values if mean is None else mean), None, 1.0).mean(0)
    bridges, absent = open_bridges(config, dim)
    for note in absent:
        logger.warning(note)
    return Sets(visual, text, scene, source_mean, tuple(bridges), (*notes, *absent), config.batch)


def open_bridges(config: SetsConfig, embed_dim: int) -> tuple[list[Bridge], list[str]]:
    """All bridges of a width that can be read, and why the others cannot.

    Raises:
        ConfigError: One is no bridge, or of another width.
    """
    several = len(config.bridges) > 1
    found = [
        _bridge(f"bridge {number}" if several else "bridge", place, config, embed_dim)
        for number, place in enumerate(config.bridges, start=1)
    ]
    return [one for one in found if isinstance(one, Bridge)], [one for one in found if isinstance(one, str)]


def mean_rows(config: SetsConfig, embed_dim: int) -> Floats | None:
    """Rows whose mean is taken away before a bridge; None: those that are led.

    Raises:
        ConfigError: They are of another width.
        DatasetError: The file is damaged.
    """
    if not config.mean_of:
        return None
    rows = read_rows(config.mean_of, config.visual_columns, "ignored").values
    if rows.shape[1] != embed_dim:
        raise ConfigError(f"mean_of={config.mean_of}: has {rows.shape[1]} dimensions, the rows {embed_dim}")
    return rows


def read_after(config: SetsConfig, visual: EmbeddingRows) -> Floats:
    """Rows that were led elsewhere.

    Raises:
        ConfigError: They are not the rows before, by number or by name.
        DatasetError: The file is damaged.
    """
    found = _first(read_rows(config.after, config.after_columns, "ignored"), config.num_rows)
    if found.values.shape != visual.values.shape or found.names != visual.names:
        raise ConfigError(
            f"after={config.after}: has {[*found.values.shape]}, visual {[*visual.values.shape]}, or other names; "
            "give the same rows in the same order"
        )
    return found.values


def _read(config: SetsConfig) -> tuple[EmbeddingRows, EmbeddingRows]:
    if config.embeddings:
        columns = _OF_FIRST_TOOL if config.embeddings.lower().endswith(PICKLES) else _OF_CAPTURE
        both = [read_rows(config.embeddings, one) for one in columns]
        return _first(both[0], config.num_rows), both[1]
    for name in (VISUAL, TEXT):
        if not getattr(config, name):
            raise ConfigError(
                f"{name}: is required, a file of embeddings; or give embeddings=FILE with both modalities"
            )
    visual = _first(read_rows(config.visual, config.visual_columns), config.num_rows)
    return visual, read_rows(config.text, config.text_columns, "ignored")


def _first(rows: EmbeddingRows, num: int | None) -> EmbeddingRows:
    labels, groups = (None if column is None else column[:num] for column in (rows.labels, rows.groups))
    return EmbeddingRows(rows.values[:num], rows.names[:num], labels, groups)


def _scene(visual: EmbeddingRows, text: EmbeddingRows) -> tuple[Scene, list[str]]:
    """Which row has which text, and what is missing."""
    if len(text.names) < 2:
        raise ConfigError(f"text: has a single class ({text.names[0]!r:.60}); what is nearest is told of two and more")
    if len(visual.names) < 2:
        raise DatasetError("visual: has a single row; intervals need two and more")
    twice = [name for name, count in Counter(text.names).items() if count > 1]
    if twice:
        raise ConfigError(f"text: {len(twice)} names stand twice ({twice[0]!r:.60}, …); name each text once")
    numbers = {name: number for number, name in enumerate(text.names)}
    answer = np.array([numbers.get(label, NO_ANSWER) for label in _labels(visual, text)])
    lonely = int((answer == NO_ANSWER).sum())
    told = f"{lonely} of {len(answer)} rows have a label that is no text's name: no class and no retrieval for them"
    _, group = np.unique(visual.groups or np.arange(len(answer)), return_inverse=True)
    return Scene(text.values, answer, group), [told] if lonely else []


def _labels(visual: EmbeddingRows, text: EmbeddingRows) -> list[str]:
    """Of the rows. Where both sides are called by their numbers alone, those are pairs only if there are as many."""
    if visual.labels is not None:
        return visual.labels
    is_told = visual.names != numbered(len(visual.names)) or len(visual.names) == len(text.names)
    return visual.names if is_told else [""] * len(visual.names)


def _bridge(name: str, place: str, config: SetsConfig, embed_dim: int) -> Bridge | str:
    """A bridge, or why there is none."""
    try:
        loaded = load_objective(place, config.weights)
    except (CheckpointError, StorageError) as error:
        return f"{name} ({place}) is left out: {error}"
    if not isinstance(loaded.objective, EmbeddingBridge):
        raise ConfigError(f"bridges: {place} is no bridge, but of another objective")
    width = loaded.objective.config.network.embed_dim
    if width != embed_dim:
        raise ConfigError(f"bridges: {place} is of {width} dimensions, the embeddings of {embed_dim}")
    own = loaded.objective.config
    loaded.objective.config = own.parse({**own.dump(), "bridge": config.way.of(own.bridge)}, f"way of {place}")
    facts = {"checkpoint": place, "step": loaded.facts["step"], "weights": config.weights}
    return Bridge(name, loaded.objective, {**facts, "objective": loaded.objective.config.dump()})
