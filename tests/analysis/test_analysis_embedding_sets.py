"""Which row has which text, who leads them, and one line for what does not fit."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from embedding_scenes import CLASSES, NUM_ROWS, bridge_of_texts, embeddings, write_bridge, write_sets
from mien.analysis.embedding_sets import Sets, SetsConfig, open_sets, read_after
from mien.diffusion.bridge import BridgeConfig
from mien.errors import ConfigError, DatasetError
from mien.evaluation.alignment import NO_ANSWER
from mien.models import checkpoint
from mien.objectives.bridge import EmbeddingBridge
from mien.storage.local import LocalStore
from modalities import DIM, trained

ROWS, TEXT, ANSWER = embeddings()


@pytest.fixture(scope="module")
def bridge() -> EmbeddingBridge:
    return bridge_of_texts()


def opened(folder: Path, sets: dict[str, Any] | None = None, **config: Any) -> Sets:
    return open_sets(SetsConfig.parse({**write_sets(folder, **(sets or {})), **config}, "test"))


def test_labels_lead_to_texts_and_names_to_images(tmp_path: Path) -> None:
    found = opened(tmp_path, visual_columns={"groups_column": "names"})
    assert np.array_equal(found.scene.answer, ANSWER)
    assert found.visual.labels == CLASSES[ANSWER].tolist()
    assert len(np.unique(found.scene.group)) == NUM_ROWS
    assert found.notes == ()
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    assert np.allclose(found.source_mean, unit.mean(0), atol=1e-6)


def test_without_labels_names_are_those_of_texts(tmp_path: Path) -> None:
    files = write_sets(tmp_path)
    np.savez(tmp_path / "visual.npz", embeddings=ROWS[:10], names=CLASSES[::-1])
    assert open_sets(SetsConfig.parse(files, "test")).scene.answer.tolist() == list(range(10))[::-1]


def test_rows_without_a_text_are_counted(tmp_path: Path) -> None:
    labels = np.where(np.arange(NUM_ROWS) < 20, "nothing", CLASSES[ANSWER])
    found = opened(tmp_path, {"labels": labels})
    assert found.notes[0].startswith("20 of 150 rows have a label that is no text's name")
    assert (found.scene.answer[:20] == -1).all()


def test_few_rows_to_start_with(tmp_path: Path) -> None:
    found = opened(tmp_path, num_rows=30)
    assert len(found.visual.names) == len(found.scene.answer) == len(found.visual.labels or []) == 30


def test_a_bridge_leads_rows_in_parts_as_it_does_at_once(tmp_path: Path, bridge: EmbeddingBridge) -> None:
    run = write_bridge(tmp_path / "run", bridge)
    found = opened(tmp_path, bridges=[run], batch=7)
    mean = functional.normalize(torch.from_numpy(ROWS)).mean(0)
    expected = bridge.translate(torch.from_numpy(ROWS), mean, "raw")
    assert np.allclose(found.lead(found.bridges[0], ROWS), expected, atol=1e-5)
    way = BridgeConfig(start_step=200, num_steps=2, radius=3)
    other = found.lead(found.bridges[0], ROWS, way)
    assert not np.allclose(other, expected, atol=0.01)
    assert np.allclose(other, bridge.translate(torch.from_numpy(ROWS), mean, "raw", way), atol=1e-5)
    assert found.bridges[0].facts["step"] == 300
    assert found.bridges[0].name == "bridge"


def test_the_mean_may_be_that_of_other_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "training.npz", embeddings=-ROWS)
    found = opened(tmp_path, mean_of=str(tmp_path / "training.npz"))
    assert np.allclose(found.source_mean, -opened(tmp_path).source_mean, atol=1e-6)


def test_a_shift_moves_the_mean_to_that_of_the_texts(tmp_path: Path) -> None:
    shifted = opened(tmp_path).shifted()
    goal = (TEXT / np.linalg.norm(TEXT, axis=1, keepdims=True)).mean(0)
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    assert np.linalg.norm(shifted.mean(0) - goal) < np.linalg.norm(unit.mean(0) - goal) / 3
    assert np.allclose(np.linalg.norm(shifted, axis=1), 1, atol=1e-5)


def test_a_bridge_may_lead_in_another_way(tmp_path: Path, bridge: EmbeddingBridge) -> None:
    run, mean = write_bridge(tmp_path / "run", bridge), functional.normalize(torch.from_numpy(ROWS)).mean(0)
    found = opened(tmp_path, bridges=[run], way={"start_step": 200, "num_steps": 2})
    way = BridgeConfig(start_step=200, num_steps=2, radius=bridge.config.bridge.radius)
    led = found.lead(found.bridges[0], ROWS)
    assert np.allclose(led, bridge.translate(torch.from_numpy(ROWS), mean, "raw", way), atol=1e-5)
    assert found.bridges[0].facts["objective"]["bridge"]["start_step"] == 200
    scaled = opened(tmp_path, bridges=[run], way={"scale": 3.0})
    assert not np.allclose(scaled.lead(scaled.bridges[0], ROWS), bridge.translate(torch.from_numpy(ROWS), mean, "raw"))


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"start_step": 3, "num_steps": 4}, r"^way of \S+run: bridge.*num_steps=4 must be between 1 and start_step=3"),
        ({"start_step": 5000}, r"^way of \S+run: .*5000"),
    ],
)
def test_a_way_that_a_bridge_cannot_go_is_told(
    tmp_path: Path, bridge: EmbeddingBridge, way: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(tmp_path, bridges=[write_bridge(tmp_path / "run", bridge)], way=way)


def test_a_bridge_that_is_not_there_is_left_out_and_told(
    tmp_path: Path, bridge: EmbeddingBridge, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_bridge(tmp_path / "run", bridge)
    found = opened(tmp_path, bridges=[str(tmp_path / "nowhere"), run])
    assert [one.name for one in found.bridges] == ["bridge 2"]
    assert "nowhere) is left out: " in found.notes[0]
    assert "holds no checkpoint" in found.notes[0]


def test_rows_after_must_be_the_rows_before(tmp_path: Path) -> None:
    found = opened(tmp_path)
    names = np.array(found.visual.names)
    np.savez(tmp_path / "after.npz", embeddings=ROWS + 1, names=names)
    config = SetsConfig.parse({"after": str(tmp_path / "after.npz")}, "test")
    assert np.array_equal(read_after(config, found.visual), ROWS + 1)
    for values, other in ((ROWS[:9], names[:9]), (ROWS, names[::-1])):
        np.savez(tmp_path / "after.npz", embeddings=values, names=other)
        with pytest.raises(ConfigError, match="give the same rows in the same order"):
            read_after(config, found.visual)


BAD = np.where(np.arange(DIM) == 3, np.nan, ROWS)


@pytest.mark.parametrize(
    ("sets", "config", "error", "message"),
    [
        ({"rows": BAD}, {}, DatasetError, r"visual\.npz: 150 of 150 embeddings are NaN"),
        ({"rows": ROWS[:, None]}, {}, DatasetError, r"\[150, 1, 32\].*take the axis of 1 away"),
        ({"text": TEXT[:1], "names": CLASSES[:1]}, {}, ConfigError, "text: has a single class"),
        ({"text": TEXT[:0], "names": CLASSES[:0]}, {}, DatasetError, r"text\.npz: embeddings are float32 \[0, 32\]"),
        ({"text": TEXT[:, :20]}, {}, ConfigError, "visual has 32 dimensions, text 20; embed both by one model"),
        ({"names": np.array(["same"] * 10)}, {}, ConfigError, "text: 1 names stand twice"),
        ({}, {"num_rows": 2, "text": ""}, ConfigError, "text: is required"),
        ({}, {"text_columns": {"column": "tokens"}}, ConfigError, r"text\.npz: has no column tokens"),
    ],
    ids=["nan", "squeeze", "single class", "empty text", "widths", "twice", "missing", "column"],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, sets: dict[str, Any], config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        opened(tmp_path, sets, **config)
    assert "\n" not in str(raised.value)


def test_a_bridge_of_another_width_or_kind_is_refused(tmp_path: Path) -> None:
    narrow = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    sets = {"rows": np.tile(narrow, (3, 1))[:NUM_ROWS], "text": narrow[:10]}
    wide = trained(torch.from_numpy(ROWS), num_steps=1)
    run = write_bridge(tmp_path / "run", wide)
    with pytest.raises(ConfigError, match="is of 32 dimensions, the embeddings of 8"):
        opened(tmp_path, sets, bridges=[run])
    record = {"objective": {"kind": "ddpm", "network": {"kind": "unet", "image_size_px": 8, "channels": [8]}}}
    checkpoint.write(LocalStore(tmp_path / "other"), 1, {"model": wide.state_dict()}, record)
    assert "is left out" in opened(tmp_path, bridges=[str(tmp_path / "other")]).notes[0]


def test_a_pickle_of_the_first_tool(tmp_path: Path) -> None:
    rows, text, _ = embeddings()
    metadata = [{"image_id": f"i{row // 2}.jpg", "pair_idx": row % 2} for row in range(len(rows))]
    stored = {"visual_before": rows, "visual_after": rows + 1, "text_adapted": text, "metadata": metadata}
    place = tmp_path / "embeddings_for_viz.pkl"
    place.write_bytes(pickle.dumps(stored))
    after = {"after": str(place), "after_columns": {"column": "visual_after", "names_column": "visual_names"}}
    given = SetsConfig.parse({"embeddings": str(place), **after}, "test")
    found = open_sets(given)
    assert np.array_equal(found.visual.values, rows)
    assert np.array_equal(found.text.values, text)
    assert found.visual.names[3] == "i1.jpg#1"
    assert found.scene.group.max() == len(rows) // 2 - 1
    assert np.array_equal(read_after(given, found.visual), rows + 1)


def test_numbers_of_rows_are_no_names_of_texts_unless_there_are_as_many(tmp_path: Path) -> None:
    rows, text, _ = embeddings()

    def answers(num: int) -> np.ndarray:
        np.savez(tmp_path / "v.npz", embeddings=rows[:num])
        np.savez(tmp_path / "t.npz", embeddings=text)
        given = {"visual": str(tmp_path / "v.npz"), "text": str(tmp_path / "t.npz")}
        return open_sets(SetsConfig.parse(given, "test")).scene.answer

    assert (answers(50) == NO_ANSWER).all()
    assert answers(len(text)).tolist() == [*range(len(text))], "pairs, one text for each row"
