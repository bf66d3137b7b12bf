import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mien.clips.clip import Skipped, Source
from mien.clips.sources import SourcesConfig, find_videos, first_video
from mien.clips.tar_shards import labels_of, packed_videos, subject_of
from mien.storage.source import read_small
from mien.storage.tar import split_member
from mien.storage.uri import Entry
from tars import pack

SUFFIXES = SourcesConfig().suffixes


def found(place: Path, **values: object) -> tuple[list[Source], list[Skipped]]:
    everything = list(find_videos(str(place), SourcesConfig.parse(values, "test")))
    return [each for each in everything if isinstance(each, Source)], [
        each for each in everything if isinstance(each, Skipped)
    ]


def name_of(place: str) -> str:
    packed = split_member(place)
    assert packed is not None, place
    return packed.name


def shard(path: Path, members: Mapping[str, bytes]) -> Entry:
    pack(path, members)
    return Entry(str(path), path.stat().st_size, path.stat().st_mtime_ns)


def test_every_video_of_a_tar_is_a_source_with_what_lies_beside_it(tmp_path: Path) -> None:
    facts = {"subject": "anna", "age": 31, "label": {"gender": "f", "skin-type": 2}, "boxes": [1, 2], "text": "x" * 300}
    members = {"7.mp4": b"one", "7.json": json.dumps(facts).encode(), "7.en.srt": b"words", "8.MKV": b"second"}
    sources, skipped = found(tmp_path / "a.tar") if shard(tmp_path / "a.tar", members) else ([], [])
    assert skipped == []
    assert [name_of(source.uri) for source in sources] == ["7.mp4", "8.MKV"]
    assert [(source.size_bytes, source.subject) for source in sources] == [(3, "anna"), (6, "")]
    assert {source.generation for source in sources} == {(tmp_path / "a.tar").stat().st_mtime_ns}
    assert json.loads(sources[0].labels) == {"age": 31, "gender": "f", "skin_type": 2}
    assert [name_of(entry.name) for entry in sources[0].sidecars] == ["7.json", "7.en.srt"]
    assert read_small(sources[0].sidecars[1].name, sources[0].sidecars[1], 100) == b"words"
    assert (sources[1].labels, sources[1].sidecars) == ("", ())


