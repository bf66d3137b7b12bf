import hashlib
import logging
import multiprocessing
import resource
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien import assets
from mien.assets import Asset, Store
from mien.errors import AssetError, ConfigError
from mien.origins import Url, Wheel

MODEL = bytes(range(256)) * 400
OTHER_BUILD = MODEL + b"metadata"
REQUIREMENT = "tinymodels==1.0"
MEMBER = "tinymodels/model.bin"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Files on loopback, by path; `requests` lists what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []

    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is no news."""

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        server.files["/model.bin"] = MODEL
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(server: Server, tmp_path: Path) -> Store:
    url = Url(server.url("/model.bin"), sha256(MODEL), len(MODEL))
    return Store({"model": Asset("model.bin", "for tests", "CC0", (url,))}, tmp_path / "cache")


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    """A folder with a wheel for the platform that is asked for, its model another build than the server's."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "tinymodels-1.0.dist-info"
    with zipfile.ZipFile(folder / "tinymodels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", "w") as wheel:
        wheel.writestr(MEMBER, OTHER_BUILD)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinymodels\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def with_wheel(store: Store, wheelhouse: Path, wheel: Wheel) -> Store:
    asset = store.assets["model"]
    options = ("--no-index", f"--find-links={wheelhouse}")
    return replace(store, assets={"model": replace(asset, origins=(*asset.origins, wheel))}, pip_options=options)


WHEEL = Wheel(REQUIREMENT, MEMBER, sha256(OTHER_BUILD), len(OTHER_BUILD))


def test_an_absent_file_is_named_with_two_remedies(store: Store) -> None:
    with pytest.raises(AssetError, match=r"model.bin is absent: run `mien assets pull model`, or set MIEN_ASSETS"):
        store.path("model")
    assert store.status("model").state == "absent"
    assert store.status("model").path is None


def test_pull_fetches_once_and_what_is_read_is_what_was_served(store: Store, server: Server) -> None:
    (pulled,) = store.pull()
    assert (pulled.state, pulled.sha256, pulled.size_bytes) == ("ok", sha256(MODEL), len(MODEL))
    assert store.path("model").read_bytes() == store.read("model") == MODEL
    store.pull(["model"])
    assert server.requests == ["/model.bin"]
    assert [file.name for file in store.cache.iterdir()] == ["model.bin"]


