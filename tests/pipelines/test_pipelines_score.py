"""Scoring without Ray: the arithmetic of real frames, what is decoded, and what is rejected."""

import itertools
import os
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from buckets import BUCKET, failing
from long_videos import lengthen
from mien import assets
from mien.clips.clip import Clip, Scores, Source, why_unfit
from mien.clips.scoring import position_stability, scores
from mien.datasets.frames import values_of
from mien.errors import MediaError, Unavailable
from mien.faces.crop import decode_jpeg
from mien.faces.detect import BlazeFace, Face, FakeDetector
from mien.features.extractor import FakeExtractor
from mien.pipelines.cut import Cutter
from mien.pipelines.score import Scorer, runs_of, tries_of
from mien.pipelines.serialize import SerializeConfig
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.video.decode import Frame, Span, ticks
from mien.video.probe import probe

NUM_FRAMES = 216
"""Of d18.mp4, at 30 in a second."""
FACE = Face((100, 100, 300, 300), 0.9)
OTHER = Face((320, 320, 470, 470), 0.9)
EVERY = {"num_candidates": 1000, "num_clips": 1000, "overlap": "keep"}


def config(clips: dict[str, Any], **values: Any) -> SerializeConfig:
    whole = {"clips": {"kind": "scored", **clips}, "features": {"kind": "dinov2"}, "crop": {"size_px": 64}}
    return SerializeConfig.parse({**whole, **values}, "test")


def source_of(path: Path) -> Source:
    return Source(str(path), path.stat().st_size, path.stat().st_mtime_ns)


