"""Sound in both formats and as files, against the samples that were given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.forget import forget
from mien.datasets.frames import serialize, to_table
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.inspect import summarize
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.datasets.sound import borders, join, split
from mien.datasets.verify import verify
from mien.errors import DatasetError, StorageError
from mien.pipelines.sink import Target, write_clips
from mien.pipelines.sound import SOUND_FILE
from mien.storage.local import LocalStore
from mien.video.audio import AudioClip
from sample_datasets import PROVENANCE, SIZE_PX, make_clip, make_columns

RATE_HZ = 8000
NUM_FRAMES = 6


def samples_of(number: int, num_channels: int = 2) -> np.ndarray:
    """Noise float32 [channels, n] for six frames at 25 fps, on the steps of 16 bits."""
    noise = np.random.default_rng(number).integers(-32767, 32768, (num_channels, NUM_FRAMES * RATE_HZ // 25))
    return (noise / np.float32(32767)).astype(np.float32)


def made(number: int, suffix: str, is_silent: bool = False) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    clip, columns = make_clip(number), make_columns(make_clip(number).clip_id, NUM_FRAMES, seed=number)
    runs = split(AudioClip(samples_of(number), RATE_HZ), columns["time_s"])
    facts = {"width_px": 64, "height_px": 48, "rotation_deg": 0, "fps": 25.0, "is_vfr": False, "time_base_num": 1}
    facts |= {"time_base_den": 25, "audio_rate_hz": 0 if is_silent else RATE_HZ, SOUND_FILE: suffix}
    facts |= {"audio_channels": 0 if is_silent else 2}
    frames = to_table({**columns, "audio": [b""] * NUM_FRAMES if is_silent else runs})
    return {**clip.to_row(), **facts}, serialize(frames), {}


def make(root: Path, kind: Any, suffix: str) -> Dataset:
    """Three clips with sound and one without, in two shards."""
    store = LocalStore(root)
    store.put_new(CONFIG, f"crop: {{size_px: {SIZE_PX}}}\nfps: null\n".encode())
    index.write_plan(store, (make_clip(number).to_row() for number in range(4)))
    write_clips(Target(str(root), "run", kind, {}), [made(0, suffix), made(1, suffix)])
    write_clips(Target(str(root), "run", kind, {}), [made(2, suffix), made(3, suffix, is_silent=True)])
    return publish(store, CardConfig(), PreviewConfig(), PROVENANCE)


@pytest.fixture(params=["parquet", "hdf5", "flac", "wav"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    kind = Hdf5Config() if request.param == "hdf5" else ParquetConfig()
    return make(tmp_path / "out", kind, f".{request.param}" if request.param in {"flac", "wav"} else "")


def test_what_was_given_comes_back_exactly(dataset: Dataset) -> None:
    for number in range(3):
        clip = dataset[make_clip(number).clip_id].audio()
        assert (clip.rate_hz, clip.start_s, clip.samples.dtype) == (RATE_HZ, 0.0, np.float32)
        np.testing.assert_array_equal(clip.samples, samples_of(number))


def test_a_slice_begins_with_its_first_frame(dataset: Dataset) -> None:
    clip = dataset[make_clip(0).clip_id].audio(0.05, 0.13)
    assert clip.start_s == pytest.approx(0.08)
    np.testing.assert_array_equal(clip.samples, samples_of(0)[:, 640:1280])
    nothing = dataset[make_clip(0).clip_id].audio(5, 6)
    assert nothing.samples.shape == (2, 0)
    assert np.isnan(nothing.start_s)


def test_a_clip_without_sound_is_there_and_the_index_says_so(dataset: Dataset) -> None:
    sample = dataset[make_clip(3).clip_id]
    assert (sample.row["audio_rate_hz"], sample.row["audio_channels"], sample.row["audio_file"]) == (0, 0, None)
    assert sample.audio().samples.shape == (0, 0)
    assert summarize(dataset)["sound"] == {"8000 Hz x 2": 3, "none": 1}


def test_the_dataset_is_whole_and_its_files_are_vouched_for(dataset: Dataset) -> None:
    result = verify(dataset)
    assert result["problems"] == []
    assert result["foreign"] == []
    files = [row["audio_file"] for row in dataset.index.to_pylist() if row["audio_file"]]
    assert len(files) in {0, 3}
    assert {*files} <= {file["name"] for file in dataset.record["files"]}


def test_forgetting_takes_the_sound_along_and_leaves_the_others(dataset: Dataset) -> None:
    store = LocalStore(Path(dataset.uri))
    before = {entry.name for entry in store.list("data/")}
    theirs = dataset[make_clip(0).clip_id].row
    assert forget(store, "s0") is not None
    after = Dataset(store)
    assert verify(after)["problems"] == []
    assert {theirs["file"], theirs["audio_file"]} & {entry.name for entry in store.list("data/")} == set()
    np.testing.assert_array_equal(after[make_clip(1).clip_id].audio().samples, samples_of(1))
    is_in_files = bool(theirs["audio_file"])
    assert len({entry.name for entry in store.list("data/")}) == len(before) - is_in_files
    with pytest.raises(KeyError):
        after[make_clip(0).clip_id]


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_damaged_sound_file_is_refused(tmp_path: Path, harm: str) -> None:
    dataset = make(tmp_path / "out", ParquetConfig(), ".flac")
    sample = dataset[make_clip(0).clip_id]
    path = tmp_path / "out" / sample.row["audio_file"]
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DatasetError, match=r"SHA-256 differs|does not exist"):
        sample.audio()
    assert verify(dataset)["problems"]
    with pytest.raises((DatasetError, StorageError), match=r"SHA-256 differs|does not exist"):
        forget(LocalStore(tmp_path / "out"), "s1")


def test_damaged_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="3 bytes of sound are no samples of 2 channels"):
        join([b"abc"], 2)
    with pytest.raises(DatasetError, match="0 channels"):
        join([b"abcd"], 0)


def test_a_dataset_made_without_sound_says_so(tmp_path: Path) -> None:
    from sample_datasets import make_finished

    dataset = make_finished(LocalStore(tmp_path / "out"), ParquetConfig())
    with pytest.raises(KeyError, match="made without sound"):
        dataset[make_clip(0).clip_id].audio()
    assert summarize(dataset)["sound"] == {}


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_all_of_the_sound_whatever_the_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times_s = 7.3 + np.cumsum(rng.uniform(0.001, 0.3, 50))
    clip = AudioClip((rng.integers(-32767, 32768, (3, 44100 * 9)) / np.float32(32767)).astype(np.float32), 44100)
    runs = split(clip, times_s)
    np.testing.assert_array_equal(join(runs, 3), clip.samples)
    starts = np.cumsum([0, *(len(run) // 6 for run in runs)])
    np.testing.assert_array_equal(starts, borders(times_s, 44100, 44100 * 9))
    inside = starts[:-1] < 44100 * 9
    np.testing.assert_allclose(starts[:-1][inside] / 44100, (times_s - times_s[0])[inside], atol=0.5 / 44100 + 1e-9)
