"""Tests of video/header.py."""

import io
import struct
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from long_videos import lengthen
from mien.video.decode import Span, decode_clip
from mien.video.header import IDENTITY, Matrix, expect_index, extents, missing_bytes, tracks
from mien.video.limits import LimitsConfig, Shown, open_media
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


@pytest.fixture(scope="module")
def with_sound(faces_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "a.mp4"
    lengthen(faces_dir / "d18.mp4", path, with_sound=True)
    return path


class Told(io.BytesIO):
    """A file that writes down what it was told, and what was read of it."""

    def __init__(self, data):
        super().__init__(data)
        self.expected, self.last = [], 0

    def expect(self, start, stop):
        self.expected.append((start, stop))

    def read(self, size=-1):
        data = super().read(size)
        if self.tell() < len(self.getvalue()) // 20:
            self.last += len(data)
        return data


def test_the_index_of_sound_that_is_not_wanted_is_neither_told_of_nor_read(with_sound):
    data = with_sound.read_bytes()
    start, size = data.index(b"moov") + 4, int.from_bytes(data[data.index(b"moov") - 4 :][:4])
    all_of_it, pictures = Told(data), Told(data)
    assert expect_index(all_of_it) == []
    assert all_of_it.expected == [(start, start - 8 + size)]
    (place,) = expect_index(pictures, with_sound=False)
    assert data[place : place + 4] == b"trak"
    sound_bytes = int.from_bytes(data[place - 4 : place])
    assert pictures.expected == [(start, place + 4), (place - 4 + sound_bytes, start - 8 + size)]
    probe(all_of_it)
    probe(pictures, with_sound=False)
    assert sound_bytes > size / 2
    assert pictures.last < all_of_it.last - 1.8 * sound_bytes, "which FFmpeg reads twice"


def test_without_sound_a_file_object_is_what_it_was_but_for_its_sound_and_a_path_all_it_was(with_sound):
    whole, data = probe(with_sound), with_sound.read_bytes()
    assert whole.audio is not None
    assert probe(io.BytesIO(data)) == whole == probe(with_sound, with_sound=False)
    assert probe(io.BytesIO(data), with_sound=False) == replace(whole, audio=None)


def test_pictures_of_a_file_object_are_those_of_the_path(with_sound):
    found, expected = (
        list(decode_clip(source, Span(300.05, 300.4))) for source in (io.BytesIO(with_sound.read_bytes()), with_sound)
    )
    assert [frame.pts for frame in found] == [frame.pts for frame in expected]
    assert len(found) > 5
    assert all((one.rgb == other.rgb).all() for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("harm", ["small", "alone", "64 bits"])
def test_tracks_stay_that_are_small_or_alone_or_of_another_shape(with_sound, faces_dir, harm):
    data = with_sound.read_bytes()
    (place,) = expect_index(io.BytesIO(data), with_sound=False)
    if harm == "small":
        data = (faces_dir / "d18.mp4").read_bytes()
    elif harm == "alone":
        data = data.replace(b"vide", b"soun", 1)
    else:
        size = int.from_bytes(data[place - 4 : place])
        data = data[: place - 4] + struct.pack(">I4sQ", 1, b"trak", size) + data[place + 12 :]
    assert expect_index(io.BytesIO(data), with_sound=False) == []
    with open_media(io.BytesIO((faces_dir / "d18.mp4").read_bytes()), LimitsConfig(), with_sound=False) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


@pytest.mark.parametrize("chunk", [1, 3, 8192])
def test_a_hidden_box_is_free_however_it_is_read(with_sound, chunk):
    data = with_sound.read_bytes()
    (place,) = expect_index(io.BytesIO(data), with_sound=False)
    shown = Shown(io.BytesIO(data), with_sound=False)
    shown.seek(place - 100)
    read = b"".join(iter(lambda: shown.read(chunk) if shown.tell() < place + 100 else b"", b""))
    expected = data[:place] + b"free" + data[place + 4 :]
    assert read == expected[place - 100 :][: len(read)]
    assert len(read) >= 200
