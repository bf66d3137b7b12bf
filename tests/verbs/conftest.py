"""A verb run in this process."""

from typing import Any

import pytest

from command_line import Ended, run_here


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("MIEN_DEBUG", raising=False)

    def run(*words: object) -> Ended:
        return run_here(capfd, *map(str, words))

    return run
