"""Names of results: each video its own, and none that replaces a source."""

from pathlib import Path

import pytest

from buckets import BUCKET
from mien.errors import ConfigError
from mien.pipelines.video_items import Item, Selection, Skip
from mien.pipelines.video_jobs import AudioJob, ConvertJob, FramesJob, InfoJob
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Files that are videos by their ending alone: nothing here opens them."""
    for name in ("one.mp4", "two.mov", "notes.txt", "deep/one.mp4", "deep/er/three.mkv", "deep/.hidden.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "videos"


def targets(places: list[object], job: object, output: object, **options: bool) -> list[str]:
    found = Selection([str(place) for place in places], job, str(output), **options)  # type: ignore[arg-type]
    return [item.problem or item.target for item in found if isinstance(item, Item)]


def test_a_folder_keeps_its_shape(videos: Path, tmp_path: Path) -> None:
    names = ["deep/er/three", "deep/one", "one", "two"]
    assert targets([videos], AudioJob(format="mp3"), tmp_path / "out") == [f"{name}.mp3" for name in names]
    assert targets([videos], FramesJob(), tmp_path / "out") == names
    (item,) = Selection([str(videos / "one.mp4")], FramesJob(), str(tmp_path / "out"))
    assert isinstance(item, Item)
    assert (item.target, item.done) == ("one", "one/frames.json")


def test_several_places_are_named_from_the_folder_that_they_share(videos: Path, tmp_path: Path) -> None:
    places = [videos / "one.mp4", videos / "deep" / "one.mp4"]
    assert targets(places, AudioJob(), tmp_path / "out") == ["one.wav", "deep/one.wav"]
    assert targets([videos / "deep", videos / "two.mov"], AudioJob(), tmp_path / "out") == [
        "deep/er/three.wav",
        "deep/one.wav",
        "two.wav",
    ]
    assert targets([f"{videos}/*/one.mp4"], AudioJob(), tmp_path / "out") == ["deep/one.wav"]
    assert targets([videos / "deep" / "one.mp4"], AudioJob(), tmp_path / "out") == ["one.wav"]


def test_what_is_no_video_is_skipped_and_says_why(videos: Path, tmp_path: Path) -> None:
    skipped = [
        found for found in Selection([str(videos)], AudioJob(), str(tmp_path / "out")) if isinstance(found, Skip)
    ]
    assert [(Path(skip.path).name, skip.why) for skip in skipped] == [("notes.txt", "not a video by its ending")]


def test_two_videos_with_one_name_do_not_meet(videos: Path, tmp_path: Path) -> None:
    (videos / "one.mov").write_bytes(b"x")
    problem = targets([videos], AudioJob(), tmp_path / "out")[3]
    assert problem.startswith(f"{videos}/one.mp4: another video has the same name but for its ending")
    assert "one.wav" in problem


def test_a_video_that_is_given_twice_is_done_once(videos: Path, tmp_path: Path) -> None:
    assert len(targets([videos, videos / "deep"], AudioJob(), tmp_path / "out")) == 4


def test_a_place_that_is_not_there_is_one_problem_among_others(videos: Path, tmp_path: Path) -> None:
    found = targets([videos / "gone.mp4", videos / "one.mp4"], AudioJob(), tmp_path / "out")
    assert found[0] == f"{videos}/gone.mp4: does not exist; give a folder of videos, a video or a pattern"
    assert found[1] == "one.wav"


def test_results_among_the_sources_are_not_taken_for_sources(videos: Path) -> None:
    (videos / "mp4").mkdir()
    (videos / "mp4" / "two.mp4").write_bytes(b"x")
    assert targets([videos], ConvertJob(), videos / "mp4") == [
        "deep/er/three.mp4",
        "deep/one.mp4",
        "one.mp4",
        "two.mp4",
    ]


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_source_is_replaced(videos: Path, overwrite: bool) -> None:
    with pytest.raises(ConfigError, match="could be replaced; choose another"):
        targets([videos], ConvertJob(), videos, overwrite=overwrite)
    with pytest.raises(ConfigError, match="could be replaced"):
        targets([f"{videos}/*.mp4"], ConvertJob(), videos.parent, overwrite=overwrite)
    assert targets([videos / "two.mov"], ConvertJob(), videos, overwrite=overwrite) == ["two.mp4"]
    (problem,) = targets([videos / "one.mp4"], ConvertJob(), videos, overwrite=overwrite)
    assert problem == f"{videos}/one.mp4: is a source and would be replaced; choose another output"
    (videos / "two.mp4").write_bytes(b"x")
    given = targets([videos / "two.mov", videos / "two.mp4"], ConvertJob(), videos, overwrite=overwrite)
    assert given[0].endswith("two.mp4: is a source and would be replaced; choose another output")


def test_sound_may_lie_beside_its_video_unless_it_overwrites(videos: Path) -> None:
    assert "one.wav" in targets([videos], AudioJob(), videos)
    with pytest.raises(ConfigError, match="could be replaced"):
        targets([videos], AudioJob(), videos, overwrite=True)


def test_without_an_output_nothing_is_named(videos: Path) -> None:
    assert targets([videos], InfoJob(), "") == [""] * 4


def test_places_in_a_bucket_are_named_alike(emulator: Emulator, tmp_path: Path) -> None:
    root = f"gs://{BUCKET}/{tmp_path.name}"
    store = open_store(root)
    for name in ("a/one.mp4", "a/two.mp4", "b/one.mp4", "a/../../../evil.mp4"):
        store.replace(name, b"x")
    assert targets([f"{root}/a/one.mp4"], AudioJob(), tmp_path) == ["one.wav"]
    assert targets([f"{root}/b", f"{root}/a/two.mp4"], AudioJob(), tmp_path) == ["b/one.wav", "a/two.wav"]
    assert targets([f"{root}/*/one.mp4"], AudioJob(), tmp_path) == ["a/one.wav", "b/one.wav"]
    assert targets([f"{root}/a"], AudioJob(), tmp_path) == ["one.wav", "two.wav"], "what is hidden is passed over"


def test_disks_and_buckets_are_not_mixed(videos: Path, emulator: Emulator) -> None:
    with pytest.raises(ConfigError, match="either places on a disk or places in buckets"):
        Selection([str(videos), f"gs://{BUCKET}/a"], InfoJob(), "")
    with pytest.raises(ConfigError, match="give a video"):
        Selection([], InfoJob(), "")
