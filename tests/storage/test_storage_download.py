import hashlib
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509  # of google-auth
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from file_server import EXPIRED, FileServer, Rule, serving
from mien.errors import DownloadError, NoSpace
from mien.storage import partial
from mien.storage.download import MAX_REDIRECTS, DownloadConfig, Downloader, Fetched, validator
from mien.storage.partial import Partial
from mien.storage.sums import Sums

DATA = bytes(range(256)) * 4096
"""1 MiB in which no part looks like another at the same place."""
SECRET = "X-Goog-Signature=c0ffee"


class Waits:
    """A clock that is not waited for."""

    def __init__(self) -> None:
        self.seconds = list[float]()

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@contextmanager
def part(folder: Path, key: str = "item") -> Iterator[Partial]:
    with partial.held(folder, key) as held:
        yield held


def fetch(
    url: str,
    folder: Path,
    sums: Sums = Sums(),  # noqa: B008
    waits: Callable[[float], None] | None = None,
    **config: float,
) -> tuple[Fetched, bytes]:
    downloader = Downloader(DownloadConfig.parse(config, "test"), wait=waits or Waits())
    with part(folder) as held:
        fetched = downloader.fetch(url, held, sums)
        return fetched, held.path.read_bytes()


def test_a_file_comes_whole(web: FileServer, tmp_path: Path) -> None:
    fetched, data = fetch(web.put("a.mp4", DATA), tmp_path)
    assert data == DATA
    assert fetched == Fetched(len(DATA), 0, 1, Sums())
    assert web.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("cuts", [(300_000,), (1,), (300_000, 400_000), (len(DATA) - 1,)])
def test_a_cut_connection_is_resumed_by_range_and_no_byte_comes_twice(
    web: FileServer, tmp_path: Path, cuts: tuple[int, ...]
) -> None:
    url = web.put("a.mp4", DATA, *(Rule(cut_after=cut) for cut in cuts))
    fetched, data = fetch(url, tmp_path)
    assert data == DATA
    assert fetched.num_tries == len(cuts) + 1
    assert fetched.received_bytes == web.sent_bytes("a.mp4") == len(DATA)
    starts = [asked.headers.get("range") for asked in web.asked]
    assert starts == [None, *(f"bytes={sum(cuts[: number + 1])}-" for number in range(len(cuts)))]
    assert all("if-range" in asked.headers for asked in web.asked[1:])


