"""Clips cut straight from a bucket: what is read of a long video, and what is refused."""

import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from buckets import failing, read_from
from long_videos import WORST_STARTS_S, lengthen
from mien.clips.clip import Clip, Source
from mien.datasets.frames import values_of
from mien.errors import MediaError, Unavailable
from mien.faces.detect import Face, FakeDetector
from mien.pipelines.cut import CutConfig, Cutter
from mien.pipelines.plan import measured
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.ranges import MIN_FETCH_BYTES
from mien.storage.source import Recent, opened
from mien.storage.uri import Entry
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

STARTS_S = (100.0, 300.0, 500.0)


def uploaded(path: Path, name: str) -> Source:
    """The file as an object, and as the plan names it."""
    store = GcsStore("gs://mien-test")
    store.replace(name, path.read_bytes())
    entry = store.stat(name)
    return Source(f"gs://mien-test/{name}", entry.size_bytes, entry.generation)


def cutter(**values: Any) -> Cutter:
    config = CutConfig.parse({"crop": {"size_px": 64}, "num_thumbs": 0, **values}, "test")
    return Cutter(config, LimitsConfig(), FakeDetector([[Face((10, 10, 60, 60), 0.9)]] * 2000), None)


def seen(source: Source) -> Source:
    """As a plan leaves it that asks for its length."""
    recent = Recent()
    info = measured(source, LimitsConfig(), recent)
    return source._replace(start_s=info.start_s, duration_s=info.duration_s, header_crc32c=recent.crc32c())


def cut_bytes(emulator: Emulator, source: Source, starts_s: Sequence[float]) -> tuple[int, int, list[Any]]:
    """Requests to plan, and bytes of that and of clips of three seconds, by one worker."""
    emulator.reset_traffic()
    source = seen(source)
    to_plan, cut = read_from(emulator)[0], cutter()
    pts = [values_of(cut(Clip(source, start_s, start_s + 3).to_row()).frames, "pts") for start_s in starts_s]
    return to_plan, read_from(emulator)[1], pts


