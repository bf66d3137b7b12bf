from pathlib import Path

import pytest

from mien.clips.naming import as_named, located, root_of

SUFFIXES = (".mp4", ".csv")


def test_the_root_is_the_folder_of_the_sources(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    root = str(tmp_path / "videos")
    for place in ("videos", "videos/", "videos/a.mp4", "videos/*.mp4", "videos/*/front.mp4"):
        assert root_of(f"{tmp_path}/{place}", SUFFIXES) == root, place


@pytest.mark.parametrize("place", ["gs://bucket/videos", "gs://bucket/videos/a.mp4", "gs://bucket/videos/*/x.mp4"])
def test_in_a_bucket_the_ending_tells_an_object_from_a_prefix(place: str) -> None:
    assert root_of(place, SUFFIXES) == "gs://bucket/videos"


def test_a_name_is_spelled_as_the_source_is(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    root = str(tmp_path / "real")
    assert located("a.mp4", root) == f"{root}/a.mp4"
    assert located("./deep/../b/a.mp4", root) == f"{root}/b/a.mp4"
    assert located(f"{tmp_path}/link/a.mp4", root) == f"{root}/a.mp4"
    assert located(f"file://{root}/a.mp4", root) == f"{root}/a.mp4"
    assert located("/a.mp4", root) == "/a.mp4"
    assert located("b/a.mp4", "gs://bucket/videos") == "gs://bucket/videos/b/a.mp4"
    assert located("gs://bucket/x/a.mp4", root) == "gs://bucket/x/a.mp4"


def test_a_tar_is_like_a_folder_of_its_members(tmp_path: Path) -> None:
    (tmp_path / "0.tar").touch()
    assert root_of(f"{tmp_path}/0.tar", SUFFIXES) == f"{tmp_path}/0.tar"
    assert root_of("gs://bucket/videos/0.tar", SUFFIXES) == "gs://bucket/videos/0.tar"
    assert root_of("gs://bucket/videos/*.tar", SUFFIXES) == "gs://bucket/videos"
    for name in ("x/a.mp4", "./x/a.mp4"):
        assert as_named(f"{tmp_path}/0.tar#512:{name}") == located("0.tar/x/a.mp4", str(tmp_path))
    assert as_named(f"{tmp_path}/a.mp4") == f"{tmp_path}/a.mp4"


def test_no_member_is_called_as_what_lies_beside_its_tar(tmp_path: Path) -> None:
    for name in ("../a.mp4", f"{tmp_path}/a.mp4", "x/../../a.mp4"):
        assert as_named(f"{tmp_path}/0.tar#512:{name}") != located("a.mp4", str(tmp_path))
