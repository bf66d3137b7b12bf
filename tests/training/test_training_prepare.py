"""What does not fit is found before a worker starts, with one clear line each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from mien.datasets.dataset import CONFIG
from mien.errors import ConfigError, DatasetError, PreflightError
from mien.features.network import Network
from mien.features.registry import resolve
from mien.features.vit import VitConfig
from mien.models import checkpoint
from mien.storage.commit import COMPLETE
from mien.storage.local import LocalStore
from mien.training.forward import Batches
from mien.training.prepare import prepare
from mien.training.setup import set_up
from mien.training.world import World
from training_runs import DIM, NUM_PATCHES, Changes, config_of, make_tokens, stopped_after, train

SIZE_PX = 16


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> VitConfig:
    """A ViT of one layer, whose tokens have the shape of the stored ones."""
    import transformers

    sizes = {"hidden_size": DIM, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    folder = tmp_path_factory.mktemp("vit")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = transformers.ViTConfig(**sizes, image_size=SIZE_PX, patch_size=SIZE_PX // 2)
        transformers.ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    return VitConfig(model=str(folder), size_px=SIZE_PX, output="patch")


def say(place: Path, features: Any, models: Any) -> None:
    """Let a dataset say what its features are."""
    store = LocalStore(place)
    config = yaml.safe_load(store.read(CONFIG)) | {"features": features}
    store.replace(CONFIG, yaml.safe_dump(config).encode())
    store.replace(COMPLETE, json.dumps(json.loads(store.read(COMPLETE)) | {"models": models}).encode())


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory, backbone: VitConfig) -> Path:
    """A dataset that says which network made its tokens."""
    place = tmp_path_factory.mktemp("told") / "dataset"
    make_tokens(place).close()
    say(place, backbone.dump(), {"feature": dict(resolve(backbone).provenance)})
    return place


def prepared(dataset: Path, output: Path, changes: Changes | None = None) -> Any:
    return prepare(config_of(dataset, output, changes), LocalStore(output))


def test_workers_are_told_what_they_need_and_train(told: Path, tmp_path: Path, backbone: VitConfig) -> None:
    job, weights = prepared(told, tmp_path / "run")
    assert weights == b""
    assert job.backbone is None
    assert job.num_steps == 6
    assert job.subjects.rows == {f"subject {number}": number + 1 for number in range(5)}
    network = Network(resolve(backbone.model_copy(update={"dtype": "float32"})))
    np.testing.assert_array_equal(job.positions, network.positions().numpy())
    assert job.positions.shape == (NUM_PATCHES, DIM)
    assert job.positions.dtype == np.float32
    json.dumps(job.facts, allow_nan=False)
    assert train(job).state.step == 6


def test_tokens_that_are_computed_are_those_of_the_network(told: Path, tmp_path: Path, backbone: VitConfig) -> None:
    changes = {"data.tokens": "online", "data.backbone": backbone.dump(), "augment.flip": 0.5, "num_steps": 1}
    job, weights = prepared(told, tmp_path / "run", changes)
    assert weights == resolve(backbone).read_weights()
    setup = set_up(job, World(), weights)
    clips = setup.reader.read([0, 1])
    assert clips.tokens is None
    assert clips.crops is not None
    batch = Batches(job, World(), weights, None).make(clips, None)
    expected = Network(job.backbone)(clips.crops.flatten(0, 1).numpy())
    np.testing.assert_allclose(batch.tokens.flatten(0, 1).numpy(), expected, atol=1e-5)


def test_steps_follow_from_epochs_where_none_are_given(told: Path, tmp_path: Path) -> None:
    job, _ = prepared(told, tmp_path / "run", {"num_steps": None, "num_epochs": 2.5})
    windows = len(set_up(job, World()).reader.order)
    assert job.num_steps == round(2.5 * windows / 8)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("crop", "has no column crop; serialize again; crops are always stored"),
        ("feature", "has no column feature; serialize with features.output=patch, or set data.tokens=online"),
    ],
)
def test_a_dataset_that_lacks_a_column_is_refused(tmp_path: Path, column: str, message: str) -> None:
    make_tokens(tmp_path / "dataset").close()
    for shard in (tmp_path / "dataset" / "data").iterdir():
        pq.write_table(pq.read_table(shard).drop_columns([column]), shard)
    with pytest.raises(PreflightError, match=message):
        prepared(tmp_path / "dataset", tmp_path / "run")


@pytest.mark.parametrize("output", ["cls", "mean", None])
def test_features_that_are_no_patch_tokens_are_refused(tmp_path: Path, backbone: VitConfig, output: str | None) -> None:
    make_tokens(tmp_path / "dataset").close()
    say(tmp_path / "dataset", backbone.dump() | {"output": output} if output else None, {})
    with pytest.raises(PreflightError, match=f"its features are {output or 'none'}, not patch tokens; serialize with"):
        prepared(tmp_path / "dataset", tmp_path / "run")


def test_tokens_of_another_network_are_refused(tmp_path: Path, backbone: VitConfig) -> None:
    make_tokens(tmp_path / "dataset").close()
    say(tmp_path / "dataset", backbone.dump(), {"feature": {**resolve(backbone).provenance, "sha256": "0" * 64}})
    with pytest.raises(PreflightError, match=r"its tokens were made by another .* \(sha256 differ\)"):
        prepared(tmp_path / "dataset", tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective.expression.max_subjects": 4}, "max_subjects=4: the subjects fill 6 rows"),
        (
            {"objective.expression.num_patches": 9, "objective.reconstruction.num_patches": 9},
            "num_patches is 9, but .* makes 4 tokens of 8; set num_patches to 4",
        ),
        ({"workers.num": 200, "batch.size": 200}, "workers.num: 200 workers, but the training side .* windows"),
        ({"data.split": {"by": "source_end", "held_out": 0.001}}, "no sample of 20 is held out"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(told: Path, tmp_path: Path, changes: Changes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        prepared(told, tmp_path / "run", changes)


def test_an_unfinished_dataset_is_refused(tmp_path: Path) -> None:
    make_tokens(tmp_path / "dataset").close()
    LocalStore(tmp_path / "dataset").delete(COMPLETE)
    with pytest.raises(DatasetError, match="is unfinished"):
        prepared(tmp_path / "dataset", tmp_path / "run")


def test_a_run_that_resumes_keeps_its_rows_also_past_a_damaged_checkpoint(told: Path, tmp_path: Path) -> None:
    job, _ = prepared(told, tmp_path / "run")
    rows = {"subject 4": 1, "somebody else": 2}
    job.facts["subjects"] = {"rows": rows, "next_row": 3}
    train(job)
    store = LocalStore(tmp_path / "run")
    store.replace("checkpoints/step_000000006.json", b"damaged")
    resumed, _ = prepared(told, tmp_path / "run", {"objective.expression.max_subjects": 7})
    assert resumed.subjects.rows == rows | {f"subject {number}": number + 3 for number in range(4)}
    begins, _ = prepared(
        told,
        tmp_path / "other",
        {"begin_with": str(stopped_after(4, *damageless(store, tmp_path))), "objective.expression.max_subjects": 7},
    )
    assert begins.subjects == resumed.subjects


def damageless(store: LocalStore, folder: Path) -> tuple[Path, Path]:
    """The run without its damaged checkpoint, and a place for a copy."""
    checkpoint.remove(store, "step_000000006")
    return store.root, folder / "copy"
