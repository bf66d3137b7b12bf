import multiprocessing
import resource
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from mien.pipelines.cap import data_bytes, give_back, leave_no_core, memory_cap

linux = pytest.mark.skipif(sys.platform != "linux", reason="the cap holds on Linux")


def fresh(check: Callable[[], None]) -> None:
    """Run a check in a process of its own: freed memory that this one keeps is not asked for again, so not refused."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(check)


@linux
def test_within_the_cap_memory_is_given_and_beyond_it_refused() -> None:
    fresh(_within_and_beyond)


def _within_and_beyond() -> None:
    with memory_cap(200 << 20):
        assert np.ones(100 << 20, np.uint8).all()
        with pytest.raises(MemoryError):
            np.ones(300 << 20, np.uint8)
    assert np.ones(300 << 20, np.uint8).all(), "afterwards there is no cap"


@linux
def test_the_limit_is_as_before_after_success_and_after_failure() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_cap(64 << 20):
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] <= data_bytes() + (64 << 20)
    with pytest.raises(ZeroDivisionError), memory_cap(64 << 20):
        _ = 1 // 0
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@linux
def test_what_was_held_before_does_not_count() -> None:
    held = np.ones(300 << 20, np.uint8)
    with memory_cap(100 << 20):
        assert np.ones(50 << 20, np.uint8).size + held.size == 350 << 20


@linux
def test_blocks_in_several_threads_share_one_cap_until_the_last_has_ended() -> None:
    before, first_in, second_in = resource.getrlimit(resource.RLIMIT_DATA), threading.Event(), threading.Event()

    def first() -> None:
        with memory_cap(64 << 20):
            first_in.set()
            assert second_in.wait(60)

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(first)
        assert first_in.wait(60)
        cap = resource.getrlimit(resource.RLIMIT_DATA)
        with memory_cap(1 << 20):
            second_in.set()
            ended.result()
            assert resource.getrlimit(resource.RLIMIT_DATA) == cap != before
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_without_a_number_there_is_no_cap() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with memory_cap(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.slow
def test_a_crash_leaves_no_image_of_the_memory(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom mien.pipelines.cap import leave_no_core\n{}\nos.kill(os.getpid(), signal.SIGSEGV)"
    )
    done = subprocess.run([sys.executable, "-c", program.format("leave_no_core()")], cwd=tmp_path, check=False)
    assert done.returncode == -11
    assert list(tmp_path.iterdir()) == []


def test_the_core_limit_is_zero_and_can_be_raised_again() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    try:
        leave_no_core()
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


@linux
def test_what_was_freed_between_kept_pieces_is_given_back() -> None:
    fresh(_given_back)


@linux
def test_what_arrow_freed_is_given_back() -> None:
    fresh(_given_back_by_arrow)


def _given_back_by_arrow() -> None:
    columns = [pa.array([bytes(20_000)] * 50) for _ in range(100)]
    del columns[1:]
    kept = psutil.Process().memory_info().rss
    give_back()
    assert len(columns[0]) == 50
    assert psutil.Process().memory_info().rss < kept - 60e6


def _given_back() -> None:
    pieces = [bytearray(size) for _ in range(2000) for size in (60_000, 600)]
    kept = pieces[1::2]
    del pieces
    before = psutil.Process().memory_info().rss
    give_back()
    assert len(kept) == 2000
    assert psutil.Process().memory_info().rss < before - 60e6
