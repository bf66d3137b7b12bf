"""`mien clips search` and keyword plans, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import assert_refused

MARKED = "[0.000] please smile [3.555] now look sad [6.1] thanks"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.json"
    path.write_text(json.dumps([{"video_path": "a.mp4", "transcription_timestamp": MARKED}]))
    return path


def test_the_search_is_printed_or_written(run: Any, corpus: Path, tmp_path: Path) -> None:
    words = ("clips", "search", f"transcripts={corpus}", "keywords=[smile,sad]")
    printed = run(*words)
    assert printed.code == 0
    assert json.loads(printed.out)["videos"][0]["keywords"] == {"smile": [3.555], "sad": [6.1]}
    written = run(*words, f"output={tmp_path}/result.json")
    assert written.code == 0
    assert "matches                smile 1, sad 1" in written.out
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(printed.out)


def test_options_may_stand_in_a_file(run: Any, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("keywords: [smil]\nmatch: substring\nanchor: segment_start\n")
    ended = run("clips", "search", tmp_path / "search.yaml", f"transcripts={corpus}")
    assert json.loads(ended.out)["videos"][0]["keywords"] == {"smil": [0.0]}


def test_a_keyword_that_never_occurs_ends_with_3_and_the_result_is_there(run: Any, corpus: Path) -> None:
    ended = run("clips", "search", f"transcripts={corpus}", "keywords=[smile,xyzzy]")
    assert ended.code == 3
    assert json.loads(ended.out)["total_videos"] == 1
    assert ended.complaints == [
        f"mien: {corpus}: 'xyzzy': 0 matches in 1 transcripts; the other 1 keywords have 1. Leave it out, or match "
        "substrings"
    ]


def test_what_is_wrong_with_the_words_is_one_line(run: Any, corpus: Path) -> None:
    assert_refused(run("clips", "search"), 2, "transcripts: is required", "transcripts=PLACE")
    assert_refused(run("clips", "search", "transcripts=x", "keyword=[a]"), 2, "did you mean keywords?")
    assert_refused(run("clips", "search", f"transcripts={corpus}", "keywords=[a,A]"), 2, "keywords: one stands twice")
    assert_refused(run("clips", "search", f"transcripts={corpus}", "match=regex", "keywords=['(']"), 2, "'(' is not a")


def test_a_plan_tells_the_matches_of_every_keyword(run: Any, faces_dir: Path, corpus: Path, tmp_path: Path) -> None:
    entry = [{"video_path": "d18.mp4", "transcription_timestamp": MARKED}]
    corpus.write_text(json.dumps(entry))
    words = (f"source={faces_dir}", f"output={tmp_path}/out", "clips.kind=keyword", f"clips.transcripts={corpus}")
    ended = run("plan", *words, "clips.keywords=[smile,sad,xyzzy]", "--no-estimate")
    assert ended.code == 3, ended.err
    assert "smile    1            1" in ended.out
    assert "xyzzy    0            0" in ended.out
    assert "left_out      without a transcript 7" in ended.out
    assert "0 matches in 1 transcripts" in ended.complaints[0]
    assert json.loads((tmp_path / "out" / "matches.json").read_text())["keywords"]["sad"]["num_matches"] == 1
    again = run("plan", *words, "clips.keywords=[smile,sad,xyzzy]", "--no-estimate", "--json")
    assert again.code == 3
    assert json.loads(again.out)["matches"]["keywords"]["xyzzy"] == {"num_matches": 0, "num_videos": 0}


def test_nothing_is_written_where_there_is_no_clip(run: Any, faces_dir: Path, tmp_path: Path) -> None:
    ended = run("plan", f"source={faces_dir}", f"output={tmp_path}/out", "clips.kind=keyword", "--no-estimate")
    assert_refused(ended, 3, "no clip of kind keyword in 8 videos: 8 without a transcript")
    assert not (tmp_path / "out" / "config.yaml").exists()
