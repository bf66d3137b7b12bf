"""Timestep vectors against those of diffusers."""

import torch
from diffusers.models.embeddings import get_timestep_embedding

from mien.models.time_embedding import sinusoid


def test_vectors_are_those_of_ddpm() -> None:
    t = torch.tensor([0, 1, 37, 999])
    expected = get_timestep_embedding(t, 128, flip_sin_to_cos=False, downscale_freq_shift=1)
    assert torch.allclose(sinusoid(t, 128), expected, atol=1e-4)  # float32 keeps angles up to 999 to 6e-5


def test_timesteps_between_whole_ones_have_vectors_of_their_own() -> None:
    between, below, above = sinusoid(torch.tensor([10.5, 10.0, 11.0]), 8)
    assert torch.allclose(between[0], torch.tensor(10.5).sin())
    assert not torch.equal(between, below)
    assert not torch.equal(between, above)
