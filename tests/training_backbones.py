"""A backbone of a few thousand weights, and a dataset that says it was made with it."""

import json
from pathlib import Path

import yaml

from mien.datasets.dataset import COMPLETE, CONFIG, Dataset, open_dataset
from mien.features.dinov2 import Dinov2Config
from mien.features.registry import resolve
from training_runs import DIM, NUM_PATCHES, make_tokens

PATCH_PX = 14
SIDE_PX = PATCH_PX * int(NUM_PATCHES**0.5)


def tiny_backbone(folder: Path) -> Dinov2Config:
    """DINOv2 with one layer: as many patches and dimensions as the tokens of `training_runs`."""
    folder.mkdir(exist_ok=True)
    sizes = {"hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": PATCH_PX}
    (folder / "config.json").write_text(json.dumps({"model_type": "dinov2", "image_size": SIDE_PX, **sizes}))
    return Dinov2Config(model=str(folder), weights="random", size_px=SIDE_PX, output="patch")


def make_whole(place: Path, folder: Path) -> Dataset:
    """The dataset of `make_tokens`, as `mien serialize` would have made it with the tiny backbone."""
    backbone = tiny_backbone(folder)
    store = make_tokens(place).store
    config = yaml.safe_load(store.read(CONFIG)) | {"features": backbone.dump()}
    store.replace(CONFIG, yaml.safe_dump(config).encode())
    record = json.loads(store.read(COMPLETE))
    record["models"]["feature"] = {**resolve(backbone).provenance, "dtype": "float32"}
    store.replace(COMPLETE, json.dumps(record).encode())
    return open_dataset(place)