def test_progress_goes_to_the_logger(store: Store, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mien"):
        store.pull()
    assert f"model.bin: fetching from {server.url('/model.bin')}" in caplog.text
    assert "0.1 MB in " in caplog.text


def test_an_unknown_name_lists_the_known_ones(store: Store) -> None:
    for use in (store.path, store.read, store.status, lambda name: store.pull([name])):
        with pytest.raises(ConfigError, match=r"'nose': no such asset; there are model"):
            use("nose")


@pytest.mark.parametrize("content", [MODEL[:-1], MODEL + b"x", MODEL[:-1] + b"x", b""])
def test_served_bytes_with_another_sum_are_never_stored(store: Store, server: Server, content: bytes) -> None:
    server.files["/model.bin"] = content
    with pytest.raises(AssetError, match=rf"sha256 is [0-9a-f]{{64}}, expected {sha256(MODEL)}"):
        store.pull()
    assert list(store.cache.iterdir()) == []


def test_every_origin_is_named_when_none_has_the_file(store: Store, server: Server, wheelhouse: Path) -> None:
    server.files.clear()
    absent = with_wheel(store, wheelhouse, replace(WHEEL, requirement="tinymodels==2.0"))
    with pytest.raises(AssetError) as failure:
        absent.pull()
    message = str(failure.value)
    assert f"{server.url('/model.bin')}: HTTP Error 404" in message
    assert f"tinymodels==2.0, {MEMBER}: pip: ERROR: No matching distribution found" in message
    assert (
        f"put model.bin (sha256 {' or '.join(sorted([sha256(MODEL), sha256(OTHER_BUILD)]))}) into a folder" in message
    )
    assert failure.value.exit_code == 4


def test_a_server_that_is_not_there_is_an_asset_error(store: Store, server: Server) -> None:
    closed = Server()
    closed.server_close()
    url = Url(closed.url("/model.bin"), sha256(MODEL), len(MODEL))
    nowhere = replace(store, assets={"model": replace(store.assets["model"], origins=(url,))})
    with pytest.raises(AssetError, match="Connection refused"):
        nowhere.pull()


def test_the_wheel_stands_in_for_an_address_that_fails(store: Store, server: Server, wheelhouse: Path) -> None:
    server.files.clear()
    (pulled,) = with_wheel(store, wheelhouse, WHEEL).pull()
    assert (pulled.state, pulled.sha256) == ("ok", sha256(OTHER_BUILD))


def test_a_build_counts_from_its_own_origin_only(store: Store, server: Server, wheelhouse: Path) -> None:
    server.files["/model.bin"] = b"an error page"
    (pulled,) = with_wheel(store, wheelhouse, WHEEL).pull()
    assert pulled.sha256 == sha256(OTHER_BUILD)


@pytest.mark.parametrize(
    ("wheel", "reason"),
    [
        (replace(WHEEL, member="tinymodels/absent.bin"), "There is no item named 'tinymodels/absent.bin'"),
        (replace(WHEEL, sha256=sha256(b"else")), f"sha256 is {sha256(OTHER_BUILD)}, expected {sha256(b'else')}"),
        (replace(WHEEL, size_bytes=10), "sha256 is"),
    ],
)
def test_a_wheel_without_the_pinned_file_is_refused(
    store: Store, server: Server, wheelhouse: Path, wheel: Wheel, reason: str
) -> None:
    server.files.clear()
    with pytest.raises(AssetError, match=reason):
        with_wheel(store, wheelhouse, wheel).pull()


def test_a_damaged_cached_file_is_refused_then_replaced(store: Store) -> None:
    store.pull()
    cached = store.cache / "model.bin"
    cached.write_bytes(b"damaged")
    assert store.status("model").state == "damaged"
    for use in (store.path, store.read):
        with pytest.raises(AssetError) as failure:
            use("model")
        assert str(failure.value) == (
            f"{cached}: sha256 is {sha256(b'damaged')}, expected {sha256(MODEL)}: run `mien assets pull model`"
        )
    assert store.pull()[0].state == "ok"
    assert store.read("model") == MODEL


def test_the_given_folder_comes_first_and_is_never_written(store: Store, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    here = replace(store, given=folder)
    assert here.pull()[0].path == store.cache / "model.bin"
    (folder / "model.bin").write_bytes(MODEL)
    assert here.path("model") == folder / "model.bin"
    (folder / "model.bin").write_bytes(b"damaged")
    for use in (here.path, lambda name: here.pull([name])):
        with pytest.raises(AssetError, match=r"given/model.bin: sha256 is .*: replace it, or unset MIEN_ASSETS"):
            use("model")
    assert (folder / "model.bin").read_bytes() == b"damaged"
    assert len(server.requests) == 1


def test_offline_asks_nobody_but_uses_what_is_there(store: Store, server: Server) -> None:
    offline = replace(store, is_offline=True)
    with pytest.raises(AssetError, match=r"not fetched because MIEN_OFFLINE is set; put model.bin"):
        offline.pull()
    assert server.requests == []
    store.pull()
    assert offline.pull()[0].state == "ok"
    assert offline.read("model") == MODEL


def test_a_cache_that_cannot_be_written_is_one_clear_error(store: Store, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    blocked = replace(store, cache=tmp_path / "file" / "assets")
    with pytest.raises(AssetError, match=r"file/assets/model.bin: cannot be written: .*; set MIEN_CACHE"):
        blocked.pull()
    assert server.requests == []


def test_a_disk_that_fills_up_leaves_nothing_behind(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(MODEL) // 2, hard))
    try:
        with pytest.raises(AssetError, match="cannot be written: File too large"):
            store.pull()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(store.cache.iterdir()) == []


def pull_at_the_same_time(store: Store, barrier: Callable[[], object]) -> None:
    barrier()
    assert store.pull()[0].state == "ok"
    assert store.read("model") == MODEL


def test_processes_that_pull_at_once_all_get_a_whole_file(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=pull_at_the_same_time, args=(store, barrier.wait)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert [file.name for file in store.cache.iterdir()] == ["model.bin"]


def test_the_environment_names_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MIEN_ASSETS", "MIEN_CACHE", "XDG_CACHE_HOME", "MIEN_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store.from_environment() == Store(assets.ASSETS, tmp_path / ".cache" / "mien" / "assets")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Store.from_environment().cache == tmp_path / "xdg" / "mien" / "assets"
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("MIEN_ASSETS", "~/models")
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    expected = Store(assets.ASSETS, tmp_path / "own" / "assets", tmp_path / "models", is_offline=True)
    assert Store.from_environment() == expected
    monkeypatch.setenv("MIEN_OFFLINE", "0")
    assert not assets.is_offline()


def test_the_shared_model_files_have_the_pinned_sums(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    needed = [name for name, asset in assets.ASSETS.items() if not asset.is_optional]
    assert {found.name: found.state for found in assets.status()}.items() >= dict.fromkeys(needed, "ok").items()
    assert [found.path for found in assets.verify(needed)] == [assets.path(name) for name in needed]
    assert [len(assets.read(name)) for name in needed] == [229_714, 3_758_596]


def test_what_few_need_is_fetched_and_verified_by_its_name_alone(store: Store, server: Server) -> None:
    server.files["/large.bin"] = OTHER_BUILD
    url = Url(server.url("/large.bin"), sha256(OTHER_BUILD), len(OTHER_BUILD))
    large = Asset("large.bin", "for tests", "CC0", (url,), is_optional=True)
    both = replace(store, assets={**store.assets, "large": large})
    assert [pulled.name for pulled in both.pull()] == both.usual() == ["model"]
    assert server.requests == ["/model.bin"]
    (pulled,) = both.pull(["large"])
    assert (pulled.state, pulled.sha256) == ("ok", sha256(OTHER_BUILD))
    (both.cache / "large.bin").write_bytes(b"damaged")
    assert both.usual() == ["model", "large"], "what is there is looked at"
    assert [pulled.state for pulled in both.pull()] == ["ok", "ok"]


def test_the_weights_of_inception_are_the_file_that_numbers_of_others_were_made_with(tmp_path: Path) -> None:
    inception = Store(assets.ASSETS, tmp_path, is_offline=True)
    found = inception.status("inception")
    assert found.sha256 == "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
    assert found.file.endswith(f"-{found.sha256[:8]}.pth"), "its name holds the sum's first digits"
    assert "inception" not in inception.usual()
    with pytest.raises(AssetError, match=r"run `mien assets pull inception`, or set MIEN_ASSETS"):
        inception.path("inception")


def test_verify_names_every_file_that_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "face_landmarker.task").write_bytes(b"damaged")
    with pytest.raises(AssetError) as failure:
        assets.verify()
    absent, damaged = str(failure.value).splitlines()
    assert "face_detection_short_range.tflite is absent" in absent
    assert f"(MIEN_ASSETS={tmp_path} does not)" in absent
    assert "face_landmarker.task: sha256 is" in damaged


@pytest.mark.slow
def test_the_detector_comes_out_of_the_package_index(tmp_path: Path) -> None:
    detector = assets.ASSETS["face_detector"]
    wheel_only = replace(detector, origins=tuple(origin for origin in detector.origins if isinstance(origin, Wheel)))
    (pulled,) = Store({"face_detector": wheel_only}, tmp_path, is_offline=assets.is_offline()).pull()
    assert pulled.state == "ok"
    assert pulled.size_bytes == 229_714
