"""The page in a real browser, opened from a disk with the network off: by mouse, by keyboard and on paper."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsers import chromium
from mien.analysis.report_page import html
from report_pages import ABSENT, GROUPS, IMG, NUM_FRAMES, SCRIPT, report_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html(report_page(), include_faces=True), encoding="utf-8")
    return path


@pytest.fixture
def page(browser: "Browser", file: Path) -> Iterator["Page"]:
    """The page, light; a test fails if anything was complained of or asked for."""
    context = browser.new_context(offline=True, color_scheme="light", viewport={"width": 1280, "height": 900})
    opened, asked, complaints = context.new_page(), list[str](), list[str]()
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(file.as_uri())
    yield opened
    assert opened.evaluate("window.hit") is None, "what data say was run"
    context.close()
    assert complaints == []
    assert {one for one in asked if not one.startswith("data:")} == {file.as_uri()}


def first_clip(page: "Page") -> "Locator":
    return page.locator(".clip").first


def frame_of(clip: "Locator") -> int:
    """What the slider, both cursors and the text agree on."""
    frame = int(clip.locator(".controls input").input_value())
    assert {one.get_attribute("x") for one in clip.locator(".cursor").all()} == {str(frame)}
    assert {(one.get_attribute("viewBox") or "").split()[0] for one in clip.locator(".one").all()} == {str(frame)}
    assert clip.locator(".at").inner_text() == f"frame {frame + 1} of {NUM_FRAMES}, {frame / 25:.2f} s"
    return frame


def background(page: "Page") -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def background_again(page: "Page") -> str:
    page.reload()
    return background(page)


def test_hostile_names_stand_there_as_text(page: "Page") -> None:
    assert IMG in page.title()
    assert IMG in page.locator("h1").inner_text()
    assert SCRIPT in page.locator("footer").inner_text()
    assert SCRIPT in page.locator(".table td").all_inner_texts()
    assert page.locator("img[onerror]").count() == 0
    assert page.locator("body script").count() == 4  # ours, and what it reads of two clips and a map


def test_the_policy_stops_what_was_not_put_in_by_us(browser: "Browser", file: Path, tmp_path: Path) -> None:
    leaky = tmp_path / "leaky.html"
    leaky.write_text(file.read_text(encoding="utf-8").replace("</footer>", IMG + "<script>hit=1</script></footer>"))
    context = browser.new_context(offline=True)
    opened, complaints = context.new_page(), list[str]()
    opened.on("console", lambda message: complaints.append(message.text))
    opened.goto(leaky.as_uri())
    assert opened.evaluate("window.hit") is None
    assert len([one for one in complaints if "Content Security Policy" in one]) >= 2
    context.close()


def test_the_slider_moves_frame_candle_and_crop_by_keyboard(page: "Page") -> None:
    clip = first_clip(page)
    assert frame_of(clip) == 0
    first = clip.locator(".crop img").get_attribute("src")
    clip.locator(".controls input").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert frame_of(clip) == 2
    assert clip.locator(".candle dd").all_inner_texts() == ["22.000", "17.000", "12.000", "7.000", "2.000"]
    assert clip.locator(".blendshapes .value").all_inner_texts() == ["0.17", "0.25"]
    assert float(clip.locator(".blendshapes rect").first.get_attribute("width") or 0) == pytest.approx(2 / 12, abs=1e-3)
    assert clip.locator(".crop img").get_attribute("src") != first
    page.keyboard.press("End")
    assert frame_of(clip) == NUM_FRAMES - 1


def test_a_frame_without_a_face_says_so(page: "Page") -> None:
    clip = first_clip(page)
    clip.locator(".controls input").fill(str(ABSENT))
    assert clip.locator(".crop").inner_text() == "no face in this frame"
    assert not clip.locator(".crop img").is_visible()
    assert {*clip.locator(".candle dd").all_inner_texts(), *clip.locator(".blendshapes .value").all_inner_texts()} == {
        "–"
    }


@pytest.mark.parametrize("strip", [0, 1, 2])
def test_strips_are_dragged_by_mouse(page: "Page", strip: int) -> None:
    clip = first_clip(page)
    clip.scroll_into_view_if_needed()
    box = clip.locator(".frames").nth(strip).bounding_box()
    assert box
    place = [box["x"] + box["width"] * (frame + 0.5) / NUM_FRAMES for frame in (4, 9)]
    page.mouse.move(place[0], box["y"] + 5)
    assert frame_of(clip) == 0, "nothing is pressed"
    page.mouse.down()
    assert frame_of(clip) == 4
    page.mouse.move(place[1], box["y"] + 5)
    assert frame_of(clip) == 9
    page.mouse.move(box["x"] + 2 * box["width"], box["y"] + 5)
    page.mouse.up()
    assert frame_of(clip) == NUM_FRAMES - 1
    page.mouse.move(place[0], box["y"] + 5)
    assert frame_of(clip) == NUM_FRAMES - 1


def test_a_clip_is_chosen_and_played(page: "Page") -> None:
    from playwright.sync_api import expect

    page.locator(".scrubber select").select_option("1")
    clips = page.locator(".clip")
    assert [clip.is_visible() for clip in clips.all()] == [False, True]
    button = clips.nth(1).locator(".play")
    button.click()
    assert button.inner_text() == "Pause"
    expect(clips.nth(1).locator(".at")).not_to_have_text("frame 1 of 8, 0.00 s")
    button.click()
    assert (button.inner_text(), button.get_attribute("aria-pressed")) == ("Play", "false")


def visible_names(page: "Page") -> list[str]:
    return page.locator(".table").first.locator("tbody tr:visible td:first-child").all_inner_texts()


def test_a_filter_keeps_the_rows_that_have_all_its_words(page: "Page") -> None:
    table = page.locator(".table").first
    assert len(visible_names(page)) == 21
    table.locator("input").fill("13 SCORE")
    assert visible_names(page) == ["score 13"]
    assert table.locator(".filtered").inner_text() == "1 of 21 rows"
    table.locator("input").fill(IMG)
    assert visible_names(page) == [SCRIPT]
    table.locator("input").fill("")
    assert len(visible_names(page)) == 21


def test_rows_are_sorted_by_number_and_what_is_missing_comes_last(page: "Page") -> None:
    head = page.locator(".table").first.locator("th").nth(1)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    rising = [f"score {number:02}" for number in range(20)]
    assert visible_names(page) == [*rising, SCRIPT]
    page.keyboard.press("Enter")
    assert visible_names(page) == [*rising[::-1], SCRIPT]


def test_the_theme_is_that_of_the_system_until_it_is_toggled(page: "Page") -> None:
    light, button = background(page), page.locator("#theme")
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert (dark != light, button.inner_text()) == (True, "Light")
    button.click()
    assert (background(page), button.inner_text()) == (light, "Dark")
    assert any(background_again(page) == light for _ in range(20)), "it is remembered, once the browser has noted it"
    button.click()
    assert background(page) == dark


def test_a_person_at_the_keyboard_skips_to_the_content_and_sees_where_they_are(page: "Page") -> None:
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert (skip.bounding_box() or {"y": -1})["y"] >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_the_map_shows_the_point_below_the_pointer(page: "Page") -> None:
    card = page.locator(".map .card")
    assert not card.is_visible()
    page.locator(".map .plane circle[data-group]").nth(7).hover()
    assert card.locator(".name").inner_text() == f"{IMG} 2"
    assert card.locator(".group").inner_text() == GROUPS[1]
    assert card.locator("img").is_visible()
    page.mouse.move(0, 0)
    assert not card.is_visible()


def test_arrow_keys_go_to_the_nearest_point_that_is_shown(page: "Page") -> None:
    """Groups stand in columns from left to right, points in them from 0 below to 4 above."""
    at = page.locator(".map .at")
    page.locator(".map .plane svg").focus()
    page.keyboard.press("ArrowUp")
    assert at.inner_text() == f"point 1 of 15: {IMG} 0"
    page.keyboard.press("ArrowUp")
    assert at.inner_text() == f"point 2 of 15: {IMG} 1"
    page.keyboard.press("ArrowRight")
    assert at.inner_text() == f"point 7 of 15: {IMG} 1"
    page.locator(".map .legend input").nth(1).uncheck()
    assert [one.is_visible() for one in page.locator(".map .plane circle[data-group]").all()] == [
        *[True] * 5,
        *[False] * 5,
        *[True] * 5,
    ]
    page.locator(".map .plane svg").focus()
    for key in ("ArrowUp", "ArrowRight"):
        page.keyboard.press(key)
    assert at.inner_text() == f"point 11 of 15: {IMG} 0"
    page.keyboard.press("Escape")
    assert not page.locator(".map .card").is_visible()


def test_on_paper_the_page_is_light_and_nothing_is_folded_or_to_be_clicked(page: "Page") -> None:
    page.locator("#theme").click()
    page.emulate_media(media="print")
    assert background(page) == "rgb(255, 255, 255)"
    for gone in ("#theme", "nav", ".filter", ".play", ".choice"):
        assert not page.locator(gone).first.is_visible()
    assert page.locator(".clip .paper").first.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_all_pictures_and_numbers_are_there(browser: "Browser", file: Path) -> None:
    context = browser.new_context(offline=True, java_script_enabled=False)
    opened = context.new_page()
    opened.goto(file.as_uri())
    assert "Without scripts" in opened.locator("main").inner_text()
    assert opened.locator(".strip .mean").first.is_visible()
    assert not opened.locator(".filter").first.is_visible()
    context.close()


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_nothing_is_wider_than_the_window(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


def test_faces_that_are_left_out_are_said_to_be(browser: "Browser", tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(html(report_page()), encoding="utf-8")
    context = browser.new_context(offline=True)
    opened = context.new_page()
    opened.goto(path.as_uri())
    assert "Pictures of faces are left out" in opened.locator("main > .warning").inner_text()
    assert opened.locator(".clip .crop").first.inner_text() == "faces are left out"
    opened.locator(".map .plane circle[data-group]").first.hover()
    assert re.fullmatch(f"{re.escape(IMG)} 0\\s*{GROUPS[0]}", opened.locator(".map .card").inner_text())
    context.close()
