import socket
import ssl

import pytest
import requests
import urllib3.exceptions

from mien.errors import DownloadError
from mien.storage.answers import Again, expires_at, require_no_page, retry_after_s, say, wants_page

SECRET = "https://host/a.mp4?sig=c0ffee"


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (requests.exceptions.SSLError(SECRET), DownloadError, "certificate is not trusted"),
        (requests.exceptions.InvalidURL(SECRET), DownloadError, "is no address"),
        (requests.exceptions.ConnectTimeout(SECRET), Again, "did not answer within 3 s"),
        (requests.exceptions.ReadTimeout(SECRET), Again, "fell silent for 3 s"),
        (urllib3.exceptions.ProtocolError(SECRET), Again, "the connection was cut"),
        (requests.exceptions.ConnectionError(ConnectionRefusedError(111, SECRET)), Again, "nobody answers at its port"),
        (requests.exceptions.ConnectionError(socket.gaierror(-2, SECRET)), Again, "name is not known"),
        (requests.exceptions.ConnectionError(TimeoutError(SECRET)), Again, "fell silent"),
        (urllib3.exceptions.SSLError(ssl.SSLError(1, SECRET)), Again, "the connection was cut"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_the_library_says_is_told_in_our_words_without_the_address(
    raised: Exception, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said) as told, say("https://host/a.mp4?...", 3):
        raise raised
    assert "c0ffee" not in str(told.value)
    assert told.value.__suppress_context__


def test_a_chain_of_causes_that_leads_in_circles_ends() -> None:
    error = requests.exceptions.ConnectionError("x")
    error.__cause__ = error
    with pytest.raises(Again, match="the connection was cut"), say("x", 3):
        raise error


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": text} if text else {}, now=40.0) == seconds


@pytest.mark.parametrize(
    ("query", "unix_s"),
    [
        ("X-Goog-Date=20240501T120000Z&X-Goog-Expires=60", 1_714_564_860.0),
        ("X-Amz-Expires=60&X-Amz-Date=20240501T120000Z", 1_714_564_860.0),
        ("Expires=1714564860&Signature=x", 1_714_564_860.0),
        ("Expires=1e300", None),
        ("Expires=never", None),
        ("X-Goog-Date=20240501T120000Z", None),
        ("X-Goog-Date=yesterday&X-Goog-Expires=60", None),
        ("", None),
    ],
)
def test_a_signed_link_tells_when_it_ends(query: str, unix_s: float | None) -> None:
    assert expires_at(f"https://host/a?{query}") == unix_s


@pytest.mark.parametrize("start", [b"<!DOCTYPE html><p>", b"\n  <html lang=en>", b"<HEAD>"])
def test_a_page_is_told_by_its_first_bytes(start: bytes) -> None:
    with pytest.raises(DownloadError, match="a web page where a file is expected"):
        require_no_page(start, "name", "https://host/a.mp4?x=a.html")
    require_no_page(start, "name", "https://host/a.html?x=1")
    require_no_page(b"\0\0\0 ftyp", "name", "https://host/a.mp4")


def test_an_address_names_a_page_by_its_path_alone() -> None:
    assert wants_page("https://host/a.HTML?x=1")
    assert not wants_page("https://host/a.mp4?x=.html")
