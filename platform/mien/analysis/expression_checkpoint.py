"""Expressions that a trained model makes of clips, or that a checkpoint of the earlier tools holds."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mien.analysis.clip_choice import ClipsConfig, chosen, frames_of, opened
from mien.analysis.clip_tokens import TokenMaker, has_tokens
from mien.analysis.compute import Compute, Task, Work, here, named
from mien.analysis.expressions import Expressions, of_clip
from mien.analysis.target_prediction import Pair
from mien.datasets.dataset import Sample
from mien.datasets.subjects import Subjects
from mien.errors import CheckpointError
from mien.features.recorded import backbone_of
from mien.features.registry import Resolved
from mien.models import checkpoint, seed_checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.load import Weights, load_objective
from mien.objectives.objective import Objective
from mien.storage.uri import canonical, open_store

_OF_FACES = ("joint", "prediction", "face_id")


def settled(place: str) -> Checkpoint:
    """The checkpoint of a run that is the newest now, or the one that is named.

    Raises:
        CheckpointError: There is none, or it makes no tokens of faces.
    """
    found = checkpoint.find(place)
    kind = (found.facts.get("objective") or {}).get("kind")
    if kind not in _OF_FACES:
        raise CheckpointError(
            f"{place}: is of the objective {kind}, which makes no expressions; give one of a model "
            f"of faces: {', '.join(_OF_FACES)}"
        )
    return found


def dataset_of(found: Checkpoint) -> str:
    """The dataset that a run was trained on; empty where its record does not say."""
    return str((found.facts.get("config") or {}).get("dataset") or "")


class Looking(NamedTuple):
    """What it takes to look at clips as a model does."""

    clips: ClipsConfig
    batch: int
    """Frames of a forward pass."""
    objective: Objective
    table: Subjects
    backbone: Resolved
    weights: bytes
    """File of the backbone."""
    is_stored: bool
    """The dataset has the patch tokens."""
    facts: dict[str, Any]
    """Of the checkpoint."""


def applied(
    place: str, weights: Weights, batch: int, clips: ClipsConfig, compute: Compute = here
) -> Iterator[Expressions]:
    """Tokens of the chosen clips, as the model knows each subject; of a predictor, what it foretells beside them.

    Args:
        place: A checkpoint.
        weights: Which of its weights.
        batch: Frames of a forward pass.
        clips: Which ones.
        compute: Who looks at them, a task for each.

    Raises:
        CheckpointError: It cannot be read, or its tokens are no numbers.
        ConfigError: No dataset is named, or a clip is not in it.
        DatasetError: The dataset is none, unfinished or damaged.
        PreflightError: The frozen network of the run cannot be had.
    """
    found, dataset = settled(place), opened(clips)
    tasks = [Task(f"clip {sample.clip_id}", sample.row) for sample in chosen(dataset, clips)]
    backbone = backbone_of(found)
    looking = Looking(
        clips=clips,
        batch=batch,
        objective=load_objective(found.uri, weights).objective,
        table=Subjects.parse(found.facts.get("subjects"), found.uri),
        backbone=backbone,
        weights=backbone.read_weights(),
        is_stored=has_tokens(dataset, backbone),
        facts={"checkpoint": found.uri, "step": found.step, "objective": found.facts["objective"]["kind"]},
    )
    return compute(_expressions, [looking], tasks)


def _expressions(looking: Looking) -> Work[dict[str, Any], Expressions]:
    """From a row of the index to the tokens of its frames."""
    dataset = opened(looking.clips)
    maker = TokenMaker(looking.objective, looking.backbone, looking.weights)
    is_random = looking.backbone.config.weights == "random"
    notes = ["RANDOM weights of the backbone: these tokens tell nothing"] if is_random else []

    def look(row: dict[str, Any]) -> Expressions:
        one = frames_of(Sample(dataset, row), looking.clips)
        frames = np.asarray(one.sample["feature"]) if looking.is_stored else one.sample.crops()
        tokens = maker.of_frames(frames[one.rows], looking.table.row(row["subject"] or ""), looking.batch)
        if not np.isfinite(tokens).all():
            place = looking.facts["checkpoint"]
            raise CheckpointError(f"{place}: its tokens are no numbers (clip {one.clip_id}); take an earlier one")
        foretold = maker.foretold(tokens)
        pair = Pair(*foretold) if foretold else None
        made = of_clip(one, tokens, one.name_in("checkpoint", looking.clips), "expression tokens", pair)
        more = {"rows_of_prediction": one.rows[1 : 1 + len(foretold.target)].tolist()} if foretold else {}
        return replace(made, facts={**looking.facts, **more, **made.facts}, notes=(*notes, *made.notes))

    return named(look)


def stored(place: str) -> Expressions:
    """Expressions that a trainer of the earlier tools left in a `.pt` beside the weights.

    Raises:
        CheckpointError: It holds none; what it holds is told.
        StorageError: It cannot be read.
    """
    folder, _, name = canonical(place).rpartition("/")
    key, values = seed_checkpoint.expressions(open_store(folder or "/").fetch(name))
    return Expressions("checkpoint", "Checkpoint Expressions", values, None, {"checkpoint": place, "key": key})
