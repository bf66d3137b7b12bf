import hashlib
import json
import math

import pytest

from mien import schema
from mien.clips.clip import Clip, Match, Scores, Source, from_labels, to_labels, unfit, why_unfit

SOURCE = Source("/videos/a.mp4", 1000, 7)


def test_the_same_inputs_give_the_same_id_for_ever() -> None:
    assert Clip(SOURCE).clip_id == "dc1953ccce516e612b64be2595909ac4"
    assert len(Clip(SOURCE).clip_id) == schema.CLIP_ID_CHARS
    assert int(Clip(SOURCE).clip_id, 16) >= 0


def test_whatever_decides_the_content_changes_the_id() -> None:
    clips = [
        Clip(SOURCE),
        Clip(SOURCE._replace(uri="/videos/b.mp4")),
        Clip(SOURCE._replace(size_bytes=1001)),
        Clip(SOURCE._replace(generation=8)),
        Clip(SOURCE, 0.5),
        Clip(SOURCE, 0.0, 3.0),
        Clip(SOURCE, reason="stride 1/1 s"),
    ]
    assert len({clip.clip_id for clip in clips}) == len(clips)


def test_what_is_known_of_a_clip_does_not_change_its_id() -> None:
    known = SOURCE._replace(subject="anna", labels='{"age":30}', duration_s=8.0)
    assert Clip(known, matches=(Match("smile", 1.5),), text="smile", labels="{}").clip_id == Clip(SOURCE).clip_id


@pytest.mark.parametrize("uri", ['/videos/ä "quoted" \\ 笑.mp4', "gs://bucket/a\tb.mp4", "/videos/\udce9.mp4"])
def test_the_id_is_the_hash_of_a_json_list(uri: str) -> None:
    clip = Clip(Source(uri, 5, 6), 0.1, 2e22, 'keyword "ä"')
    identity = [uri, 5, 6, "0.1", "2e+22", 'keyword "ä"']
    assert clip.clip_id == hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def test_a_row_has_the_columns_of_the_plan() -> None:
    row = Clip(SOURCE).to_row()
    assert list(row) == schema.names(schema.PLAN)
    assert row["end_s"] == math.inf
    assert (row["keyword"], row["keyword_s"], row["matches"], row["text"], row["labels"]) == ("", None, "", "", "")


def test_scores_are_columns_and_do_not_change_the_id() -> None:
    scored = Clip(SOURCE, scores=Scores(0.5, 0.25, 0.75))
    assert scored.clip_id == Clip(SOURCE).clip_id
    row = scored.to_row()
    assert (row["clip_score"], row["score_variation"], row["score_stability"]) == (0.5, 0.25, 0.75)
    assert Clip(SOURCE).to_row()["clip_score"] is None


def test_a_source_without_a_clip_carries_its_reason() -> None:
    assert why_unfit(unfit(SOURCE, "is too short").to_row()) == "is too short"
    assert why_unfit(Clip(SOURCE).to_row()) == ""
    assert unfit(SOURCE, "is too short").clip_id != Clip(SOURCE).clip_id


def test_a_keyword_clip_keeps_its_matches_and_labels_of_its_own_count() -> None:
    clip = Clip(SOURCE._replace(labels='{"age":30}'), 1.0, 2.0, "x", (Match("läch|el", 1.5), Match("sad", 2.0)), "Text")
    row = clip.to_row()
    assert (row["keyword"], row["keyword_s"], row["text"], row["labels"]) == ("läch|el", 1.5, "Text", '{"age":30}')
    assert json.loads(row["matches"]) == [["läch|el", 1.5], ["sad", 2.0]]
    assert clip._replace(labels='{"take":1}').to_row()["labels"] == '{"take":1}'


def test_labels_are_json_without_what_is_not_known() -> None:
    assert to_labels({"b": None, "a": 3, "c": "", "é": "ü", "d": False}) == '{"a":3,"d":false,"é":"ü"}'
    assert to_labels({"b": None}) == ""
    assert from_labels('{"a":3}') == {"a": 3}
    assert from_labels("") == from_labels(None) == {}
