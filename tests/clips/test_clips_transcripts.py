"""Which transcript belongs to which video, on a disk and in a bucket."""

import json
from pathlib import Path

import pytest

from buckets import BUCKET, failing
from mien.clips.clip import Source
from mien.clips.sources import SourcesConfig, find_videos
from mien.clips.transcript import MAX_BYTES, SUFFIXES
from mien.clips.transcripts import CorpusTranscripts, SidecarTranscripts
from mien.errors import Unavailable
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from mien.storage.uri import Store
from tars import pack

CUE = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
FILES = {
    "a.mp4": "",
    "a.srt": CUE.format("of a"),
    "a.json": '{"note": "no transcript"}',
    "a.b.mp4": "",
    "a.b.mp4.srt": CUE.format("of a.b"),
    "a-1.mp4": "",
    "c.mp4": "",
    "c.en.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nof c\n",
    "d.mp4": "",
    "d.json": '{"note": "no transcript"}',
    "deep/a.mp4": "",
    "deep/a.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nof deep a\n",
    "a.jsonx": "",
}
VIDEOS = [name for name in FILES if name.endswith(".mp4")]


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> Store:
    place: Store = LocalStore(tmp_path) if request.param == "folder" else GcsStore(f"gs://{BUCKET}/sidecars")
    for name, text in FILES.items():
        place.replace(name, text.encode())
    return place


def said(store: Store, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, str | None]:
    sources = [Source(f"{store.uri}/{name}", 1, 7) for name in VIDEOS]
    found = list(SidecarTranscripts(suffixes).of(sources))
    assert [heard.source for heard in found] == sources
    return {
        name: heard.transcript.segments[0].text if heard.transcript else heard.problem or None
        for name, heard in zip(VIDEOS, found, strict=True)
    }


def test_a_transcript_has_the_name_of_its_video(store: Store) -> None:
    problem = (
        f"{store.uri}/d.json: is no transcript or damaged: has neither segments, words nor transcription_timestamp"
    )
    assert said(store) == {
        "a.mp4": "of a",
        "a.b.mp4": "of a.b",
        "a-1.mp4": None,
        "c.mp4": None,
        "d.mp4": problem,
        "deep/a.mp4": "of deep a",
    }


def test_other_endings_can_be_named(store: Store) -> None:
    assert said(store, (".en.vtt",))["c.mp4"] == "of c"
    assert said(store, (".en.vtt",))["a.mp4"] is None


def test_a_corpus_names_its_videos(tmp_path: Path) -> None:
    entries = [
        {"video_path": "a.mp4", "transcription_timestamp": "[0.5] first [1.5] last", "duration_ms": 3000},
        {"video_path": "a.mp4", "transcription_timestamp": "[0.5] again"},
        {"video_path": "deep/a.mp4", "transcription_timestamp": "[0.5] other"},
        {"video_path": "c.mp4"},
    ]
    (tmp_path / "corpus.json").write_text(json.dumps(entries))
    sources = [Source(f"/videos/{name}", 1, 7) for name in ("deep/a.mp4", "a.mp4", "c.mp4", "x.mp4")]
    found = list(CorpusTranscripts(str(tmp_path / "corpus.json"), "/videos").of(sources))
    texts = [heard.transcript and [segment.text for segment in heard.transcript.segments] for heard in found]
    assert texts == [["other"], ["first", "last"], None, None]
    assert [heard.source.duration_s for heard in found] == [None, 3.0, None, None]
    assert found[1].transcript is not None
    assert found[1].transcript.segments[-1].end_s == 3.0


def test_a_bucket_that_does_not_answer_ends_the_plan_and_blames_no_transcript(emulator: Emulator) -> None:
    store = GcsStore(f"gs://{BUCKET}/silent")
    store.replace("a.srt", CUE.format("x").encode())
    with pytest.MonkeyPatch.context() as patch, failing(emulator, "GET .*", "status:503", 100):
        patch.setenv("MIEN_RETRY_S", "0.5")
        with pytest.raises(Unavailable):
            list(SidecarTranscripts(SUFFIXES).of([Source(f"{store.uri}/a.mp4", 1, 7)]))


def test_no_more_is_read_than_a_transcript_may_have(tmp_path: Path) -> None:
    with (tmp_path / "a.srt").open("wb") as file:
        file.truncate(10 * MAX_BYTES)
    (heard,) = SidecarTranscripts(SUFFIXES).of([Source(f"{tmp_path}/a.mp4", 1, 7)])
    assert heard.transcript is None
    assert "too many for a transcript" in heard.problem


def in_tar(store: Store, tmp_path: Path, files: dict[str, str]) -> dict[str, str | None]:
    """Name of a video in a tar -> what is said in it."""
    path = pack(tmp_path / "packed", {name: text.encode() for name, text in files.items()})
    store.replace("0.tar", path.read_bytes())
    sources = [found for found in find_videos(f"{store.uri}/0.tar", SourcesConfig()) if isinstance(found, Source)]
    return {
        heard.source.uri.rpartition(":")[2]: heard.transcript.segments[0].text
        if heard.transcript
        else heard.problem or None
        for heard in SidecarTranscripts(SUFFIXES).of(sources)
    }


def test_in_a_tar_a_transcript_is_another_member(store: Store, tmp_path: Path) -> None:
    files = {name: text for name, text in FILES.items() if name not in ("a.json", "a.jsonx", "d.json")}
    assert in_tar(store, tmp_path, files) == {
        "a.mp4": "of a",
        "a.b.mp4": "of a.b",
        "a-1.mp4": None,
        "c.mp4": None,
        "d.mp4": None,
        "deep/a.mp4": "of deep a",
    }, "as on a disk"


def test_in_a_tar_a_transcript_may_be_of_a_sample(store: Store, tmp_path: Path) -> None:
    files = {"7.front.mp4": "", "7.srt": CUE.format("of 7"), "7.json": '{"age": 30}', "8.front.mp4": ""}
    assert in_tar(store, tmp_path, files) == {"7.front.mp4": "of 7", "8.front.mp4": None}
    damaged = in_tar(store, tmp_path, {"./a.mp4": "", "./a.srt": "nothing"})
    assert list(damaged) == ["./a.mp4"]
    assert f"{store.uri}/0.tar/a.srt: is no transcript or damaged" in str(damaged["./a.mp4"])
