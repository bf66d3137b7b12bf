"""Clips cut straight from a bucket: the bytes that three short ones of a long video take, and when all of it is better.

The service is the emulator on this machine, without credentials; each read waits as one from a bucket nearby does.
"""

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench_serialize import SHARED

from buckets import read_from
from long_videos import LONG_S, WORST_STARTS_S, lengthen
from mien.clips.clip import Clip, Source
from mien.faces.detect import Face, FakeDetector
from mien.pipelines.cut import CutConfig, Cutter
from mien.pipelines.plan import measured
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.source import Recent, opened
from mien.storage.uri import Entry
from mien.video.decode import Span, decode_clip
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

BUCKET, NAME = "bench", "long.mp4"
ROUND_TRIP_S = 0.03
REPEATS = 5
SHARES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Parts of the video that a clip covers, in rising order."""


def run() -> Iterator[dict[str, Any]]:
    """Bytes read ÷ size of the file, and the share from which `fetch: whole` is at least as quick as ranges."""
    with tempfile.TemporaryDirectory() as folder, Emulator() as emulator:
        os.environ["STORAGE_EMULATOR_HOST"] = emulator.url
        emulator.create_bucket(BUCKET)
        lengthen(SHARED / "faces" / "d18.mp4", Path(folder) / NAME)
        store = GcsStore(f"gs://{BUCKET}")
        store.publish(Path(folder) / NAME, NAME)
        planned = store.stat(NAME)
        yield _bytes(emulator, planned)
        emulator.faults([{"match": "alt=media", "fault": f"stall:{ROUND_TRIP_S}", "times": 1_000_000}])
        yield _share(planned)


def _cut(planned: Entry, spans: Sequence[Span], *, whole: bool = False) -> None:
    """What a worker does with a source, but for the faces: it is opened for each clip."""
    recent = Recent()
    for span in spans:
        with opened(f"gs://{BUCKET}/{NAME}", planned, "whole" if whole else "checked", recent) as file:
            probe(file)
            for _ in decode_clip(file, span, fps=1):
                pass


def _bytes(emulator: Emulator, planned: Entry) -> dict[str, Any]:
    recent, source = Recent(), Source(f"gs://{BUCKET}/{NAME}", planned.size_bytes, planned.generation)
    cutter = Cutter(CutConfig(), LimitsConfig(), FakeDetector([[Face((10, 10, 60, 60), 0.9)]] * 2000), None)
    emulator.reset_traffic()
    measured(source, LimitsConfig(), recent)
    known = source._replace(header_crc32c=recent.crc32c())
    for start_s in WORST_STARTS_S["d18.mp4"]:
        cutter(Clip(known, start_s, start_s + 3).to_row())
    num_bytes = read_from(emulator)[1]
    return _line("remote_read.bytes", num_bytes / planned.size_bytes, 0.15, (num_bytes, planned.size_bytes), "bytes")


def _share(planned: Entry) -> dict[str, Any]:
    quicker = math.inf
    for share in SHARES:
        spans = [Span(LONG_S / 2 * (1 - share), LONG_S / 2 * (1 + share))]
        times: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(REPEATS):
            for whole, found in times.items():
                start = time.perf_counter()
                _cut(planned, spans, whole=whole)
                found.append(time.perf_counter() - start)
        whole_s, ranges_s = (statistics.median(times[whole]) for whole in (True, False))
        print(f"remote_read: share {share:g}: whole {whole_s:.2f} s, ranges {ranges_s:.2f} s", file=sys.stderr)
        quicker = min(quicker, share) if whole_s <= ranges_s else math.inf
    return _line("remote_read.whole_from_share", quicker, None, (quicker, 1.0), "share of the video")


def _line(bench: str, ratio: float, bound: float | None, sides: tuple[float, float], unit: str) -> dict[str, Any]:
    ours, other = sides
    return {
        "bench": bench, "ratio": ratio, "bound": bound, "better": "lower", "ours": ours, "other": other, "unit": unit
    }  # fmt: skip
