import bz2
import gzip
import io
import random
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mien.errors import ArchiveError, NoSpace
from mien.storage.commit import digest
from mien.storage.unpack import ArchiveConfig, survey, unpacked

FILES = {"a.mp4": b"film" * 1000, "sub/b.srt": b"words", "sub/deep/empty.txt": b""}
HIDDEN = {"__MACOSX/a.mp4": b"x", ".DS_Store": b"x", "sub/.b.swp": b"x"}
LIMITS = ArchiveConfig()
KINDS = ("zip", "stored.zip", "tar", "tar.gz", "tar.bz2")


def make(path: Path, files: dict[str, bytes], kind: str = "zip") -> Path:
    if kind.endswith("zip"):
        method = zipfile.ZIP_STORED if kind == "stored.zip" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data, method)
        return path
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    packed = {"tar": bytes, "tar.gz": gzip.compress, "tar.bz2": bz2.compress}[kind](plain.getvalue())
    path.write_bytes(packed)
    return path


def make_tar(path: Path, *infos: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for info in infos:
            tar.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return path


def refusal(path: Path, limits: ArchiveConfig = LIMITS) -> str:
    """Why an archive is refused, whichever way it is read; nothing is left beside it."""
    draft = path.parent / "draft"
    with pytest.raises(ArchiveError) as raised:
        survey(path, "NAME", limits)
    assert str(raised.value).startswith("NAME: ")
    assert "\n" not in str(raised.value)
    assert not draft.exists()
    return str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_packed_comes_out_and_files_that_no_listing_shows_are_counted(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / "archive", FILES | HIDDEN, kind)
    found = survey(path, "NAME", LIMITS)
    assert [member.name for member in found.members] == list(FILES)
    assert found.num_left_out == len(HIDDEN)
    draft, out = tmp_path / "draft", dict[str, bytes]()
    for member, surveyed in zip(unpacked(path, "NAME", LIMITS, draft), found.members, strict=True):
        out[member.name] = draft.read_bytes()
        assert member == surveyed
        assert digest(draft) == member.digest
    assert out == FILES
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_draft_that_was_published_keeps_its_bytes(tmp_path: Path) -> None:
    path, draft = make(tmp_path / "archive", FILES), tmp_path / "draft"
    for number, _ in enumerate(unpacked(path, "NAME", LIMITS, draft)):
        (tmp_path / f"published{number}").hardlink_to(draft)
    assert [(tmp_path / f"published{number}").read_bytes() for number in range(3)] == list(FILES.values())


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil", "dotted part"),
        ("sub/../../evil", "dotted part"),
        ("/etc/evil", "is absolute"),
        ("sub//evil", "empty or dotted"),
        ("C:/evil", "is absolute"),
        ("e\x1b[31mvil", "unprintable"),
        ("\u202egpm.exe", "unprintable"),
        ("x" * 300, "is longer than"),
        ("/".join(["xxxx"] * 200), "is longer than"),
    ],
)
def test_no_member_leaves_the_target(tmp_path: Path, kind: str, name: str, said: str) -> None:
    message = refusal(make(tmp_path / "archive", {"good.mp4": b"1", name: b"evil"}, kind))
    assert said in message
    assert "refused, nothing of it was unpacked" in message
    assert message.isprintable()


@pytest.mark.parametrize(("name", "said"), [("..\\..\\evil", "dotted part"), ("a\0.mp4", "unprintable")])
def test_no_member_of_a_zip_hides_its_place(tmp_path: Path, name: str, said: str) -> None:
    path = make(tmp_path / "archive", {"X" * len(name): b"1"})
    path.write_bytes(path.read_bytes().replace(b"X" * len(name), name.encode()))
    assert said in refusal(path)


