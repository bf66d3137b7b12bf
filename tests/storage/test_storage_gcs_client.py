import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from buckets import BUCKET, failing
from mien.errors import ConfigError, PreflightError, StorageError, Unavailable
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.gcs_client import client
from mien.storage.uri import arrow_place


@pytest.fixture
def store(emulator: Emulator) -> GcsStore:
    """One small object."""
    made = GcsStore(f"gs://{BUCKET}/client")
    made.replace("x", b"1")
    return made


def test_a_process_has_one_client(emulator: Emulator) -> None:
    assert client() is client()


def test_an_outage_ends_in_one_line_after_the_budget(
    store: GcsStore, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_RETRY_S", "0.5")
    with (
        failing(emulator, ".*", "status:503", 1000),
        pytest.raises(Unavailable, match=r"the service does not answer .*; run the same command, it resumes") as raised,
    ):
        store.read("x")
    assert "\n" not in str(raised.value)


def test_rights_that_are_missing_are_told_with_the_role(store: GcsStore, emulator: Emulator) -> None:
    with (
        failing(emulator, "POST .*upload", "status:403", 1),
        pytest.raises(StorageError, match=r"permission denied .*storage\.objectUser"),
    ):
        store.put_new("y", b"1")


@pytest.mark.parametrize("fault", ["status:429", "status:403:rateLimitExceeded", "status:403:quotaExceeded"])
@pytest.mark.parametrize("request_kind", ["POST .*upload", "GET .*alt=media", "GET .*/o"])
def test_a_quota_that_is_used_up_is_told_as_such_and_blames_no_object(
    store: GcsStore, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, request_kind: str, fault: str
) -> None:
    monkeypatch.setenv("MIEN_RETRY_S", "0.5")
    with (
        failing(emulator, request_kind, fault, 1000),
        pytest.raises(Unavailable, match=r"a quota of the project is used up .* ask for more .*it resumes") as raised,
    ):
        store.replace("x", b"1") if "POST" in request_kind else [store.read("x") for _ in store.list()]
    assert "\n" not in str(raised.value)


def test_no_credentials_is_one_line_and_no_wait() -> None:
    script = "from mien.storage.gcs import GcsStore\nprint(list(GcsStore('gs://some-bucket').list()))"
    environment = {key: value for key, value in os.environ.items() if key != "STORAGE_EMULATOR_HOST"}
    environment |= {"GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent.json"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert PreflightError.__name__ in done.stderr
    assert "no credentials on this machine" in done.stderr.splitlines()[-1]


def test_pyarrow_reads_what_the_store_wrote(store: GcsStore) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2, 3]}), sink)
    store.put_new("plan/0.parquet", sink.getvalue().to_pybytes())
    place, filesystem = arrow_place(f"{store.uri}/plan/0.parquet")
    assert pq.read_table(place, filesystem=filesystem).num_rows == 3
    assert arrow_place("/a/b") == ("/a/b", None)


@pytest.mark.parametrize("stated", ["abc", "", "0", "-1", "inf", "nan"])
def test_a_limit_that_is_no_number_of_seconds_is_refused_by_name(
    store: GcsStore, monkeypatch: pytest.MonkeyPatch, stated: str
) -> None:
    monkeypatch.setenv("MIEN_RETRY_S", stated)
    with pytest.raises(ConfigError, match=f"MIEN_RETRY_S={stated}: is no number of seconds above 0"):
        store.read("x")
