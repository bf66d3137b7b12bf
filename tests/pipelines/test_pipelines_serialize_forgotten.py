"""A subject is forgotten from a dataset of real video; the same serialize command does not bring it back."""

from pathlib import Path

import pytest

import mien.datasets
from mien.datasets.forget import forget
from mien.datasets.verify import verify
from mien.pipelines.serialize import SerializeConfig, serialize
from mien.storage.local import LocalStore

GONE, STAYS = "quirin", "yolanda"


@pytest.mark.parametrize("kind", ["hdf5", pytest.param("parquet", marks=pytest.mark.slow)])
def test_the_same_command_does_not_bring_a_forgotten_subject_back(
    local_ray: None, faces_dir: Path, assets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    videos, root = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for person, name in ((GONE, "d18.mp4"), (STAYS, "d19.mp4")):
        (videos / f"{person}_1.mp4").write_bytes((faces_dir / name).read_bytes())
    values = {"source": str(videos), "output": str(root), "sources": {"subject_pattern": "^([a-z]+)_"}, "fps": 5}
    config = SerializeConfig.parse(
        {**values, "crop": {"size_px": 64}, "format": {"kind": kind}, "cluster": {"num_cpus": 2}}, "test"
    )
    serialize(config)
    before = {sample.row["subject"]: sample for sample in mien.datasets.open(root)}
    assert before[GONE].row["file"] == before[STAYS].row["file"], "two subjects in one shard"
    pictures = [value for column in ("crop", "thumb") for value in before[GONE][column] if value]
    needles = [GONE.encode(), before[GONE].clip_id.encode(), *map(bytes, pictures)]
    assert len(needles) > 10

    assert forget(LocalStore(root), GONE, "test") is not None
    forgotten = {path: path.stat().st_mtime_ns for path in (root / "data").iterdir()}
    report = serialize(config)

    assert (report.num_clips, report.num_samples, report.num_failed) == (1, 1, 0)
    assert {path: path.stat().st_mtime_ns for path in (root / "data").iterdir()} == forgotten
    dataset = mien.datasets.open(root)
    (left,) = list(dataset)
    assert left.row["subject"] == STAYS
    assert left.row["checksums"] == before[STAYS].row["checksums"]
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [needle for needle in needles if needle in content], path
    result = verify(dataset)
    assert (result["problems"], result["foreign"]) == ([], [])