def test_separators_of_windows_are_folders(tmp_path: Path) -> None:
    path = make(tmp_path / "archive", {"subXa.mp4": b"1"})
    path.write_bytes(path.read_bytes().replace(b"subXa", b"sub\\a"))
    assert [member.name for member in survey(path, "NAME", LIMITS).members] == ["sub/a.mp4"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_cannot_stand_side_by_side_are_refused(tmp_path: Path, kind: str) -> None:
    assert "lies in another member" in refusal(make(tmp_path / "a", {"x": b"1", "x/y": b"2"}, kind))
    assert "holds no file" in refusal(make(tmp_path / "b", HIDDEN, kind))
    twice = make(tmp_path / "c", {"one": b"1", "two": b"2"}, kind)
    with_checksum = twice.read_bytes()
    if kind == "zip":
        twice.write_bytes(with_checksum.replace(b"two", b"one"))
        assert "is there twice" in refusal(twice)


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        assert "is a link or device" in refusal(make_tar(tmp_path / f"{number}.tar", info))
    info_zip = zipfile.ZipInfo("link")
    info_zip.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(info_zip, "/etc/passwd")
    assert "is a link or device" in refusal(tmp_path / "link.zip")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2"])
def test_bombs_are_refused_by_what_really_comes_out(tmp_path: Path, kind: str) -> None:
    zeros = make(tmp_path / "bomb", {"zeros": bytes(40 << 20)}, kind)
    assert zeros.stat().st_size < 100_000
    assert "more than 200 times its own size" in refusal(zeros)
    assert "more than 0.01 GB unpacked" in refusal(zeros, ArchiveConfig(max_unpacked_gb=0.01, max_ratio=1e9))
    many = make(tmp_path / "many", {str(number): b"" for number in range(50)}, kind)
    assert "more than 49; raise archives.max_members" in refusal(many, ArchiveConfig(max_members=49))
    assert len(survey(many, "NAME", ArchiveConfig(max_members=50)).members) == 50


def test_a_zip_that_lies_about_its_sizes_is_not_believed(tmp_path: Path) -> None:
    path = make(tmp_path / "bomb", {"zeros": bytes(40 << 20)})
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 40 << 20), struct.pack("<I", 10)))
    assert "is damaged" in refusal(path)


def test_a_list_of_members_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = make(tmp_path / "archive", FILES)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rfind(b"PK\x05\x06") + 12, 0xFFFF_0000)
    path.write_bytes(data)
    assert "more than 100000 members" in refusal(path)


def test_a_header_of_a_tar_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert "has a header of" in refusal(path)


def test_a_member_of_negative_size_leads_nowhere(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512 in base 256
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path = tmp_path / "a.tar"
    path.write_bytes(bytes(data) + bytes(1024))
    refusal(path)


def test_an_encrypted_archive_and_one_of_another_kind_are_told(tmp_path: Path) -> None:
    path = make(tmp_path / "archive", {"a": b"1"}, "stored.zip")
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(magic) + offset] |= 1
    path.write_bytes(data)
    assert "is encrypted; unpack it by hand" in refusal(path)
    (tmp_path / "film").write_bytes(b"\0\0\0\x20ftypisom" * 100)
    assert "is no zip, tar, tar.gz or tar.bz2; set unzip to false" in refusal(tmp_path / "film")
    (tmp_path / "empty").write_bytes(b"")
    assert "is no zip" in refusal(tmp_path / "empty")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_and_damaged_archives_are_refused_or_true(tmp_path: Path, kind: str) -> None:
    """Tars have no sums of what is in them: there a cut is found, and a turned bit only in a header."""
    chance = random.Random(4)
    whole = make(tmp_path / "archive", {"a.bin": chance.randbytes(40_000), "b.bin": chance.randbytes(9_000)}, kind)
    data = whole.read_bytes()
    true = {member.digest.sha256 for member in survey(whole, "NAME", LIMITS).members}
    for number in range(30):
        damaged = bytearray(data[: chance.randrange(len(data) - 12_000)] if number % 2 else data)
        if not number % 2:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        assert outcome(path, is_summed=kind != "tar") <= true


def outcome(path: Path, *, is_summed: bool) -> set[str]:
    try:
        found = survey(path, "NAME", LIMITS)
    except ArchiveError:
        return set()
    return {member.digest.sha256 for member in found.members} if is_summed else set()


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, small_disk: Any) -> None:
    path = make(tmp_path / "archive", {"a.bin": random.Random(1).randbytes(2 << 20)})
    with pytest.raises(NoSpace, match="no space left on the disk"):
        list(unpacked(path, "NAME", LIMITS, small_disk("size=1m") / "draft"))
