"""A backbone of four patches and checkpoints of untrained models, for evaluations of the small dataset of tokens."""

import json
from pathlib import Path
from typing import Any

import torch

from mien.datasets import subjects
from mien.datasets.dataset import open_dataset
from mien.features.dinov2 import Dinov2Config
from mien.features.registry import Resolved, resolve
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.objective import Objective
from mien.storage.uri import open_store
from training_runs import DIM, NUM_PATCHES, NUM_SUBJECTS, Changes, config_of

BY_TIME = {"data.split": {"by": "source_end", "held_out": 0.2}}
"""The last clip of every subject is held out."""
PREDICTION = {
    "objective": {
        "kind": "prediction",
        "expression": {"embed_dim": DIM, "num_heads": 2, "num_patches": NUM_PATCHES, "max_subjects": NUM_SUBJECTS + 1},
        "predictor": {"embed_dim": DIM, "num_heads": 2},
    }
}
FACE_ID = {"objective": {"kind": "face_id", "model": {"embed_dim": DIM, "num_heads": 2}}}


def make_backbone(folder: Path, **changes: Any) -> Resolved:
    """A DINOv2 with one layer and random weights, which sees four patches of a face."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14, "image_size": 28}
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", **sizes, "initializer_range": 0.3}))
    values = {"model": str(folder), "weights": "random", "output": "patch", "size_px": 28, "dtype": "float32"}
    return resolve(Dinov2Config.parse(values | changes, "test"))


def make_run(place: Path, dataset: Path, backbone: Resolved, changes: Changes | None = None) -> Checkpoint:
    """A run that ended before its first step; its averages are other weights than its last ones."""
    config = config_of(dataset, place, BY_TIME | dict(changes or {}))
    opened = open_dataset(dataset)
    facts = {
        "config": config.dump(),
        "objective": config.objective.dump(),
        "subjects": subjects.read(opened.store).dump(),
        "tokens": dict(backbone.provenance),
    }
    opened.close()
    torch.manual_seed(0)
    return save(place, config.objective.build(), facts)


def save(place: Path, model: Objective, facts: dict[str, Any], step: int = 0) -> Checkpoint:
    """A checkpoint of a model as it is, and of averages of its parameters that are 1.5 times as large."""
    with torch.no_grad():
        averages = {name: 1.5 * parameter for name, parameter in model.named_parameters()}
    parts = {checkpoint.MODEL: model.state_dict(), checkpoint.EMA: averages}
    return checkpoint.write(open_store(str(place)), step, parts, facts)