@pytest.mark.parametrize("with_sound", [False, True])
@pytest.mark.parametrize("name", ["d18.mp4", "d19.mp4"])  # the smallest: their index weighs most
def test_three_short_clips_read_at_most_15_percent_of_a_long_video_wherever_they_and_its_index_are(
    emulator: Emulator, faces_dir: Path, tmp_path: Path, name: str, with_sound: bool
) -> None:
    found = {}
    for index_at_start in (True, False):
        path = tmp_path / f"{index_at_start}.mp4"
        lengthen(faces_dir / name, path, index_at_start=index_at_start, with_sound=with_sound)
        source = uploaded(path, f"{name}/{path.name}")
        local = Source(str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for starts_s in (STARTS_S, WORST_STARTS_S[name]):
            found[index_at_start], num_bytes, pts = cut_bytes(emulator, source, starts_s)
            assert num_bytes <= 0.15 * source.size_bytes
            for start_s, from_bucket in zip(starts_s, pts, strict=True):
                expected = cutter()(Clip(local, start_s, start_s + 3).to_row()).frames
                np.testing.assert_array_equal(from_bucket, values_of(expected, "pts"))
    assert found[False] <= found[True] + 1


@pytest.mark.parametrize("index_at_start", [True, False])
def test_the_sound_of_a_clip_from_a_bucket_is_that_of_the_local_file(
    emulator: Emulator, faces_dir: Path, tmp_path: Path, index_at_start: bool
) -> None:
    path = tmp_path / "a.mp4"
    lengthen(faces_dir / "d19.mp4", path, with_sound=True, index_at_start=index_at_start)
    local = Source(str(path), path.stat().st_size, path.stat().st_mtime_ns)
    remote = seen(uploaded(path, f"sound/{index_at_start}.mp4"))
    found, expected = (
        cutter(audio=True, fps=5.0)(Clip(source, 300, 303).to_row()).frames.drop(["clip_id"])
        for source in (remote, local)
    )
    assert found.equals(expected)
    assert sum(map(len, found["audio"].to_pylist())) > 100_000


@pytest.mark.parametrize("fetch", ["whole", "auto"])
def test_whole_reads_every_byte_once_and_gives_the_same(emulator: Emulator, faces_dir: Path, fetch: str) -> None:
    source = uploaded(faces_dir / "d19.mp4", "whole/d19.mp4")
    clip = Clip(source).to_row()
    ranges = cutter(fetch="ranges")(clip).frames
    emulator.reset_traffic()
    whole = cutter(fetch=fetch)(clip).frames
    assert read_from(emulator)[1] == source.size_bytes
    assert whole.equals(ranges)


@pytest.mark.parametrize("way", ["auto", "checked", "whole"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_bit_that_flips_on_the_way_changes_nothing(emulator: Emulator, faces_dir: Path, way: str, times: int) -> None:
    source = uploaded(faces_dir / "d19.mp4", "flip/d19.mp4")
    clip = Clip(source, 0.5, 1.0).to_row()
    expected = cutter(fetch=way)(clip).frames
    with failing(emulator, "GET .*alt=media", "flip", times):
        assert cutter(fetch=way)(clip).frames.equals(expected)


@pytest.mark.parametrize("is_seen", [False, True])
def test_a_bit_that_flips_in_any_request_of_a_short_clip_changes_nothing(
    emulator: Emulator, faces_dir: Path, tmp_path: Path, is_seen: bool
) -> None:
    lengthen(faces_dir / "d19.mp4", tmp_path / "a.mp4")
    source = uploaded(tmp_path / "a.mp4", "flip/any.mp4")
    source = seen(source) if is_seen else source
    clip = Clip(source, 200, 201).to_row()
    emulator.reset_traffic()
    expected = cutter()(clip).frames
    for skip in range(read_from(emulator)[0]):
        with failing(emulator, "GET .*alt=media", "flip", skip=skip):
            assert cutter()(clip).frames.equals(expected)


def test_a_worker_reads_the_index_of_a_video_once_and_a_clip_in_one_request_more(
    emulator: Emulator, faces_dir: Path, tmp_path: Path
) -> None:
    lengthen(faces_dir / "d19.mp4", tmp_path / "a.mp4")
    source, cut = uploaded(tmp_path / "a.mp4", "once/a.mp4"), cutter(fetch="ranges")
    cut(Clip(source, 100, 103).to_row())
    emulator.reset_traffic()
    cut(Clip(source, 300, 303).to_row())
    assert read_from(emulator)[0] == 1
    cut(Clip(uploaded(tmp_path / "a.mp4", "once/a.mp4"), 300, 303).to_row())
    assert read_from(emulator)[0] > 2, "another generation is another video"


def test_what_the_plan_has_read_comes_once_and_what_it_has_not_twice(
    emulator: Emulator, faces_dir: Path, tmp_path: Path
) -> None:
    lengthen(faces_dir / "d19.mp4", tmp_path / "a.mp4")
    source = uploaded(tmp_path / "a.mp4", "seen/a.mp4")
    emulator.reset_traffic()
    known = seen(source)
    header_bytes = read_from(emulator)[1] - MIN_FETCH_BYTES  # and a second reply of where its length stands
    served = []
    for one in (source, known):
        emulator.reset_traffic()
        cutter()(Clip(one, 300, 303).to_row())
        served.append(read_from(emulator)[1])
    assert header_bytes > 100_000
    assert served[0] - served[1] == header_bytes


@pytest.mark.parametrize("index_at_start", [True, False])
def test_a_bit_that_flips_in_any_request_of_a_plan_changes_nothing(
    emulator: Emulator, faces_dir: Path, tmp_path: Path, index_at_start: bool
) -> None:
    lengthen(faces_dir / "d18.mp4", tmp_path / "a.mp4", index_at_start=index_at_start)
    source = uploaded(tmp_path / "a.mp4", "flip/plan.mp4")
    emulator.reset_traffic()
    expected, num_requests = seen(source), read_from(emulator)[0]
    frames = cutter()(Clip(expected, 200, 201).to_row()).frames
    for skip in range(num_requests):
        with failing(emulator, "GET .*alt=media", "flip", skip=skip):
            planned = seen(source)
        assert planned._replace(header_crc32c="") == expected._replace(header_crc32c="")
        assert cutter()(Clip(planned, 200, 201).to_row()).frames.equals(frames)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_a_plan_reads_a_header_twice_where_boxes_do_not_tell_the_length_and_not_again(
    emulator: Emulator, faces_dir: Path, tmp_path: Path, name: str
) -> None:
    lengthen(faces_dir / "d18.mp4", tmp_path / name, index_at_start=False)
    source = uploaded(tmp_path / name, f"twice/{name}")
    emulator.reset_traffic()
    with opened(source.uri, Entry("", source.size_bytes, source.generation)) as file:
        info = probe(file)
    checked_bytes = read_from(emulator)[1]
    emulator.reset_traffic()
    planned = seen(source)
    assert (planned.start_s, planned.duration_s) == (info.start_s, info.duration_s)
    assert read_from(emulator)[1] <= checked_bytes + MIN_FETCH_BYTES


def test_a_line_that_flips_bits_without_end_is_told(emulator: Emulator, faces_dir: Path) -> None:
    clip = Clip(uploaded(faces_dir / "d19.mp4", "flips/d19.mp4")).to_row()
    with (
        failing(emulator, "GET .*alt=media", "flip", 100),
        pytest.raises(MediaError, match=r"flips/d19\.mp4: arrived damaged"),
    ):
        cutter(fetch="whole")(clip)


@pytest.mark.parametrize(
    ("span", "is_whole"), [((0.0, math.inf), True), ((0.1, math.inf), True), ((0.0, 0.6), True), ((0.02, 0.1), False)]
)
def test_auto_takes_the_whole_where_a_clip_needs_half_of_it(
    emulator: Emulator, faces_dir: Path, span: tuple[float, float], is_whole: bool
) -> None:
    source = uploaded(faces_dir / "d0.mp4", "auto/d0.mp4")
    info = probe(faces_dir / "d0.mp4")
    start_s, end_s = (info.start_s + part * info.duration_s for part in span)
    clip = Clip(source, start_s if span[0] else 0.0, end_s).to_row()
    emulator.reset_traffic()
    frames = cutter()(clip).frames
    assert (read_from(emulator)[1] >= source.size_bytes) == is_whole
    assert frames.equals(cutter(fetch="ranges")(clip).frames)


def test_a_clip_is_not_blamed_for_a_machine_without_room_for_a_copy(
    emulator: Emulator, faces_dir: Path, full_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(full_disk))
    clip = Clip(uploaded(faces_dir / "d19.mp4", "room/d19.mp4")).to_row()
    with pytest.raises(
        Unavailable, match=r"room/d19\.mp4: no space left for a copy in .*; free some or set fetch=ranges"
    ):
        cutter()(clip)
    assert list(full_disk.iterdir()) == []


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory with room for less than the smallest video."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.mark.parametrize("fetch", ["ranges", "checked", "whole"])
def test_an_object_that_changed_since_the_plan_is_refused_and_named(
    emulator: Emulator, faces_dir: Path, fetch: str
) -> None:
    source = uploaded(faces_dir / "d18.mp4", f"changed/{fetch}.mp4")
    uploaded(faces_dir / "d19.mp4", f"changed/{fetch}.mp4")
    with pytest.raises(MediaError, match=rf"gs://mien-test/changed/{fetch}\.mp4: is gone, or has changed"):
        cutter(fetch=fetch)(Clip(source).to_row())


def test_an_outage_blames_no_clip(emulator: Emulator, faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = uploaded(faces_dir / "d18.mp4", "outage/a.mp4")
    monkeypatch.setenv("MIEN_RETRY_S", "0.5")
    with (
        failing(emulator, "alt=media", "status:503", 1000),
        pytest.raises(Unavailable, match=r"outage/a\.mp4: the service does not answer"),
    ):
        cutter()(Clip(source).to_row())


def test_a_text_file_in_a_bucket_is_refused_as_a_local_one_is(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("not a video")
    with pytest.raises(MediaError, match=r"gs://mien-test/text/a\.mp4: is not a video"):
        cutter()(Clip(uploaded(path, "text/a.mp4")).to_row())
