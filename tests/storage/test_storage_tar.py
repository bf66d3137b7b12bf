import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.errors import StorageError
from mien.storage.tar import MAX_HEADER_BYTES, Member, TarReader, is_tar, member_uri, split_member
from tars import header, pack

END = bytes(1024)


def reader(data: bytes, log: list[tuple[int, int]] | None = None) -> TarReader:
    def fetch(start: int, stop: int) -> bytes:
        if log is not None:
            log.append((start, stop))
        return data[start:stop]

    return TarReader(fetch, len(data), "shard.tar")


def listed(data: bytes) -> list[Member]:
    return list(reader(data).members())


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_bytes_at_an_offset_are_those_that_python_extracts(tmp_path: Path, kind: int) -> None:
    members = {f"a/{number}.mp4": os.urandom(number * 700) for number in range(5)}
    data = pack(tmp_path / "a.tar", members, kind).read_bytes()
    found = {member.name: data[member.offset : member.offset + member.size_bytes] for member in listed(data)}
    assert found == members
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert [(info.name, info.offset_data) for info in tar] == [(each.name, each.offset) for each in listed(data)]


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["d" * 90 + "/" + "n" * 200 + ".mp4", "/".join(["deep" * 20] * 40) + "/ü.mp4"])
def test_long_and_nested_names_come_whole(tmp_path: Path, kind: int, name: str) -> None:
    data = pack(tmp_path / "a.tar", {name: b"one", "b.mp4": b"two"}, kind).read_bytes()
    assert [(each.name, data[each.offset :][:3]) for each in listed(data)] == [(name, b"one"), ("b.mp4", b"two")]


def test_bodies_are_passed_over(tmp_path: Path) -> None:
    members = {
        f"{number}{end}": bytes(size) for number in range(4) for end, size in ((".mp4", 3_000_000), (".json", 90))
    }
    data, log = pack(tmp_path / "a.tar", members).read_bytes(), list[tuple[int, int]]()
    tar = reader(data, log)
    assert [tar.read(each) for each in tar.members() if each.name.endswith(".json")] == [bytes(90)] * 4
    assert sum(stop - start for start, stop in log) < 0.01 * len(data)
    assert len(log) <= 2 + len(members) // 2 + 1, "a request brings the header of the small file and of the next video"


@pytest.mark.parametrize("cut", [1, 512, 1500, 2048])
def test_a_tar_that_is_cut_off_gives_what_is_whole_and_then_says_so(tmp_path: Path, cut: int) -> None:
    data = pack(tmp_path / "a.tar", {"a.mp4": bytes(600), "b.mp4": bytes(1536)}, tarfile.USTAR_FORMAT).read_bytes()
    whole = 512 + 1024 + 512 + 1536  # without an end mark
    found = reader(data[: whole - cut]).members()
    assert next(found).name == "a.mp4"
    with pytest.raises(StorageError, match=r"shard\.tar: is not a sound tar: .*(cut off|truncated)"):
        list(found)


def test_a_tar_cut_between_two_members_is_cut_off_too(tmp_path: Path) -> None:
    data = pack(tmp_path / "a.tar", {"a.mp4": bytes(512), "b.mp4": bytes(512)}, tarfile.USTAR_FORMAT).read_bytes()
    with pytest.raises(StorageError, match="no end mark"):
        listed(data[:1024])


