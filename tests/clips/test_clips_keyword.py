"""Clips at keywords: their times, the offset, the ends of the video, and what stays with a clip."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.clips.clip import Clip, Match, Source
from mien.clips.keyword import Cue, KeywordConfig, Shifted, joined, shifted
from mien.clips.matching import Found
from mien.clips.rule import Rule
from mien.errors import ConfigError, MediaError


def no_probe(uri: str) -> Any:
    raise AssertionError(f"{uri} was opened")


def broken(uri: str) -> Any:
    raise MediaError(f"{uri}: broken")


MARKED = "[0.000] please smile [3.555] now look sad [6.1] thanks"


def planned(folder: Path, texts: dict[str, str], probe: Any = no_probe, **values: Any) -> tuple[list[Clip], Rule]:
    """Clips of videos of ten seconds (`name@start` begins later on its time line), by what is said in them."""
    sources = []
    for number, (name, text) in enumerate(texts.items()):
        stem, _, start_s = name.partition("@")
        length = None if probe is broken else 10.0
        sources.append(Source(f"{folder}/{stem}.mp4", number, 7, duration_s=length, start_s=float(start_s or 0)))
        (folder / f"{stem}.json").write_text(json.dumps({"transcription_timestamp": text}))
    rule = KeywordConfig.parse({"kind": "keyword", "keywords": ["smile", "sad"], **values}, "test").build(str(folder))
    return list(rule.walk(sources, lambda _: probe)), rule


@pytest.mark.parametrize(
    ("time_s", "offset_s", "duration_s", "expected"),
    [
        (9.5, 1.0, 10.0, Shifted(8.5, "reverse")),
        (0.5, 1.0, 2.0, Shifted(None, "skipped")),
        (7.0, 1.0, 10.0, Shifted(8.0, "forward")),
        (7.5, 1.0, 10.0, Shifted(6.5, "reverse")),
        (0.0, 1.0, 10.0, Shifted(1.0, "forward")),
        (1.0, -1.0, 10.0, Shifted(0.0, "forward")),
        (0.5, -1.0, 10.0, Shifted(1.5, "reverse")),
        (99.0, 0.0, 10.0, Shifted(99.0, "unchanged")),
        (99.0, 1.0, None, Shifted(100.0, "forward")),
        (0.5, -1.0, None, Shifted(None, "skipped")),
        (99.0, 1.0, 10.0, Shifted(98.0, "reverse")),
    ],
)
def test_check_4_the_offset_goes_forward_else_in_reverse_else_the_match_is_dropped(
    time_s: float, offset_s: float, duration_s: float | None, expected: Shifted
) -> None:
    assert shifted(time_s, offset_s, 2.0, duration_s) == expected


def test_a_clip_stands_where_its_keyword_is_and_keeps_what_was_said(tmp_path: Path) -> None:
    clips, _ = planned(tmp_path, {"a": MARKED}, length_s=1.5)
    assert [(clip.start_s, clip.end_s, clip.reason, clip.text) for clip in clips] == [
        (pytest.approx(4.555), pytest.approx(6.055), "keyword smile", "please smile"),
        (pytest.approx(7.1), pytest.approx(8.6), "keyword sad", "now look sad"),
    ]
    row = clips[1].to_row()
    assert (row["keyword"], row["keyword_s"], json.loads(row["matches"])) == ("sad", 6.1, [["sad", 6.1]])


def test_times_are_told_on_the_time_line_of_the_container(tmp_path: Path) -> None:
    (clip, _), _ = planned(tmp_path, {"a@1.4": MARKED}, offset_s=0)
    assert (clip.start_s, clip.matches) == (pytest.approx(4.955), (Match("smile", pytest.approx(4.955)),))


def test_clips_that_overlap_are_merged_or_kept(tmp_path: Path) -> None:
    text = "[0.0] smile [1.0] sad [2.0] x [5.0] smile and sad [6.0] x"
    merged, _ = planned(tmp_path, {"a": text}, offset_s=0)
    assert [(clip.start_s, clip.end_s) for clip in merged] == [(1.0, 4.0), (6.0, 8.0)]
    assert [clip.matches for clip in merged] == [
        (Match("smile", 1.0), Match("sad", 2.0)),
        (Match("smile", 6.0), Match("sad", 6.0)),
    ]
    assert [clip.text for clip in merged] == ["smile sad", "smile and sad"]
    assert [clip.reason for clip in merged] == ["keyword smile, sad"] * 2
    kept, _ = planned(tmp_path, {"a": text}, offset_s=0, overlaps="keep")
    assert [(clip.start_s, clip.end_s) for clip in kept] == [(1.0, 3.0), (2.0, 4.0), (6.0, 8.0)]
    assert kept[2].matches == merged[1].matches, "the same span is one clip"
    assert len({clip.clip_id for clip in (*merged, *kept)}) == 4


def test_spans_that_touch_stay_apart() -> None:
    found = (Found("smile", 0.0, "x"),)
    cues = [Cue(2.0, 4.0, found), Cue(0.0, 2.0, found), Cue(3.0, 3.5, found)]
    assert joined(cues, "merge") == [Cue(0.0, 2.0, found), Cue(2.0, 4.0, found * 2)]
    assert joined(cues, "keep") == sorted(cues)


def test_a_transcript_longer_than_its_video_plans_nothing_beyond_it(tmp_path: Path) -> None:
    text = "[0.0] smile [9.5] sad [12.0] smile [300.0] x"
    clips, rule = planned(tmp_path, {"a": text})
    assert [clip.start_s for clip in clips] == [8.5]
    assert rule.found()["times"] == {"unchanged": 0, "forward": 0, "reverse": 1, "skipped": 0, "beyond": 2}
    clips, rule = planned(tmp_path, {"a": text}, offset_s=0)
    assert [(clip.start_s, clip.end_s) for clip in clips] == [(9.5, 10.0)]
    assert rule.found()["times"]["beyond"] == 2


def test_without_a_known_length_only_forward_is_tried(tmp_path: Path) -> None:
    clips, rule = planned(tmp_path, {"a": "[0.0] smile [99.0] x"}, probe=broken)
    assert [(clip.start_s, clip.end_s) for clip in clips] == [(100.0, 102.0)]
    assert rule.found()["times"]["forward"] == 1


def test_a_video_needs_so_many_different_keywords(tmp_path: Path) -> None:
    texts = {"both": MARKED, "one": "[0.5] smile [1.0] smile [2.0] x", "none": "[0.5] hello [1.0] x"}
    clips, rule = planned(tmp_path, texts, min_keywords=2)
    assert {Path(clip.source.uri).stem for clip in clips} == {"both"}
    assert rule.left_out == {
        "with fewer than clips.min_keywords=2 different keywords": 1,
        "without any of the keywords": 1,
    }
    assert rule.found()["keywords"] == {
        "smile": {"num_matches": 3, "num_videos": 2},
        "sad": {"num_matches": 1, "num_videos": 1},
    }
    assert rule.found()["num_transcripts"] == 3


def test_a_keyword_that_never_occurs_is_counted_and_the_others_are_planned(tmp_path: Path) -> None:
    clips, rule = planned(tmp_path, {"a": MARKED}, keywords=["xyzzy", "sad"])
    assert [clip.reason for clip in clips] == ["keyword sad"]
    assert rule.found()["keywords"]["xyzzy"] == {"num_matches": 0, "num_videos": 0}


def test_a_damaged_or_missing_transcript_costs_its_video_alone(tmp_path: Path) -> None:
    sources = [Source(f"{tmp_path}/{name}.mp4", 1, 7, duration_s=10.0) for name in "abc"]
    (tmp_path / "a.srt").write_text("no cue")
    (tmp_path / "c.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nsmile\n")
    rule = KeywordConfig(keywords=("smile",)).build(str(tmp_path))
    assert [clip.source for clip in rule.walk(sources, lambda _: no_probe)] == [sources[2]]
    assert rule.left_out == {"whose transcript cannot be read": 1, "without a transcript": 1}


def test_words_without_times_are_counted(tmp_path: Path) -> None:
    _, rule = planned(tmp_path, {"a": MARKED}, anchor="word_end")
    assert rule.found()["num_without_word_times"] == 2


def test_one_corpus_serves_all_videos(tmp_path: Path) -> None:
    entries = [{"video_path": f"{name}.mp4", "transcription_timestamp": MARKED, "duration_ms": 10_000} for name in "ab"]
    (tmp_path / "corpus.json").write_text(json.dumps(entries))
    rule = KeywordConfig(transcripts=str(tmp_path / "corpus.json"), keywords=("smile",)).build(str(tmp_path))
    sources = [Source(f"{tmp_path}/{name}.mp4", 1, 7) for name in "abc"]
    assert [clip.start_s for clip in rule.walk(sources, lambda _: no_probe)] == [pytest.approx(4.555)] * 2
    assert rule.left_out == {"without a transcript": 1}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"transcript_suffixes": [".txt"]}, r"\.txt is none of"),
        ({"length_s": 0}, "length_s"),
        ({"overlaps": "x"}, "overlaps"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        KeywordConfig.parse({"kind": "keyword", **values}, "x.yaml")
