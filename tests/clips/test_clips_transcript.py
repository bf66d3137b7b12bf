"""Every kind of transcript, in every encoding, and what is wrong with real ones."""

import json

import pytest

from mien.clips.transcript import Segment, Transcript, Word, from_markers, in_order, parse, to_markers
from mien.errors import TranscriptError

SRT = """1
00:00:01,000 --> 00:00:02,500
Please <i>smile</i>

2
00:00:03,250 --> 00:00:04,000
now look
{\\an8}sad &amp; tired

"""
VTT = """WEBVTT - made up

NOTE nobody says this

00:01.000 --> 00:02.500 align:start
<v Roger>Please <c.loud>smile</c>

second
00:00:03.250 --> 00:00:04.000
now<00:00:03.400><c> look</c><00:00:03.800> sad &amp; tired

STYLE
::cue { color: red }
"""
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,20

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:03.25,0:00:04.00,Default,,0,0,0,,now look\\Nsad & tired
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,Please {\\b1}smile{\\b0}
Comment: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,nobody says this
Dialogue: 0,0:00:07.00,0:00:08.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
"""
WHISPER = {
    "text": "Please smile now look sad & tired",
    "language": "en",
    "segments": [
        {"id": 0, "start": 1.0, "end": 2.5, "text": " Please smile"},
        {"id": 1, "start": 3.25, "end": 4.0, "text": " now look sad & tired"},
    ],
}
SAID = [Segment(1.0, 2.5, "Please smile"), Segment(3.25, 4.0, "now look sad & tired")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.srt", SRT),
        ("a.SRT", SRT.replace("\n", "\r\n")),
        ("a.vtt", VTT),
        ("a.ass", ASS),
        ("a.json", json.dumps(WHISPER)),
    ],
)
def test_every_kind_says_the_same(name: str, text: str) -> None:
    assert parse(text.encode(), name).segments == SAID


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_every_encoding_says_the_same(encoding: str) -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\nträurig, déçu, ¿sí?\n"
    assert [each.text for each in parse(text.encode(encoding), "a.srt").segments] == ["träurig, déçu, ¿sí?"]


def test_bytes_that_windows_does_not_know_are_latin_1() -> None:
    assert parse(b"1\n00:00:01,000 --> 00:00:02,000\n\xe9\x81t\xe9\n", "a.srt").segments[0].text == "é\x81té"


def test_overlapping_empty_unordered_and_negative_cues() -> None:
    text = """1
00:00:05,000 --> 00:00:09,000
late

2
00:00:01,000 --> 00:00:06,000
early and overlapping

3
00:00:03,000 --> 00:00:04,000

4
00:00:08,000 --> 00:00:07,000
ends before it begins

