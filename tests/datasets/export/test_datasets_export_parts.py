from pathlib import Path

import pytest

from export_datasets import make_coloured
from mien.datasets.dataset import Dataset
from mien.datasets.export.kinds import read_kind
from mien.datasets.export.parts import Parts, chosen
from mien.errors import ConfigError
from mien.storage.local import LocalStore


@pytest.mark.parametrize(
    ("at_most", "rows"),
    [(1, [(0,), (1,), (2,)]), (14, [(0,), (1,), (2,)]), (15, [(0, 1), (2,)]), (16, [(0, 1), (2,)]), (22, [(0, 1, 2)])],
)
def test_samples_are_divided_whole_and_counted_on(one: Dataset, at_most: int, rows: list[tuple[int, ...]]) -> None:
    parts = Parts(one, read_kind("hf", [f"frames_per_part={at_most}"]))
    found = list(parts)
    assert [part.rows for part in found] == rows
    assert [part.number for part in found] == list(range(len(rows)))
    assert [part.first_sample for part in found] == [part[0] for part in rows]
    assert [part.first_frame for part in found] == [[0, 6, 15][part[0]] for part in rows]
    assert parts.total == (3, 22, len(rows))


def test_one_subject_is_chosen(one: Dataset) -> None:
    parts = Parts(one, read_kind("hf", ["subject=s1"]))
    assert [(part.rows, part.first_sample, part.first_frame) for part in parts] == [((1,), 0, 0)]
    assert parts.total == (1, 9, 1)


def test_an_unknown_subject_is_told_with_those_that_are_near(one: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"no sample has the subject 's11'; close to it: s1"):
        chosen(one, "s11")


def test_a_subject_that_looks_like_a_number_is_a_name(tmp_path: Path) -> None:
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), counts=(3,), subject="007")
    assert chosen(dataset, read_kind("hf", ["subject=007"]).subject).tolist() == [0]
