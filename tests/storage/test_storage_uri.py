from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.storage.uri import canonical, open_store


def test_spellings_of_one_place_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    spellings = ["a", "./a", "a/", "a/../a", str(tmp_path / "a"), f"file://{tmp_path}/a"]
    assert {canonical(spelling) for spelling in spellings} == {str((tmp_path / "a").resolve())}


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert canonical("~/videos") == str(tmp_path.resolve() / "videos")


@pytest.mark.parametrize("place", ["gs://bucket/x", "s3://bucket/x", "http://host/x"])
def test_other_schemes_are_refused_by_name(place: str) -> None:
    with pytest.raises(ConfigError, match=place.split("/")[0]):
        canonical(place)


def test_opening_a_store_creates_nothing(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "new"))
    assert list(store.list()) == []
    assert not (tmp_path / "new").exists()
