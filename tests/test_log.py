import logging
import sys
from collections.abc import Iterator

import pytest

from mien import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = log.logger
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_lines_go_plain_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    logging.getLogger("mien.child").info("%d clips", 3)
    assert capsys.readouterr() == ("", "3 clips\n")


def test_a_second_setup_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    log.setup()
    log.logger.warning("once")
    assert capsys.readouterr().err == "once\n"


@pytest.mark.parametrize(("value", "shown"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
def test_debug_lines_show_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str | None, shown: bool
) -> None:
    if value is None:
        monkeypatch.delenv("MIEN_DEBUG", raising=False)
    else:
        monkeypatch.setenv("MIEN_DEBUG", value)
    log.setup()
    log.logger.debug("detail")
    assert capsys.readouterr().err == ("detail\n" if shown else "")
    assert log.is_debug() is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 日本.mp4", "plain ä 日本.mp4"),
        ("\x1b[31mred\x9b0m", "\\x1b[31mred\\x9b0m"),
        ("two\nlines\r\t\0", "two\\nlines\\r\\t\\x00"),
        ("\u202eturned\u2028\ufeff", "\\u202eturned\\u2028\\ufeff"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_what_is_not_printable_stands_as_its_escape(text: str, shown: str) -> None:
    assert log.printable(text) == shown
    assert shown.isprintable()


def test_no_line_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup()
    log.logger.info("skipped %s\nand more", "\x1b[2J\x07")
    assert capsys.readouterr().err == "skipped \\x1b[2J\\x07\nand more\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a.mp4?X-Goog-Signature=c0ffee&x=1: gone", "https://host/a.mp4?... gone"),
        ("'http://user:c0ffee@host:80/a'", "'http://host:80/a'"),
        ("two: https://a/b?c0ffee http://c#c0ffee", "two: https://a/b?... http://c?..."),
        ("https://host/a@b.mp4", "https://host/a@b.mp4"),
        ("gs://bucket/a?b /data/a?b.mp4", "gs://bucket/a?b /data/a?b.mp4"),
    ],
)
def test_what_opens_a_link_is_never_shown(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert log.redacted(text) == shown
    log.setup()
    log.logger.info("%s", text)
    assert capsys.readouterr().err == f"{shown}\n"


def test_the_root_logger_is_left_alone() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log.setup()
    assert (root.handlers, root.level) == before


def test_lines_are_not_repeated_by_handlers_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    other = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(other)
    try:
        log.setup()
        log.logger.info("once")
    finally:
        logging.getLogger().removeHandler(other)
    assert capsys.readouterr().err == "once\n"
