"""Embeddings of every kind of file come back as they were written; what cannot be used is one line."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from buckets import BUCKET
from mien.datasets.embeddings import ColumnsConfig, EmbeddingsConfig, open_embeddings, read_rows
from mien.datasets.split import HELD_OUT, TRAIN
from mien.errors import ConfigError, DatasetError, StorageError
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store
from mien.training.samples import readers
from pickle_bomb import WRAPPINGS

NUM, DIM = 40, 6
VALUES = np.random.default_rng(0).normal(size=(NUM, DIM)).astype(np.float32)
NAMES = [f"image {number}" for number in range(NUM)]
LABELS = [f"action {number % 7}" for number in range(NUM)]
MODALITIES = ["text" if number % 4 else "visual" for number in range(NUM)]
COLUMNS = {"names": NAMES, "labels": LABELS, "modality": MODALITIES}

Write = Callable[[Path, Any], Path]


def npz(folder: Path, values: Any, **more: Any) -> Path:
    np.savez(folder / "embeddings.npz", **{"embeddings": values, **COLUMNS, **more})
    return folder / "embeddings.npz"


def parquet(folder: Path, values: Any, kind: pa.DataType | None = None, **more: Any) -> Path:
    column = values if isinstance(values, pa.Array) else pa.array([*values], kind)
    pq.write_table(pa.table({"embeddings": column, **COLUMNS, **more}), folder / "embeddings.parquet", row_group_size=9)
    return folder / "embeddings.parquet"


def tensors(values: np.ndarray) -> pa.Array:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(values)


FILES: dict[str, Callable[[Path], Path]] = {
    "npz": lambda folder: npz(folder, VALUES),
    "npz of float64": lambda folder: npz(folder, VALUES.astype(np.float64)),
    "npz in columns": lambda folder: npz(folder, np.asfortranarray(VALUES)),
    "parquet of lists": lambda folder: parquet(folder, VALUES),
    "parquet of large lists": lambda folder: parquet(folder, VALUES, pa.large_list(pa.float64())),
    "parquet of fixed lists": lambda folder: parquet(folder, VALUES, pa.list_(pa.float32(), DIM)),
    "parquet of tensors": lambda folder: parquet(folder, tensors(VALUES)),
}


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_comes_back(tmp_path: Path, kind: str) -> None:
    found = open_embeddings(str(FILES[kind](tmp_path)), EmbeddingsConfig(), DIM)
    assert len(found) == NUM
    assert found.values.dtype == np.float32
    assert np.array_equal(found.values, VALUES)
    assert [found.name(number) for number in range(NUM)] == NAMES
    value, counts = found.read(3)
    assert np.array_equal(value, VALUES[3])
    assert counts is True


def test_a_file_in_a_bucket_is_that_on_the_disk(tmp_path: Path, emulator: Emulator) -> None:
    open_store(f"gs://{BUCKET}/embeddings").put_new("text.NPZ", npz(tmp_path, VALUES).read_bytes())
    found = open_embeddings(f"gs://{BUCKET}/embeddings/text.NPZ", EmbeddingsConfig())
    assert np.array_equal(found.values, VALUES)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    half = VALUES.astype(np.float16)
    for path in (npz(tmp_path, half), parquet(tmp_path, half, pa.list_(pa.float16()))):
        assert np.array_equal(open_embeddings(str(path), EmbeddingsConfig()).values, half.astype(np.float32))


def test_the_mean_is_that_of_unit_vectors_of_the_training_side(tmp_path: Path) -> None:
    found = open_embeddings(str(npz(tmp_path, 7 * VALUES)), EmbeddingsConfig())
    expected = functional.normalize(torch.from_numpy(VALUES)[found.parts == TRAIN]).mean(0)
    assert found.mean().dtype == np.float32
    assert found.mean() == pytest.approx(expected.numpy(), abs=1e-6)


def test_training_reads_each_training_row_once_an_epoch(tmp_path: Path) -> None:
    found = open_embeddings(str(npz(tmp_path, VALUES)), EmbeddingsConfig(split={"held_out": 0.25}))
    train, held_out = readers(found, seed=0)
    assert len(held_out.order) == int((found.parts == HELD_OUT).sum()) == 10
    epoch = train.read(range(30)).values.numpy()
    assert sorted(epoch.tolist()) == sorted(VALUES[found.parts == TRAIN].tolist())
    assert epoch.tolist() != VALUES[found.parts == TRAIN].tolist()


def test_a_label_is_never_on_both_sides(tmp_path: Path) -> None:
    path = str(npz(tmp_path, VALUES))
    by_label = open_embeddings(path, EmbeddingsConfig(split={"by": "label", "held_out": 0.3})).parts
    sides = {label: {*by_label[np.array(LABELS) == label].tolist()} for label in LABELS}
    assert sorted(map(len, sides.values())) == [1] * 7
    assert sum(HELD_OUT in side for side in sides.values()) == 2
    by_name = open_embeddings(path, EmbeddingsConfig(split={"held_out": 0.3})).parts
    assert int((by_name == HELD_OUT).sum()) == 12
    assert any(len({*by_name[np.array(LABELS) == label].tolist()}) == 2 for label in LABELS)


def test_the_sides_follow_from_names_and_seed_and_not_from_the_order_of_rows(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(NUM)

    def held_out(path: Path, seed: int = 0) -> set[str]:
        found = open_embeddings(str(path), EmbeddingsConfig(split={"seed": seed}))
        return {found.name(number) for number in np.flatnonzero(found.parts == HELD_OUT)}

    once = held_out(npz(tmp_path, VALUES))
    assert held_out(npz(tmp_path, VALUES[order], names=np.array(NAMES)[order])) == once
    assert held_out(npz(tmp_path, VALUES), seed=1) != once


def test_rows_without_names_are_called_by_their_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", embeddings=VALUES)
    found = open_embeddings(str(tmp_path / "bare.npz"), EmbeddingsConfig())
    assert found.name(3) == "row 3"
    assert {*found.parts.tolist()} == {TRAIN, HELD_OUT}


@pytest.mark.parametrize("write", [npz, parquet])
def test_one_modality_of_a_file_is_kept(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, VALUES)
    found = open_embeddings(str(path), EmbeddingsConfig(modality_column="modality", keep="visual"))
    assert np.array_equal(found.values, VALUES[::4])
    assert [found.name(number) for number in range(10)] == NAMES[::4]
    with pytest.raises(ConfigError, match="no row has modality=sound; it has text, visual"):
        open_embeddings(str(path), EmbeddingsConfig(modality_column="modality", keep="sound"))
    with pytest.raises(ConfigError, match="modality_column and keep go together"):
        EmbeddingsConfig.parse({"keep": "text"}, "run.yaml")


def test_other_columns_are_named_and_labels_are_numbers_too(tmp_path: Path) -> None:
    path = parquet(tmp_path, VALUES, clip=pa.array([*VALUES[::-1]]), person=pa.array(range(NUM)))
    config = EmbeddingsConfig(column="clip", names_column="labels", labels_column="person", split={"by": "label"})
    found = open_embeddings(str(path), config)
    assert np.array_equal(found.values, VALUES[::-1])
    assert found.name(8) == LABELS[8]


def changed(row: int, value: float) -> np.ndarray:
    values = VALUES.copy()
    values[row] = value
    return values


RAGGED = [row[: DIM - number % 2] for number, row in enumerate(VALUES)]
MISSING = pa.array([None, *VALUES[1:]])
GAPS = pa.array([[None, *VALUES[0][1:]], *VALUES[1:].tolist()], pa.list_(pa.float32()))


@pytest.mark.parametrize("write", [npz, parquet])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (changed(7, math.nan), "1 of 40 embeddings are NaN, infinite or too large, first row 7"),
        (changed(7, math.inf), "1 of 40 embeddings are NaN, infinite or too large, first row 7"),
        (changed(7, 1e30), "1 of 40 embeddings are NaN, infinite or too large, first row 7"),
        (VALUES.astype(np.float64) * 1e60, "40 of 40 embeddings are NaN, infinite or too large, first row 0"),
        (changed(2, 0), "1 of 40 embeddings are zero and without a direction, first row 2"),
        (VALUES[:0], "must be floats"),
    ],
    ids=["nan", "infinite", "large", "double", "zero", "none"],
)
def test_numbers_that_are_no_embedding(tmp_path: Path, write: Write, values: np.ndarray, message: str) -> None:
    path = write(tmp_path, values) if len(values) else write(tmp_path, values, **dict.fromkeys(COLUMNS, NAMES[:0]))  # type: ignore[call-arg]
    refused(path, message)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: npz(folder, VALUES.astype(np.int64)), r"embeddings are int64 \[40, 6\], but must be floats"),
        (lambda folder: npz(folder, VALUES[0]), r"embeddings are float32 \[6\], but must be floats \[n, d\]"),
        (lambda folder: npz(folder, np.array(NAMES)), "but must be floats"),
        (lambda folder: npz(folder, np.array(RAGGED, object)), "rows of several lengths.*convert it"),
        (lambda folder: npz(folder, VALUES, names=NAMES[1:]), "names has 39 rows, not 40 as the embeddings have"),
        (lambda folder: npz(folder, VALUES, names=VALUES), "names must hold one text or number for each row"),
        (lambda folder: npz(folder, VALUES, names=np.array(3)), "names must hold one text or number for each row"),
        (lambda folder: parquet(folder, RAGGED), "embeddings have 5 to 6 dimensions; make them one length"),
        (lambda folder: parquet(folder, MISSING), "1 of 40 embeddings are missing"),
        (lambda folder: parquet(folder, GAPS), "1 numbers of the embeddings are missing"),
        (lambda folder: parquet(folder, NAMES), "but must be floats"),
        (
            lambda folder: parquet(folder, VALUES.astype(int)),
            "column embeddings is list<.*int64>; give lists of floats",
        ),
        (lambda folder: parquet(folder, VALUES, names=pa.array([None, *NAMES[1:]])), "names must hold one text"),
        (lambda folder: parquet(folder, tensors(VALUES.reshape(NUM, 2, 3))), r"embeddings are float32 \[40, 2, 3\]"),
    ],
)
def test_shapes_and_types_that_are_no_embeddings(tmp_path: Path, write: Callable[[Path], Path], message: str) -> None:
    refused(write(tmp_path), message)


def refused(path: Path, message: str, error: type[Exception] = DatasetError, **config: Any) -> None:
    with pytest.raises(error, match=message) as raised:
        open_embeddings(str(path), EmbeddingsConfig(**config))
    assert "\n" not in str(raised.value)


def reason(path: Path) -> str:
    """Why it is refused; empty if it is not."""
    try:
        open_embeddings(str(path), EmbeddingsConfig())
    except (ConfigError, DatasetError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("write", [npz, parquet])
def test_configs_that_do_not_fit_the_file(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, VALUES)
    refused(path, "has no column tokens, only embeddings, names, labels, modality", ConfigError, column="tokens")
    by_person = {"labels_column": "person", "split": {"by": "label"}}
    refused(path, "has no column person, only", ConfigError, **by_person)
    one_label = {"labels_column": "only", "split": {"by": "label"}}
    path = write(tmp_path, VALUES, only=["same"] * NUM)  # type: ignore[call-arg]
    refused(path, "by=label, data.split.held_out=0.1: no sample of 40 is held out", ConfigError, **one_label)
    with pytest.raises(ConfigError, match=r"have 6 dimensions, not 8 as .*embed_dim says; set it to 6"):
        open_embeddings(str(path), EmbeddingsConfig(), 8)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("suffix", ["npz", "parquet", "pt", "pkl", "npy", ""])
def test_a_pickle_is_refused_and_not_run(tmp_path: Path, wrapping: str, suffix: str) -> None:
    mark, path = tmp_path / "ran", tmp_path / f"embeddings.{suffix}"
    path.write_bytes(WRAPPINGS[wrapping](mark))
    with pytest.raises((ConfigError, DatasetError)) as raised:
        open_embeddings(str(path), EmbeddingsConfig(column="a"))
    assert not mark.exists()
    assert "\n" not in str(raised.value)
    if suffix in {"pt", "pkl", "npy"} or (suffix == "npz" and wrapping in {"pickle", "npz", "npy"}):
        assert 'convert it where you trust it: numpy.savez("arrays.npz"' in str(raised.value)


@pytest.mark.parametrize("write", [npz, parquet])
def test_files_that_are_cut_or_absent(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, VALUES)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        refused(path, "is no readable")
    path.unlink()
    refused(path, "does not exist", StorageError)


@pytest.mark.parametrize("write", [npz, parquet])
def test_a_flipped_byte_is_one_line_or_nothing(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path, VALUES)
    whole = path.read_bytes()
    for place in np.random.default_rng(0).integers(len(whole), size=60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert "\n" not in reason(path)


@pytest.mark.parametrize("write", [npz, parquet])
def test_rows_with_their_labels_and_groups_are_not_divided(tmp_path: Path, write: Write) -> None:
    place = str(write(tmp_path, VALUES))
    config = ColumnsConfig(groups_column="names", modality_column="modality", keep="visual")
    found = read_rows(place, config)
    assert np.array_equal(found.values, VALUES[::4])
    assert (found.names, found.labels, found.groups) == (NAMES[::4], LABELS[::4], NAMES[::4])
    other = read_rows(place, ColumnsConfig(labels_column="nothing"))
    assert (len(other.values), other.labels, other.groups) == (NUM, None, None)
    with pytest.raises(ConfigError, match="has no column nothing"):
        read_rows(place, ColumnsConfig(labels_column="nothing"), "required")


def test_labels_that_nobody_asked_for_may_be_missing(tmp_path: Path) -> None:
    path = parquet(tmp_path, VALUES, labels=pa.array([None, *LABELS[1:]]))
    assert read_rows(str(path), ColumnsConfig(), "ignored").labels is None
    assert len(open_embeddings(str(path), EmbeddingsConfig())) == NUM
    with pytest.raises(DatasetError, match="labels must hold one text"):
        read_rows(str(path), ColumnsConfig())


def test_an_axis_too_many_is_told(tmp_path: Path) -> None:
    refused(
        npz(tmp_path, VALUES[:, None]), r"float32 \[40, 1, 6\], but must be floats \[n, d\]; take the axis of 1 away"
    )
