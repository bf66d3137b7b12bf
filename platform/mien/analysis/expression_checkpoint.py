"""Expressions that a trained model makes of clips, or that a checkpoint of the earlier tools holds."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mien.analysis.clip_choice import ClipsConfig, opened, shown
from mien.analysis.clip_tokens import TokenMaker, has_tokens
from mien.analysis.expressions import Expressions, of_clip
from mien.analysis.target_prediction import Pair
from mien.datasets.subjects import Subjects
from mien.errors import CheckpointError
from mien.features.recorded import backbone_of
from mien.models import checkpoint, seed_checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.load import Weights
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


def applied(place: str, weights: Weights, batch: int, clips: ClipsConfig) -> Iterator[Expressions]:
    """Tokens of the chosen clips, as the model knows each subject; of a predictor, what it foretells beside them.

    Args:
        place: A checkpoint.
        weights: Which of its weights.
        batch: Frames of a forward pass.
        clips: Which ones.

    Raises:
        CheckpointError: It cannot be read, or its tokens are no numbers.
        ConfigError: No dataset is named, or a clip is not in it.
        DatasetError: The dataset is none, unfinished or damaged.
        PreflightError: The frozen network of the run cannot be had.
    """
    found, dataset = settled(place), opened(clips)
    backbone = backbone_of(found)
    table = Subjects.parse(found.facts.get("subjects"), found.uri)
    is_random = backbone.config.weights == "random"
    notes = ["RANDOM weights of the backbone: these tokens tell nothing"] if is_random else []
    is_stored, maker = has_tokens(dataset, backbone), TokenMaker(found.uri, weights, backbone)
    for one in shown(dataset, clips):
        frames = np.asarray(one.sample["feature"]) if is_stored else one.sample.crops()
        tokens = maker.of_frames(frames[one.rows], table.row(one.sample.row["subject"] or ""), batch)
        if not np.isfinite(tokens).all():
            raise CheckpointError(f"{place}: its tokens are no numbers (clip {one.clip_id}); take an earlier one")
        foretold = maker.foretold(tokens)
        pair = Pair(*foretold) if foretold else None
        made = of_clip(one, tokens, one.name_in("checkpoint", clips), "expression tokens", pair)
        facts = {"checkpoint": found.uri, "step": found.step, "objective": found.facts["objective"]["kind"]}
        facts |= {"rows_of_prediction": one.rows[1 : 1 + len(foretold.target)].tolist()} if foretold else {}
        yield replace(made, facts={**facts, **made.facts}, notes=(*notes, *made.notes))


def stored(place: str) -> Expressions:
    """Expressions that a trainer of the earlier tools left in a `.pt` beside the weights.

    Raises:
        CheckpointError: It holds none; what it holds is told.
        StorageError: It cannot be read.
    """
    folder, _, name = canonical(place).rpartition("/")
    key, values = seed_checkpoint.expressions(open_store(folder or "/").fetch(name))
    return Expressions("checkpoint", "Checkpoint Expressions", values, None, {"checkpoint": place, "key": key})
