"""Clip files as older tools wrote them, made here by h5py alone; and those of strangers."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from canary import SECRET, watched
from export_datasets import write_clip_file
from mien.datasets.clip_file import ClipFile, opened_clip
from mien.errors import MediaError
from peak_memory import run_measured


@contextmanager
def opened(path: Path) -> Iterator[ClipFile]:
    with opened_clip(str(path), str(path), path.stat().st_size) as file:
        yield file


@pytest.mark.parametrize(
    ("subject", "read"),
    [("0123", "0123"), (123, "123"), (np.bytes_(b"s 7"), "s 7"), (np.int64(0), "0"), (None, ""), ([b"a"], "a")],
)
def test_what_a_file_says_of_itself_whatever_wrote_the_subject(tmp_path: Path, subject: Any, read: str) -> None:
    write_clip_file(tmp_path / "a.h5", subject)
    with opened(tmp_path / "a.h5") as file:
        facts = file.facts()
    assert facts.subject == read
    assert (facts.video, facts.start_s, facts.fps, facts.width_px, facts.height_px) == ("a b.mp4", 2.5, 30, 1280, 720)
    assert facts.labels == {"age": "30"}
    assert np.allclose(facts.time_s, 2.5 + np.arange(4) / 30)


def test_faces_come_in_order_with_what_is_said_of_them(tmp_path: Path) -> None:
    shown = write_clip_file(tmp_path / "a.h5", num_frames=12)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["faces/frame_003"]
        file.copy("faces/frame_000/face_000", "faces/frame_005/face_001")
        del file["faces/frame_007/face_000/confidence"], file["faces/frame_007/face_000/bbox"]
        file.create_group("faces/notes")
    with opened(tmp_path / "a.h5") as file:
        faces = list(file.faces())
    assert [face.frame for face in faces] == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert all(np.array_equal(face.rgb, shown[face.frame]) for face in faces), "the first face of each frame"
    assert {face.frame: face.num_faces for face in faces}[5] == 2
    assert (faces[0].score, faces[0].shown_box.tolist()) == (0.75, [10, 20, 74, 90])
    assert np.isnan([faces[6].score, *faces[6].shown_box]).all()


def link_away(file: h5py.File, canary: Path) -> None:
    del file["metadata/frame_timestamps"]
    file["metadata/frame_timestamps"] = h5py.ExternalLink(str(canary), "/x")


def faces_away(file: h5py.File, canary: Path) -> None:
    del file["faces"]
    file["faces"] = h5py.ExternalLink(str(canary), "/faces")


def picture_away(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001/face_000/data"]
    file["faces/frame_001/face_000/data"] = h5py.ExternalLink(str(canary), "/x")


def soft_link(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001/face_000"]
    file["faces/frame_001/face_000"] = h5py.SoftLink("/faces/frame_000/face_000")


def raw_storage(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001/face_000/data"]
    file["faces/frame_001/face_000"].create_dataset("data", (1, 2, 3), "u1", external=[(str(canary), 0, 6)])


def virtual(file: h5py.File, canary: Path) -> None:
    layout = h5py.VirtualLayout((1, 2, 3), "u1")
    layout[:] = h5py.VirtualSource(str(canary), "x", (1, 2, 3))
    del file["faces/frame_001/face_000/data"]
    file.create_virtual_dataset("faces/frame_001/face_000/data", layout)


def virtual_without_end(file: h5py.File, canary: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8", maxshape=(None,))
    source = h5py.VirtualSource(str(canary), "x", (4,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    del file["metadata/frame_timestamps"]
    file.create_virtual_dataset("metadata/frame_timestamps", layout)


def huge(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001/face_000/data"]
    shape = (40_000, 40_000, 3)
    file["faces/frame_001/face_000"].create_dataset("data", shape, "u1", chunks=(100, 100, 3))


def many_values(file: h5py.File, canary: Path) -> None:
    del file["metadata/frame_timestamps"]
    file.create_dataset("metadata/frame_timestamps", (1 << 33,), "f8", chunks=(1 << 20,))


def foreign_filter(file: h5py.File, canary: Path) -> None:
    del file["metadata/frame_timestamps"]
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file["metadata"].id, b"frame_timestamps", h5py.h5t.NATIVE_DOUBLE, space, properties)


def no_picture(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001/face_000/data"]
    file["faces/frame_001/face_000/data"] = np.zeros((32, 32), np.float32)


def a_reference(file: h5py.File, canary: Path) -> None:
    del file["metadata/subject_id"]
    file["metadata"].create_dataset("subject_id", data=file["faces"].ref, dtype=h5py.ref_dtype)


def an_opaque(file: h5py.File, canary: Path) -> None:
    del file["metadata/timestamp"]
    file["metadata"].create_dataset("timestamp", data=np.void(b"\x80\x04cos\nsystem\n."))


def no_times(file: h5py.File, canary: Path) -> None:
    del file["metadata/frame_timestamps"]


def times_that_fall(file: h5py.File, canary: Path) -> None:
    file["metadata/frame_timestamps"][1] = 99.0


def no_metadata(file: h5py.File, canary: Path) -> None:
    del file["metadata"]


def a_circle(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001"]
    file["faces/frame_001"] = file["/"]
    file["face_000"] = file["/"]


def nothing_there(file: h5py.File, canary: Path) -> None:
    del file["faces/frame_001/face_000/data"]
    file["faces/frame_001/face_000"].create_dataset("data", dtype="u1", shape=None, data=h5py.Empty("u1"))


HARM = [
    *(link_away, faces_away, picture_away, soft_link, raw_storage, virtual, virtual_without_end, huge, many_values),
    foreign_filter,
    *(no_picture, a_reference, an_opaque, no_times, times_that_fall, no_metadata, a_circle, nothing_there),
]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_file_that_reaches_out_or_is_no_clip_is_refused(
    tmp_path: Path, harm: Callable[[h5py.File, Path], None]
) -> None:
    path = tmp_path / "clip.h5"
    write_clip_file(path)
    with h5py.File(tmp_path / "target.h5", "w") as target:
        target["x"] = np.frombuffer(SECRET[:6], np.uint8).reshape(1, 2, 3)
    with watched(tmp_path / "canary.h5", (tmp_path / "target.h5").read_bytes()) as canary:
        with h5py.File(path, "a") as file:
            harm(file, canary.path)
        canary.num_openings()
        with pytest.raises(MediaError) as caught, opened(path) as file:
            file.facts()
            list(file.faces())
        assert canary.num_openings() == 0
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


READ = """
import sys
from pathlib import Path
from mien.datasets.clip_file import opened_clip
from mien.errors import MediaError
before = peak_mb()
path = Path(sys.argv[1])
try:
    with opened_clip(str(path), str(path), path.stat().st_size) as file:
        file.facts(), list(file.faces())
except MediaError as error:
    print(peak_mb() - before, error)
"""


@pytest.mark.parametrize("harm", [huge, many_values], ids=lambda harm: harm.__name__)
def test_a_huge_claim_costs_no_memory(tmp_path: Path, harm: Callable[[h5py.File, Path], None]) -> None:
    path = tmp_path / "clip.h5"
    write_clip_file(path)
    with h5py.File(path, "a") as file:
        harm(file, path)
    growth_mb, _, message = run_measured(READ, path)[0].partition(" ")
    assert "clip.h5" in message
    assert int(growth_mb) < 64


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """Turned bits and cut ends: nothing but a MediaError comes out of it."""
    path = tmp_path / "clip.h5"
    write_clip_file(path)
    data, path = path.read_bytes(), tmp_path / "damaged.h5"
    for seed in range(60):
        rng, turned = np.random.default_rng(seed), bytearray(data)
        for at in rng.integers(0, len(data) if seed % 2 else 8192, int(rng.integers(1, 17))):
            turned[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(turned[: int(rng.integers(1, len(data)))] if seed % 3 == 0 else turned)
        with contextlib.suppress(MediaError), opened(path) as file:
            file.facts()
            list(file.faces())
