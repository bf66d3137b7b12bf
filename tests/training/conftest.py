"""Fixtures of the room: one dataset of tokens that nobody changes, and one team of four processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from training_runs import Team, make_tokens


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Place of a dataset with crops and patch tokens."""
    place = tmp_path_factory.mktemp("tokens") / "dataset"
    make_tokens(place).close()
    return place


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Four processes, in which torch is loaded."""
    members = Team(4, tmp_path_factory.mktemp("team"))
    yield members
    members.close()


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Decoded shards of a test stay in its folder, no tracker is found, and nobody's threads are changed."""
    import torch

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
