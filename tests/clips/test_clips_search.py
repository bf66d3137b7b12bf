"""The search for keywords alone, and the JSON that it gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET
from mien.clips.search import SearchConfig, search
from mien.errors import ConfigError, NothingFound, PreflightError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from tars import pack

TEXTS = {
    "1/a.mp4": "[0.000] please smile [3.555] now look sad [6.1] smile, be happy [8.0] thanks",
    "1/b.mp4": "[0.5] smile [2.0] unhappy",
    "2/c.mp4": "[0.5] nothing",
}


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    entries = [
        {"video_path": name, "subject_id": name[0], "age": "34", "gender": "f", "skin-type": "3", "is_dark": False}
        | {"transcription": "", "transcription_timestamp": text, "duration_ms": 9000}
        for name, text in TEXTS.items()
    ]
    (tmp_path / "corpus.json").write_text(json.dumps(entries))
    return str(tmp_path / "corpus.json")


def test_the_result_has_the_form_of_the_corpus_search(corpus: str) -> None:
    found = search(SearchConfig(transcripts=corpus, keywords=("smile", "sad", "happy")))
    about = {"subject_id": "1", "age": "34", "gender": "f", "skin_type": "3", "is_dark": False}
    assert found.result == {
        "search_criteria": {
            "keywords": ["smile", "sad", "happy"],
            "match": "word",
            "anchor": "next_marker",
            "min_keywords": 1,
        },
        "total_videos": 2,
        "total_keyword_matches": 5,
        "videos": [
            {
                "video_path": "1/a.mp4",
                **about,
                "transcription_timestamp": TEXTS["1/a.mp4"],
                "keywords": {"smile": [3.555, 8.0], "sad": [6.1], "happy": [8.0]},
            },
            {
                "video_path": "1/b.mp4",
                **about,
                "transcription_timestamp": TEXTS["1/b.mp4"],
                "keywords": {"smile": [2.0]},
            },
        ],
    }
    found.check(corpus)


def test_substrings_count_as_the_seed_counted_them(corpus: str) -> None:
    found = search(SearchConfig(transcripts=corpus, keywords=("smile", "happy"), match="substring"))
    assert [video["keywords"] for video in found.result["videos"]] == [
        {"smile": [3.555, 8.0], "happy": [8.0]},
        {"smile": [2.0], "happy": [2.0]},
    ]


def test_by_default_a_video_may_lack_four_of_the_keywords(corpus: str) -> None:
    keywords = ("smile", "sad", "happy", "one", "two", "three", "four")
    assert [
        video["video_path"] for video in search(SearchConfig(transcripts=corpus, keywords=keywords)).result["videos"]
    ] == ["1/a.mp4"]
    eight = search(SearchConfig(transcripts=corpus))
    assert (eight.result["search_criteria"]["min_keywords"], eight.result["total_videos"]) == (4, 0)
    assert eight.keywords["smile"] == 3, "matches are counted in all transcripts"
    assert search(SearchConfig(transcripts=corpus, min_keywords=3, keywords=keywords)).result["total_videos"] == 1


def test_a_keyword_that_never_occurs_is_told_with_the_count(corpus: str) -> None:
    found = search(SearchConfig(transcripts=corpus, keywords=("smile", "xyzzy", "sad")))
    assert found.result["total_videos"] == 2
    with pytest.raises(
        NothingFound, match=r"'xyzzy': 0 matches in 3 transcripts; the other 2 keywords have 4"
    ) as error:
        found.check(corpus)
    assert error.value.exit_code == 3


def srt(text: str) -> str:
    return f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n\n2\n00:00:03,500 --> 00:00:04,000\nbye\n"


def test_a_folder_of_transcripts_is_searched_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.srt").write_text(srt("smile"))
    (tmp_path / "deep" / "b.srt").write_text(srt("Smile"))
    (tmp_path / "c.srt").write_text("no cue")
    (tmp_path / "d.mp4").touch()
    found = search(SearchConfig(transcripts=str(tmp_path), keywords=("smile",)))
    assert [(video["video_path"], video["keywords"]) for video in found.result["videos"]] == [
        ("a.srt", {"smile": [3.5]}),
        ("deep/b.srt", {"smile": [3.5]}),
    ]
    assert found.result["videos"][0]["transcription_timestamp"] == "[1.000] smile [3.500] bye"
    assert found.num_transcripts == 2


def test_one_transcript_is_searched_also_one_of_whisper(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"segments": [{"start": 1.5, "end": 2, "text": " smile"}]}))
    found = search(SearchConfig(transcripts=str(tmp_path / "a.json"), keywords=("smile",)))
    assert [(video["video_path"], video["keywords"]) for video in found.result["videos"]] == [
        ("a.json", {"smile": [1.5]})
    ]


def test_the_result_can_be_searched_again_and_lies_where_it_is_wanted(corpus: str, emulator: Emulator) -> None:
    place = f"gs://{BUCKET}/search/result.json"
    first = search(SearchConfig(transcripts=corpus, keywords=("smile",), output=place))
    assert json.loads(GcsStore(f"gs://{BUCKET}/search").read("result.json")) == first.result
    again = search(SearchConfig(transcripts=place, keywords=("smile",)))
    assert again.result == first.result


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ({}, ConfigError, "transcripts: is required"),
        ({"transcripts": "gone.json"}, PreflightError, r"gone.json: does not exist"),
        ({"transcripts": "gone"}, PreflightError, "gone: does not exist"),
    ],
)
def test_what_cannot_be_searched_is_told(
    values: dict[str, Any], kind: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=said):
        search(SearchConfig(**values))


def test_transcripts_in_tars_are_searched(tmp_path: Path) -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
    pack(
        tmp_path / "0.tar",
        {"x/1.srt": cue.format("smile").encode(), "x/1.mp4": b"", "2.srt": cue.format("no").encode()},
    )
    found = search(SearchConfig(transcripts=str(tmp_path), keywords=("smile",), anchor="segment_start"))
    assert found.num_transcripts == 2
    assert [(each["video_path"], each["keywords"]) for each in found.result["videos"]] == [
        ("0.tar/x/1.srt", {"smile": [1.0]})
    ]
