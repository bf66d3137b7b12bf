"""Tokens of a clip against a plain loop over its frames; foretold ones against the predictor frame by frame."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evaluated_runs import FACE_ID, PREDICTION, make_backbone, make_run
from mien.analysis.clip_tokens import TokenMaker, has_tokens
from mien.datasets.dataset import Dataset, open_dataset
from mien.features.network import Network
from mien.features.registry import Resolved
from mien.objectives.load import load_objective
from training_runs import Changes, make_tokens


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    return make_backbone(tmp_path_factory.mktemp("backbone"))


def made(place: Path, dataset: Dataset, backbone: Resolved, changes: Changes | None = None) -> TokenMaker:
    run = make_run(place, Path(dataset.uri), backbone, changes)
    return TokenMaker(load_objective(run.uri).objective, backbone)


@pytest.mark.parametrize("changes", [None, PREDICTION, FACE_ID], ids=["joint", "prediction", "face_id"])
def test_tokens_are_those_of_each_frame_alone(
    tmp_path: Path, dataset: Dataset, backbone: Resolved, changes: Changes | None
) -> None:
    maker = made(tmp_path / "run", dataset, backbone, changes)
    model = load_objective(str(tmp_path / "run")).objective
    own = model.get_submodule("face_id_model" if changes is FACE_ID else "expression_transformer")
    network = Network(backbone)
    sample = dataset.sample(1)
    for frames in (sample.crops(), np.asarray(sample["feature"])[[0, 1, 2]]):
        found = maker.of_frames(frames, 2, batch=2)
        for frame, token in zip(frames, found, strict=True):
            patches = torch.from_numpy(network(frame[None]) if frame.dtype == np.uint8 else frame[None])
            who = [] if changes is FACE_ID else [torch.tensor([2])]
            expected = own(patches, network.positions(), *who)[0].detach().numpy()
            assert np.allclose(token, expected, atol=1e-5)


def test_another_subject_has_other_tokens(tmp_path: Path, dataset: Dataset, backbone: Resolved) -> None:
    maker, frames = made(tmp_path / "run", dataset, backbone), dataset.sample(1).crops()
    assert not np.allclose(maker.of_frames(frames, 1, 8), maker.of_frames(frames, 2, 8))


def test_what_is_foretold_stands_beside_what_came(tmp_path: Path, dataset: Dataset, backbone: Resolved) -> None:
    short = {**PREDICTION["objective"], "predictor": {"embed_dim": 8, "num_heads": 2, "max_length": 6}}
    maker = made(tmp_path / "run", dataset, backbone, {"objective": short})
    tokens = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    foretold = maker.foretold(tokens)
    assert foretold is not None
    assert np.array_equal(foretold.target, tokens[1:6]), "the predictor reads six frames"
    predictor = load_objective(str(tmp_path / "run")).objective.get_submodule("transformer_decoder")
    for frame in range(5):
        seen = torch.from_numpy(tokens[: frame + 1])[None]
        expected = predictor.predict_next(seen, torch.ones(1, frame + 1, dtype=torch.bool))[0]
        assert np.allclose(foretold.prediction[frame], expected, atol=1e-5)
    assert maker.foretold(tokens[:1]) is None
    assert made(tmp_path / "joint", dataset, backbone).foretold(tokens) is None


def test_stored_tokens_count_where_the_same_network_made_them(dataset: Dataset, backbone: Resolved) -> None:
    other = open_dataset(dataset.uri)
    assert not has_tokens(other, backbone), "its record names no network"
    other.record = {"models": {"feature": dict(backbone.provenance)}}
    assert has_tokens(other, backbone)
