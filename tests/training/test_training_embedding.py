"""Arrays of a clip against a plain loop over its frames, one at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from evaluated_runs import FACE_ID, PREDICTION, make_backbone, make_run, save
from mien.datasets.dataset import Dataset, Sample, open_dataset
from mien.errors import CheckpointError
from mien.evaluation.image_scores import MeanImages
from mien.features.network import Network
from mien.features.registry import Resolved
from mien.models.checkpoint import Checkpoint
from mien.objectives.expression import Joint
from mien.objectives.load import load_objective
from mien.training.clip_tasks import ClipTask
from mien.training.embedding import Arrays, Embedder, EmbeddingJob
from mien.training.forward import images_of

HELD_OUT = ClipTask(sample=16, person=1, row=2, is_known=True, is_held_out=True, target=3, target_row=4)
SEEN = ClipTask(sample=2, person=2, row=3, is_known=True, is_held_out=False)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    return make_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def found(tokens: Path, backbone: Resolved, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return make_run(tmp_path_factory.mktemp("run") / "run", tokens, backbone)


def job_of(found: Checkpoint, dataset: Path, backbone: Resolved, *, is_stored: bool = False) -> EmbeddingJob:
    return EmbeddingJob(found.uri, "ema", str(dataset), backbone, is_stored, batch=2)


def shown(dataset: Dataset, task: ClipTask) -> tuple[Sample, list[int]]:
    """A clip, and its frames with a face."""
    sample = dataset.sample(task.sample)
    return sample, [number for number, face in enumerate(sample["face"]) if face]


def means() -> MeanImages:
    """Of two people: one picture each."""
    known = MeanImages()
    known.add(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)), np.array([1, 0]))
    return known


class Loop:
    """One frame after the other through the networks of a joint model."""

    def __init__(self, found: Checkpoint, backbone: Resolved) -> None:
        model = load_objective(found.uri).objective
        assert isinstance(model, Joint)
        self.network, self.expression, self.pictures = Network(backbone), model.expression_transformer, model
        self.positions = self.network.positions()

    def patches(self, crop: np.ndarray) -> torch.Tensor:
        """[1, P, D] of uint8 [H, H, 3]."""
        return torch.from_numpy(self.network(crop[None]))

    def token(self, patches: torch.Tensor, row: int) -> torch.Tensor:
        """[1, D]."""
        return self.expression.inference(patches, self.positions, torch.tensor([row]))

    @torch.no_grad()
    def image(self, token: torch.Tensor, row: int) -> np.ndarray:
        """[3, S, S]."""
        subject = self.expression.subject_embeddings.weight[[row]]
        positions = self.positions + self.expression.delta_pos_embed[0]
        mask = torch.ones(1, 1, dtype=torch.bool)
        return self.pictures.expression_reconstruction(subject, token, positions, mask)[0].numpy()


@pytest.fixture(scope="module")
def held_out(found: Checkpoint, tokens: Path, backbone: Resolved) -> Arrays:
    return Embedder(job_of(found, tokens, backbone), means=means())(HELD_OUT)


def test_tokens_and_scores_are_those_of_a_loop(
    held_out: Arrays, found: Checkpoint, tokens: Path, backbone: Resolved
) -> None:
    loop, (sample, frames) = Loop(found, backbone), shown(open_dataset(tokens), HELD_OUT)
    assert len(frames) > 2
    assert np.array_equal(held_out["time_s"], sample["time_s"][frames])
    assert np.array_equal(held_out["blendshapes"], sample["blendshapes"][frames])
    mean = means().of(np.array([1]))[0].numpy()
    for place, frame in enumerate(frames):
        patches = loop.patches(sample.crops()[frame])
        token = loop.token(patches, HELD_OUT.row)
        assert np.allclose(held_out["pooled"][place], patches.mean(1)[0], atol=1e-5)
        assert np.allclose(held_out["tokens"][place], token[0], atol=1e-5)
        image = loop.image(token, HELD_OUT.row)
        truth = images_of(torch.from_numpy(sample.crops()[[frame]]), 16)[0].numpy()
        for kind, other in (("reconstruction", image), ("subject_mean", mean)):
            psnr = peak_signal_noise_ratio(truth, other.astype(np.float32), data_range=1)
            assert held_out[f"psnr_db/{kind}"][place] == pytest.approx(psnr, abs=1e-3)
        ssim = structural_similarity(
            truth, image, channel_axis=0, data_range=1, gaussian_weights=True, use_sample_covariance=False
        )
        assert held_out["ssim/reconstruction"][place] == pytest.approx(ssim, abs=1e-3)


def test_a_swapped_face_is_made_of_the_token_and_the_target_and_seen_again(
    held_out: Arrays, found: Checkpoint, backbone: Resolved
) -> None:
    loop = Loop(found, backbone)
    for place, token in enumerate(torch.from_numpy(held_out["tokens"])):
        face = loop.image(token[None], HELD_OUT.target_row)
        patches = loop.patches(np.round(face.transpose(1, 2, 0) * 255).astype(np.uint8))
        assert np.allclose(held_out["swapped_pooled"][place], patches.mean(1)[0], atol=2e-2)  # a pixel may round away
        of_target, of_source = (loop.token(patches, row)[0] for row in (HELD_OUT.target_row, HELD_OUT.row))
        swapped = torch.from_numpy(held_out["swapped_tokens"][place])
        assert torch.dist(swapped, of_target) < 0.1 * torch.dist(swapped, of_source)
    assert not np.allclose(held_out["swapped_pooled"], held_out["pooled"], atol=2e-2)


def test_images_of_training_clips_come_back_as_one_sum(found: Checkpoint, tokens: Path, backbone: Resolved) -> None:
    arrays = Embedder(job_of(found, tokens, backbone))(SEEN)
    sample, frames = shown(open_dataset(tokens), SEEN)
    pictures = [Image.fromarray(crop).resize((16, 16), Image.Resampling.BILINEAR) for crop in sample.crops()[frames]]
    expected = np.sum([np.asarray(picture) / 255 for picture in pictures], axis=0).transpose(2, 0, 1)
    assert np.allclose(arrays["image_sum"], expected, atol=0.6 * len(frames) / 255)  # Pillow rounds to eight bits
    assert not any(name.startswith(("psnr", "ssim", "swapped")) for name in arrays)


def test_stored_tokens_are_read_and_nobodys_pictures_are_scored(
    found: Checkpoint, tokens: Path, backbone: Resolved
) -> None:
    stranger = HELD_OUT._replace(is_known=False, target=-1)
    arrays = Embedder(job_of(found, tokens, backbone, is_stored=True), means=means())(stranger)
    sample, frames = shown(open_dataset(tokens), stranger)
    assert np.allclose(arrays["pooled"], sample["feature"][frames].mean(1), atol=1e-6)
    assert {*arrays} == {"task", "time_s", "blendshapes", "tokens", "pooled"}


@pytest.mark.parametrize(("changes", "name"), [(PREDICTION, "expression_transformer"), (FACE_ID, "face_id_model")])
def test_other_models_make_tokens_alone(
    tmp_path: Path, tokens: Path, backbone: Resolved, changes: dict[str, object], name: str
) -> None:
    other = make_run(tmp_path / "run", tokens, backbone, changes)
    arrays = Embedder(job_of(other, tokens, backbone, is_stored=True), means=means())(HELD_OUT)
    sample, frames = shown(open_dataset(tokens), HELD_OUT)
    network, stored = load_objective(other.uri).objective.get_submodule(name), torch.from_numpy(sample["feature"])
    rows = [torch.tensor([HELD_OUT.row])] if name == "expression_transformer" else []
    positions = Network(backbone).positions()
    expected = [network(stored[[frame]], positions, *rows)[0].numpy() for frame in frames]
    assert np.allclose(arrays["tokens"], expected, atol=1e-5)
    assert {*arrays} == {"task", "time_s", "blendshapes", "tokens", "pooled"}


def test_a_model_whose_numbers_are_none_is_refused(tmp_path: Path, tokens: Path, backbone: Resolved) -> None:
    other = make_run(tmp_path / "run", tokens, backbone)
    model = load_objective(other.uri).objective
    model.get_parameter("expression_transformer.output_projection.bias").fill_(torch.nan)
    facts = {key: other.facts[key] for key in ("config", "objective", "subjects", "tokens")}
    broken = save(tmp_path / "broken", model, facts)
    clip_id = open_dataset(tokens).sample(SEEN.sample).clip_id
    with pytest.raises(CheckpointError, match=f"step_000000000.json: its tokens are no numbers .clip {clip_id}"):
        Embedder(job_of(broken, tokens, backbone, is_stored=True))(SEEN)