def test_tars_stand_among_files_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("a.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("b1.tar", "b2.TAR", "d.tar"):
        shard(tmp_path / name, {f"{name}.mp4": b"x"})
    sources, _ = found(tmp_path)
    assert [Path(source.uri).name.partition("#")[0] for source in sources] == [
        *("a.mp4", "b1.tar", "b2.TAR", "c.mp4", "d.tar")
    ]
    assert len(found(tmp_path / "b*.tar")[0]) == 1, "a pattern takes tars, too"


def test_members_need_not_stand_together(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", {"x/1.mp4": b"", "x/2.mp4": b"", "y/1.json": b"{}", "x/1.json": b'{"subject": 5}'})
    sources, _ = found(tmp_path)
    assert [source.subject for source in sources] == ["5", ""], "the folder is a part of the key"


def test_a_sidecar_of_the_same_name_goes_before_one_of_the_same_key(tmp_path: Path) -> None:
    entry = shard(tmp_path / "a.tar", {"7.front.mp4": b"", "7.front.srt": b"", "7.json": b"{}", "7.side.mp4": b""})
    packed = list(packed_videos(entry, SUFFIXES))
    assert [each.video.name for each in packed] == ["7.front.mp4", "7.side.mp4"]
    assert [[beside.name for beside in each.sidecars] for each in packed] == [
        ["7.front.srt"],
        ["7.front.srt", "7.json"],
    ]


def test_the_name_goes_before_the_json_in_telling_the_subject(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", {"s12_x.mp4": b"", "s12_x.json": b'{"subject": "anna"}', "other.mp4": b""})
    sources, _ = found(tmp_path, subject_pattern="^(s[0-9]+)")
    assert [source.subject for source in sources] == ["s12", ""]


@pytest.mark.parametrize(
    "name", ["../../etc/x.mp4", "/etc/x.mp4", "a/../../x.mp4", "$(id).mp4", "-rf.mp4", "a#b:c.mp4"]
)
def test_an_unsafe_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    shard(tmp_path / "a.tar", {name: b"video"})
    (source,), skipped = found(tmp_path)
    assert name_of(source.uri) == name
    assert read_small(source.uri, Entry("", source.size_bytes, source.generation), 100) == b"video"
    assert skipped == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_what_is_passed_over_is_told_with_its_reason(tmp_path: Path) -> None:
    members = {"two\nlines.mp4": b"", "1.mp4": b"a", "1.mp4\0": b"bb", "2.mp4": b"", "2.json": b"{", "._2.mp4": b"x"}
    shard(tmp_path / "a.tar", {**members, "3.json": b" " * (2 << 20), "3.mp4": b"", "sub/.hidden.mp4": b""})
    sources, skipped = found(tmp_path)
    assert [(name_of(source.uri), source.size_bytes) for source in sources] == [
        ("1.mp4", 2),
        ("2.mp4", 0),
        ("3.mp4", 0),
    ]
    said = {name_of(each.path): each.why for each in skipped}
    assert [*said] == ["two\\nlines.mp4", "1.mp4", "2.json", "3.json"]
    for why, part in zip(said.values(), ("unprintable", "stands again", "is not JSON", "is larger than"), strict=True):
        assert part in why


def test_links_and_holes_are_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("link.mp4", tarfile.SYMTYPE), ("notes", tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    sources, skipped = found(tmp_path)
    assert sources == []
    assert [each.why.partition(" in ")[0] for each in skipped] == ["is a link", "holds no video (a name ending"]


def test_a_damaged_tar_is_a_source_after_its_good_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    shard(path, {"1.mp4": bytes(5000), "2.mp4": bytes(5000)})
    path.write_bytes(path.read_bytes()[:8000])
    sources, skipped = found(tmp_path)
    assert [split_member(source.uri) is None for source in sources] == [False, True]
    assert name_of(sources[0].uri) == "1.mp4"
    assert sources[1].uri == str(path)
    assert sources[1].size_bytes == 8000
    assert skipped == []


def test_a_compressed_tar_and_a_name_like_a_members_are_told(tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.tgz", "c.tar#12:x.mp4", "d.tar.mp4"):
        (tmp_path / name).write_bytes(b"x")
    sources, skipped = found(tmp_path)
    assert [Path(source.uri).name for source in sources] == ["d.tar.mp4"]
    assert ["compressed" in each.why for each in skipped] == [True, True, False]
    assert "reads like that of a member" in skipped[2].why


def test_a_look_for_a_video_goes_no_further_than_the_first(tmp_path: Path) -> None:
    config = SourcesConfig()
    shard(tmp_path / "a.tar", {"notes.txt": b""})
    assert first_video(str(tmp_path), config) is None
    shard(tmp_path / "b.tar", {"1.json": b"", "1.mp4": b"one", "2.mp4": b""})
    first = first_video(str(tmp_path), config)
    assert first is not None
    assert (name_of(first.uri), first.size_bytes) == ("1.mp4", 3)
    (tmp_path / "b.tar").write_bytes(b"damaged")
    damaged = first_video(str(tmp_path), config)
    assert damaged is not None, "it is planned, and its clip says what is wrong"
    assert damaged.uri == str(tmp_path / "b.tar")


def test_labels_are_short_scalars(tmp_path: Path) -> None:
    facts = {"age": 3, "dark": True, "x": None, "list": [1], "label": "happy", "labels": {"a": 1.5, "b": float("nan")}}
    assert labels_of(facts) == {"age": 3, "dark": True, "a": 1.5, "label": "happy"}
    assert len(labels_of({str(number): number for number in range(1000)})) == 64
    assert labels_of({"transcript": "word " * 100, "transcription_timestamp": "[0.500] word", "duration_ms": 9}) == {}
    assert subject_of({"subject_id": 0}) == "0"
    assert subject_of({"subject": "", "subject_id": "b"}) == "b"
    assert subject_of({"age": 3}) == ""
