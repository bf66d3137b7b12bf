import os
import re
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from mien.datasets.index import rows_to_table
from mien.pipelines.handout import TaskSize, grouped
from mien.pipelines.serialize import SerializeConfig
from mien.pipelines.sink import crossing_row
from mien.pipelines.stages import CUT, CutStage
from mien.pipelines.tally import RECENT_S, StageCount, Straggler, Tally
from mien.schema import PLAN
from sample_datasets import make_clip

PATIENCE_S = 60.0


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    return Tally(["cut", "features"], clock)


def cut(tally: Tally, clock: Clock, clip_id: str, for_s: float) -> None:
    """One clip from its begin to its end."""
    tally.begin(clip_id, "a.mp4", "here")
    clock.now += for_s
    tally.end(clip_id)


def test_the_tally_adds_up_and_knows_the_first_clip(tally: Tally) -> None:
    before = time.time()
    for stage, frames, failure in [("cut", 30, ""), ("cut", 0, "no face")]:
        tally.add(stage, frames, 0.5, failure)
    assert tally.counts().first_clip_at == 0
    tally.add("features", 30, 0.5, "")
    counts = tally.counts()
    assert counts.stages["cut"][:4] == (2, 1, 30, 1.0)
    assert counts.stages["features"][:4] == (1, 0, 30, 0.5)
    assert counts.last_failure == "no face"
    assert before <= counts.first_clip_at <= time.time()


def test_an_attempt_without_an_end_is_counted(tally: Tally, clock: Clock) -> None:
    assert [tally.begin("a"), tally.begin("b"), tally.begin("a"), tally.begin("a")] == [1, 1, 2, 3]
    tally.end("a")
    assert [tally.begin("a"), tally.begin("b")] == [1, 2]
    tally.end("never begun")


def test_a_worker_that_is_at_work_is_busy_before_its_clip_ends(tally: Tally, clock: Clock) -> None:
    tally.begin("a")
    clock.now += 30
    tally.begin("b")
    clock.now += 10
    assert tally.counts().stages["cut"] == StageCount(busy_s=40 + 10, workers=2)
    tally.end("a")
    tally.add("cut", 100, 40, "")
    assert tally.counts().stages["cut"] == StageCount(1, 0, 100, 40 + 10, workers=2)
    assert tally.counts().stages["cut"].workers == 1, "since the last look"


def test_actors_are_known_by_name_and_forgotten_when_they_are_gone(tally: Tally, clock: Clock) -> None:
    for worker in ("x", "y", "x"):
        tally.add("features", 10, 1.0, "", worker)
    assert tally.counts().stages["features"].workers == 2
    clock.now += RECENT_S / 2
    tally.add("features", 10, 1.0, "", "y")
    clock.now += RECENT_S / 2
    assert tally.counts().stages["features"].workers == 1


def test_a_clip_that_takes_ten_times_the_usual_is_a_straggler(tally: Tally, clock: Clock) -> None:
    for number in range(5):
        cut(tally, clock, f"{number}", for_s=20)
    tally.begin("slow", "b.mp4", "node-7 (pid 9)")
    clock.now += 50
    tally.begin("new", "c.mp4", "node-8 (pid 3)")
    clock.now += 150
    assert tally.counts().stragglers == ()
    clock.now += 1
    assert tally.counts().stragglers == (Straggler("slow", "b.mp4", "node-7 (pid 9)", 201),)
    clock.now += 100
    assert [straggler.clip_id for straggler in tally.counts().stragglers] == ["slow", "new"]
    tally.end("slow")
    assert [straggler.clip_id for straggler in tally.counts().stragglers] == ["new"]


def test_nothing_is_slow_within_a_minute_nor_before_the_usual_is_known(tally: Tally, clock: Clock) -> None:
    tally.begin("first")
    clock.now += 300
    assert tally.counts().stragglers == (), "no other clip tells what is usual"
    tally.end("first")
    for number in range(5):
        cut(tally, clock, f"{number}", for_s=1)
    tally.begin("second")
    clock.now += 60
    assert tally.counts().stragglers == ()
    clock.now += 1
    assert [straggler.clip_id for straggler in tally.counts().stragglers] == ["second"]


def test_a_clip_that_is_tried_again_waits_for_its_new_worker(tally: Tally, clock: Clock) -> None:
    for number in range(5):
        cut(tally, clock, f"{number}", for_s=1)
    tally.begin("a", "a.mp4", "dead")
    clock.now += 100
    tally.begin("a", "a.mp4", "alive")
    clock.now += 61
    assert tally.counts().stragglers == (Straggler("a", "a.mp4", "alive", 61),)


def eventually(look: Callable[[], Any]) -> Any:
    """What a look sees as soon as it is something."""
    until = time.monotonic() + PATIENCE_S
    while not (found := look()) and time.monotonic() < until:
        time.sleep(0.01)
    return found


def test_a_clip_that_takes_long_is_told_with_its_node_while_it_does(local_ray: None, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    class Waiting(CutStage):
        def cut(self, clip: Mapping[str, Any]) -> tuple[pa.Table, int, str]:
            while not gate.exists():
                time.sleep(0.01)
            return crossing_row(clip), 7, ""

    class Hasty:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1000
            return self.now

    tally = ray.remote(Tally).options(num_cpus=0).remote([CUT], Hasty())
    stage = Waiting(SerializeConfig(), None, tally)
    tasks = grouped(rows_to_table([make_clip(0).to_row()], PLAN), TaskSize(1))
    work = ray.remote(lambda: [os.getpid(), *stage(tasks)]).remote()
    straggler = eventually(lambda: ray.get(tally.counts.remote()).stragglers)[0]
    gate.touch()
    pid, row = ray.get(work)
    assert straggler[:3] == (make_clip(0).clip_id, make_clip(0).source.uri, f"{socket.gethostname()} (pid {pid})")
    assert row.num_rows == 1
    assert eventually(lambda: ray.get(tally.counts.remote()).stages[CUT].frames) == 7
    assert ray.get(tally.counts.remote()).stragglers == ()


@pytest.mark.slow
def test_ray_serves_the_counts_to_prometheus(local_ray: None) -> None:
    tally = ray.remote(Tally).options(num_cpus=0).remote(["one", "two"])
    for stage, frames, failure in [("one", 30, ""), ("one", 12, ""), ("one", 0, "no face"), ("two", 30, "")]:
        ray.get(tally.add.remote(stage, frames, 0.5, failure))
    port = ray.nodes()[0]["MetricsExportPort"]

    def scrape() -> set[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            found = re.findall(r"^ray_(mien_\w+)\{(.*)\} (\S+)$", answer.read().decode(), re.MULTILINE)
        tags = [dict(re.findall(r'(\w+)="(\w+)"', labels)) for _, labels, _ in found]
        shown = zip(found, tags, strict=True)
        return {f"{name} {tag['stage']} {tag.get('outcome')} {value}" for (name, _, value), tag in shown}

    expected = {
        *("mien_clips_total one made 2.0", "mien_clips_total one failed 1.0", "mien_clips_total two made 1.0"),
        *("mien_frames_total one None 42.0", "mien_frames_total two None 30.0"),
    }
    assert eventually(lambda: expected <= scrape())
