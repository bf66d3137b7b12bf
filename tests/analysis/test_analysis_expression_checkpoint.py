"""Tokens of clips by a run against the model itself; and what a `.pt` of the earlier tools holds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluated_runs import PREDICTION, make_backbone, make_run
from feature_pairs import denoiser
from mien.analysis.clip_choice import ClipsConfig
from mien.analysis.clip_tokens import TokenMaker
from mien.analysis.expression_checkpoint import applied, dataset_of, settled, stored
from mien.datasets import subjects
from mien.datasets.dataset import Dataset
from mien.errors import CheckpointError, ConfigError
from mien.features.recorded import backbone_of
from mien.features.registry import Resolved
from mien.models import checkpoint
from mien.objectives.load import load_objective
from mien.storage.local import LocalStore
from training_runs import make_tokens


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    return make_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def run(dataset: Dataset, backbone: Resolved, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run") / "run"
    make_run(place, Path(dataset.uri), backbone, PREDICTION)
    return place


def test_tokens_are_the_models_for_the_subject_of_the_clip(run: Path, dataset: Dataset) -> None:
    config = ClipsConfig(dataset=dataset.uri, num_clips=2)
    found = [*applied(str(run), "ema", 3, config)]
    maker = TokenMaker(load_objective(str(run)).objective, backbone_of(settled(str(run))))
    table = subjects.read(dataset.store)
    assert [one.facts["clip_id"] for one in found] == dataset.clip_ids[:2]
    for number, one in enumerate(found):
        sample = dataset.sample(number)
        rows = np.flatnonzero(sample["face"])
        expected = maker.of_frames(sample.crops()[rows], table.row(sample.row["subject"]), 16)
        assert np.allclose(np.asarray(one.values), expected, atol=1e-5)
        foretold = maker.foretold(expected)
        assert foretold is not None
        assert one.pair is not None
        assert np.allclose(np.asarray(one.pair.prediction), foretold.prediction, atol=1e-4)
        assert one.facts["rows_of_prediction"] == rows[1:].tolist()
        assert any("RANDOM weights" in note for note in one.notes)
    other = next(applied(str(run), "model", 3, config))
    assert not np.allclose(np.asarray(other.values), np.asarray(found[0].values)), "ema and model are other weights"


def test_a_run_is_settled_to_its_newest_checkpoint_and_its_dataset(run: Path, dataset: Dataset) -> None:
    found = settled(str(run))
    assert found.uri == f"{run}/checkpoints/step_000000000.json"
    assert settled(found.uri).uri == found.uri
    assert dataset_of(found) == dataset.uri
    assert dataset_of(found._replace(facts={})) == ""


def test_what_makes_no_expressions_is_refused(tmp_path: Path, run: Path) -> None:
    model = denoiser(1)
    facts = {"objective": model.config.dump()}
    checkpoint.write(LocalStore(tmp_path / "ddpm"), 1, {"model": model.state_dict()}, facts)
    with pytest.raises(CheckpointError, match="is of the objective ddpm, which makes no expressions"):
        settled(str(tmp_path / "ddpm"))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        settled(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"source\.dataset: is required"):
        next(applied(str(run), "ema", 3, ClipsConfig()))


def test_expressions_in_a_file_of_the_earlier_tools(tmp_path: Path) -> None:
    values = torch.arange(24.0).reshape(1, 6, 4)
    torch.save({"validation_outputs": {"expression_embed": values}, "epoch": 3}, tmp_path / "a.pt")
    found = stored(str(tmp_path / "a.pt"))
    assert isinstance(found.values, torch.Tensor)
    assert torch.equal(found.values, values)
    assert (found.name, found.facts["key"]) == ("checkpoint", "validation_outputs.expression_embed")
    torch.save({"model_state_dict": {"expression_net.weight": values}}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"holds no expressions.*model_state_dict.*expression_net\.weight"):
        stored(str(tmp_path / "b.pt"))
