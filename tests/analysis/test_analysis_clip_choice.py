"""Clips by their ids, or the first with a face; a mistyped id gets the nearest ones; frames without a face are told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.analysis.clip_choice import ClipsConfig, chosen, nearest, opened, shown
from mien.datasets.dataset import Dataset
from mien.errors import ConfigError, DatasetError
from training_runs import make_tokens


def dark(number: int, columns: dict[str, Any]) -> dict[str, Any]:
    """The third clip shows no face, though its index says so."""
    return columns | ({"face": np.zeros_like(columns["face"])} if number == 2 else {})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset", dark)


def clips(dataset: Dataset, **changes: Any) -> ClipsConfig:
    return ClipsConfig(dataset=dataset.uri, **changes)


def test_the_first_clips_or_those_that_are_named(dataset: Dataset) -> None:
    ids = dataset.clip_ids
    assert [sample.clip_id for sample in chosen(dataset, clips(dataset))] == ids[:1]
    assert [sample.clip_id for sample in chosen(dataset, clips(dataset, num_clips=3))] == ids[:3]
    named = (ids[7], ids[1])
    assert [sample.clip_id for sample in chosen(dataset, clips(dataset, clips=named))] == [*named]


def test_frames_with_a_face_are_shown_and_others_told(dataset: Dataset) -> None:
    one = next(shown(dataset, clips(dataset, clips=(dataset.clip_ids[1],))))
    face = np.asarray(one.sample["face"])
    assert one.rows.tolist() == [row for row in range(len(face)) if face[row]]
    assert np.array_equal(one.time_s, np.asarray(one.sample["time_s"])[face > 0])
    assert one.notes == (f"{int((face == 0).sum())} of {len(face)} frames show no face and are left out",)
    short = next(shown(dataset, clips(dataset, clips=(dataset.clip_ids[1],), max_frames=3)))
    assert short.rows.tolist() == one.rows[:3].tolist()
    assert short.notes[1] == f"the first 3 of {len(one.rows)} frames with a face are shown (source.max_frames)"


def test_files_of_several_clips_are_told_apart(dataset: Dataset) -> None:
    config = clips(dataset)
    one = next(shown(dataset, config))
    assert one.name_in("dataset", config) == "dataset"
    assert one.name_in("dataset", clips(dataset, num_clips=2)) == f"dataset_{one.clip_id}"
    assert one.name_in("dataset", clips(dataset, clips=(one.clip_id,))) == f"dataset_{one.clip_id}"
    one.sample.row["track"] = 2
    assert one.name_in("dataset", clips(dataset, num_clips=2)) == f"dataset_{one.clip_id}_track2"
    assert one.label == f"{one.clip_id[:8]} track 2"


def test_a_clip_that_is_not_there_gets_the_nearest(dataset: Dataset) -> None:
    wanted = dataset.clip_ids[4]
    for typo in (wanted[:-1] + ("0" if wanted[-1] != "0" else "1"), wanted[:10], "no clip"):
        with pytest.raises(ConfigError, match=f"clip {typo}: is not in .*; the nearest are") as refused:
            chosen(dataset, clips(dataset, clips=(typo,)))
        assert ("no clip" in typo) or f"the nearest are {wanted}," in str(refused.value)
    assert nearest("abx", ["zzz", "abc", "aaa", "abxy", "q"]) == ["abxy", "abc", "aaa"]


def test_what_shows_no_face_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="shows no face in any frame; choose another clip"):
        next(shown(dataset, clips(dataset, clips=(dataset.clip_ids[2],))))
    with pytest.raises(ConfigError, match=r"source\.dataset: is required"):
        opened(ClipsConfig())
    with pytest.raises(DatasetError, match="is not a dataset"):
        opened(ClipsConfig(dataset=str(tmp_path)))
