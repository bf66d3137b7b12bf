"""Tests of video/header.py."""

import io
import struct
from itertools import product

import numpy as np
import pytest

from mien.video.header import IDENTITY, Matrix, extents, missing_bytes, tracks
from mien.video.probe import probe

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


SIGNS = list(product((-1, 1), repeat=2))


@pytest.mark.parametrize("matrix", [(p, 0, 0, q) for p, q in SIGNS] + [(0, p, q, 0) for p, q in SIGNS])
def test_upright_moves_every_pixel_to_where_the_matrix_says(matrix):
    a, b, c, d = matrix
    upright = Matrix(*matrix).upright(IMAGE)
    shown = {(x, y): (a * x + c * y, b * x + d * y) for x, y in product(range(3), range(2))}
    left, top = min(x for x, _ in shown.values()), min(y for _, y in shown.values())
    for (x, y), (new_x, new_y) in shown.items():
        assert (upright[new_y - top, new_x - left] == IMAGE[y, x]).all()


@pytest.mark.parametrize("quarters", range(4))
def test_rotation_is_the_counter_clockwise_turn_that_upright_does(quarters):
    matrix = {0: IDENTITY, 1: Matrix(0, -1, 1, 0), 2: Matrix(-1, 0, 0, -1), 3: Matrix(0, 1, -1, 0)}[quarters]
    assert matrix.rotation_deg % 360 == 90 * quarters
    assert (matrix.upright(IMAGE) == np.rot90(IMAGE, quarters)).all()


def test_rotation_is_between_minus_90_and_180():
    assert [Matrix(0, 1, -1, 0).rotation_deg, Matrix(-1, 0, 0, -1).rotation_deg] == [-90, 180]


@pytest.mark.parametrize("name", ["video.mp4", "video.mov", "video.mkv", "video.avi"])
def test_missing_bytes_counts_what_was_cut(make_video, name):
    data = make_video(name).read_bytes()
    assert missing_bytes(io.BytesIO(data)) == 0
    assert missing_bytes(io.BytesIO(data[:-100])) == 100


def test_missing_bytes_is_zero_where_the_container_does_not_tell(make_video):
    assert missing_bytes(io.BytesIO(make_video("video.ts").read_bytes()[:-100])) == 0
    assert missing_bytes(io.BytesIO(make_video("live.mkv", container_options={"live": "1"}).read_bytes()[:-100])) == 0
    assert missing_bytes(io.BytesIO(b"some text that is long enough to look at")) == 0


@pytest.mark.parametrize("data", [b"", b"\x1a\x45\xdf\xa3", b"\0\0\0\x08ftyp", b"\0\0\0\x01ftyp", bytes(80), b"RIFF"])
def test_headers_that_end_early_are_not_an_error(data):
    assert tracks(io.BytesIO(data)) == []
    assert missing_bytes(io.BytesIO(data)) >= 0


def test_tracks_have_id_size_and_orientation(make_video):
    data = make_video(rotation_deg=90).read_bytes()
    (track,) = tracks(io.BytesIO(data))
    assert (track.track_id, track.width_px, track.height_px, track.matrix.rotation_deg) == (1, 96, 64, 90)


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def movie(edits: list[tuple[int, int]], version: int = 0, timescale: int = 1000) -> bytes:
    """An index without samples: a movie in milliseconds, a track of 96,000 ticks of 1/12,800 s."""
    head = bytes([version, 0, 0, 0])
    clock, edit = (">QQIQ", ">QqI") if version else (">IIII", ">IiI")
    listed = head + struct.pack(">I", len(edits)) + b"".join(struct.pack(edit, *one, 1 << 16) for one in edits)
    media = box(b"mdia", box(b"mdhd", head, struct.pack(clock, 0, 0, 12_800, 96_000), bytes(4)))
    track = box(b"trak", *([box(b"edts", box(b"elst", listed))] if edits else []), media)
    mvhd = box(b"mvhd", head, struct.pack(clock, 0, 0, timescale, 7500), bytes(80))
    return box(b"ftyp", b"isom") + box(b"moov", mvhd, track)


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("edits", "found"),
    [
        ([], {(0.0, 7.5)}),
        ([(7500, 1024)], {(0.0, 7.5)}),
        ([(7321, 0)], {(0.0, 93_709 / 12_800)}),
        ([(9000, 0)], {(0.0, 7.5)}),
        ([(500, -1)], set()),
        ([(500, -1), (7000, 0)], set()),
    ],
)
def test_extents_are_those_that_boxes_say_alone(version, edits, found):
    assert set(extents(io.BytesIO(movie(edits, version)))) == found


@pytest.mark.parametrize("data", [b"", b"RIFF", movie([(7500, 0)])[:90], movie([(7500, 0)])[:-20], movie([], 0, 0)])
def test_no_extent_where_the_boxes_are_not_there(data):
    assert list(extents(io.BytesIO(data))) == []


@pytest.mark.parametrize("name", ["d0.mp4", "d18.mp4", "d19.mp4", "s13.mp4"])
def test_extents_of_real_files_are_those_of_ffmpeg(faces_dir, name):
    info = probe(faces_dir / name)
    with (faces_dir / name).open("rb") as file:
        assert (info.start_s, info.duration_s) in extents(file)


def test_no_extent_of_a_container_that_has_no_boxes(make_video):
    assert list(extents(io.BytesIO(make_video("video.mkv").read_bytes()))) == []
