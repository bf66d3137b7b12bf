"""LeRobot v3.0, read back by pyarrow, pandas and PyAV, as LeRobot's own reader goes about it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from export_datasets import NO_FACE, make_coloured, pictures, read_json
from mien.datasets.dataset import Dataset
from mien.datasets.export.lerobot import VIDEO
from mien.errors import ConfigError
from mien.storage.local import LocalStore
from sample_datasets import SIZE_PX

Export = Callable[..., tuple[Path, dict[str, Any]]]

LEROBOT = """
import sys
import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

dataset = LeRobotDataset("local/faces", root=sys.argv[1], video_backend="pyav")
rows = [dataset[number] for number in range(len(dataset))]
last = LeRobotDataset("local/faces", root=sys.argv[1], episodes=[2], video_backend="pyav")
np.savez(
    sys.argv[2],
    shown=np.stack([row["observation.images.face"].numpy() for row in rows]),
    **{name: np.array([float(row[name]) for row in rows]) for name in ("episode_index", "frame_index", "timestamp")},
    last=[int(last[number]["episode_index"]) for number in range(len(last))],
    mean=dataset.meta.stats["observation.images.face"]["mean"],
)
"""
"""Reads all of an export with LeRobot's own loader, which has dependencies that do not go with these."""


def video(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_every_frame_is_found_as_lerobot_looks_for_it(coloured: Dataset, export_to: Export) -> None:
    """Two samples to a file, the third in the next: by offsets of the episode and time stamps of the row."""
    folder, _ = export_to(coloured, "lerobot", "frames_per_part=16", "video.crf=4", "task=look")
    info = read_json(folder / "meta/info.json")
    assert (info["codebase_version"], info["fps"], info["total_episodes"], info["total_frames"]) == ("v3.0", 25, 3, 22)
    assert info["splits"] == {"train": "0:3"}
    episodes = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("meta/episodes/*/*.parquet"))])
    assert episodes.episode_index.tolist() == [0, 1, 2]
    assert (episodes.dataset_from_index.tolist(), episodes.dataset_to_index.tolist()) == ([0, 6, 15], [6, 15, 22])
    tasks = pd.read_parquet(folder / "meta/tasks.parquet")
    assert (tasks.index.name, tasks.iloc[0].name, tasks.task_index.tolist()) == ("task", "look", [0])
    for number, episode in enumerate(episodes.itertuples(index=False)):
        row = dict(zip(episodes.columns, episode, strict=True))
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        frames = pd.read_parquet(folder / info["data_path"].format(**place))
        frames = frames[frames.episode_index == number]
        assert frames["index"].tolist() == list(range(row["dataset_from_index"], row["dataset_to_index"]))
        keys = {key: row[f"videos/{VIDEO}/{key}"] for key in ("chunk_index", "file_index")}
        shown = video(folder / info["video_path"].format(video_key=VIDEO, **keys))
        wanted = pictures(len(frames), number).astype(int)
        for item in frames.itertuples():
            at = row[f"videos/{VIDEO}/from_timestamp"] + item.timestamp
            time, rgb = min(shown, key=lambda pair: abs(pair[0] - at))
            assert abs(time - at) < 1e-4, "the tolerance of LeRobot"
            if item.frame_index != NO_FACE:
                assert np.abs(rgb - wanted[item.frame_index]).mean() < 12
        assert frames["observation.face"].tolist()[:3] == [1, 2, 0]
        assert np.array_equal(frames["observation.source_time_s"], coloured.sample(number)["time_s"])
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("file-*"))
    assert len(files) == 2 * 3


def test_the_features_are_those_of_the_columns(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "lerobot")
    features = read_json(folder / "meta/info.json")["features"]
    schema = pq.read_schema(folder / "data/chunk-000/file-000.parquet")
    assert set(features) == {*schema.names, VIDEO}
    assert features[VIDEO]["shape"] == [SIZE_PX, SIZE_PX, 3]
    assert features["observation.landmarks"] == {"dtype": "float32", "shape": [478, 3], "names": None}
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    for name, feature in features.items():
        if feature["shape"] == [1]:
            assert str(schema.field(name).type) == {"float32": "float", "float64": "double"}.get(
                feature["dtype"], "int64"
            )
    assert pq.ParquetFile(folder / "data/chunk-000/file-000.parquet").num_row_groups == 3, "one per episode"


def test_statistics_are_those_of_all_rows(coloured: Dataset, export_to: Export) -> None:
    folder, _ = export_to(coloured, "lerobot", "frames_per_part=16")
    stats = read_json(folder / "meta/stats.json")
    rows = np.concatenate([np.asarray(sample["box"], float) for sample in coloured])
    rows = rows[np.isfinite(rows).all(axis=1)]
    found = stats["observation.box"]
    assert found["count"] == [len(rows)]
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(found[name], getattr(rows, name)(axis=0)), name
    assert np.shape(stats[VIDEO]["mean"]) == (3, 1, 1)
    assert 0.2 < np.mean(stats[VIDEO]["mean"]) < 0.9
    assert all(np.isfinite(value).all() for entry in stats.values() for value in entry.values())


def test_what_has_no_one_frame_rate_is_refused(tmp_path: Path, export_to: Export) -> None:
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), is_vfr=True)
    with pytest.raises(ConfigError, match=r"one frame rate.*25 frames/s, some of them varying; make .* fps=25"):
        export_to(dataset, "lerobot")
    assert not (tmp_path / "lerobot-export").exists()


def test_a_rate_that_is_no_whole_number_stays_exact(tmp_path: Path, export_to: Export) -> None:
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), counts=(4,), fps=30000 / 1001)
    folder, _ = export_to(dataset, "lerobot")
    assert read_json(folder / "meta/info.json")["fps"] == pytest.approx(29.97003, abs=1e-5)
    with av.open(str(folder / f"videos/{VIDEO}/chunk-000/file-000.mp4")) as container:
        assert container.streams.video[0].average_rate * 1001 == 30000


@pytest.mark.slow
def test_its_own_loader_reads_every_frame(coloured: Dataset, export_to: Export, tmp_path: Path) -> None:
    """MIEN_LEROBOT_PYTHON: a Python of an environment of its own that has `lerobot` (0.4.4 was tried)."""
    python = os.environ.get("MIEN_LEROBOT_PYTHON")
    if not python:
        pytest.skip("needs MIEN_LEROBOT_PYTHON, a Python that has lerobot")
    folder, _ = export_to(coloured, "lerobot", "frames_per_part=16", "video.crf=4")
    words = [python, "-c", LEROBOT, str(folder), str(tmp_path / "read.npz")]
    subprocess.run(words, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""})
    found = np.load(tmp_path / "read.npz")
    lengths = [len(sample) for sample in coloured]
    assert found["episode_index"].tolist() == [float(n) for n, length in enumerate(lengths) for _ in range(length)]
    assert found["frame_index"].tolist() == [float(row) for length in lengths for row in range(length)]
    assert np.allclose(found["timestamp"], found["frame_index"] / 25)
    assert found["last"].tolist() == [2] * lengths[2]
    assert found["mean"].shape == (3, 1, 1)
    wanted = np.concatenate([pictures(length, number) for number, length in enumerate(lengths)])
    errors = np.abs(255 * found["shown"].transpose(0, 2, 3, 1) - wanted).mean(axis=(1, 2, 3))
    assert errors[found["frame_index"] != NO_FACE].max() < 6, "also in colour, which it reads without the tags"
