"""Rows come back as they were written, in parts or at once; what was computed is not computed again."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from mien.datasets.embedding_file import EmbeddingFile, provenance
from mien.datasets.embeddings import ColumnsConfig, EmbeddingsConfig, open_embeddings, read_rows
from mien.errors import DatasetError, RefusedError
from mien.storage.local import LocalStore

VALUES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
ABOUT = {"model": "some", "sizes": [1, 2]}
VISUAL = ColumnsConfig(modality_column="modality", keep="visual", groups_column="item")


def filled(file: EmbeddingFile, items: range) -> EmbeddingFile:
    """Two rows for each item; one text."""
    for number in items:
        name = f"image {number}"
        rows = VALUES[2 * number : 2 * number + 2]
        file.add(name, "visual", rows, [f"{name}#0", f"{name}#1"], ["smile", ""])
        if not file.items_of("text"):
            file.add("text", "text", VALUES[10:], ["smile", "frown"], ["smile", "frown"])
        file.end_item(name)
    return file


@pytest.mark.parametrize("per_part", [1, 2, 100])
def test_rows_come_back_in_their_order(tmp_path: Path, per_part: int) -> None:
    store = LocalStore(tmp_path)
    assert filled(EmbeddingFile(store, "faces", ABOUT, per_part), range(5)).finish() == "faces.parquet"
    assert [entry.name for entry in store.list()] == ["faces.parquet"]
    found = read_rows(str(tmp_path / "faces.parquet"), VISUAL)
    assert np.array_equal(found.values, VALUES[:10])
    assert found.names[:3] == ["image 0#0", "image 0#1", "image 1#0"]
    assert found.labels == ["smile", ""] * 5
    assert found.groups == [f"image {number // 2}" for number in range(10)]
    texts = EmbeddingsConfig(modality_column="modality", keep="text", split={"held_out": 0.5})
    assert np.array_equal(open_embeddings(str(tmp_path / "faces.parquet"), texts).values, VALUES[10:])


def test_an_end_in_between_costs_the_last_part_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    broken = filled(EmbeddingFile(store, "faces", ABOUT, 2), range(3))
    assert broken.num_rows == 8
    again = EmbeddingFile(store, "faces", ABOUT, 2)
    assert again.done == {"image 0", "image 1"}
    assert (again.num_rows, again.items_of("visual"), again.items_of("text")) == (6, again.done, {"text"})
    filled(again, range(2, 5)).finish()
    assert np.array_equal(read_rows(str(tmp_path / "faces.parquet"), VISUAL).values, VALUES[:10])


def test_a_finished_file_grows(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    filled(EmbeddingFile(store, "faces", ABOUT), range(2)).finish()
    again = EmbeddingFile(store, "faces", ABOUT, 1)
    assert again.done == {"image 0", "image 1"}
    filled(again, range(2, 4))
    last = EmbeddingFile(store, "faces", ABOUT, 1)
    assert last.num_rows == 10
    filled(last, range(4, 5)).finish()
    assert np.array_equal(read_rows(str(tmp_path / "faces.parquet"), VISUAL).values, VALUES[:10])
    assert [entry.name for entry in store.list()] == ["faces.parquet"]
    pq.write_table(pq.read_table(tmp_path / "faces.parquet").replace_schema_metadata(None), tmp_path / "own.parquet")
    with pytest.raises(DatasetError, match="of somebody else"):
        EmbeddingFile(store, "own", ABOUT)


def test_parts_that_an_end_left_beside_the_file_count_once(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    filled(EmbeddingFile(store, "faces", ABOUT, 1), range(3))
    left = {entry.name: store.read(entry.name) for entry in store.list("faces.parts/")}
    EmbeddingFile(store, "faces", ABOUT).finish()
    for name, data in left.items():
        store.replace(name, data)
    again = EmbeddingFile(store, "faces", ABOUT)
    assert again.num_rows == 8
    filled(again, range(3, 5)).finish()
    assert np.array_equal(read_rows(str(tmp_path / "faces.parquet"), VISUAL).values, VALUES[:10])


def test_what_made_it_and_what_failed_stand_in_the_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    file = EmbeddingFile(store, "faces", ABOUT, 1)
    file.fail("image 9", ValueError("no face"))
    file.end_item("image 9")
    filled(file, range(1)).finish()
    found = provenance(store, "faces.parquet")
    assert found == {
        **ABOUT, "num_items": 2, "failures": [{"item": "image 9", "error_type": "ValueError", "error": "no face"}]
    }  # fmt: skip
    assert pq.read_schema(tmp_path / "faces.parquet").names == ["embeddings", "names", "labels", "modality", "item"]


def test_failures_are_taken_up_too(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    file = EmbeddingFile(store, "faces", ABOUT, 1)
    file.fail("image 9", ValueError("no face"))
    file.end_item("image 9")
    again = EmbeddingFile(store, "faces", ABOUT, 1)
    assert again.done == {"image 9"}
    assert [failure["error"] for failure in again.failures] == ["no face"]
    with pytest.raises(ValueError, match="has no row"):
        again.finish()


def test_parts_of_another_model_are_refused_and_damaged_ones_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    filled(EmbeddingFile(store, "faces", ABOUT, 1), range(2))
    with pytest.raises(RefusedError, match=r"was made with other values of model; remove it"):
        EmbeddingFile(store, "faces", {**ABOUT, "model": "other"})
    part = tmp_path / "faces.parts" / "000000002.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"000000002\.parquet: is damaged"):
        EmbeddingFile(store, "faces", ABOUT)


def test_a_file_of_somebody_else_says_nothing_of_itself(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    pq.write_table(pq.read_table(_written(store)).replace_schema_metadata(None), tmp_path / "other.parquet")
    assert provenance(store, "other.parquet") == {}


def _written(store: LocalStore) -> Path:
    return store.fetch(filled(EmbeddingFile(store, "faces", ABOUT), range(1)).finish())


def test_the_same_rows_as_safetensors(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    file = filled(EmbeddingFile(store, "faces", ABOUT), range(5))
    file.fail("image 9", ValueError("no face"))
    assert file.finish(safetensors=True) == "faces.parquet"
    for columns in (VISUAL, ColumnsConfig(modality_column="modality", keep="text")):
        parquet, tensors = (read_rows(str(tmp_path / f"faces.{kind}"), columns) for kind in ("parquet", "safetensors"))
        assert np.array_equal(tensors.values, parquet.values)
        assert tensors[1:] == parquet[1:]
    assert provenance(store, "faces.safetensors") == provenance(store, "faces.parquet")
    assert provenance(store, "faces.safetensors")["failures"][0]["error"] == "no face"
    with safe_open(tmp_path / "faces.safetensors", framework="np") as other:
        assert np.array_equal(other.get_tensor("embeddings"), VALUES[[0, 1, 10, 11, *range(2, 10)]])
