"""A run that is interrupted, then one that is killed: the same command finishes, and nothing is lost or done twice."""

import json
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

import mien.datasets
from command_line import TIMEOUT_S, Ended, run_here, start_job
from hostile_videos import write_good
from mien.datasets.verify import verify

NUM_VIDEOS = 12
POLL_S = 0.02

Stopped = tuple[Ended, dict[str, list[str]]]
"""How a run ended, and what was committed by then: clips of every commit record, by its name."""


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> tuple[str, ...]:
    """Settings of a run that commits every clip by itself."""
    source, output = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("outputs") / "dataset"
    write_good(source / "0.mp4", faces_dir)
    for number in range(1, NUM_VIDEOS):
        (source / f"{number}.mp4").write_bytes((source / "0.mp4").read_bytes())
    settings = ("min_shard_mb=0", "crop.size_px=64", "cluster.num_cpus=1", "cluster.object_store_gb=0.2")
    return (f"source={source}", f"output={output}", *settings)


@pytest.fixture(scope="module")
def output(words: tuple[str, ...]) -> Path:
    return Path(words[1].removeprefix("output="))


def commits(output: Path) -> dict[str, list[str]]:
    records = {path.name: json.loads(path.read_text()) for path in (output / "commits").glob("*.json")}
    return {name: [sample["clip_id"] for sample in record["samples"]] for name, record in records.items()}


def stopped_after_a_commit(
    words: tuple[str, ...], output: Path, signal_number: signal.Signals, assets_dir: Path
) -> Ended:
    """How a run ends that gets a signal once it has committed something."""
    before = len(list(output.glob("commits/*.json")))
    with start_job(*words, MIEN_ASSETS=str(assets_dir)) as process:
        while len(list(output.glob("commits/*.json"))) == before and process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
        process.send_signal(signal_number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    return Ended(process.returncode, out, err)


@pytest.fixture(scope="module")
def interrupted(words: tuple[str, ...], output: Path, assets_dir: Path) -> Stopped:
    ended = stopped_after_a_commit(words, output, signal.SIGINT, assets_dir)
    return ended, commits(output)


@pytest.fixture(scope="module")
def killed(interrupted: object, words: tuple[str, ...], output: Path, assets_dir: Path) -> Stopped:
    ended = stopped_after_a_commit(words, output, signal.SIGKILL, assets_dir)
    return ended, commits(output)


@pytest.fixture
def leftovers(killed: object, output: Path) -> list[Path]:
    """What a kill leaves at its worst moments: a shard without its record, a draft, a half-written file."""
    names = (f"data/{'0' * 32}.parquet", ".scratch/tmpdraft/shard.parquet", f"commits/.{'0' * 32}.tmp")
    paths = [output / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    return paths


def test_an_interrupt_ends_with_130_and_one_line(interrupted: Stopped, output: Path) -> None:
    ended, done = interrupted
    assert ended.code == 130, ended.err
    assert ended.complaints == ["mien: interrupted; what is committed stays, the same command resumes"]
    assert "Traceback" not in ended.err
    assert ended.out == ""
    assert 0 < len(done) < NUM_VIDEOS
    assert not (output / "mien.json").exists()


def test_a_reader_refuses_what_is_unfinished(killed: object, output: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ended = run_here(capfd, "inspect", str(output))
    assert ended.code == 1
    assert "is unfinished" in ended.err
    assert "run the same serialize command again" in ended.err
    assert run_here(capfd, "inspect", str(output), "--unfinished").code == 0


def test_the_same_command_finishes_what_was_interrupted_and_killed(
    killed: Stopped,
    interrupted: Stopped,
    leftovers: list[Path],
    words: tuple[str, ...],
    output: Path,
    assets_dir: Path,
    local_ray: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended, done = killed
    assert ended.code == -signal.SIGKILL
    assert interrupted[1].items() < done.items(), "the second run went on where the first stopped"
    assert len(done) < NUM_VIDEOS, "it was killed in the middle"

    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    ended = run_here(capfd, "serialize", *words)

    assert ended.code == 0, ended.err
    dataset = mien.datasets.open(output)
    result = verify(dataset)
    assert result["problems"] == []
    assert result["foreign"] == []
    assert len(dataset) == NUM_VIDEOS
    assert done.items() <= commits(output).items(), "what was committed stayed"
    times = Counter(clip_id for clip_ids in commits(output).values() for clip_id in clip_ids)
    assert times == dict.fromkeys(dataset.clip_ids, 1), "no clip was made twice"
    assert [path for path in leftovers if path.exists()] == []
    assert [path.name for path in output.rglob(".*")] == []
