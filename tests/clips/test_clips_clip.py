import math

from mien import schema
from mien.clips.clip import Clip, Scores, Source, unfit, why_unfit

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


def test_a_label_does_not_change_the_id() -> None:
    assert Clip(SOURCE._replace(subject="anna")).clip_id == Clip(SOURCE).clip_id


def test_a_row_has_the_columns_of_the_plan() -> None:
    row = Clip(SOURCE).to_row()
    assert list(row) == schema.names(schema.PLAN)
    assert row["end_s"] == math.inf


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
