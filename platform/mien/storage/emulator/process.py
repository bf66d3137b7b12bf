"""The emulator as a child process, for tests and for whoever wants `gs://` without a cloud.

A process of its own, because a client that holds Python's lock in native code while it waits for a thread of the same
process would wait for ever.
"""

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mien.errors import StorageError
from mien.storage.emulator.traffic import Traffic

_END_S = 10
_ANSWER_S = 30


class Emulator:
    """Cloud Storage on a free port of 127.0.0.1, for as long as the `with` block runs and this process lives.

    The child is in this process's group, and ends when this process does, also by `kill -9`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Start nothing yet.

        Args:
            folder: Where objects outlive the emulator; without it they are kept in memory.
        """
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        """Start the child and wait until it serves.

        Raises:
            StorageError: It does not start, or the folder cannot be used.
        """
        words = [sys.executable, "-m", "mien.storage.emulator.server", str(self._folder or "")]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        said = json.loads(line or '{"error": "the emulator did not start"}')
        if "error" in said:
            self.stop()
            raise StorageError(said["error"])
        self._url = said["url"]
        return self

    def __exit__(self, *error: object) -> None:
        """End the child."""
        self.stop()

    def stop(self) -> None:
        """End the child by closing the pipe that it watches; twice is no error."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    @property
    def url(self) -> str:
        """What `STORAGE_EMULATOR_HOST` must be."""
        return self._url

    @property
    def pid(self) -> int:
        """Number of the child process; 0 when it does not run."""
        return self._process.pid if self._process else 0

    def create_bucket(self, name: str) -> None:
        """Make a bucket.

        Raises:
            ValueError: The name is taken or cannot be.
        """
        self._ask("POST", "/storage/v1/b", {"name": name})

    def faults(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Put fault rules, as `mien.storage.emulator.faults` describes them, in place of those in force.

        Raises:
            ValueError: A rule cannot be used; then nothing changes.
        """
        self._ask("POST", "/__faults", [dict(rule) for rule in rules])

    def fired(self) -> list[dict[str, str]]:
        """Every fault since `faults` was called: `fault` and `request`, in order."""
        return list(self._ask("GET", "/__fired"))

    def traffic(self) -> dict[str, Traffic]:
        """Requests and bytes by kind (`objects.read`, `objects.list`, …) since the start or the last reset."""
        return {kind: Traffic(**counts) for kind, counts in self._ask("GET", "/__traffic").items()}

    def reset_traffic(self) -> None:
        """Count from zero again."""
        self._ask("DELETE", "/__traffic")

    def _ask(self, method: str, path: str, document: Any = None) -> Any:
        """One request about the emulator itself, past any proxy that the environment names."""
        connection = http.client.HTTPConnection(self._url.removeprefix("http://"), timeout=_ANSWER_S)
        try:
            connection.request(method, path, None if document is None else json.dumps(document))
            response = connection.getresponse()
            body = json.loads(response.read() or b"null")
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ValueError(body["error"]["message"])
        return body
