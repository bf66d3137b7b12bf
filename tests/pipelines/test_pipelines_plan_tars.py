"""Plans of videos in tars: keywords, lists and annotations mean their members, too."""

import json
from pathlib import Path

import pytest

from buckets import BUCKET
from mien.errors import ConfigError
from mien.pipelines.plan import PlanConfig, preview_plan
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from tars import pack

SPEECH = b"1\n00:00:01,000 --> 00:00:03,000\nplease smile\n"


def config(source: Path | str, **values: object) -> PlanConfig:
    return PlanConfig.parse({"source": str(source), **values}, "test")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two tars of members that are videos by name."""
    folder = tmp_path / "shards"
    folder.mkdir()
    facts = {"subject": "anna", "age": 30, "label": {"skin-type": 2}}
    pack(folder / "0.tar", {"./x/1.mp4": b"1", "./x/1.json": json.dumps(facts).encode(), "./2.mp4": b"22"})
    pack(folder / "1.tar", {"1.mp4": b"333"})
    return folder


def test_a_keyword_clip_is_found_in_the_transcript_beside_a_video_in_a_tar(
    emulator: Emulator, faces_dir: Path, tmp_path: Path
) -> None:
    video = (faces_dir / "d18.mp4").read_bytes()
    facts = {"subject": "anna", "age": 30, "transcription_timestamp": "[0.000] please smile [3.000]"}
    members = {"d18.mp4": video, "d18.srt": SPEECH, "d18.json": b'{"age": 30}', "quiet.mp4": b"no video"}
    members |= {"7.mp4": video, "7.json": json.dumps(facts).encode()}
    path = pack(tmp_path / "0.tar", members)
    store = GcsStore(f"gs://{BUCKET}/spoken")
    store.replace("0.tar", path.read_bytes())
    clips = {"kind": "keyword", "keywords": ["smile"], "anchor": "segment_start"}
    for place in (tmp_path, path, store.uri):
        report, (first, second) = preview_plan(config(place, clips=clips))
        assert (first["start_s"], first["end_s"], first["keyword"], first["text"]) == (
            2.0,
            4.0,
            "smile",
            "please smile",
        )
        assert (first["subject"], first["labels"]) == ("", '{"age":30}')
        assert (second["start_s"], second["subject"], second["labels"]) == (1.0, "anna", '{"age":30}')
        assert report.left_out == {"without a transcript": 1}
        assert report.matches["keywords"]["smile"] == {"num_matches": 2, "num_videos": 2}


def test_a_damaged_tar_is_a_clip_that_says_so_also_where_keywords_choose(shards: Path) -> None:
    (shards / "2.tar").write_bytes(b"damaged")
    pack(shards / "3.tar", {"1.mp4": b"", "1.srt": SPEECH})
    (shards / "3.tar").write_bytes((shards / "3.tar").read_bytes()[:1024] + b"x" * 700)
    report, rows = preview_plan(config(shards, clips={"kind": "keyword", "keywords": ["smile"]}))
    assert [Path(row["source_uri"]).name for row in rows] == ["2.tar", "3.tar"]
    assert {row["reason"] for row in rows} == {"whole"}
    assert report.left_out == {"without a transcript": 3, "whose transcript cannot be read": 1}


@pytest.mark.parametrize("source", ["shards", "shards/*.tar", "shards/list.csv"])
def test_lists_and_annotations_call_a_member_a_name_below_its_tar(shards: Path, source: str) -> None:
    (shards / "list.csv").write_text("source,take,subject\n0.tar,5,\n1.tar,,zoe\n")
    (shards / "clips.csv").write_text("source,start_s,end_s\n0.tar/2.mp4,1,2\n1.tar/1.mp4,0,1\n0.tar/x/1.mp4,3,4\n")
    (shards / "people.csv").write_text("source,age\n0.tar/x/1.mp4,31\n0.tar/2.mp4,32\n")
    clips = {"kind": "list", "path": str(shards / "clips.csv")}
    people = {"path": str(shards / "people.csv")}
    _, rows = preview_plan(config(shards.parent / source, clips=clips, annotations=people))
    is_listed = source.endswith("csv")
    take = {"take": "5"} if is_listed else {}
    assert [(row["start_s"], row["subject"], json.loads(row["labels"] or "{}")) for row in rows] == [
        (3.0, "anna", {"age": "31", "skin_type": 2} | take),
        (1.0, "", {"age": "32"} | take),
        (0.0, "zoe" if is_listed else "", {}),
    ]


def test_names_below_a_tar_that_is_the_source_need_not_tell_it(shards: Path) -> None:
    (shards / "clips.csv").write_text("source,start_s,end_s\n2.mp4,1,2\nx/1.mp4,3,4\n")
    clips = {"kind": "list", "path": str(shards / "clips.csv")}
    _, rows = preview_plan(config(shards / "0.tar", clips=clips))
    assert [row["start_s"] for row in rows] == [3.0, 1.0]
    (shards / "clips.csv").write_text("source,start_s,end_s\n2.mp4,1,2\n3.mp4,3,4\n")
    with pytest.raises(ConfigError, match=r"line 3: .*0\.tar/3\.mp4 is not among the sources"):
        preview_plan(config(shards / "0.tar", clips=clips))
