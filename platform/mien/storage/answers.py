"""What an HTTP server's answer means for a download: go on, try again, or give up, and why in plain words."""

import contextlib
import datetime
import email.utils
import errno
import re
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import requests
import urllib3.exceptions

from mien.errors import DownloadError
from mien.storage.lease import moment

_MAX_BODY_BYTES = 4096
"""Read of an error's body, to see whether it speaks of an expired link; nothing of it is shown."""
_EXPIRED = re.compile(rb"expired|ExpiredToken|token has expired", re.IGNORECASE)
_PAGE = re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_PASSING = {408, 425, 429}

_REASONS = {
    404: "there is nothing at this address (404); check it",
    407: "the proxy wants credentials (407); set HTTPS_PROXY",
    410: "it was removed there for good (410); leave it out, or find another address",
    451: "it may not be handed out for legal reasons (451); leave it out",
}


class Again(Exception):
    """A try failed in a way that may pass."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        """`after_s` is how long the server asks to wait."""
        super().__init__(reason)
        self.after_s = after_s


@contextlib.contextmanager
def say(name: str, timeout_s: float) -> Iterator[None]:
    """Turn what `requests` raises into our words: its own hold the whole address, with what signs it.

    Raises:
        Again: It may pass.
        DownloadError: It will not.
    """
    try:
        yield
    except requests.exceptions.SSLError:
        raise DownloadError(f"{name}: its certificate is not trusted; is it the right server?") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise DownloadError(f"{name}: is no address; correct it in the list") from None
    except requests.exceptions.ConnectTimeout:
        raise Again(f"its server did not answer within {timeout_s:g} s") from None
    except requests.exceptions.ReadTimeout:
        raise Again(f"its server fell silent for {timeout_s:g} s") from None
    except urllib3.exceptions.ReadTimeoutError:
        raise Again(f"its server fell silent for {timeout_s:g} s") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise Again(_connection(error)) from None


def _connection(error: BaseException) -> str:
    """Why a connection failed, told by numbers alone."""
    causes, left = list[BaseException](), [error]
    while left and len(causes) < 20:  # a chain that leads in circles ends
        causes.append(left.pop(0))
        inner = [causes[-1].__cause__, getattr(causes[-1], "reason", None), *causes[-1].args]
        left += [cause for cause in inner if isinstance(cause, BaseException)]
    names = {type(cause).__name__ for cause in causes}
    number = next((cause.errno for cause in causes if isinstance(cause, OSError) and cause.errno), None)
    if "NameResolutionError" in names or "gaierror" in names:
        return "its server's name is not known"
    if number == errno.ECONNREFUSED:
        return "nobody answers at its port"
    if "ReadTimeoutError" in names or "TimeoutError" in names:
        return "its server fell silent"
    return "the connection was cut"


def look_up(response: requests.Response, name: str, url: str) -> None:
    """Let an answer with content pass, and 416.

    Raises:
        Again: 429, a 5xx, or another that passes; with the time to wait if the server says one.
        DownloadError: Any other.
    """
    status = response.status_code
    if status in {200, 206, 416}:
        return
    if status in _PASSING or status >= requests.codes.internal_server_error:
        raise Again(f"its server refuses for now ({status})", retry_after_s(response.headers, time.time()))
    is_expired = _speaks_of_expiry(response)
    if status in {401, 403} or is_expired:
        raise DownloadError(
            f"{name}: expired or forbidden link ({status}){_expiry(url)}; get a new link from its owner"
        )
    raise DownloadError(f"{name}: {_REASONS.get(status, f'its server refuses ({status}); check the address')}")


def _speaks_of_expiry(response: requests.Response) -> bool:
    with contextlib.suppress(requests.exceptions.RequestException):
        return bool(_EXPIRED.search(next(response.iter_content(_MAX_BODY_BYTES), b"")))
    return False


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, 10.2.3: a number or a date); None if it does not."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    date = email.utils.parsedate_tz(text)
    return max(0.0, email.utils.mktime_tz(date) - now) if date else None


def _expiry(url: str) -> str:
    """When a signed link ends, if it says so itself: ` that ended ...`."""
    ends_at = expires_at(url)
    if ends_at is None:
        return ""
    return f" that {'ended' if ends_at < time.time() else 'says it ends'} on {moment(ends_at)}"


def expires_at(url: str) -> float | None:
    """Unix time at which a signed link of Google, Amazon or CloudFront ends; None where it does not say."""
    query = {key.lower(): values[0] for key, values in urllib.parse.parse_qs(urllib.parse.urlsplit(url).query).items()}
    with contextlib.suppress(ValueError, OverflowError, KeyError):
        for vendor in ("x-goog", "x-amz"):
            if f"{vendor}-date" in query:
                start = datetime.datetime.strptime(query[f"{vendor}-date"], "%Y%m%dT%H%M%SZ")
                return start.replace(tzinfo=datetime.UTC).timestamp() + float(query[f"{vendor}-expires"])
        ends_at = float(query["expires"])
        datetime.datetime.fromtimestamp(ends_at, datetime.UTC)  # a time that a calendar has
        return ends_at
    return None


def require_file(response: requests.Response, name: str, url: str) -> None:
    """Refuse an answer of status 200 that is a web page where a file is expected, or compressed without being asked.

    Raises:
        DownloadError: It is one.
    """
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding not in {"", "identity"}:
        raise DownloadError(f"{name}: its server sends it as {coding[:20]!r} although it was asked not to")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"} and not wants_page(url):
        raise _page(name)


def require_no_page(start: bytes, name: str, url: str) -> None:
    """The same by the first bytes of a file, whatever its server called it.

    Raises:
        DownloadError: It is a page.
    """
    if _PAGE.match(start) and not wants_page(url):
        raise _page(name)


def wants_page(url: str) -> bool:
    """Whether an address names a page by its ending."""
    return PurePosixPath(urllib.parse.urlsplit(url).path).suffix.lower() in {".html", ".htm", ".xhtml"}


def _page(name: str) -> DownloadError:
    return DownloadError(
        f"{name}: is a web page where a file is expected; open it in a browser: it may want a login, or lead on"
    )
