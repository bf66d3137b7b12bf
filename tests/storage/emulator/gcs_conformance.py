"""Where the conformance checks run: one bucket of one server, and the three clients for it.

A check is a function `check_…(place)` in `conformance_google`, `conformance_gcsfs` or `conformance_arrow`. It uses
names below `place.prefix` alone and needs nothing of another check, so that a real bucket can be the place too.
"""

import datetime
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # read at import; else it asks over gRPC for 60 s a bucket
import gcsfs
import pyarrow.fs

LIMIT_S = 25
"""Far beyond what a check takes: a server that leaves a client waiting fails, and the next check begins."""


@dataclass(frozen=True)
class Place:
    """A bucket, and a prefix in it that nothing else uses. Without `url` it is a real bucket."""

    bucket_name: str
    prefix: str
    url: str | None = None
    opened: list[storage.Client] = field(default_factory=list)

    def client(self) -> storage.Client:
        """A new client, as every thread of a check has its own."""
        options: dict[str, Any] = {}
        if self.url is not None:
            options = {"project": "test", "credentials": AnonymousCredentials(), "use_auth_w_custom_endpoint": False}
            options["client_options"] = {"api_endpoint": self.url}
        self.opened.append(storage.Client(**options))
        return self.opened[-1]

    def close(self) -> None:
        """Close the connections of every client."""
        for client in self.opened:
            client.close()

    def bucket(self) -> storage.Bucket:
        """The bucket through a new client."""
        return self.client().bucket(self.bucket_name)

    def name(self, name: str) -> str:
        """An object's name below the prefix."""
        return self.prefix + name

    def blob(self, name: str, **options: Any) -> storage.Blob:
        """An object below the prefix, through a new client."""
        return self.bucket().blob(self.name(name), **options)

    def path(self, name: str) -> str:
        """The same with the bucket before it, as gcsfs and pyarrow want it."""
        return f"{self.bucket_name}/{self.prefix}{name}"

    def gcsfs(self) -> gcsfs.GCSFileSystem:
        """fsspec's file system, which asks the server every time."""
        options = {"cache_timeout": 0, "use_listings_cache": False, "skip_instance_cache": True}
        if self.url is None:
            return gcsfs.GCSFileSystem(**options)
        return gcsfs.GCSFileSystem(project="test", token="anon", endpoint_url=self.url, **options)

    def arrow(self) -> pyarrow.fs.GcsFileSystem:
        """pyarrow's file system, with a bound on its retries."""
        limit = datetime.timedelta(seconds=6)
        if self.url is None:
            return pyarrow.fs.GcsFileSystem(retry_time_limit=limit)
        host = self.url.partition("//")[2]
        return pyarrow.fs.GcsFileSystem(
            anonymous=True, scheme="http", endpoint_override=host, project_id="test", retry_time_limit=limit
        )


Check = Callable[[Place], None]


def checks_of(module: Any) -> list[Check]:
    """The checks that a module defines, in order."""
    return [check for name, check in vars(module).items() if name.startswith("check_")]


def run(check: Check, place: Place) -> None:
    """Run a check in a thread of its own; one that hangs fails."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            check(place)
        except BaseException as error:  # noqa: BLE001  raised again below
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True, name=check.__name__)
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive(), f"hangs: no end after {LIMIT_S} s"
    if raised:
        raise raised[0]
