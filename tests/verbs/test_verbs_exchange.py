"""`mien export` and `mien import`, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import assert_refused
from export_datasets import make_coloured, write_clip_file
from mien.datasets.dataset import Dataset
from mien.storage.local import LocalStore
from sample_datasets import SIZE_PX


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_coloured(LocalStore(tmp_path / "dataset"))


def test_an_export_says_where_it_is_and_what_is_in_it(run: Any, dataset: Dataset, tmp_path: Path) -> None:
    ended = run("export", "openface", dataset.uri, "-o", tmp_path / "out", "subject=s1")
    assert ended.code == 0, ended.err
    assert "num_frames    9" in ended.out
    assert f"output   {tmp_path}/out" in ended.err
    assert len(list((tmp_path / "out").glob("*.csv"))) == 1
    again = run("export", "openface", dataset.uri, "-o", tmp_path / "out", "subject=s1", "--json")
    assert json.loads(again.out)["num_samples"] == 1
    assert "finished already" in again.err


def test_bad_input_is_one_line_with_its_exit_code(run: Any, dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert_refused(run("export", "zip", dataset.uri, "-o", out), 2, "'zip'", "clips, lerobot, webdataset, hf, openface")
    assert_refused(run("export", "hf", dataset.uri, "-o", out, "subjct=a"), 2, "subjct", "did you mean subject?")
    assert_refused(run("export", "hf", dataset.uri, "-o", out, "subject=s11"), 2, "'s11'", "close to it: s1")
    assert_refused(run("export", "hf", tmp_path / "absent", "-o", out), 1, "absent", "is not a dataset of mien")
    assert not out.exists()
    assert run("export", "hf", dataset.uri).code == 2
    assert run("export", "hf", dataset.uri, "-o", out).code == 0
    other = make_coloured(LocalStore(tmp_path / "other"), counts=(3,))
    assert_refused(run("export", "hf", other.uri, "-o", out), 5, str(out), "dataset", "--fresh")
    assert run("export", "hf", other.uri, "-o", out, "--fresh").code == 0


def test_an_import_says_what_came_of_the_files(run: Any, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_clip_file(tmp_path / "clips" / "a.h5")
    (tmp_path / "clips" / "b.h5").write_bytes(b"no HDF5")
    ended = run("import", tmp_path / "clips", "-o", tmp_path / "out", f"crop.size_px={SIZE_PX}")
    assert ended.code == 3, ended.err
    assert "num_samples    1" in ended.out
    assert f"next     mien inspect {tmp_path}/out" in ended.err
    assert "b.h5: is not a readable clip file" in ended.err
    assert_refused(run("import", tmp_path / "none", "-o", tmp_path / "x"), 4, "none", "holds no clip file")
    assert_refused(run("import", tmp_path / "clips", "-o", tmp_path / "y", "crop.sizepx=1"), 2, "crop.sizepx")
