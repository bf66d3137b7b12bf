"""What a worker begins with: the same weights for one seed, its own checkpoint, and both sides of the split."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets import subjects
from mien.datasets.dataset import open_dataset
from mien.errors import CheckpointError, ConfigError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training.setup import build, columns_of, image_size_px, orders, set_up
from mien.training.windows import sample_rows
from mien.training.world import World
from training_runs import DIM, Changes, config_of, difference, job_of, saved, stopped_after, train

FACE_ID = {"kind": "face_id", "model": {"embed_dim": DIM, "num_heads": 2, "ff_dim": 12}}


def test_weights_follow_from_the_seed_and_leave_the_callers_state_alone(tokens: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (build(job_of(tokens, tmp_path, {"seed": seed})).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert difference(one, other) > 0.01


def test_double_precision_begins_with_the_same_weights(tokens: Path, tmp_path: Path) -> None:
    single, double = (build(job_of(tokens, tmp_path, {"precision": p})).state_dict() for p in ("float32", "float64"))
    assert {tensor.dtype for tensor in double.values() if tensor.is_floating_point()} == {torch.float64}
    assert difference(single, double) == 0


def test_a_worker_begins_at_the_newest_whole_checkpoint(
    tokens: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(tokens, tmp_path / "run")
    assert set_up(job, World()).state.step == 0
    train(job)
    store = LocalStore(tmp_path / "run")
    path = store.fetch(checkpoint.find(store.uri).facts["files"]["model"]["name"])
    path.write_bytes(path.read_bytes()[:-9])
    setup = set_up(job, World())
    assert setup.state.step == 4
    assert "is damaged" in caplog.text
    expected = saved(store, 4)
    assert all(torch.equal(tensor, expected[f"model/{name}"]) for name, tensor in setup.objective.state_dict().items())


def test_a_checkpoint_of_another_model_is_refused(tokens: Path, tmp_path: Path) -> None:
    train(job_of(tokens, tmp_path / "run", {"num_steps": 1}))
    with pytest.raises(CheckpointError, match="is of another architecture"):
        set_up(job_of(tokens, tmp_path / "run", {"objective": FACE_ID}), World())


def test_a_run_begins_with_another_and_does_not_need_it_to_resume(tokens: Path, tmp_path: Path) -> None:
    train(job_of(tokens, tmp_path / "base", {"num_steps": 2, "seed": 9}))
    job = job_of(tokens, tmp_path / "run", {"begin_with": str(tmp_path / "base"), "seed": 1})
    begun = set_up(job, World()).objective.state_dict()
    base = saved(tmp_path / "base")
    assert all(torch.equal(tensor, base[f"model/{name}"]) for name, tensor in begun.items())
    train(job)
    copy = stopped_after(2, tmp_path / "run", tmp_path / "copy")
    (tmp_path / "base").rename(tmp_path / "gone")
    train(job_of(tokens, copy, {"begin_with": str(tmp_path / "base"), "seed": 1}))
    assert difference(saved(copy), saved(tmp_path / "run")) == 0


@pytest.mark.parametrize(
    ("changes", "size_px", "columns"),
    [
        ({}, 16, {"face", "feature", "crop"}),
        ({"objective": FACE_ID}, None, {"face", "feature"}),
        (
            {"data.tokens": "online", "data.backbone": {"kind": "vit", "output": "patch"}, "objective": FACE_ID},
            *(None, {"face", "crop"}),
        ),
    ],
)
def test_only_what_the_objective_compares_is_read(changes: Changes, size_px: int | None, columns: set[str]) -> None:
    config = config_of("dataset", "run", changes)
    assert image_size_px(config) == size_px
    assert {*columns_of(config, config.data)} == columns


@pytest.mark.parametrize(
    "split", [{"by": "subject", "held_out": 0.4}, {"by": "source_end", "held_out": 0.3}], ids=lambda split: split["by"]
)
def test_no_window_of_one_side_reaches_into_the_other(tokens: Path, split: dict[str, object]) -> None:
    dataset, config = open_dataset(tokens), config_of(tokens, "run", {"data.split": split})
    rows = sample_rows(dataset.index_file, subjects.read(dataset.store))
    train_order, held_out = orders(dataset, rows, config.data, config.seed)
    seen: list[set[tuple[str, float]]] = []
    for order, epochs in ((train_order, 6), (held_out, 1)):
        moments = set()
        for place in range(epochs * len(order)):
            window = order.at(place)
            sample = dataset.sample(window.sample)
            times = np.asarray(sample["time_s"][window.start : window.start + window.num_frames])
            moments |= {(sample.row["source_uri"], round(float(time), 3)) for time in times}
        seen.append(moments)
    assert seen[0]
    assert seen[1]
    assert not seen[0] & seen[1]
    for source in {source for source, _ in seen[0]} & {source for source, _ in seen[1]}:
        assert max(t for s, t in seen[0] if s == source) < min(t for s, t in seen[1] if s == source)
    dataset.close()


def test_an_empty_side_is_refused(tokens: Path) -> None:
    dataset = open_dataset(tokens)
    rows = sample_rows(dataset.index_file, subjects.read(dataset.store))
    config = config_of(tokens, "run", {"data.split": {"by": "source_end", "held_out": 0.001}})
    with pytest.raises(ConfigError, match=r"no sample of 20 is held out; give another share"):
        orders(dataset, rows, config.data, config.seed)
    dataset.close()


def test_a_window_is_named_by_its_clip(tokens: Path, tmp_path: Path) -> None:
    setup = set_up(job_of(tokens, tmp_path / "run"), World())
    window = setup.reader.order.at(3)
    named = setup.name_of(window)
    assert named["clip_id"] == open_dataset(str(tokens)).sample(window.sample).clip_id
    assert (named["start"], named["frames"]) == (window.start, window.num_frames)
