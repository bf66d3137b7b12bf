"""What a run draws, from a run without Ray: which pictures there are, and what they show."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.objectives.batch import Batch
from mien.objectives.expression import Joint, JointConfig
from mien.training.pictures import reconstruction_grid
from training_runs import DIM, JOINT, NUM_PATCHES, job_of, train


def drawn(place: Path) -> set[str]:
    return {path.name for path in (place / "figures").glob("*.png")}


def test_a_run_draws_similarities_and_schedules_and_no_face(tokens: Path, tmp_path: Path) -> None:
    train(job_of(tokens, tmp_path, {"log.figures": True}))
    assert {"similarity_step_4.png", "similarity_step_6.png", "similarity_evolution_step_6.png"} <= drawn(tmp_path)
    assert "schedules_step_6.png" in drawn(tmp_path)
    assert not [name for name in drawn(tmp_path) if name.startswith("reconstruction")]


def test_where_faces_may_be_shown_the_same_windows_are_reconstructed_every_time(tokens: Path, tmp_path: Path) -> None:
    train(job_of(tokens, tmp_path, {"log.log_media": True}))
    names = sorted(name for name in drawn(tmp_path) if name.startswith("reconstruction"))
    assert len(names) > 1
    assert {name.partition("_")[0] for name in drawn(tmp_path)} == {"reconstruction", "schedules"}
    early, late = (np.asarray(Image.open(tmp_path / "figures" / name)) for name in (names[0], names[-1]))
    half = len(early) // 2
    assert np.array_equal(early[:half], late[:half]), "the crops above are the same"
    assert not np.array_equal(early[half:], late[half:]), "what is made of them is not"


def batch_of(mask: torch.Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    size = mask.shape
    return Batch(
        tokens=torch.randn(*size, NUM_PATCHES, DIM, generator=generator),
        positions=torch.randn(NUM_PATCHES, DIM, generator=generator),
        images=torch.rand(*size, 3, 16, 16, generator=generator),
        mask=mask,
        subjects=torch.zeros(size[0], dtype=torch.int64),
        keys=torch.zeros(size[0], dtype=torch.int64),
    )


def test_the_grid_shows_the_middle_face_of_each_clip_that_has_one() -> None:
    joint = Joint(JointConfig.parse(JOINT, "test"))
    mask = torch.tensor([[True, True, True], [False, False, False], [False, False, True]])
    batch = batch_of(mask)
    assert batch.images is not None
    path_bytes = reconstruction_grid(joint, batch)
    assert joint.training, "the mode is what it was"

    pixels = np.asarray(Image.open(io.BytesIO(path_bytes)))
    assert pixels.shape == (32, 32, 3)
    expected = (torch.cat([batch.images[0, 1], batch.images[2, 2]], 2) * 255).round().byte().permute(1, 2, 0)
    assert np.array_equal(pixels[:16], expected.numpy())


def test_clips_without_a_face_make_no_grid() -> None:
    with pytest.raises(ValueError, match="no clip has a frame with a face"):
        reconstruction_grid(Joint(JointConfig.parse(JOINT, "test")), batch_of(torch.zeros(2, 3, dtype=torch.bool)))
