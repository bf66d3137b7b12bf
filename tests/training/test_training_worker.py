"""A worker in this process, without Ray: the same run, its log begun, its trackers chosen."""

from pathlib import Path

import pytest

from mien.storage.local import LocalStore
from mien.training import log
from mien.training.notice import NoNotices
from mien.training.worker import work
from mien.training.world import World
from training_runs import job_of


def test_a_run_without_ray_trains_to_its_end(tokens: Path, tmp_path: Path) -> None:
    summary = work(job_of(tokens, tmp_path / "run"), World(), NoNotices())
    assert summary["step"] == 6
    assert summary["metrics"]["loss"] > 0
    lines = [*log.read(LocalStore(tmp_path / "run"))]
    assert lines[0]["kind"] == "event"
    assert lines[0]["workers"] == 1


def test_event_files_are_written_where_asked_for(tokens: Path, tmp_path: Path) -> None:
    work(job_of(tokens, tmp_path / "run", {"log.tensorboard": True}), World(), NoNotices())
    assert [*(tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*")]


def test_one_offline_run_of_the_tracker(tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path))
    work(job_of(tokens, tmp_path / "run", {"num_steps": 2}), World(), NoNotices())
    assert len([*tmp_path.glob("wandb/offline-run-*")]) == 1
