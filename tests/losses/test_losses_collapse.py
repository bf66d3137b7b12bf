"""Signs of collapse against numpy."""

import numpy as np
import pytest
import torch

from mien.losses.collapse import collapse_metrics


def test_metrics_are_those_of_numpy() -> None:
    tokens = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 2, 1, 1, 0.1, 0.01])
    values = tokens.double().numpy()
    share = np.linalg.svd(values - values.mean(0), compute_uv=False) ** 2
    share /= share.sum()
    cosines = np.corrcoef(np.c_[values, -values])  # of vectors around zero, Pearson's correlation is the cosine
    found = collapse_metrics(tokens)
    assert found["token_variance"] == pytest.approx(values.var(0, ddof=1).mean())
    assert found["effective_rank"] == pytest.approx(np.exp(-(share * np.log(share)).sum()))
    assert found["mean_cosine"] == pytest.approx(cosines[np.triu_indices(50, 1)].mean())


def test_negative_cosines_count() -> None:
    assert collapse_metrics(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))["mean_cosine"] == pytest.approx(-1)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_full_collapse_shows_whatever_the_scale(scale: float) -> None:
    noise = 1 + 1e-8 * torch.randn(40, 1, dtype=torch.float64)
    tokens = (scale * noise * torch.randn(8, dtype=torch.float64)).float()
    found = collapse_metrics(tokens)
    assert found["effective_rank"] == 0
    assert found["token_variance"] < 1e-12 * scale**2
    assert found["mean_cosine"] == pytest.approx(1)


def test_the_rank_counts_directions() -> None:
    assert collapse_metrics(torch.cat([torch.eye(4), -torch.eye(4)]))["effective_rank"] == pytest.approx(4)
    assert collapse_metrics(torch.arange(6.0)[:, None] * torch.ones(5))["effective_rank"] == pytest.approx(1)


def test_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="1 tokens"):
        collapse_metrics(torch.ones(1, 3))
