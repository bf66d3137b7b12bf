"""One file, with all that it needs and no face that was not asked for; what data say is text in it."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mien.analysis.report_blocks import Figure, Missing, ReportPage, Section, Table
from mien.analysis.report_page import html, without_faces
from report_pages import BIDI, IMG, SCRIPT, clip, embedding_map, jpeg, png, report_page

ADDRESSES = {"src", "href", "action", "data", "poster", "srcset", "formaction", "xlink:href"}
EMPTY = {"img", "meta", "input", "link", "br"}


class Page(HTMLParser):
    """Elements with their attributes and the text within, as a browser would have them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements = list[tuple[str, dict[str, str | None]]]()
        self.texts = list[str]()
        self.scripts = list[tuple[dict[str, str | None], str]]()
        self._open = list[str]()
        self.feed(text)
        assert not self._open, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in {"script", "style"}:
            self.scripts.append((self.elements[-1][1], data))
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return html(report_page(), include_faces=True)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_no_address_leads_to_a_network(page: Page) -> None:
    addresses = [value or "" for _, found in page.elements for name, value in found.items() if name in ADDRESSES]
    assert addresses
    assert [one for one in addresses if not re.match(r"data:image/(png|jpeg);base64,|#[\w-]+$|\./[\w.%-]+$", one)] == []
    assert not page.all("link")


def test_the_policy_allows_the_script_and_the_style_of_the_page_alone(page: Page) -> None:
    (policy,) = [one["content"] or "" for one in page.all("meta") if one.get("http-equiv")]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    style, script = (body for attributes, body in page.scripts if attributes.get("type") != "application/json")
    for name, body in (("style-src", style), ("script-src", script)):
        assert rules.pop(name) == f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'"
    none = dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert rules == {**none, "img-src": "data:"}


def test_nothing_that_data_say_is_markup(page: Page, text: str) -> None:
    assert [attributes for _, attributes in page.elements if any(name.startswith("on") for name in attributes)] == []
    assert [one for one in page.all("img") if not (one.get("src") or "data:").startswith("data:")] == []
    assert sum(attributes.get("type") != "application/json" for attributes in page.all("script")) == 1
    assert "<!--" not in text
    shown = "".join(page.texts)
    assert IMG in shown
    assert SCRIPT in shown
    assert BIDI not in text
    assert "safe\\u202egpj.exe" in shown


def test_data_of_the_scripts_are_json_and_say_what_was_given(page: Page) -> None:
    payloads = [json.loads(body) for attributes, body in page.scripts if attributes.get("type") == "application/json"]
    assert len(payloads) == 3
    assert payloads[0]["candles"][2] == [22.0, 17.0, 12.0, 7.0, 2.0]
    assert payloads[2]["points"][1]["name"] == f"{IMG} 1"


def test_every_figure_has_words_numbers_and_a_link_to_all_of_them(page: Page) -> None:
    shown = "".join(page.texts)
    (losses,) = [one for one in page.all("img") if (one["alt"] or "").startswith("The loss falls")]
    assert (losses["width"], losses["height"]) == ("150", "100")
    assert base64.b64decode((losses["src"] or "").partition(",")[2]) == png()
    assert "3.25" in shown
    links = {one["href"] for one in page.all("a")}
    assert {"./losses.json", "./a%20b%3C.json", "./map.json"} <= links


def test_numbers_stand_with_their_intervals_and_what_is_not_there_says_why(page: Page) -> None:
    shown = " ".join("".join(page.texts).split())
    for said in ("0.400 0.300 to 0.500", "not measurable: no image was swapped", f"not available: {IMG}", "12,000"):
        assert said in shown


def test_faces_are_shown_only_where_they_are_asked_for(text: str) -> None:
    faceless = html(report_page())
    assert "data:image/jpeg" in text
    assert "data:image/jpeg" not in faceless
    assert "A grid of faces." in text
    assert "A grid of faces." not in faceless
    for face in (*clip().crops, *(point.thumb for point in embedding_map().points)):
        assert not face or base64.b64encode(face).decode() not in faceless
    warning = "Pictures of faces are left out of this page"
    assert warning in faceless
    assert warning not in text


def test_a_page_that_has_no_face_does_not_speak_of_them() -> None:
    plain = ReportPage("Run", (Section("Numbers", (Table("t", ("a",), ((1,),)),)),))
    assert "left out" not in html(plain)
    assert html(plain) == html(plain, include_faces=True)


def test_leaving_faces_out_keeps_all_else() -> None:
    kept = without_faces(report_page())
    assert [section.title for section in kept.sections] == [section.title for section in report_page().sections]
    figures = kept.sections[2].blocks
    assert isinstance(figures[0], Figure)
    assert isinstance(figures[1], Missing)
    assert "include_faces=true" in figures[1].reason


def test_another_number_changes_the_page() -> None:
    page = report_page()
    other = clip()
    other.values[3, 1] += 1
    changed = replace(page.sections[3], blocks=(replace(page.sections[3].blocks[0], clips=(other,)),))
    same = replace(page.sections[3], blocks=(replace(page.sections[3].blocks[0], clips=(clip(),)),))
    pages = [html(ReportPage("Run", (section,))) for section in (changed, same, same)]
    assert pages[0] != pages[1]
    assert pages[1] == pages[2]


def test_ids_are_there_once(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len({*ids})
    used = {(one["href"] or "")[1:] for one in page.all("use")}
    assert used
    assert used <= {*ids}


def test_a_thumbnail_is_of_its_point() -> None:
    text = html(report_page(), include_faces=True)
    assert base64.b64encode(jpeg(160)).decode() in text
