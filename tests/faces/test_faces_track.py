import math
import random

import numpy as np
import pytest

from mien.faces.detect import Box, Face
from mien.faces.track import TrackConfig, TrackedFace, Tracker
from mien.schema import FACE_DETECTED, FACE_INTERPOLATED

FPS = 30
RAW = TrackConfig(smoothing_s=0)


def box(x: float, y: float = 50.0, side: float = 40.0) -> Box:
    return (x, y, x + side, y + side)


def tracked(
    script: list[list[Box]], config: TrackConfig = RAW, times_s: list[float] | None = None
) -> list[list[TrackedFace]]:
    """Faces of every frame, each read as early as the tracker allows."""
    times = times_s or [frame / FPS for frame in range(len(script))]
    tracker, read = Tracker(config), list[list[TrackedFace]]()
    for frame, boxes in enumerate(script):
        tracker.update(frame, times[frame], [Face(each, 0.9) for each in boxes])
        while len(read) <= frame and tracker.is_settled(times[len(read)]):
            read.append(tracker.at(len(read), times[len(read)]))
    tracker.finish()
    while len(read) < len(script):
        assert tracker.is_settled(times[len(read)])
        read.append(tracker.at(len(read), times[len(read)]))
    return read


def numbers(read: list[list[TrackedFace]]) -> list[list[int]]:
    return [[face.track for face in faces] for faces in read]


def test_a_short_gap_is_bridged_on_a_straight_line_and_marked() -> None:
    missing = range(10, 16)
    read = tracked([[] if frame in missing else [box(3.0 * frame)] for frame in range(40)])
    assert numbers(read) == [[0]] * 40
    for frame, (face,) in enumerate(read):
        assert face.smooth_box == pytest.approx(box(3.0 * frame))
        if frame in missing:
            assert face.status == FACE_INTERPOLATED
            assert face.box is None
            assert math.isnan(face.score)
        else:
            assert (face.status, face.score, face.box) == (FACE_DETECTED, 0.9, box(3.0 * frame))


def test_a_gap_is_bridged_in_proportion_to_time_not_to_frames() -> None:
    times = [0.0, 0.1, 0.2, 0.25, 0.5, 0.6, 0.7]
    read = tracked([[box(0)], [box(0)], [box(0)], [], [box(30)], [box(30)], [box(30)]], times_s=times)
    assert read[3][0].smooth_box[0] == pytest.approx(30 * 0.05 / 0.3)


@pytest.mark.parametrize(("num_missing", "num_tracks"), [(13, 1), (17, 2)])
def test_a_gap_longer_than_max_gap_ends_the_track(num_missing: int, num_tracks: int) -> None:
    read = tracked([[box(0)]] * 20 + [[]] * num_missing + [[box(0)]] * 20)
    assert {number for faces in numbers(read) for number in faces} == set(range(num_tracks))
    assert all(len(faces) == (num_tracks == 1) for faces in read[20 : 20 + num_missing])


def test_low_frame_rates_are_no_gaps() -> None:
    read = tracked([[box(float(frame))] for frame in range(10)], times_s=[float(frame) for frame in range(10)])
    assert numbers(read) == [[0]] * 10


def test_a_spurious_face_is_dropped_and_takes_no_number() -> None:
    spurious = box(300)
    script = [[spurious] * (frame in (3, 4, 30)) + [box(0)] + [box(500)] * (frame >= 35) for frame in range(60)]
    assert numbers(tracked(script)) == [[0]] * 35 + [[0, 1]] * 25


def test_a_clip_shorter_than_min_duration_keeps_its_face() -> None:
    assert numbers(tracked([[box(0)]] * 3)) == [[0]] * 3
    assert numbers(tracked([[box(0)]])) == [[0]]


def test_faces_keep_their_track_in_whatever_order_they_are_found() -> None:
    chance = random.Random(1)
    script = [[box(frame * 2.0), box(100 + frame * 1.0, side=60), box(300, 80 + frame)] for frame in range(60)]
    shuffled = [chance.sample(boxes, 3) for boxes in script]
    for boxes, faces in zip(script, tracked(shuffled), strict=True):
        # Numbered by size in the frame where all three appear.
        assert [face.box for face in faces] == [boxes[1], boxes[0], boxes[2]] or [face.box for face in faces] == [
            boxes[1],
            boxes[2],
            boxes[0],
        ]
        assert [face.track for face in faces] == [0, 1, 2]


def test_of_two_faces_each_takes_the_track_that_it_overlaps_most() -> None:
    # 25 px apart and 40 px wide, so that each overlaps the last box of both.
    script = [[box(100 + 2.0 * frame, side=40), box(125 + 2.0 * frame, side=41)] for frame in range(30)]
    turned = [boxes[::-1] if frame % 2 else boxes for frame, boxes in enumerate(script)]
    for boxes, faces in zip(script, tracked(turned), strict=True):
        assert [face.box for face in faces] == [boxes[1], boxes[0]]


def test_smoothing_is_the_gaussian_mean() -> None:
    noise = np.random.default_rng(0).normal(0, 3, (60, 2))
    script = [[box(100 + dx, 50 + dy)] for dx, dy in noise]
    config = TrackConfig(smoothing_s=0.05)
    read = tracked(script, config)
    taps = np.arange(-3, 4)  # 2.5 standard deviations of 1.5 frames reach 3 frames
    kernel = np.exp(-0.5 * (taps / FPS / 0.05) ** 2)
    for axis, offset in ((0, 100), (1, 50)):
        expected = np.convolve(noise[:, axis] + offset, kernel / kernel.sum(), mode="valid")
        np.testing.assert_allclose([faces[0].smooth_box[axis] for faces in read[3:-3]], expected, atol=1e-9)


def test_smoothing_does_not_lag_behind_steady_motion_even_at_the_ends() -> None:
    script = [[box(4.0 * frame, 50 - frame, 40 + frame)] for frame in range(30)]
    for (expected,), (face,) in zip(script, tracked(script, TrackConfig()), strict=True):
        assert face.smooth_box == pytest.approx(expected, abs=1e-6)


def test_a_smoothed_box_stays_between_the_boxes_it_comes_from() -> None:
    chance = random.Random(2)
    script = [[box(100 + chance.uniform(-9, 9), side=chance.uniform(40, 60))] for _ in range(50)]
    sides = [b[0][2] - b[0][0] for b in script]
    for (face,) in tracked(script, TrackConfig(smoothing_s=0.2)):
        assert min(sides) <= face.smooth_box[2] - face.smooth_box[0] <= max(sides)


def test_reading_early_gives_what_reading_late_gives() -> None:
    chance = random.Random(3)
    script = [
        [box(5.0 * frame) for _ in range(chance.random() < 0.8)] + [box(400, 200)] * (frame % 37 > 20)
        for frame in range(150)
    ]
    config = TrackConfig()
    late, tracker = [], Tracker(config)
    for frame, boxes in enumerate(script):
        tracker.update(frame, frame / FPS, [Face(each, 0.9) for each in boxes])
    tracker.finish()
    late = [tracker.at(frame, frame / FPS) for frame in range(len(script))]
    assert repr(tracked(script, config)) == repr(late)
