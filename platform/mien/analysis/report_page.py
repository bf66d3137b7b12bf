"""A report as one HTML file that needs nothing else: styles, scripts and pictures are in it, and no network is asked.

What comes from data is escaped, in the page as in the data that its scripts read; even if something were not, the
page's own policy runs no script and loads no address but what was put in here.
"""

import base64
import hashlib
from dataclasses import replace
from functools import partial
from importlib import resources
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mien.analysis import report_cells, report_map, report_strips
from mien.analysis.report_blocks import Block, EmbeddingMap, Figure, Missing, ReportPage, Scrubber
from mien.log import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_SCRIPTS = ("theme.js", "tables.js", "scrubber.js", "map.js")
_STYLES = ("page.css", "blocks.css", "print.css")
_WITHOUT = "shows faces, and these are left out; include_faces=true shows them"


def html(page: ReportPage, *, include_faces: bool = False) -> str:
    """The page.

    Args:
        page: What is shown.
        include_faces: Show pictures with faces; else they are left out, and the page says so.
    """
    from markupsafe import Markup

    style, script = (Markup("\n".join(map(_file, names))) for names in (_STYLES, _SCRIPTS))  # noqa: S704  files of ours
    is_incomplete = not include_faces and any(_shows_faces(one) for section in page.sections for one in section.blocks)
    template = _environment().from_string(_file("page.html"))
    return template.render(
        page=page if include_faces else without_faces(page),
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'",
        are_faces_left_out=is_incomplete,
    )


def _environment() -> "Environment":
    """Escapes every value, and refuses to show one that there is not."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_printable)
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {
        "cell": report_cells.shown,
        "table": report_cells.shown_table,
        "number": report_cells.number,
        "strips": report_strips.strips,
        "map": report_map.shape,
        "png": report_strips.png_uri,
        "beside": lambda name: f"./{quote(name)}",
    }
    environment.globals["numbered"] = partial(next, count(1))
    return environment


def without_faces(page: ReportPage) -> ReportPage:
    """The same page with no crop, no thumbnail and no figure that shows a face."""
    sections = (replace(one, blocks=tuple(map(_without_faces, one.blocks))) for one in page.sections)
    return replace(page, sections=tuple(sections))


def _shows_faces(block: Block) -> bool:
    if isinstance(block, Scrubber):
        return any(clip.crops for clip in block.clips)
    if isinstance(block, EmbeddingMap):
        return any(point.thumb for point in block.points)
    return isinstance(block, Figure) and block.shows_faces


def _without_faces(block: Block) -> Block:
    if isinstance(block, Figure) and block.shows_faces:
        return Missing(block.title, _WITHOUT)
    if isinstance(block, Scrubber):
        return replace(block, clips=tuple(replace(clip, crops=()) for clip in block.clips))
    if isinstance(block, EmbeddingMap):
        return replace(block, points=tuple(replace(point, thumb=b"") for point in block.points))
    return block


def _file(name: str) -> str:
    return (resources.files("mien.analysis") / "page" / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """The text as the only one of its kind that a policy allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _printable(value: Any) -> Any:
    """Marks that turn the direction of writing, and what no font shows, stand as their escapes."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return "\n".join(map(printable, value.split("\n")))
    return value
