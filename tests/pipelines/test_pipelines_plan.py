import json
import threading
from pathlib import Path

import numpy as np
import pytest

from mien.clips.clip import Clip, Source
from mien.datasets import index, publish
from mien.errors import ConfigError, MediaError, NothingFound, PreflightError
from mien.pipelines.plan import (
    PlanConfig,
    Planner,
    preview_plan,
    probed,
    require_video,
    standing_plan,
    write_plan,
)
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from mien.storage.source import Recent
from mien.video.limits import LimitsConfig
from mien.video.probe import VideoInfo, probe
from sample_datasets import make_clip


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Files that are videos by name: planning whole clips reads none of them."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(5):
        (folder / f"v{number}.mp4").write_bytes(b"x" * (number + 1))
    (folder / "notes.txt").write_text("x")
    return folder


def config(videos: Path, **values: object) -> PlanConfig:
    return PlanConfig.parse({"source": str(videos), **values}, "test")


def test_every_video_is_a_row_and_the_report_counts_them(videos: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    report = write_plan(Planner(config(videos)), store)
    rows = [row for table in index.read_plan(store) for row in table.to_pylist()]
    assert [Path(row["source_uri"]).name for row in rows] == [f"v{n}.mp4" for n in range(5)]
    assert (report.num_clips, report.num_sources, report.num_skipped, report.source_bytes) == (5, 5, 1, 15)


def test_another_video_changes_no_other_id(videos: Path) -> None:
    _, before = preview_plan(config(videos))
    (videos / "a.mp4").write_bytes(b"new")
    _, after = preview_plan(config(videos))
    assert [row["clip_id"] for row in after[1:]] == [row["clip_id"] for row in before]


def test_a_changed_video_gets_another_id(videos: Path) -> None:
    _, before = preview_plan(config(videos))
    (videos / "v0.mp4").write_bytes(b"changed")
    _, after = preview_plan(config(videos))
    assert before[0]["clip_id"] != after[0]["clip_id"]
    assert before[1:] == after[1:]


def test_the_preview_is_the_plan_and_writes_nothing(videos: Path, tmp_path: Path) -> None:
    report, rows = preview_plan(config(videos), num_rows=2)
    assert len(rows) == 2
    assert report == write_plan(Planner(config(videos)), LocalStore(tmp_path / "out"))
    assert sorted(path.name for path in videos.parent.iterdir()) == ["out", "videos"]


def test_real_videos_are_cut_by_stride(faces_dir: Path) -> None:
    report, _ = preview_plan(config(faces_dir, clips={"kind": "stride", "length_s": 2, "stride_s": 2}))
    # Seconds of d0 d18 d19 d3 d9 s13 s20 s32: 3.12 7.2 8.33 11.8 19.57 4.12 9.9 6.0; rests under 1 s are left out.
    assert report.num_clips == 2 + 4 + 4 + 6 + 10 + 2 + 5 + 3


@pytest.mark.parametrize("make", ["empty", "nothing"])
def test_a_source_without_videos_is_one_clear_error(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "folder"
    if make == "empty":
        folder.mkdir()
    for check in (require_video, preview_plan):
        with pytest.raises(PreflightError, match="folder"):
            check(config(folder))


def test_a_missing_source_key_says_how_to_give_it() -> None:
    with pytest.raises(ConfigError, match="source=PLACE"):
        preview_plan(PlanConfig())


def test_the_first_rows_are_part_of_the_one_walk(videos: Path) -> None:
    planner = Planner(config(videos))
    first = planner.first(2)
    assert planner.report().num_clips == 2, "no further than asked for"
    (videos / "z.mp4").write_bytes(b"a second walk would find it")
    assert planner.first(1) == first[:1]
    rows = list(planner.rows())
    assert rows[:2] == first
    assert [Path(row["source_uri"]).name for row in rows] == [f"v{n}.mp4" for n in range(5)]


def test_the_standing_plan_is_what_was_reported(videos: Path, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    planner = Planner(config(videos))
    first = planner.first(3)
    report = write_plan(planner, store)
    assert standing_plan(store, num_rows=3) == (report._replace(num_skipped=0), first)


def test_sources_of_the_standing_plan_are_counted_across_its_files(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    clips = [Clip(make_clip(number // 4).source, float(number), number + 1.0) for number in range(10)]
    index.write_plan(store, (clip.to_row() for clip in clips), rows_per_file=3)
    report, rows = standing_plan(store, num_rows=5)
    assert (report.num_clips, report.num_sources, report.source_bytes) == (10, 3, 1000 + 1001 + 1002)
    assert rows == [clip.to_row() for clip in clips[:5]]


def plan_files(store: LocalStore) -> dict[str, bytes]:
    return {entry.name: store.read(entry.name) for entry in store.list()}


def test_a_listing_with_lengths_is_planned_without_a_video_and_every_byte_is_the_same_again(tmp_path: Path) -> None:
    lengths = [5.0 + number % 7 for number in range(3000)]
    rows = [f"gs://nowhere/{number:05d}.mp4,{number},7,{length},{number % 9}" for number, length in enumerate(lengths)]
    listing = tmp_path / "listing.csv"
    listing.write_text("\n".join(["source,size_bytes,generation,duration_s,subject", *rows]))
    values = {"clips": {"kind": "random", "num_clips": 10, "seed": 3}, "annotations": {"subject_id_max": 7}}
    stores = [LocalStore(tmp_path / name) for name in ("one", "two")]
    reports = [write_plan(Planner(config(listing, **values)), store) for store in stores]
    assert reports[0] == reports[1]
    assert (reports[0].num_clips, reports[0].num_sources) == (10 * 2667, 2667)
    assert sum(reports[0].left_out.values()) == 333
    assert plan_files(stores[0]) == plan_files(stores[1])
    ids = index.planned_ids(stores[0])
    assert len(np.unique(ids)) == len(ids) == reports[0].num_clips


def test_a_list_that_names_an_unknown_video_leaves_no_plan(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("source,start_s,end_s\nv0.mp4,0,1\nv9.mp4,0,1\n")
    store = LocalStore(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"line 3: .*v9.mp4 is not among the sources"):
        write_plan(Planner(config(videos, clips={"kind": "list", "path": str(tmp_path / "clips.csv")})), store)
    assert index.plan_files(store) == []


def test_annotations_reach_the_plan_and_what_is_left_out_is_told(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("source,subject,age,is_dark\nv0.mp4,1,30,\nv1.mp4,2,40,yes\nv3.mp4,9,50,no\n")
    values = {"path": str(tmp_path / "people.csv"), "subject_id_max": 5}
    report, rows = preview_plan(config(videos, annotations=values))
    assert [(row["subject"], row["labels"]) for row in rows] == [("1", '{"age":"30"}')]
    assert sorted(report.left_out.values()) == [1, 1, 2]
    assert report.num_sources == 1


def write_speech(videos: Path, number: int, text: str) -> None:
    (videos / f"v{number}.srt").write_text(f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n")


def test_a_keyword_plan_has_what_it_found_beside_it(videos: Path, tmp_path: Path) -> None:
    write_speech(videos, 1, "please smile")
    write_speech(videos, 2, "now look sad")
    write_speech(videos, 3, "thanks")
    values = {"clips": {"kind": "keyword", "keywords": ["smile", "sad"]}}
    store = LocalStore(tmp_path / "out")
    report = write_plan(Planner(config(videos, **values)), store)
    assert (report.num_clips, report.num_skipped) == (2, 1), "transcripts are no strangers, notes are"
    assert report.left_out == {"without a transcript": 2, "without any of the keywords": 1}
    assert report.matches["keywords"] == {name: {"num_matches": 1, "num_videos": 1} for name in ("smile", "sad")}
    assert json.loads(store.read(index.MATCHES)) == report.matches
    assert standing_plan(store)[0].matches == report.matches
    assert index.MATCHES.startswith(publish.SMALL), "the completion record names it"
    report.check("videos")


def test_a_keyword_that_occurs_nowhere_is_told_when_the_others_are_planned(videos: Path, tmp_path: Path) -> None:
    write_speech(videos, 1, "please smile")
    store = LocalStore(tmp_path / "out")
    report = write_plan(Planner(config(videos, clips={"kind": "keyword", "keywords": ["smile", "xyzzy"]})), store)
    assert sum(part.num_rows for part in index.read_plan(store)) == 1
    for told in (report, standing_plan(store)[0]):
        with pytest.raises(NothingFound, match="videos: 'xyzzy': 0 matches in 1 transcripts") as error:
            told.check("videos")
        assert error.value.exit_code == 3


def test_videos_without_any_clip_are_told_with_the_reasons(videos: Path) -> None:
    write_speech(videos, 1, "thanks")
    for kind, said in (
        ({"kind": "keyword"}, "in 5 videos: 4 without a transcript, 1 without any of the keywords"),
        ({"kind": "list", "path": str(videos / "clips.csv")}, "5 not in clips.path"),
    ):
        (videos / "clips.csv").write_text("source,start_s,end_s\n")
        with pytest.raises(NothingFound, match=said):
            preview_plan(config(videos, clips=kind))


def test_videos_of_a_bucket_are_cut_by_their_length(emulator: Emulator, faces_dir: Path) -> None:
    store = GcsStore("gs://mien-test/strides")
    store.replace("d18.mp4", (faces_dir / "d18.mp4").read_bytes())
    store.replace("broken.mp4", b"no video")
    here, _ = preview_plan(config(faces_dir / "d18.mp4", clips={"kind": "stride", "length_s": 2, "stride_s": 2}))
    values = {"source": store.uri, "clips": {"kind": "stride", "length_s": 2, "stride_s": 2}}
    there, rows = preview_plan(PlanConfig.parse(values, "test"))
    assert there.num_clips == here.num_clips + 1 == 5
    assert [row["reason"] for row in rows][:2] == ["whole", "stride 2/2 s"], "what cannot be read will say why"


@pytest.mark.parametrize("kind", ["random", "stride"])
def test_headers_of_many_videos_are_read_at_once_and_the_plan_is_that_of_one_after_another(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    names = [f"{name}-{number}" for number in range(8) for name in ("d18", "d19")]
    for name in names:
        (tmp_path / f"{name}.mp4").write_bytes((faces_dir / f"{name.partition('-')[0]}.mp4").read_bytes())
    listing = tmp_path / "known.csv"
    lengths = {"d18": probe(faces_dir / "d18.mp4").duration_s, "d19": probe(faces_dir / "d19.mp4").duration_s}
    rows = [f"{name}.mp4,{lengths[name[:3]] if name.endswith('3') else ''}" for name in names]
    listing.write_text("\n".join(["source,duration_s", *rows]))
    together, look = threading.Barrier(2), probed

    def looked(source: Source, limits: LimitsConfig, recent: Recent | None) -> VideoInfo:
        together.wait(60)  # a planner that reads one header after the other never gets on
        return look(source, limits, recent)

    values = {"clips": {"kind": kind, "length_s": 1.0}}
    clips = [row for name in names for row in preview_plan(config(tmp_path / f"{name}.mp4", **values), 100)[1]]
    monkeypatch.setattr("mien.pipelines.plan.probed", looked)
    assert preview_plan(config(listing, **values), 1000)[1] == clips


def test_a_header_for_which_memory_was_short_beside_others_is_read_again_alone(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        (tmp_path / f"{number}.mp4").write_bytes((faces_dir / "d18.mp4").read_bytes())
    values = {"clips": {"kind": "stride", "length_s": 2.0, "stride_s": 2.0}}
    expected = preview_plan(config(tmp_path, **values), 100)[1]
    looks, look = list[str](), probed

    def short(source: Source, limits: LimitsConfig, recent: Recent | None = None) -> VideoInfo:
        if threading.current_thread() is threading.main_thread():
            looks.append("alone")
            return look(source, limits, recent)
        looks.append("beside others")
        raise MediaError(f"{source.uri}: needs more memory than there is")

    monkeypatch.setattr("mien.pipelines.plan.probed", short)
    monkeypatch.setattr("mien.pipelines.plan.NUM_THREADS", 2)
    assert preview_plan(config(tmp_path, **values), 100)[1] == expected
    assert looks == ["beside others", "beside others", "alone", "alone"] * 3
