"""Tests of video/header.py."""

import io
from itertools import product

import numpy as np
import pytest

from mien.video.header import IDENTITY, Matrix, missing_bytes, tracks

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
