from pathlib import Path

import pytest

from mien.clips.clip import Skipped, Source
from mien.clips.sources import SourcesConfig, find_videos, names_root
from mien.errors import ConfigError, PreflightError


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("b.MP4", "a.mp4", "deep/c.mkv", "notes.txt", ".hidden.mp4", "deep/.x/d.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def names(found: list[Source | Skipped], root: Path) -> list[str]:
    return [Path(source.uri).relative_to(root).as_posix() for source in found if isinstance(source, Source)]


def test_a_folder_gives_its_videos_in_order_and_names_the_rest(videos: Path) -> None:
    found = list(find_videos(str(videos), SourcesConfig()))
    assert names(found, videos) == ["a.mp4", "b.MP4", "deep/c.mkv"]
    skipped = [item for item in found if isinstance(item, Skipped)]
    assert [Path(item.path).name for item in skipped] == ["notes.txt"]


def test_size_and_generation_are_those_of_the_file(videos: Path) -> None:
    source = next(iter(find_videos(str(videos / "a.mp4"), SourcesConfig())))
    assert isinstance(source, Source)
    stat = (videos / "a.mp4").stat()
    assert (source.size_bytes, source.generation) == (stat.st_size, stat.st_mtime_ns)


def test_a_pattern_selects(videos: Path) -> None:
    assert names(list(find_videos(str(videos / "*.mp4"), SourcesConfig())), videos) == ["a.mp4"]
    assert names(list(find_videos(str(videos / "**/*.mkv"), SourcesConfig())), videos) == ["deep/c.mkv"]


def test_a_file_named_outright_is_taken_whatever_its_ending(videos: Path) -> None:
    (videos / "notes.dat").touch()
    assert names(list(find_videos(str(videos / "notes.dat"), SourcesConfig())), videos) == ["notes.dat"]


def test_a_list_gives_its_places_in_its_order(videos: Path) -> None:
    (videos / "some.txt").write_text("deep/c.mkv\nb.MP4\n")
    found = list(find_videos(str(videos / "some.txt"), SourcesConfig()))
    assert names(found, videos) == ["deep/c.mkv", "b.MP4"]
    one, other = (
        next(iter(find_videos(str(place), SourcesConfig()))) for place in (videos / "some.txt", videos / "deep")
    )
    assert one == other, "a video is the same however it is found"


def test_the_subject_of_a_list_counts_before_that_of_the_name(videos: Path) -> None:
    (videos / "some.csv").write_text("source,subject\ndeep/c.mkv,\nb.MP4,zoe\n")
    found = find_videos(str(videos / "some.csv"), SourcesConfig(subject_pattern=r"^(\w)$"))
    assert [source.subject for source in found if isinstance(source, Source)] == ["c", "zoe"]


def test_names_are_relative_to_the_folder_of_the_sources(videos: Path) -> None:
    for place in ("", "*.mp4", "a.mp4", "list.csv"):
        (videos / "list.csv").touch()
        assert names_root(str(videos / place), SourcesConfig()) == str(videos), place
    assert names_root("gs://bucket/videos/list.csv", SourcesConfig()) == "gs://bucket/videos"


def test_a_missing_place_is_one_clear_error(videos: Path) -> None:
    with pytest.raises(PreflightError, match="nowhere: does not exist"):
        list(find_videos(str(videos / "nowhere"), SourcesConfig()))


def test_the_subject_comes_from_the_name(videos: Path) -> None:
    config = SourcesConfig(subject_pattern=r"^(\w)$")
    found = list(find_videos(str(videos), config))
    assert [source.subject for source in found if isinstance(source, Source)] == ["a", "b", "c"]


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_a_bad_pattern_is_refused_when_the_config_is_read(pattern: str) -> None:
    with pytest.raises(ConfigError, match="subject_pattern"):
        SourcesConfig.parse({"subject_pattern": pattern}, "x.yaml")