5
-00:00:02,000 --> 00:00:01,500
begins before the video
"""
    transcript = parse(text.encode(), "a.srt")
    assert transcript.segments == [
        Segment(0.0, 1.5, "begins before the video"),
        Segment(1.0, 6.0, "early and overlapping"),
        Segment(5.0, 9.0, "late"),
        Segment(8.0, 8.0, "ends before it begins"),
    ]
    assert transcript.markers == [0.0, 1.0, 3.0, 5.0, 8.0], "nothing is said at 3 s, but a cue begins"


def test_whisper_with_words_and_with_words_beside_the_segments() -> None:
    words = [{"word": " Please", "start": 1.0, "end": 1.5}, {"word": " smile", "start": 1.6, "end": 2.4, "score": 0.9}]
    unplaced = {"word": "2024"}
    kept = (Word("Please", 1.0, 1.5), Word("smile", 1.6, 2.4))
    inside = {"segments": [{**WHISPER["segments"][0], "words": [*words, unplaced]}, WHISPER["segments"][1]]}  # type: ignore[index, dict-item]
    beside = {"segments": WHISPER["segments"], "words": words}
    for values in (inside, beside):
        assert [each.words for each in parse(json.dumps(values).encode(), "a.json").segments] == [kept, ()]
    alone = parse(json.dumps({"words": words}).encode(), "a.json").segments
    assert alone == [Segment(1.0, 1.5, "Please", kept[:1]), Segment(1.6, 2.4, "smile", kept[1:])]


def test_markers_of_a_corpus_divide_the_text() -> None:
    segments = from_markers("[0.000] please smile [3.555] now look sad [6.1] thanks", duration_s=8.0)
    assert [(each.start_s, each.end_s, each.text.strip()) for each in segments] == [
        (0.0, 3.555, "please smile"),
        (3.555, 6.1, "now look sad"),
        (6.1, 8.0, "thanks"),
    ]
    entry = json.dumps({"transcription_timestamp": "[0.5] one [2.5]", "duration_ms": 3000}).encode()
    assert parse(entry, "a.json") == Transcript([Segment(0.5, 2.5, "one")], [0.5, 2.5])


def test_what_stands_before_the_first_marker_begins_at_0() -> None:
    transcript = in_order(from_markers("hello [1.5] you, in [2020] or [7]"))
    assert [(each.start_s, each.text) for each in transcript.segments] == [
        (0.0, "hello"),
        (1.5, "you, in [2020] or [7]"),
    ]


def test_a_transcript_can_be_written_with_markers_and_read_again() -> None:
    transcript = parse(SRT.encode(), "a.srt")
    again = in_order(from_markers(to_markers(transcript)))
    assert [(each.start_s, each.text) for each in again.segments] == [(each.start_s, each.text) for each in SAID]


@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_an_empty_transcript_says_nothing(name: str) -> None:
    assert parse(b"" if name == "a.srt" else b"WEBVTT\n\n", name).segments == []


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.srt", b"no cue here", "has no cue"),
        ("a.vtt", b"1\n00:00:01,000 --> 00:00:02,000\nx\n", "does not begin with WEBVTT"),
        ("a.json", b"{", "damaged"),
        ("a.json", b"[]", "a corpus of many videos"),
        ("a.json", b'{"label": 3}', "neither segments, words nor transcription_timestamp"),
        ("a.json", b'{"segments": [{"text": "no time"}]}', "'start'"),
        ("a.json", b'{"segments": [3]}', "damaged"),
        ("a.json", b"[" * 100_000, "damaged"),
        ("a.txt", b"x", "no transcript by its ending"),
    ],
)
def test_what_is_no_transcript_is_told(name: str, data: bytes, said: str) -> None:
    with pytest.raises(TranscriptError, match=said) as error:
        parse(data, name)
    assert str(error.value).startswith("a.")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("filling", ["<a", "{", "\n", "\n 1", "-1:", "[", "[1", "1\n", "{<", "a", " ", "</a ", "00:"])
@pytest.mark.parametrize("name", ["a.srt", "a.vtt", "a.ass"])
def test_a_file_made_to_take_endless_time_does_not(name: str, filling: str) -> None:
    """With patterns that begin anew at each of its parts this would take hours."""
    head = {"a.srt": "1\n00:00:01,000 --> 00:00:02,000\n", "a.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n"}
    begun = head.get(name, ASS.partition("Dialogue")[0] + "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,")
    text = f"{begun}smile {filling * (600_000 // len(filling))}x"
    assert parse(text.encode(), name).segments[0].text.startswith("smile")


def test_signs_that_belong_to_no_tag_are_no_hindrance() -> None:
    text = "1\n00:00:01,000 --> 00:00:02,000\n1 < 2 {smile <i>sad</i> > 0\n"
    assert parse(text.encode(), "a.srt").segments[0].text == "1 2 smile sad > 0"


def test_times_that_are_no_times_are_left_out() -> None:
    values = {
        "segments": [{"start": float("inf"), "end": 2, "text": "x"}, {"start": 1, "end": float("nan"), "text": "y"}]
    }
    assert parse(json.dumps(values).encode(), "a.json").segments == [Segment(1.0, 1.0, "y")]
