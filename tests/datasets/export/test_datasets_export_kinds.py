import pytest

from mien.datasets.export.kinds import KINDS, read_kind
from mien.errors import ConfigError


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_its_defaults_and_only_its_own_files(name: str) -> None:
    kind = read_kind(name)
    assert (kind.kind, kind.subject) == (name, "")
    assert not any(kind.owns(other) for other in ("notes.txt", "../a.h5", "data/x.parquet", "videos/a.mp4"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("zip", [], "'zip': is no kind of export; the kinds are clips, lerobot, webdataset, hf, openface"),
        ("hf", ["shard=5"], "shard: no such key; did you mean shard_mb?"),
        ("clips", ["size_px=8"], "size_px: "),
        ("clips", ["kind=hf"], "the kind is given by its name alone"),
        ("hf", ["subject"], "is written key.path=value"),
    ],
)
def test_what_cannot_be_used_is_told(name: str, options: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match="(?s)" + message.replace("?", r"\?")):
        read_kind(name, options)
