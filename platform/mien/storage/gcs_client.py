"""The one client of a process for Cloud Storage: who it is, how long it tries, and its failures in our words.

Credentials come from the environment alone (`gcloud auth application-default login`, GOOGLE_APPLICATION_CREDENTIALS, or
the machine's service account). STORAGE_EMULATOR_HOST leads to an emulator instead, without credentials.
"""

import contextlib
import datetime
import functools
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import google.auth.credentials
import requests.adapters
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from mien.errors import AlreadyExists, ConfigError, PreflightError, StorageError, Unavailable

RETRY_S = 60.0
"""How long one operation is tried again while the service, or the way to it, fails; MIEN_RETRY_S overrides it."""
_TIMEOUT_S = 30.0
"""Silence on one connection that counts as a failure."""
_NUM_CONNECTIONS = 64

_REMEDY = {
    401: "the credentials are refused; run `gcloud auth application-default login`, or check the service account",
    404: "does not exist",
}

_USED_UP = re.compile(r"\b(quotaExceeded|(userR|r)ateLimitExceeded)\b")
"""Reasons of a 403 that a right would not help: the service words a quota that is used up like that, or as a 429."""


class EmulatorCredentials(google.auth.credentials.Credentials):  # type: ignore[misc]  # google.auth is not typed
    """What an emulator gets: a token that means nothing, and that can be had again after a 401."""

    def __init__(self) -> None:
        """One fixed token."""
        super().__init__()
        self.token = "emulator"  # noqa: S105

    def refresh(self, request: Any) -> None:
        """Nothing to do."""


def emulator_host() -> str:
    """URL of the emulator that stands in for the service; empty for the real one."""
    return os.environ.get("STORAGE_EMULATOR_HOST", "")


def client() -> storage.Client:
    """The client of this process: connections and credentials are shared by all its stores and threads.

    Raises:
        PreflightError: There are no credentials.
    """
    return _client(os.getpid(), emulator_host())  # a forked child must not share its parent's connections


@functools.lru_cache(maxsize=1)
def _client(process_id: int, emulator: str) -> storage.Client:
    del process_id
    try:
        made = storage.Client(project=project(), credentials=EmulatorCredentials() if emulator else None)
    except auth.DefaultCredentialsError:
        raise PreflightError(
            "gs://: no credentials on this machine; run `gcloud auth application-default login`, set "
            "GOOGLE_APPLICATION_CREDENTIALS, or give the machine a service account"
        ) from None
    adapter = requests.adapters.HTTPAdapter(pool_connections=_NUM_CONNECTIONS, pool_maxsize=_NUM_CONNECTIONS)
    for scheme in ("https://", "http://"):
        made._http.mount(scheme, adapter)  # the pool of ten would drop connections of our threads
    return made


def project() -> str | None:
    """Project that pays and is asked for quota; not needed to read and write objects."""
    return os.environ.get("GOOGLE_CLOUD_PROJECT") or None


def retry() -> Any:
    """Exponential waits up to 8 s, and an end: a wrong name fails at once, an outage after a minute."""
    budget_s, patient = _budget_s(), DEFAULT_RETRY.with_predicate(_is_passing)
    return patient.with_delay(initial=min(0.25, budget_s / 8), maximum=8.0).with_timeout(budget_s)


def _is_passing(error: Exception) -> bool:
    """What the client itself tries again, and replies that are no JSON: they were damaged on their way."""
    damaged = (requests.exceptions.JSONDecodeError, UnicodeDecodeError)
    return isinstance(error, damaged) or bool(DEFAULT_RETRY._predicate(error))


def _budget_s() -> float:
    stated = os.environ.get("MIEN_RETRY_S", RETRY_S)
    with contextlib.suppress(ValueError):
        if 0 < float(stated) < math.inf:
            return float(stated)
    raise ConfigError(f"MIEN_RETRY_S={stated}: is no number of seconds above 0; give one, or leave it unset")


@contextlib.contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn what the client raises into a StorageError that names the object and the remedy."""
    try:
        yield
    except (exceptions.PreconditionFailed, InvalidResponse) as error:
        if _status(error) != exceptions.PreconditionFailed.code:
            raise _storage_error(uri, error) from error
        raise AlreadyExists(f"{uri}: exists already") from None
    except DataCorruption as error:
        raise StorageError(f"{uri}: arrived damaged (checksum differs); run the same command, it resumes") from error
    except (exceptions.GoogleAPIError, auth.GoogleAuthError, requests.RequestException, ConnectionError) as error:
        raise _storage_error(uri, error) from error


@contextlib.contextmanager
def pinned(uri: str) -> Iterator[None]:
    """A generation that is gone, or an object shorter than it was, is one that was replaced or deleted."""
    try:
        yield
    except (exceptions.NotFound, exceptions.RequestRangeNotSatisfiable):
        change = "is gone, or has changed since it was planned"
        raise StorageError(f"{uri}: {change}; plan it again into a new output") from None


def _status(error: Exception) -> int | None:
    """HTTP status of an answer; a resumable upload wraps it in InvalidResponse."""
    response = getattr(error, "response", None)
    code = getattr(error, "code", None)
    return int(code) if code is not None and not callable(code) else getattr(response, "status_code", None)


def _storage_error(uri: str, error: Exception) -> StorageError:
    status = _status(error)
    cause = getattr(error, "cause", None) or error
    if _is_used_up(cause):
        advice = "wait, or ask for more in the console of the project, and run the same command, it resumes"
        return Unavailable(f"{uri}: a quota of the project is used up ({_said(cause)}); {advice}")
    if status == exceptions.Forbidden.code:
        advice = "grant the role storage.objectUser on the bucket (reading alone: storage.objectViewer)"
        return StorageError(f"{uri}: permission denied ({_said(error)}); {advice}")
    if status in _REMEDY:
        return StorageError(f"{uri}: {_REMEDY[status]}")
    if status is not None and status < exceptions.TooManyRequests.code:
        return StorageError(f"{uri}: the service refuses ({status}: {_said(error)})")
    return Unavailable(f"{uri}: the service does not answer ({_said(cause)}); run the same command, it resumes")


def _is_used_up(error: Exception) -> bool:
    status, reply = _status(error), getattr(error, "response", None)
    is_told = status == exceptions.Forbidden.code and _USED_UP.search(getattr(reply, "text", ""))
    return status == exceptions.TooManyRequests.code or bool(is_told)


def _said(error: Exception) -> str:
    """The service's own words, on one line."""
    said = " ".join(str(getattr(error, "message", None) or error).split())
    return f"{type(error).__name__}: {said}"[:200]


def bounds() -> dict[str, Any]:
    """Arguments of every call: how long it is tried, and how long one silence may last."""
    return {"retry": retry(), "timeout": _TIMEOUT_S}


def arrow_filesystem() -> Any:
    """The same service for pyarrow and Ray; its own limit on trying again would be 15 minutes."""
    from pyarrow import fs

    limit = datetime.timedelta(seconds=_budget_s())
    host = emulator_host()
    if not host:
        return fs.GcsFileSystem(retry_time_limit=limit, project_id=project())
    scheme, _, endpoint = host.rpartition("://")
    place = {"scheme": scheme or "http", "endpoint_override": endpoint}
    return fs.GcsFileSystem(anonymous=True, retry_time_limit=limit, project_id="emulator", **place)
