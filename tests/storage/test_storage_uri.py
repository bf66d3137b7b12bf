from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.storage.gcs import GcsStore
from mien.storage.uri import canonical, contains, fault_of_name, open_store


def test_spellings_of_one_place_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    spellings = ["a", "./a", "a/", "a/../a", str(tmp_path / "a"), f"file://{tmp_path}/a"]
    assert {canonical(spelling) for spelling in spellings} == {str((tmp_path / "a").resolve())}


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert canonical("~/videos") == str(tmp_path.resolve() / "videos")


@pytest.mark.parametrize("place", ["s3://bucket/x", "http://host/x"])
def test_other_schemes_are_refused_by_name(place: str) -> None:
    with pytest.raises(ConfigError, match=place.split("/")[0]):
        canonical(place)


def test_opening_a_store_creates_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "new"))
    assert list(store.list()) == []
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("place", ["gs://bucket/a/b", "gs://bucket/a/b/", "gs://bucket/a/b//"])
def test_a_prefix_of_a_bucket_has_one_spelling(place: str) -> None:
    assert canonical(place) == "gs://bucket/a/b"
    assert isinstance(open_store(place), GcsStore)
    assert open_store(place).uri == "gs://bucket/a/b"


@pytest.mark.parametrize(
    "place", ["gs://", "gs:///x", "gs://B/x", "gs://bucket/../x", "gs://bucket/a//b", "gs://bucket/a\n"]
)
def test_what_cannot_be_an_object_is_refused(place: str) -> None:
    with pytest.raises(ConfigError, match=r"^'gs://"):
        canonical(place)


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [("/a", "/a", True), ("/a", "/a/b", True), ("/a", "/ab", False), ("/", "/a", True), ("gs://b", "gs://b/x", True)],
)
def test_a_place_contains_itself_and_what_lies_below(outer: str, inner: str, expected: bool) -> None:
    assert contains(outer, inner) is expected


@pytest.mark.parametrize("name", ["a", "a/b.mp4", "ä/日本.mp4", "a b", "x" * 255, "/".join(["x" * 200] * 4)])
def test_a_sound_name_stands_below_any_root(name: str) -> None:
    assert fault_of_name(name) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("/a", "is absolute"),
        ("c:/a", "is absolute"),
        ("a/../b", "dotted"),
        ("./a", "dotted"),
        ("a//b", "dotted"),
        ("a/", "dotted"),
        ("a\\b", "backslash"),
        ("a\0", "unprintable"),
        ("a\ud800", "unprintable"),
        ("x" * 256, "longer than"),
        ("ä" * 128, "longer than"),
        ("/".join(["x" * 200] * 5), "longer than"),
        ("a/.b", "begins with a dot"),
    ],
)
def test_a_name_that_cannot_stand_below_a_root_says_why(name: str, fault: str) -> None:
    assert fault in fault_of_name(name)
