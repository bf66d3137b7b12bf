"""Where keywords are found, and at which time."""

import json
from typing import Any

import pytest

from mien.clips.matching import DEFAULT_KEYWORDS, Matcher, MatchingConfig, fold
from mien.clips.transcript import Transcript, from_markers, in_order, parse
from mien.errors import ConfigError

MARKED = "[0.000] please smile [3.555] now look sad [6.1] thanks"


def times(transcript: Transcript | str, *keywords: str, **values: Any) -> list[tuple[str, float]]:
    said = in_order(from_markers(transcript)) if isinstance(transcript, str) else transcript
    config = MatchingConfig.parse({"keywords": list(keywords), **values}, "test")
    return [(found.keyword, found.time_s) for found in Matcher(config).find(said)]


def test_check_3_a_keyword_happens_at_the_next_marker() -> None:
    assert times(MARKED, "smile", "sad") == [("smile", 3.555), ("sad", 6.1)]
    assert times(MARKED, *DEFAULT_KEYWORDS) == [("smile", 3.555), ("sad", 6.1)]


def test_in_the_last_segment_the_own_marker_counts() -> None:
    assert times(MARKED, "thanks") == [("thanks", 6.1)]
    assert times("[0.000] please smile [3.555]", "smile") == [("smile", 3.555)]


def test_a_marker_after_which_nothing_is_said_is_the_next_one() -> None:
    assert times("[0.5] smile [1.5] [2.5] sad", "smile") == [("smile", 1.5)]


def test_the_start_of_the_segment_is_another_anchor() -> None:
    assert times(MARKED, "smile", "sad", anchor="segment_start") == [("smile", 0.0), ("sad", 3.555)]


@pytest.mark.parametrize("keyword", ["sad", "natural", "happy"])
def test_words_are_whole_words_unless_substrings_are_asked_for(keyword: str) -> None:
    text = f"[1.0] un{keyword}ness [2.0] nothing"
    assert times(text, keyword) == []
    assert times(text, keyword, match="substring") == [(keyword, 2.0)]


@pytest.mark.parametrize("said", ["SMILE!", "Smíle,", "¡smile?", "“smile”", "smile's", "now-smile"])
def test_case_accents_and_punctuation_do_not_matter(said: str) -> None:
    assert times(f"[1.0] {said} [2.0] x", "smile") == [("smile", 2.0)]
    assert times("[1.0] smile [2.0] x", "SMÍLE") == [("SMÍLE", 2.0)]


def test_folding_is_that_of_unicode() -> None:
    assert fold("ÀÉÎõü ẞ ﬁ") == "aeiou ss fi"


def test_a_phrase_may_be_broken_by_punctuation_and_by_the_end_of_a_cue() -> None:
    text = "[1.0] Now: look, [2.0] sad please [3.0] x"
    assert times(text, "look sad") == [("look sad", 3.0)]
    assert times(text, "look sad", anchor="segment_start") == [("look sad", 1.0)]
    assert times(text, "look sad", match="substring") == []


def test_a_regular_expression_stays_in_its_cue() -> None:
    text = "[1.0] happier [2.0] unhappy [3.0] HAPPY face [4.0] x"
    assert times(text, r"^happ(y|ier)", match="regex") == [("^happ(y|ier)", 2.0), ("^happ(y|ier)", 4.0)]
    assert times(text, "happier.*face", match="regex") == []
    assert times(text, "x*", match="regex") == [("x*", 4.0)], "a match of nothing is none"


def test_one_keyword_at_one_time_counts_once() -> None:
    assert times("[1.0] smile, smile, smile [2.0] x", "smile") == [("smile", 2.0)]


def whisper(words: list[tuple[str, float, float]], text: str) -> Transcript:
    listed = [{"word": word, "start": start, "end": end} for word, start, end in words]
    segment = {"start": words[0][1], "end": words[-1][2], "text": text, "words": listed}
    later = {"start": 9.0, "end": 9.5, "text": " look sad"}
    return parse(json.dumps({"segments": [segment, later]}).encode(), "a.json")


def test_words_with_times_give_start_and_end() -> None:
    transcript = whisper(
        [(" Now,", 1.0, 1.2), (" look", 1.3, 1.6), (" sad.", 2.0, 2.4), (" Sad", 3.0, 3.3)], " Now, look sad. Sad"
    )
    assert times(transcript, "look sad", anchor="word_start") == [("look sad", 1.3), ("look sad", 9.0)]
    assert times(transcript, "look sad", anchor="word_end") == [("look sad", 2.4), ("look sad", 9.5)]
    assert times(transcript, "sad", anchor="word_start") == [("sad", 2.0), ("sad", 3.0), ("sad", 9.0)]


def test_a_word_without_a_time_counts_as_its_cue_and_that_is_told() -> None:
    config = MatchingConfig(keywords=("sad",), anchor="word_start")
    found = Matcher(config).find(whisper([(" very", 1.0, 1.2)], " very sad"))
    assert [(each.time_s, each.has_words) for each in found] == [(1.0, False), (9.0, False)]


def test_words_of_a_language_without_spaces() -> None:
    transcript = whisper([("笑", 1.0, 1.2), ("顔", 1.2, 1.5)], "笑顔")
    assert times(transcript, "笑顔", match="substring", anchor="word_end") == [("笑顔", 1.5)]


def test_the_text_of_a_match_stays_with_it() -> None:
    config = MatchingConfig(keywords=("look sad",))
    (found,) = Matcher(config).find(in_order(from_markers("[1.0] Now: look, [2.0] Sád please [3.0] x")))
    assert found.text == "Now: look, Sád please"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"keywords": []}, "keywords"),
        ({"keywords": ["smile", "Smíle"]}, "stands twice"),
        ({"keywords": ["!"]}, "'!' has no letter or digit"),
        ({"keywords": [" "], "match": "substring"}, "is empty"),
        ({"keywords": ["("], "match": "regex"}, "is not a regular expression"),
        ({"match": "fuzzy"}, "match"),
        ({"anchor": "middle"}, "anchor"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MatchingConfig.parse(values, "x.yaml")
