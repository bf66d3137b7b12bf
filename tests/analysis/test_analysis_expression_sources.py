"""What each source gives, against the columns and arrays that it reads; what it lacks is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluated_runs import PREDICTION, make_backbone, make_run
from mien.analysis import synthetic
from mien.analysis.expression_sources import (
    CheckpointSourceConfig,
    DatasetSourceConfig,
    FileSourceConfig,
    SyntheticSourceConfig,
)
from mien.analysis.synthetic import SyntheticConfig
from mien.datasets.dataset import Dataset
from mien.errors import ConfigError, DatasetError, StorageError
from training_runs import make_tokens

VALUES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def without(*names: str) -> Callable[[int, dict[str, Any]], dict[str, Any]]:
    return lambda _, columns: {name: values for name, values in columns.items() if name not in names}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset")


def test_columns_of_a_dataset_are_those_of_its_frames_with_a_face(dataset: Dataset) -> None:
    sample = dataset.sample(0)
    has_face = np.asarray(sample["face"]) > 0
    expected = {
        "blendshapes": np.asarray(sample["blendshapes"])[has_face],
        "feature": np.asarray(sample["feature"])[has_face].mean(1),
        "landmarks": np.asarray(sample["landmarks"])[has_face].reshape(has_face.sum(), -1),
    }
    for column, values in expected.items():
        (found,) = DatasetSourceConfig(dataset=dataset.uri, column=column).read()
        assert np.allclose(np.asarray(found.values), values, atol=1e-6)
        assert (found.name, found.facts["values"], found.pair) == ("dataset", column, None)
    (by_default,) = DatasetSourceConfig(dataset=dataset.uri).read()
    assert by_default.facts["values"] == "blendshapes"


def test_a_dataset_without_features_says_what_it_has(tmp_path: Path) -> None:
    make_tokens(tmp_path / "bare", without("blendshapes", "feature", "landmarks")).close()
    with pytest.raises(DatasetError, match="has no blendshapes or feature or landmarks; serialize it with"):
        next(DatasetSourceConfig(dataset=str(tmp_path / "bare")).read())
    make_tokens(tmp_path / "mesh", without("blendshapes")).close()
    with pytest.raises(DatasetError, match="has no blendshapes; only feature, landmarks"):
        next(DatasetSourceConfig(dataset=str(tmp_path / "mesh"), column="blendshapes").read())
    (found,) = DatasetSourceConfig(dataset=str(tmp_path / "mesh")).read()
    assert found.facts["values"] == "feature"


def test_a_checkpoint_is_settled_when_the_command_begins(tmp_path: Path, dataset: Dataset) -> None:
    make_run(tmp_path / "run", Path(dataset.uri), make_backbone(tmp_path / "backbone"), PREDICTION)
    source = CheckpointSourceConfig(checkpoint=str(tmp_path / "run"), num_clips=2).settled()
    assert source.checkpoint == f"{tmp_path}/run/checkpoints/step_000000000.json"
    assert source.dataset == dataset.uri
    assert [one.facts["clip_id"] for one in source.read()] == dataset.clip_ids[:2]
    with pytest.raises(ConfigError, match=r"source\.checkpoint: is required"):
        CheckpointSourceConfig().settled()


def test_a_pt_of_the_earlier_tools_is_left_as_it_is(tmp_path: Path) -> None:
    torch.save({"last_batch": {"expression_embed": torch.from_numpy(VALUES)}}, tmp_path / "a.pt")
    source = CheckpointSourceConfig(checkpoint=str(tmp_path / "a.pt"))
    assert source.settled() == source
    (found,) = source.read()
    assert np.array_equal(np.asarray(found.values), VALUES)


def test_arrays_of_a_file_are_found_by_their_names(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", VALUES)
    np.savez(tmp_path / "two.npz", other=VALUES, expression_embed=2 * VALUES)
    np.savez(tmp_path / "pair.npz", target=VALUES, prediction=3 * VALUES)
    (one,) = FileSourceConfig(file=str(tmp_path / "one.npy")).read()
    (two,) = FileSourceConfig(file=str(tmp_path / "two.npz")).read()
    (named,) = FileSourceConfig(file=str(tmp_path / "two.npz"), expressions="other").read()
    (pair,) = FileSourceConfig(file=str(tmp_path / "pair.npz")).read()
    assert [float(np.asarray(found.values)[0, 0] / VALUES[0, 0]) for found in (one, two, named, pair)] == [1, 2, 1, 1]
    assert two.pair is None
    assert pair.pair is not None
    assert np.array_equal(np.asarray(pair.pair.prediction), 3 * VALUES)


def test_files_that_lack_it_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=VALUES, b=VALUES)
    with pytest.raises(ConfigError, match=r"has no array expression_embed or target, only a, b; set source\.expressi"):
        next(FileSourceConfig(file=str(tmp_path / "two.npz")).read())
    with pytest.raises(ConfigError, match="has no array c, only a, b"):
        next(FileSourceConfig(file=str(tmp_path / "two.npz"), expressions="c").read())
    with pytest.raises(ConfigError, match=r"source\.file: is required"):
        next(FileSourceConfig().read())
    with pytest.raises(StorageError, match="does not exist"):
        next(FileSourceConfig(file=str(tmp_path / "no.npz")).read())


def test_made_expressions_vary_and_stand_still() -> None:
    source = SyntheticSourceConfig(num_frames=9, num_dimensions=5, seed=3)
    varying, constant = source.read()
    assert source.settled() == source
    assert np.array_equal(
        np.asarray(varying.values), synthetic.expressions(SyntheticConfig(num_frames=9, num_dimensions=5, seed=3))
    )
    assert (np.asarray(constant.values) == np.asarray(varying.values)[0]).all()
    assert (varying.name, constant.name) == ("variation", "constant")
