"""What a section says of a run is what its checkpoints, config and pictures say."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mien.analysis.report_blocks import Facts, Figure, Missing, Section, Table, Text
from mien.analysis.report_run import is_run, newest, section
from mien.errors import CheckpointError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from report_pages import png

FACTS: dict[str, Any] = {
    "mien": "0.1.0",
    "torch": "2.12",
    "objective": {"kind": "joint"},
    "config": {"seed": 7, "precision": "float32"},
    "dataset": "gs://faces/ds",
    "num_steps": 40,
    "tokens": {"model": "facebook/dinov2-small", "size_px": 112, "weights": "random"},
    "hardware": {"NVIDIA H100": 2, "AMD EPYC": 1},
    "metrics": {"reconstruction": 0.25, "mean_cosine": 0.5},
}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two checkpoints, the first is best; pictures of several steps."""
    found = LocalStore(tmp_path)
    for step in (20, 40):
        checkpoint.write(found, step, {"model": {"w": torch.zeros(4)}}, FACTS)
    checkpoint.point(found, checkpoint.BEST, "step_000000020", metric="reconstruction", value=0.2)
    found.replace("config.yaml", b"seed: 7\n")
    for name in ("similarity_step_20", "similarity_step_100", "reconstruction_step_40", "schedules_step_40"):
        found.replace(f"figures/{name}.png", png())
    return found


def kind(found: Section, cls: type) -> list[Any]:
    return [block for block in found.blocks if isinstance(block, cls)]


def test_facts_are_those_of_the_newest_checkpoint(store: LocalStore) -> None:
    found = section(store, "Run a", "data/1")
    facts = kind(found, Facts)[0].values
    assert {name: facts[name] for name in ("Objective", "Step", "Code", "Dataset", "Seed", "Precision")} == {
        "Objective": "joint",
        "Step": "40 of 40",
        "Code": "mien 0.1.0, torch 2.12",
        "Dataset": "gs://faces/ds",
        "Seed": 7,
        "Precision": "float32",
    }
    assert facts["Hardware"] == "2 workers on NVIDIA H100, 1 worker on AMD EPYC"
    assert facts["Backbone"] == "facebook/dinov2-small at 112 px with RANDOM weights"
    assert found.raw["data/1/checkpoint.json"]["step"] == 40


def test_measures_and_checkpoints_stand_in_tables(store: LocalStore) -> None:
    metrics, kept = kind(section(store, "Run a", "data/1"), Table)
    assert (metrics.title, metrics.rows) == (
        "Held-out clips at step 40",
        (("reconstruction", 0.25), ("mean cosine", 0.5)),
    )
    assert kept.rows == (("step_000000020", "best reconstruction"), ("step_000000040", ""))


def test_of_each_kind_of_picture_the_last_is_shown_and_faces_are_marked(store: LocalStore) -> None:
    found = {figure.title: figure.shows_faces for figure in kind(section(store, "Run a", "data/1"), Figure)}
    assert found == {"Reconstruction at step 40": True, "Similarity at step 100": False}


def test_a_picture_of_an_unknown_kind_is_taken_to_show_a_face(store: LocalStore) -> None:
    store.replace("figures/novel_step_1.png", png())
    found = {figure.title: figure.shows_faces for figure in kind(section(store, "Run a", "data/1"), Figure)}
    assert found["Novel at step 1"]


def test_the_config_is_that_of_the_run_or_of_its_checkpoint(store: LocalStore) -> None:
    assert kind(section(store, "a", "d"), Text)[0].text == "seed: 7\n"
    store.delete("config.yaml")
    assert kind(section(store, "a", "d"), Text)[0].text == "seed: 7\nprecision: float32\n"


def test_a_record_that_says_little_is_shown_as_it_is(tmp_path: Path) -> None:
    checkpoint.write(LocalStore(tmp_path), 3, {"model": {"w": torch.zeros(1)}}, {})
    found = section(LocalStore(tmp_path), "a", "d")
    facts = kind(found, Facts)[0].values
    assert {facts[name] for name in ("Code", "Hardware", "Dataset", "Seed")} == {"not written down"}
    assert [one.title for one in kind(found, Missing)] == ["Held-out clips", "The resolved config"]


def test_a_run_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    found = section(LocalStore(tmp_path), "a", "d")
    assert [one.title for one in kind(found, Missing)] == ["Checkpoint", "The resolved config"]
    with pytest.raises(CheckpointError, match="has none yet"):
        newest(LocalStore(tmp_path))


def test_a_damaged_record_or_picture_costs_its_block(store: LocalStore) -> None:
    store.replace("figures/similarity_step_100.png", b"no picture")
    assert [one.title for one in kind(section(store, "a", "d"), Missing)] == ["Similarity at step 100"]
    store.replace("checkpoints/step_000000040.json", b"{")
    assert kind(section(store, "a", "d"), Missing)[0].title == "Checkpoint"


def test_a_run_is_known_by_its_log_or_its_checkpoints() -> None:
    assert is_run(["config.yaml", "log/from_000000000.jsonl"])
    assert is_run(["checkpoints/step_000000001.json"])
    assert not is_run(["config.yaml", "data/a.h5"])