def test_a_later_run_goes_on_where_an_earlier_one_was_cut(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", DATA, Rule(cut_after=600_000), Rule(status=500))
    with pytest.raises(DownloadError, match=r"refuses for now \(500\) \(1 try in a row\); the same command goes on"):
        fetch(url, tmp_path, max_tries=1)
    fetched, data = fetch(url, tmp_path)
    assert data == DATA
    assert fetched.received_bytes == len(DATA) - 600_000
    assert fetched.resumed_bytes == 600_000


def test_what_is_whole_already_is_not_sent_again(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", DATA)
    fetch(url, tmp_path)
    fetched, data = fetch(url, tmp_path)
    assert data == DATA
    assert fetched.received_bytes == 0


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", DATA, Rule(cut_after=500_000), Rule(status=403))
    with pytest.raises(DownloadError):
        fetch(url, tmp_path)
    changed = DATA[::-1]
    web.put("a.mp4", changed)
    fetched, data = fetch(url, tmp_path)
    assert data == changed
    assert fetched.resumed_bytes == 0
    assert web.asked[-1].headers["range"] == "bytes=500000-"


def test_a_server_without_ranges_sends_all_again(web: FileServer, tmp_path: Path) -> None:
    web.has_ranges = False
    fetched, data = fetch(web.put("a.mp4", DATA, Rule(cut_after=500_000)), tmp_path)
    assert data == DATA
    assert fetched.received_bytes == len(DATA) + 500_000
    assert fetched.resumed_bytes == 0


@pytest.mark.parametrize("is_promised", [False, True])
def test_versions_that_cannot_be_told_are_joined_only_under_a_promised_sum(
    web: FileServer, tmp_path: Path, is_promised: bool
) -> None:
    web.has_validators = False
    sums = Sums(sha256=hashlib.sha256(DATA).hexdigest()) if is_promised else Sums()
    fetched, data = fetch(web.put("a.mp4", DATA, Rule(cut_after=500_000)), tmp_path, sums)
    assert data == DATA
    assert fetched.received_bytes == len(DATA) + (0 if is_promised else 500_000)
    assert [asked.headers.get("range") for asked in web.asked] == [None, "bytes=500000-" if is_promised else None]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"},
        {"Content-Range": f"bytes 500000-{len(DATA)}/{len(DATA) + 1}"},
        {"Content-Range": "nonsense"},
        {"ETag": '"another"'},
    ],
)
def test_a_range_that_is_another_than_was_asked_for_is_never_joined(
    web: FileServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    fetched, data = fetch(web.put("a.mp4", DATA, Rule(cut_after=500_000), Rule(headers=headers)), tmp_path)
    assert data == DATA
    assert fetched.resumed_bytes == 0


def test_servers_that_refuse_for_a_moment_are_waited_for_with_growing_waits(web: FileServer, tmp_path: Path) -> None:
    rules = [Rule(status=status) for status in (503, 500, 429, 408)]
    waits = Waits()
    _, data = fetch(web.put("a.mp4", DATA, *rules), tmp_path, waits=waits)
    assert data == DATA
    assert [0.5 * 2**n <= seconds <= 2**n for n, seconds in enumerate(waits.seconds)] == [True] * 4


def test_a_server_is_given_the_time_that_it_asks_for(web: FileServer, tmp_path: Path) -> None:
    waits = Waits()
    fetch(web.put("a.mp4", DATA, Rule(status=429, headers={"Retry-After": "7"})), tmp_path, waits=waits)
    assert waits.seconds == [7.0]
    with pytest.raises(DownloadError, match=r"refuses for now \(503\) and asks to wait 3600 s; try again later"):
        fetch(web.put("b.mp4", DATA, Rule(status=503, headers={"Retry-After": "3600"})), tmp_path / "b")


def test_tries_without_a_byte_come_to_an_end_and_a_byte_begins_to_count_anew(web: FileServer, tmp_path: Path) -> None:
    rules = [Rule(cut_after=10_000 if number % 2 else 0) for number in range(9)]
    assert fetch(web.put("a.mp4", DATA, *rules), tmp_path, max_tries=3)[1] == DATA
    url = web.put("b.mp4", DATA, *[Rule(cut_after=0)] * 5)
    with pytest.raises(DownloadError, match=r"b\.mp4: the connection was cut after 0 of 1048576 bytes \(3 tries"):
        fetch(url, tmp_path / "b", max_tries=3)
    assert web.num_asked("b.mp4") == 3


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule(status=403), r"expired or forbidden link \(403\); get a new link"),
        (Rule(status=401), r"expired or forbidden link \(401\)"),
        (Rule(status=400, body=EXPIRED), r"expired or forbidden link \(400\)"),
        (Rule(status=404), r"there is nothing at this address \(404\)"),
        (Rule(status=410), r"removed there for good \(410\)"),
        (Rule(status=400), r"its server refuses \(400\)"),
        (Rule(headers={"Content-Type": "text/html; charset=utf-8"}), "is a web page where a file is expected"),
        (Rule(headers={"Content-Encoding": "gzip"}), "sends it as 'gzip' although it was asked not to"),
        (Rule(headers={"Content-Length": ""}, cut_after=len(DATA)), "does not say how long it is"),
    ],
    ids=str,
)
def test_what_will_not_come_right_is_told_at_once_and_without_the_query(
    web: FileServer, tmp_path: Path, rule: Rule, said: str
) -> None:
    url = web.put("a.mp4", DATA, rule)
    with pytest.raises(DownloadError, match=said) as raised:
        fetch(f"{url}?{SECRET}", tmp_path)
    assert str(raised.value).startswith(f"{url}?...: ")
    assert SECRET not in str(raised.value)
    assert len(web.asked) == 1


def test_a_signed_link_says_when_it_ended(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", DATA, Rule(status=403))
    with pytest.raises(DownloadError, match=r"\(403\) that ended on 2024-05-01 13:00:00 UTC; get a new link"):
        fetch(f"{url}?X-Goog-Date=20240501T120000Z&X-Goog-Expires=3600&{SECRET}", tmp_path)


def test_a_length_that_is_too_long_is_told_by_numbers(web: FileServer, tmp_path: Path) -> None:
    web.has_ranges = False
    web.put("a.mp4", DATA)
    web.always["/a.mp4"] = Rule(headers={"Content-Length": str(len(DATA) + 5)})
    with pytest.raises(DownloadError, match="the connection was cut after 1048576 of 1048581 bytes"):
        fetch(f"{web.url}/a.mp4", tmp_path, max_tries=2)


def test_a_size_that_is_not_the_promised_one_is_told_before_a_byte_is_taken(web: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="has 1048576 bytes, promised are 5; correct the list"):
        fetch(web.put("a.mp4", DATA), tmp_path, Sums(size_bytes=5))
    with pytest.raises(DownloadError, match=r"has 1048576 bytes; raise download\.max_item_gb"):
        fetch(web.put("b.mp4", DATA), tmp_path, max_item_gb=0.001)


def test_an_answer_in_pieces_is_whole_when_its_end_came(web: FileServer, tmp_path: Path) -> None:
    pieces = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    url = web.put("a.mp4", DATA, Rule(headers=pieces, cut_after=700_000), Rule(headers=pieces))
    fetched, data = fetch(url, tmp_path)
    assert data == DATA
    assert fetched.num_tries == 2


def test_five_redirects_are_followed_and_no_sixth(web: FileServer, tmp_path: Path) -> None:
    web.put("0.mp4", DATA)
    for number in range(1, MAX_REDIRECTS + 2):
        target = "http://127.0.0.1:" + str(web.server_port) if number % 2 else ""
        web.always[f"/{number}.mp4"] = Rule(status=302, headers={"Location": f"{target}/{number - 1}.mp4"})
    assert fetch(f"{web.url}/{MAX_REDIRECTS}.mp4", tmp_path)[1] == DATA
    with pytest.raises(DownloadError, match="leads on more than 5 times"):
        fetch(f"{web.url}/{MAX_REDIRECTS + 1}.mp4?{SECRET}", tmp_path / "b")


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "data:text/plain,x"])
def test_a_redirect_leads_nowhere_but_to_the_web(web: FileServer, tmp_path: Path, target: str) -> None:
    url = web.put("a.mp4", DATA, Rule(status=307, headers={"Location": f"{target}?{SECRET}"}))
    with pytest.raises(DownloadError, match=r"leads to .*, which is not followed"):
        fetch(url, tmp_path)


