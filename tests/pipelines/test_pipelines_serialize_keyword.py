"""Keyword clips of real videos from their transcripts to the dataset, through a real Ray."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import mien.datasets
from mien.datasets.forget import forget
from mien.datasets.verify import verify
from mien.errors import NothingFound
from mien.pipelines.serialize import SerializeConfig, SerializeReport, run, serialize
from mien.storage.local import LocalStore

CUES = {
    "d18": [(0.5, "Now a happy face"), (3.0, "and a surprised one"), (5.0, "be neutral")],
    "s13": [(0.5, "Bitte lächeln: smïle!"), (2.0, "danke"), (99.0, "smile after the end")],
}


def stamp(seconds: float) -> str:
    return f"00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d},{round(seconds % 1 * 1000):03d}"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    """Two short real videos with transcripts, one in UTF-16, and what is known of who is in them."""
    folder = tmp_path_factory.mktemp("spoken")
    for (name, cues), encoding in zip(CUES.items(), ("utf-16", "latin-1"), strict=True):
        (folder / f"{name}.mp4").write_bytes((faces_dir / f"{name}.mp4").read_bytes())
        lines = [f"{n}\n{stamp(at_s)} --> {stamp(at_s + 1)}\n{text}\n" for n, (at_s, text) in enumerate(cues, 1)]
        (folder / f"{name}.srt").write_bytes("\n".join(lines).encode(encoding))
    (folder / "people.csv").write_text("source,subject,age,skin_type\nd18.mp4,18,34,2\ns13.mp4,13,51,5\n")
    return folder


@pytest.fixture(autouse=True)
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


def config(videos: Path, output: Path, *keywords: str) -> SerializeConfig:
    values: dict[str, Any] = {"crop": {"size_px": 64}, "cluster": {"num_cpus": 2}, "fps": 5}
    values |= {"clips": {"kind": "keyword", "keywords": list(keywords), "length_s": 1.0}}
    values |= {"annotations": {"path": str(videos / "people.csv")}}
    return SerializeConfig.parse({**values, "source": str(videos), "output": str(output)}, "test")


@pytest.fixture(scope="module")
def report(
    local_ray: None, videos: Path, assets_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> SerializeReport:
    """One run that looks for a keyword too many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_ASSETS", str(assets_dir))
        return run(config(videos, tmp_path_factory.mktemp("said") / "out", "happy", "surprised", "smile", "xyzzy"))


def test_what_was_said_and_who_said_it_stay_with_the_clips(report: SerializeReport) -> None:
    assert (report.num_clips, report.num_failed) == (2, 0)
    dataset = mien.datasets.open(report.path)
    assert (verify(dataset)["problems"], verify(dataset)["foreign"]) == ([], [])
    # d18 lasts 7.2 s: happy at 3 goes to 4; surprised at 5 cannot go to 6, so to 4 as well: one clip of two matches.
    # s13 lasts 4.12 s: smile at 2 cannot go to 3, so to 1; what is said at 99 s is beyond its end.
    told = ("keyword", "keyword_s", "start_s", "end_s", "text", "subject")
    assert [tuple(row[key] for key in told) for row in dataset.index.to_pylist()] == [
        ("happy", 3.0, 4.0, 5.0, "Now a happy face and a surprised one", "18"),
        ("smile", 2.0, 1.0, 2.0, "Bitte lächeln: smïle!", "13"),
    ]
    assert [sample.matches for sample in dataset] == [[("happy", 3.0), ("surprised", 5.0)], [("smile", 2.0)]]
    assert [sample.labels for sample in dataset] == [{"age": "34", "skin_type": "2"}, {"age": "51", "skin_type": "5"}]
    assert [float(np.asarray(sample["time_s"])[0]) for sample in dataset] == pytest.approx([4.0, 1.0], abs=0.1)
    card = (Path(report.path) / "README.md").read_text()
    assert "| `skin_type` | `2`: 1, `5`: 1 |" in card
    assert "| keyword | `happy`: 1, `smile`: 1, `surprised`: 1 |" in card


def test_the_run_ends_with_what_was_not_found_also_when_there_is_nothing_left_to_do(
    report: SerializeReport, local_ray: None, videos: Path
) -> None:
    matches = json.loads((Path(report.path) / "matches.json").read_text())
    assert matches["keywords"]["xyzzy"] == {"num_matches": 0, "num_videos": 0}
    assert matches["times"] == {"unchanged": 0, "forward": 1, "reverse": 2, "skipped": 0, "beyond": 1}
    with pytest.raises(NothingFound, match=r"finished: 'xyzzy': 0 matches in 2 transcripts") as error:
        report.check(0.0)
    assert error.value.exit_code == 3
    with pytest.raises(NothingFound, match="'xyzzy'"):
        serialize(config(videos, Path(report.path), "happy", "surprised", "smile", "xyzzy"))


def test_who_is_forgotten_leaves_no_word(report: SerializeReport, tmp_path: Path) -> None:
    shutil.copytree(report.path, tmp_path / "copy")
    forget(LocalStore(tmp_path / "copy"), "13")
    left = [path for path in (tmp_path / "copy").rglob("*") if path.is_file() and path.suffix != ".png"]
    texts = [pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes() for path in left]
    assert not [path for path, text in zip(left, texts, strict=True) if "lächeln" in str(text) or "'51'" in str(text)]
    assert any("a happy face" in str(text) for text in texts)
