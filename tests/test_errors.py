import inspect
import re

import pytest

from mien import errors
from mien.errors import MienError

CLASSES = {
    name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and cls.__module__ == errors.__name__
}
DRAWN = re.findall(r"^ {4}([│├└─ ]*)(\w+) +(\d|–)  ", errors.__doc__ or "", re.MULTILINE)


def drawn_parents() -> dict[str, str]:
    """Class -> class above it, read from the indents of the drawing."""
    parents, above = {}, []
    for branch, name, _ in DRAWN:
        depth = len(branch) // 4
        parents[name] = above[depth - 1] if depth else "Exception"
        above = [*above[:depth], name]
    return parents


def test_the_drawing_names_every_class_and_no_other() -> None:
    assert sorted(name for _, name, _ in DRAWN) == sorted(CLASSES)


def test_the_drawing_shows_who_inherits_from_whom() -> None:
    assert drawn_parents() == {name: cls.__base__.__name__ for name, cls in CLASSES.items()}


@pytest.mark.parametrize(("name", "code"), [(name, code) for _, name, code in DRAWN if code != "–"])
def test_exit_codes_are_as_drawn(name: str, code: str) -> None:
    assert CLASSES[name].exit_code == int(code)


def test_codes_of_different_meaning_differ() -> None:
    own = [cls.exit_code for cls in CLASSES.values() if "exit_code" in vars(cls)]
    assert len(own) == len(set(own))
    assert not {0, 130} & set(own)


def test_every_class_is_a_mien_error_with_a_docstring() -> None:
    for cls in CLASSES.values():
        assert issubclass(cls, MienError)
        assert cls.__doc__


def test_a_message_is_kept() -> None:
    assert str(errors.MediaError("a.mp4: no video stream; give a video")) == "a.mp4: no video stream; give a video"