def same_everywhere(path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A source whose candidates are the same on every machine: they are drawn by its name, size and time."""
    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.chdir(path.parent)
    return source_of(Path(path.name))


def moving(step_px: float) -> Iterator[list[Face]]:
    """One face that moves to the right."""
    for number in itertools.count():
        x = number * step_px
        yield [Face((50 + x, 100, 250 + x, 300), 0.9)]


def scorer(job: SerializeConfig, script: Any, clock: Callable[[], float] = lambda: 0.0) -> Scorer:
    return Scorer(job, FakeDetector(script), FakeExtractor(), clock)


def starts(clips: list[Clip]) -> list[int]:
    """Frame numbers at which clips of d18.mp4 start."""
    return [round(clip.start_s * 30) for clip in clips]


class CountingDetector(FakeDetector):
    """Counts the frames that it is shown."""

    num_frames = 0

    def detect(self, rgb: Any) -> list[Face]:
        self.num_frames += 1
        return super().detect(rgb)


@pytest.mark.parametrize("policy", ["largest", "single"])
def test_scores_are_those_of_the_crops_and_boxes_that_the_pipeline_makes_of_the_clip(
    faces_dir: Path, assets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Also of clips that overlap, each of which is followed from its own first frame on when it is cut."""
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    source = same_everywhere(shutil.copy(faces_dir / "d3.mp4", tmp_path / "d3.mp4"), monkeypatch)
    clips_of = {"num_candidates": 8, "num_clips": 8, "length_s": 0.5, "overlap": "keep"}
    job = config(clips_of, faces={"policy": policy})
    assert len(runs_of(tries_of(job.clips, source, probe(source.uri), None))) < 6
    detector = BlazeFace(assets.read("face_detector"), job.faces.detector)
    clips = Scorer(job, detector, FakeExtractor())(source)
    assert len(clips) == 8
    for clip in clips:
        frames = Cutter(job, job.limits, detector, None)(clip.to_row()).frames
        assert frames.num_rows == 15
        crops = [decode_jpeg(values_of(frames, "crop")[row]) for row in (0, 7, 14)]
        boxes = np.asarray(values_of(frames, "box"), np.float64)
        expected = scores(job.clips, list(FakeExtractor()(np.stack(crops))), (boxes[:, :2] + boxes[:, 2:]) / 2)
        np.testing.assert_allclose(clip.scores, expected, atol=1e-9)
        assert 0 < clip.scores.variation < 0.2
        assert clip.reason == "scored 8 of 8, 0.5 s"


def test_the_kept_are_the_best_of_all(faces_dir: Path) -> None:
    source = source_of(faces_dir / "d18.mp4")
    everything = scorer(config({**EVERY, "expression_weight": 1, "position_weight": 0}), moving(0))(source)
    (kept,) = scorer(
        config({"num_candidates": 1000, "num_clips": 1, "expression_weight": 1, "position_weight": 0}), moving(0)
    )(source)
    assert len(everything) == NUM_FRAMES - 30 + 1
    assert kept.scores.score == max(clip.scores.score for clip in everything)
    assert len({clip.scores.score for clip in everything}) > 100


def test_a_face_that_moves_evenly_is_as_stable_as_its_step_says(faces_dir: Path) -> None:
    (clip,) = scorer(config({"num_candidates": 1000, "num_clips": 1}), moving(0.75))(source_of(faces_dir / "d18.mp4"))
    assert clip.scores.stability == pytest.approx(position_stability(np.array([(0, 0), (0.75, 0)])))


def test_a_candidate_without_a_face_in_one_frame_is_rejected_and_no_other(faces_dir: Path) -> None:
    script = [[] if number == 100 else [FACE] for number in range(NUM_FRAMES)]
    clips = scorer(config(EVERY), script)(source_of(faces_dir / "d18.mp4"))
    assert starts(clips) == [*range(71), *range(101, NUM_FRAMES - 30 + 1)]


@pytest.mark.parametrize(("policy", "num_rejected"), [("single", 30), ("largest", 0), ("all", 0)])
def test_a_second_face_spoils_its_candidates_only_where_one_is_demanded(
    faces_dir: Path, policy: str, num_rejected: int
) -> None:
    script = [[FACE, OTHER] if number == 100 else [FACE] for number in range(NUM_FRAMES)]
    clips = scorer(config(EVERY, faces={"policy": policy}), script)(source_of(faces_dir / "d18.mp4"))
    assert len(clips) == NUM_FRAMES - 30 + 1 - num_rejected


def test_the_face_of_the_policy_must_be_there_not_just_any(faces_dir: Path) -> None:
    script = [[OTHER] if number == 100 else [FACE, OTHER] for number in range(NUM_FRAMES)]
    clips = scorer(config(EVERY), script)(source_of(faces_dir / "d18.mp4"))
    assert not {*range(71, 101)} & {*starts(clips)}
    assert len(clips) == NUM_FRAMES - 30 + 1 - 30


def test_a_source_of_which_nothing_is_sound_is_a_clip_that_says_so(faces_dir: Path) -> None:
    (clip,) = scorer(config({}), [])(source_of(faces_dir / "d18.mp4"))
    assert why_unfit(clip.to_row()).startswith("none of its 50 candidates has the face in every frame")
    (clip,) = scorer(config({}), moving(0))(source_of(faces_dir / "d0.mp4"))
    assert why_unfit(clip.to_row()) == "3.12 s is shorter than clips.min_duration_s=5"
    assert clip.scores == Scores()


def test_what_cannot_be_opened_is_a_clip_that_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("not a video")
    assert scorer(config({}), [])(source_of(path)) == [Clip(source_of(path))]
    gone = Source(str(tmp_path / "gone.mp4"), 5, 7)
    assert scorer(config({}), [])(gone) == [Clip(gone)]


def test_every_frame_is_decoded_and_searched_once_however_many_candidates_share_it(faces_dir: Path) -> None:
    detector = CountingDetector(moving(0))
    job = config(EVERY, limits={"max_decoded_frames": NUM_FRAMES})
    clips = Scorer(job, detector, FakeExtractor())(source_of(faces_dir / "d18.mp4"))
    assert len(clips) == NUM_FRAMES - 30 + 1
    assert detector.num_frames == NUM_FRAMES


def test_of_a_long_video_only_the_candidates_are_decoded(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.mp4"
    lengthen(faces_dir / "d18.mp4", path)
    detector = CountingDetector(moving(0))
    job = config({"num_candidates": 3, "num_clips": 3}, limits={"max_decoded_frames": 3 * (NUM_FRAMES + 30)})
    clips = Scorer(job, detector, FakeExtractor())(same_everywhere(path, monkeypatch))
    assert len(clips) == 3
    assert detector.num_frames == 90
    assert probe(str(path)).num_frames > 10_000


def test_a_lower_frame_rate_is_that_of_the_pipeline(faces_dir: Path) -> None:
    detector = CountingDetector(moving(0))
    clips = Scorer(config(EVERY, fps=5), detector, FakeExtractor())(source_of(faces_dir / "d18.mp4"))
    assert [round(clip.start_s * 5, 6) for clip in clips] == [*range(32)]
    assert detector.num_frames == 36


def test_damage_costs_the_candidates_that_it_meets(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    lengthen(faces_dir / "d18.mp4", whole, index_at_start=True)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    clips = scorer(config({"num_candidates": 12, "num_clips": 12}), moving(0))(same_everywhere(cut, monkeypatch))
    assert 2 <= len(clips) <= 10
    assert all(clip.scores.score is not None for clip in clips)
    half_s = probe(str(whole)).duration_s / 2
    assert max(clip.end_s for clip in clips) < 1.05 * half_s
    cut.write_bytes(whole.read_bytes()[:230_000])  # the index and less than a clip
    found = scorer(config({"num_candidates": 1, "num_clips": 1}), moving(0))(source_of(cut))
    assert found == [Clip(source_of(cut))], "whole, so that it meets the damage"


def test_damage_in_many_places_keeps_no_frame(faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that waits for later ones when the damage comes is let go of, however many candidates meet some."""
    video, seen, most = source_of(faces_dir / "d9.mp4"), list[weakref.ref[Any]](), list[int]()
    time_base = probe(video.uri).time_base

    def damaged(_: object, spans: list[Span], **__: Any) -> Iterator[tuple[int, Frame]]:
        for number in range(12):
            time_s = spans[0].start_s + number / 30
            yield 0, Frame(ticks(time_s, time_base), time_s, np.zeros((480, 480, 3), np.uint8))
        raise MediaError("damaged")

    class Watching(CountingDetector):
        def detect(self, rgb: Any) -> list[Face]:
            seen.append(weakref.ref(rgb))
            most.append(sum(each() is not None for each in seen))
            return super().detect(rgb)

    monkeypatch.setattr("mien.pipelines.score.decode", damaged)
    apart = config({"num_candidates": 1000, "num_clips": 1, "length_s": 0.5}, fps=1)
    assert Scorer(apart, Watching(moving(0)), FakeExtractor())(video) == [Clip(video)]
    assert len(seen) > 100
    assert max(most) <= 15


def test_scoring_that_takes_too_long_ends(faces_dir: Path) -> None:
    ticking = itertools.count(0, 100.0)
    job = config({}, workers={"clip_timeout_s": 1000})
    (clip,) = scorer(job, moving(0), lambda: float(next(ticking)))(source_of(faces_dir / "d18.mp4"))
    assert why_unfit(clip.to_row()).startswith("scoring took over workers.clip_timeout_s=1000 and had come to ")


def test_an_outage_blames_no_source(emulator: Emulator, faces_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = GcsStore(f"gs://{BUCKET}/scored")
    store.replace("a.mp4", (faces_dir / "d18.mp4").read_bytes())
    entry = store.stat("a.mp4")
    source = Source(f"{store.uri}/a.mp4", entry.size_bytes, entry.generation)
    clips = scorer(config({}), moving(0))(source)  # drawn by the generation, which is another each time
    assert clips
    assert not any(why_unfit(clip.to_row()) for clip in clips)
    monkeypatch.setenv("MIEN_RETRY_S", "0.5")
    with failing(emulator, "alt=media", "status:503", 1000), pytest.raises(Unavailable):
        scorer(config({}), moving(0))(source)


def test_runs_are_what_overlaps_or_touches(faces_dir: Path) -> None:
    info = probe(str(faces_dir / "d9.mp4"))
    source = Source("d9.mp4", 1, 1)
    tries = tries_of(config({"num_candidates": 9, "num_clips": 1}).clips, source, info, None)
    runs = runs_of(tries)
    assert [attempt for run in runs for attempt in run] == tries
    assert 1 < len(runs) < 9
    for before, after in itertools.pairwise(runs):
        assert max(attempt.end_pts for attempt in before) < after[0].start_pts
    for run in runs:
        assert all(b.start_pts <= a.end_pts for a, b in itertools.pairwise(run))
