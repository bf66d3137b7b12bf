import pickle

import numpy as np
import pyarrow as pa
import pytest

import mien.datasets
from mien.datasets import index
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.formats import FormatConfig
from mien.datasets.frames import values_of
from mien.datasets.parquet import ParquetConfig
from mien.datasets.tables import parquet_bytes
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from people import BERTILLE, clip_of, make_people, text_of
from sample_datasets import SIZE_PX, make_clip, make_finished, make_frames


def test_clips_by_id_are_what_was_written(finished: Dataset) -> None:
    for number in range(3):
        clip = make_clip(number)
        frames = make_frames(clip.clip_id, 6, seed=clip.source.size_bytes)
        sample = finished[clip.clip_id]
        assert len(sample) == 6
        for column in sample.columns:
            np.testing.assert_array_equal(sample[column], values_of(frames, column))


def test_iteration_is_in_the_order_of_the_sources(finished: Dataset) -> None:
    assert [sample.clip_id for sample in finished] == finished.clip_ids == [make_clip(i).clip_id for i in range(3)]
    assert len(finished) == 3


def test_both_formats_read_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    from mien.datasets.hdf5 import Hdf5Config
    from mien.datasets.parquet import ParquetConfig

    root = tmp_path_factory.mktemp("both")
    left = make_finished(LocalStore(root / "p"), ParquetConfig())
    right = make_finished(LocalStore(root / "h"), Hdf5Config())
    assert left.index.drop_columns(["file"]) == right.index.drop_columns(["file"])
    for a, b in zip(left, right, strict=True):
        for column in a.columns:
            np.testing.assert_array_equal(a[column], b[column])


def test_numbers_do_not_need_the_index_in_memory(finished: Dataset, store: LocalStore) -> None:
    dataset = mien.datasets.open(store.root)
    assert (len(dataset), dataset.num_clips, len(dataset.failure_file)) == (3, 3, 1)
    assert dataset[make_clip(1).clip_id].row == dataset.sample(1).row
    assert not {"index", "failures"} & vars(dataset).keys()
    assert [sample.row for sample in dataset] == dataset.index.to_pylist()
    assert dataset.failures.column("clip_id").to_pylist() == [make_clip(3).clip_id]


def test_a_clip_with_two_tracks_is_one_clip_with_two_samples(store: LocalStore, kind: FormatConfig) -> None:
    make_finished(store, kind)
    table = index.read_parquet(store, index.INDEX)
    second = pa.Table.from_pylist([{**table.to_pylist()[1], "track": 1}], table.schema)
    store.replace(index.INDEX, parquet_bytes(pa.concat_tables([table.slice(0, 2), second, table.slice(2)])))
    dataset = mien.datasets.open(store.root)
    assert (len(dataset), dataset.num_clips) == (4, 3)
    assert dataset.clip_ids == [make_clip(number).clip_id for number in range(3)]
    assert [sample.track for sample in dataset.clip(make_clip(1).clip_id)] == [0, 1]


def test_slices_are_by_time_with_an_open_end(finished: Dataset) -> None:
    sample = finished.sample(0)
    part = sample.slice(0.04, 0.16, ["time_s", "crop"])
    np.testing.assert_allclose(part["time_s"], [0.04, 0.08, 0.12])
    assert part["crop"] == sample["crop"][1:4]
    assert len(sample.slice(5, 9)["pts"]) == 0


def test_crops_are_pixels(finished: Dataset) -> None:
    assert finished.sample(0).crops().shape == (6, SIZE_PX, SIZE_PX, 3)


def test_unknown_names_are_told(finished: Dataset) -> None:
    with pytest.raises(KeyError, match="no such clip"):
        finished["0" * 32]
    with pytest.raises(KeyError, match="columns are"):
        finished.sample(0)["colour"]


def test_an_unfinished_dataset_is_refused_unless_asked_for(finished: Dataset, store: LocalStore) -> None:
    store.delete("mien.json")
    store.delete("index.parquet")
    with pytest.raises(DatasetError, match=r"unfinished: it has no mien\.json"):
        mien.datasets.open(store.root)
    unfinished = mien.datasets.open(store.root, allow_unfinished=True)
    assert len(unfinished) == 3
    assert [sample.row for sample in pickle.loads(pickle.dumps(unfinished))] == finished.index.to_pylist()


def test_a_folder_that_is_no_dataset_is_named(store: LocalStore) -> None:
    store.replace("notes.txt", b"x")
    with pytest.raises(DatasetError, match="is not a dataset"):
        mien.datasets.open(store.root)


def test_another_schema_version_is_refused(finished: Dataset, store: LocalStore) -> None:
    store.replace("mien.json", store.read("mien.json").replace(b'"schema_version": 1', b'"schema_version": 99'))
    with pytest.raises(DatasetError, match="schema version 99"):
        mien.datasets.open(store.root)


def flip_a_bit_of_a_crop(store: LocalStore, name: str) -> None:
    path, needle = store.root / name, b"\xff\xd8\xff\xe0"
    data = bytearray(path.read_bytes())
    data[data.index(needle) + 200] ^= 1
    path.write_bytes(bytes(data))


def is_refused(sample: Sample, column: str) -> bool:
    try:
        sample[column]
    except DatasetError:
        return True
    return False


def test_a_flipped_bit_never_reaches_the_reader(finished: Dataset, store: LocalStore, kind: FormatConfig) -> None:
    sample = mien.datasets.open(store.root).sample(0)
    flip_a_bit_of_a_crop(store, sample.row["file"])
    touched = [s for s in mien.datasets.open(store.root) if s.row["file"] == sample.row["file"]]
    assert any(is_refused(candidate, "crop") for candidate in touched)


def test_a_missing_shard_is_named(finished: Dataset, store: LocalStore) -> None:
    finished.close()
    name = finished.sample(0).row["file"]
    store.delete(name)
    with pytest.raises(DatasetError, match=name):
        mien.datasets.open(store.root).sample(0)["pts"]


def test_it_travels_to_another_process_without_its_open_files(finished: Dataset) -> None:
    finished.sample(0)["pts"]
    copy = pickle.loads(pickle.dumps(finished))
    np.testing.assert_array_equal(copy.sample(0)["pts"], finished.sample(0)["pts"])


def test_what_is_known_of_a_clip_comes_with_its_sample(store: LocalStore) -> None:
    dataset = make_people(store, ParquetConfig())
    sample = dataset[clip_of(BERTILLE, 0).clip_id]
    assert sample.labels == {"age": 56, "voice": "voice ellitreB"}
    assert sample.matches == [("smile", 10.0)]
    assert (sample.row["keyword"], sample.row["keyword_s"], sample.row["text"]) == ("smile", 10.0, text_of(BERTILLE, 0))


def test_a_clip_of_which_nothing_is_known_has_no_labels(finished: Dataset) -> None:
    assert (finished.sample(0).labels, finished.sample(0).matches) == ({}, [])
