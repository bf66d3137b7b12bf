"""Lines of a run and of its resumptions, events that TensorBoard reads, and an offline run of Weights & Biases."""

import json
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import google_crc32c
import pytest
import wandb
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from mien.storage.local import LocalStore
from mien.training import log
from mien.training.log import LogConfig, RunLog, TensorBoard, WandB, wants_wandb

CONFIG = LogConfig(flush_s=1000)


class Listed:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.seen = list[tuple[int, dict[str, float]]]()
        self.pictures = list[tuple[int, str, bytes]]()
        self.closed = 0

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.seen.append((step, dict(values)))

    def picture(self, step: int, name: str, png: Path) -> None:
        self.pictures.append((step, name, png.read_bytes()))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An output."""
    return LocalStore(tmp_path / "run")


def begun(store: LocalStore, step: int, *trackers: Listed) -> RunLog:
    return RunLog(store, CONFIG, step, [*trackers])


def steps(store: LocalStore) -> list[int]:
    return [line["step"] for line in log.read(store)]


def write(run: RunLog, first: int, last: int, **values: float) -> None:
    for step in range(first, last + 1):
        run.write(step, "train", {"loss": 1.0, **values})


def test_a_line_says_step_and_kind_first_and_trackers_hear_the_numbers(store: LocalStore) -> None:
    tracker = Listed()
    run = begun(store, 0, tracker)
    run.write(3, "train", {"loss": 0.5, "count": 2})
    run.write(3, "event", {"event": "start"})
    run.close()
    (entry,) = store.list("log/")
    lines = [json.loads(line) for line in store.read(entry.name).decode().splitlines()]
    assert [[*line][:3] for line in lines] == [["step", "kind", "time"]] * 2
    assert (lines[0]["loss"], lines[1]["event"]) == (0.5, "start")
    assert tracker.seen == [(3, {"train/loss": 0.5, "train/count": 2.0}), (3, {})]
    run.close()
    assert tracker.closed == 1, "closing twice is closing once"


def test_numbers_that_json_does_not_know_are_texts(store: LocalStore) -> None:
    run = begun(store, 0)
    write(run, 1, 1, loss=math.nan, norm=math.inf)
    run.close()

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    (entry,) = store.list("log/")
    assert json.loads(store.read(entry.name), parse_constant=refuse)["norm"] == "inf"


def test_a_run_that_resumes_replaces_what_it_does_again(store: LocalStore) -> None:
    first = begun(store, 0)
    write(first, 1, 10)
    first.begin_segment(10)
    write(first, 11, 20)
    first.begin_segment(20)
    write(first, 21, 25)
    first.flush()
    second = begun(store, 20)  # killed after step 25
    assert steps(store) == [*range(1, 21)]
    write(second, 21, 30)
    second.begin_segment(30)
    second.close()
    assert steps(store) == [*range(1, 31)]
    third = begun(store, 10)  # the checkpoint of step 20 was damaged
    write(third, 11, 12)
    third.close()
    assert steps(store) == [*range(1, 13)]
    begun(store, 0)
    assert steps(store) == []


def test_segments_of_many_digits_stay_in_order(store: LocalStore) -> None:
    run = begun(store, 0)
    for start in (0, 900, 1000, 20_000):
        run.begin_segment(start)
        write(run, start + 1, start + 2)
    run.close()
    assert steps(store) == [1, 2, 901, 902, 1001, 1002, 20_001, 20_002]


def test_a_store_that_refuses_costs_lines_and_not_the_run(
    small_disk: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    store = LocalStore(small_disk("size=16k") / "run")
    run = begun(store, 0)
    write(run, 1, 300)
    run.flush()
    assert "the log cannot be written" in caplog.text
    small_disk("size=1m")
    run.close()
    assert steps(store) == [*range(1, 301)]


def events(store: LocalStore) -> list[Event]:
    """Records of event files: length, masked CRC32C of it, bytes, masked CRC32C of them."""
    found = []
    for entry in store.list(log.EVENTS):
        data, at = store.read(entry.name), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            content = data[at + 12 : at + 12 + size]
            for part, place in ((data[at : at + 8], at + 8), (content, at + 12 + size)):
                crc = google_crc32c.value(part)
                assert struct.unpack_from("<I", data, place)[0] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
            event = Event()
            event.ParseFromString(content)
            found.append(event)
            at += size + 16
    return found


def picture(path: Path) -> Path:
    Image.new("RGB", (4, 3), (10, 200, 30)).save(path)
    return path


def test_events_are_read_by_their_format(store: LocalStore, tmp_path: Path) -> None:
    run = RunLog(store, CONFIG, 7, [TensorBoard(store, 7)])
    run.write(8, "train", {"loss": 0.25})
    run.picture(8, "similarity", picture(tmp_path / "x.png"))
    run.close()
    found = events(store)
    values = {value.tag: (event.step, value) for event in found for value in event.summary.value}
    assert values["train/loss"][0] == 8
    assert values["train/loss"][1].simple_value == 0.25
    assert (values["similarity"][1].image.width, values["similarity"][1].image.height) == (4, 3)
    assert [event.step for event in found if event.HasField("session_log")] == [7], "later steps of before are dropped"
    assert not [*(store.root / ".scratch").iterdir()], "nothing is left on the way"


def test_a_picture_stands_below_figures(store: LocalStore, tmp_path: Path) -> None:
    tracker = Listed()
    path = picture(tmp_path / "x.png")
    begun(store, 0, tracker).picture(12, "similarity", path)
    assert store.read("figures/similarity_step_12.png") == path.read_bytes()
    assert tracker.pictures == [(12, "similarity", path.read_bytes())]


def test_a_tracker_is_wanted_by_config_or_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not wants_wandb(LogConfig())
    assert wants_wandb(LogConfig(wandb_project="faces"))
    monkeypatch.setenv("WANDB_MODE", "online")
    assert not wants_wandb(LogConfig())
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wants_wandb(LogConfig())
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "x")
    assert wants_wandb(LogConfig())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_an_offline_run_is_one_folder_on_this_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    tracker = WandB("faces", "0123456789abcdef", {"seed": 1}, group="a-sweep")
    tracker.scalars(1, {"train/loss": 0.5})
    tracker.scalars(2, {"train/loss": 0.4})
    tracker.close()
    wandb.teardown()  # its own process writes the file, and ends here
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith("-0123456789abcdef")
    content = (folder / "run-0123456789abcdef.wandb").read_bytes()
    assert b"a-sweep" in content
    assert b"faces" in content
    assert content.count(b"train/loss") >= 2
