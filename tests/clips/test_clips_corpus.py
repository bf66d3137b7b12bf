import json
from pathlib import Path
from typing import Any

import pytest

from mien.clips.corpus import Entry, entries
from mien.errors import ConfigError, PreflightError

ENTRY = {
    "video_path": "part_1/1140/1140_02.mp4",
    "subject_id": 1140,
    "age": "34",
    "gender": "Female",
    "skin-type": 3,
    "is_dark": False,
    "transcription": "please smile",
    "transcription_timestamp": "[0.000] please smile [3.555]",
    "duration_ms": 41500,
}


def write(folder: Path, values: Any) -> str:
    path = folder / "corpus.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return str(path)


def test_a_list_of_videos_says_who_is_in_them_and_what_is_said(tmp_path: Path) -> None:
    labels = {"age": "34", "gender": "Female", "skin_type": 3, "is_dark": False}
    expected = Entry(ENTRY["video_path"], "1140", labels, 41.5, "[0.000] please smile [3.555]")  # type: ignore[arg-type]
    assert list(entries(write(tmp_path, [ENTRY]))) == [expected]
    assert list(
        entries(write(tmp_path, {"total_videos": 1, "videos": [{**ENTRY, "keywords": {"smile": [3.555]}}]}))
    ) == [expected]


def test_subjects_with_their_files_say_which_are_dark(tmp_path: Path) -> None:
    about = {
        "files": ["7/a.mp4", "7/b.mp4"],
        "dark_files": ["7/b.mp4", "7/c.mp4"],
        "label": {"age": 50, "skin-type": "2"},
    }
    found = list(entries(write(tmp_path, {"7": about, "8": {"files": ["8/a.mp4"]}})))
    assert [(each.name, each.subject, each.labels.get("is_dark")) for each in found] == [
        ("7/a.mp4", "7", False),
        ("7/b.mp4", "7", True),
        ("7/c.mp4", "7", True),
        ("8/a.mp4", "8", False),
    ]
    assert found[0].labels == {"age": 50, "skin_type": "2", "is_dark": False}
    assert found[0].marked_text is None


@pytest.mark.parametrize(
    "values", ["{", "3", '"text"', "[3]", '[{"subject_id": 3}]', '{"7": {"label": {}}}', '{"7": [1]}']
)
def test_what_is_no_corpus_is_one_line(tmp_path: Path, values: str) -> None:
    path = write(tmp_path, values)
    with pytest.raises(ConfigError, match=r"corpus.json: is no (corpus|JSON): ") as error:
        list(entries(path))
    assert "\n" not in str(error.value)


def test_a_corpus_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"gone.json: does not exist"):
        list(entries(str(tmp_path / "gone.json")))