def certificate(folder: Path) -> Path:
    """A key and a certificate that it signs itself, for 127.0.0.1, in one file."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    path = folder / "here.pem"
    path.write_bytes(key.private_bytes(*form) + signed.public_bytes(Encoding.PEM))
    return path


def test_a_redirect_never_leads_from_https_to_http(
    web: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, plain = certificate(tmp_path), web.put("plain.mp4", DATA)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with serving() as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        url = secure.put("a.mp4", DATA, Rule(), Rule(status=302, headers={"Location": f"{plain}?{SECRET}"}))
        url = url.replace("http:", "https:")
        assert fetch(url, tmp_path / "a")[1] == DATA
        with pytest.raises(DownloadError, match=r"leads to http://.*plain.mp4\?\.\.\., which is not followed"):
            fetch(url, tmp_path / "b")
    assert web.asked == []


def test_a_server_that_is_not_there_is_told_without_the_query(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as raised:
        fetch(f"http://127.0.0.1:1/a.mp4?{SECRET}", tmp_path, max_tries=2)
    assert str(raised.value) == (
        "http://127.0.0.1:1/a.mp4?...: nobody answers at its port (2 tries in a row); the same command goes on"
    )


def test_silence_counts_as_a_cut(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", DATA, Rule(hold_after=500_000))
    fetched, data = fetch(url, tmp_path, timeout_s=0.2)
    assert data == DATA
    assert fetched.num_tries == 2
    assert 400_000 < fetched.resumed_bytes <= 500_000


def test_a_disk_without_room_is_told_before_and_while_it_is_written(web: FileServer, tmp_path: Path) -> None:
    url = web.put("a.mp4", DATA)
    stat = os.statvfs(tmp_path)
    free = stat.f_bavail * stat.f_frsize
    with part(tmp_path) as held, pytest.raises(NoSpace, match=r"are to stay free \(min_free_gb\); free some"):
        Downloader(DownloadConfig(), min_free_bytes=2 * free).fetch(url, held)
    with part(tmp_path) as held, pytest.raises(DownloadError, match=r"a\.mp4: 1e\+06 GB more do not fit"):
        Downloader(DownloadConfig()).require_room(tmp_path, 10**15, "a.mp4")
    assert web.sent_bytes("a.mp4") <= len(DATA)


def test_an_item_that_takes_too_long_is_given_up(web: FileServer, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"takes longer than download\.max_item_s; the same command goes on"):
        fetch(web.put("a.mp4", DATA), tmp_path, max_item_s=1e-9)
    assert fetch(f"{web.url}/a.mp4", tmp_path)[1] == DATA
    assert time.monotonic() >= started


def test_the_sums_that_a_server_states_come_along(web: FileServer, tmp_path: Path) -> None:
    hashes = {"x-goog-hash": "crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ=="}
    url = web.put("a.mp4", DATA, Rule(headers=hashes, cut_after=10_000), Rule(headers=hashes))
    fetched, _ = fetch(url, tmp_path)
    assert fetched.stated == Sums(crc32c="9f4df1e8", md5="3a393d7377617f1828295547630 15b1d".replace(" ", ""))


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"ETag": '"abc"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, '"abc"'),
        ({"ETag": 'W/"abc"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, "Wed, 21 Oct 2015 07:28:00 GMT"),
        ({"ETag": 'W/"abc"'}, ""),
        ({"Last-Modified": "yesterday"}, ""),
        ({}, ""),
    ],
)
def test_only_what_if_range_may_carry_tells_versions(headers: dict[str, str], found: str) -> None:
    assert validator(headers) == found