@pytest.mark.parametrize("pack_with", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_tar_is_refused(tmp_path: Path, pack_with: Callable[[bytes], bytes]) -> None:
    data = pack_with(pack(tmp_path / "a.tar", {"a.mp4": bytes(5000)}).read_bytes())
    with pytest.raises(StorageError, match=r"shard\.tar: is compressed \(\w+\); unpack it to a plain tar"):
        listed(data)


DAMAGED = {
    "empty": b"",
    "text": b"no tar at all" * 100,
    "short": b"x",
    "a header in the middle": header("a.mp4", 512) + bytes(512) + b"\xff" * 512 + END,
    "a wrong sum": header("a.mp4", 512).replace(b"a.mp4", b"b.mp4") + bytes(512) + END,
    "a negative size": header("a.mp4", 0) + header("b.mp4", -1024) + END,
    "a loop": header("a.mp4", -512) + END,
    "a huge size": header("a.mp4", 8**11 - 1) + END,
    "a long name of a negative size": header("x", -600, tarfile.GNUTYPE_LONGNAME) + END,
    "a long name of a huge size": header("x", 8**11 - 1, tarfile.GNUTYPE_LONGNAME) + END,
    "a name of a name": header("x", 1, tarfile.GNUTYPE_LONGNAME) * 4000 + END,
    "headers that Python reads slowly": header("x", 30_000, tarfile.XHDTYPE) + b"1" * 30_000 + bytes(208) + END,
    "a map of holes without an end": header("x", 5, tarfile.XHDTYPE)
    + b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n".ljust(512, b"\0")
    + header("a.mp4", 8**10)
    + b"1" * 900_000,
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_tar_is_one_line_after_few_reads(data: bytes) -> None:
    log = list[tuple[int, int]]()
    with pytest.raises(StorageError, match=r"^shard\.tar: is not a sound tar: [^\n]*; copy or pack it again$"):
        list(reader(data, log).members())
    assert len(log) <= 4 + MAX_HEADER_BYTES // 512


def test_every_flipped_byte_of_a_header_ends_in_members_or_one_error(tmp_path: Path) -> None:
    data = pack(tmp_path / "a.tar", {"ü.mp4": bytes(700), "b.mp4": bytes(100)}).read_bytes()[:6144]
    for place, value in itertools.product(range(0, 2048, 3), (0, 0x31, 0xFF)):
        damaged = bytearray(data)
        damaged[place] = value
        with contextlib.suppress(StorageError):
            assert all(each.offset + each.size_bytes <= len(data) for each in listed(bytes(damaged)))


def test_what_follows_the_end_mark_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    one = pack(tmp_path / "a.tar", {"a.mp4": bytes(1_100_000)}).read_bytes()
    found = reader(one + one).members()
    assert next(found).name == "a.mp4"
    with pytest.raises(StorageError, match="follow its end mark"):
        next(found)
    assert len(listed(one)) == 1


def test_links_holes_and_devices_have_their_problem(tmp_path: Path) -> None:
    sparse = io.BytesIO()
    with tarfile.open(fileobj=sparse, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in (
            ("link.mp4", tarfile.SYMTYPE),
            ("hard.mp4", tarfile.LNKTYPE),
            ("pipe.mp4", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "../a.mp4"
            tar.addfile(info)
        folder = tarfile.TarInfo("folder.mp4")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        info = tarfile.TarInfo("holes.mp4")
        info.pax_headers = {"GNU.sparse.size": "4096", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,512"}
        info.size = 512
        tar.addfile(info, io.BytesIO(bytes(512)))
        tar.addfile(tarfile.TarInfo("after.mp4"))
    found = {each.name: each.problem for each in listed(sparse.getvalue())}
    assert list(found) == ["link.mp4", "hard.mp4", "pipe.mp4", "holes.mp4", "after.mp4"]
    assert [problem.split(" in the tar")[0] for problem in found.values()] == [
        "is a link",
        "is a link",
        "is no file",
        "is stored as a sparse file",
        "",
    ]


@pytest.mark.parametrize(
    "name", ["a.mp4", "../../etc/a.mp4", "/a.mp4", "x#y/a:b.mp4", "b.tar#7:a.mp4", "two\nlines.mp4"]
)
@pytest.mark.parametrize("tar", ["/videos/a.tar", "gs://bucket/a#b/c.TAR"])
def test_the_place_of_a_member_leads_back_to_it(tar: str, name: str) -> None:
    uri = member_uri(tar, Member(name, 1536, 7))
    assert split_member(uri) == (tar, 1536, name)
    assert not is_tar(uri)


@pytest.mark.parametrize("place", ["/a.mp4", "/a.tar", "/a.tar#x", "/a.tar#12", "/a.tar#:b", "/a#12:b.mp4", ".tar#1:a"])
def test_other_places_are_no_members(place: str) -> None:
    assert split_member(place) is None
