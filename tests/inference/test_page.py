"""The page in a real Chromium."""

import json
import shutil
from pathlib import Path

import pytest

from grouppose.inference.predictor import Predictor
from grouppose.inference.uploads import Limits
from tests.inference.conftest import noise, write, write_video
from tests.inference.serving import running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
if CHROMIUM is None:
    pytest.skip("there is no chromium on the PATH", allow_module_level=True)
pytest.importorskip("gradio", reason="the page needs gradio: pip install 'grouppose[web]'")
sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SETTLED = 1500  # milliseconds after which the page listens, and the slider asks no more


@pytest.fixture(scope="module")
def site(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    limits = Limits(megabytes=1, megapixels=4, seconds=2)
    predictor = Predictor(weights, device="cpu", threshold=0.0, size=64)
    with running(predictor, folder, limits, "a note") as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser, site):
    """The page, empty; at the end it must have asked nobody else and raised nothing."""
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.set_default_timeout(60_000)
    asked, errors = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(site.url)
    opened.get_by_text("Nothing to show yet").wait_for()
    opened.wait_for_timeout(SETTLED)
    yield opened
    opened.close()
    elsewhere = [url for url in asked if not url.startswith((site.url, "data:", "blob:"))]
    assert len(asked) > 5 and elsewhere == [] and errors == []


def choose(page, path):
    page.locator("#upload input[type=file]").set_input_files(path)


def rows(page):
    page.locator("#people tbody tr").first.wait_for()
    return page.locator("#people tbody tr").count()


def test_a_picture_is_drawn_and_listed_and_follows_the_threshold(page, tmp_path):
    choose(page, write(tmp_path / "a.png", noise()))
    page.get_by_text("6 people").wait_for()
    assert rows(page) == 6
    page.wait_for_function("document.querySelector('#picture img').naturalHeight === 48")
    drawing, plain = (page.locator(f"#picture .{name}") for name in ("drawing", "plain"))
    assert drawing.evaluate("i => i.naturalWidth") == 80 and drawing.is_visible()
    page.get_by_label("Picture alone").check()
    assert plain.is_visible() and not drawing.is_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    content = json.loads(Path(download.value.path()).read_text())
    assert len(content["annotations"]) == 6
    page.locator("#threshold input[type=number]").fill("1")
    page.get_by_text("Nobody").wait_for()
    page.wait_for_timeout(SETTLED)
    page.get_by_role("button", name="Clear").first.click()
    page.get_by_text("Nothing to show yet").wait_for()


def test_a_video_plays(page, tmp_path):
    write_video(tmp_path / "a.mp4")
    choose(page, tmp_path / "a.mp4")
    page.get_by_text("people in 5 pictures").wait_for()
    page.wait_for_function("document.querySelector('#video video')?.videoWidth === 80")


def test_what_cannot_be_used_gives_a_message(page, tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    choose(page, tmp_path / "a.jpg")
    alert = page.get_by_role("alert").filter(has_text="this is no picture that can be read")
    alert.wait_for()
    page.get_by_role("button", name="Clear").first.click()
    (tmp_path / "b.jpg").write_bytes(b"x" * 1_000_001)
    choose(page, tmp_path / "b.jpg")
    page.get_by_text("exceed the maximum allowed size").first.wait_for()
    assert page.get_by_text("exceed the maximum allowed size").filter(visible=True).count() == 1
    assert page.locator("#upload").get_by_text("Error").filter(visible=True).count() == 0
    assert "Traceback" not in page.content()


def test_the_keyboard_is_enough(page):
    page.keyboard.press("Tab")
    for _ in range(20):
        if page.evaluate("document.activeElement.closest('#example') !== null"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("6 people").wait_for()
    slider = page.locator("#threshold input[type=range]")
    slider.focus()
    page.keyboard.press("End")
    page.get_by_text("Nobody").wait_for()
    page.wait_for_timeout(SETTLED)
    page.get_by_role("button", name="Click to upload or drop files").focus()
    with page.expect_file_chooser():
        page.keyboard.press("Enter")


def test_the_camera_takes_a_picture(page):
    page.get_by_role("tab", name="Camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('#camera video')?.videoWidth > 0")
    page.get_by_role("button", name="capture photo").click()
    page.get_by_text("6 people").wait_for()


def framed(page):
    """Numbers of the people that the picture points at."""
    page.wait_for_timeout(250)  # until what fades has faded
    seen = (
        "marks => marks.filter(g => getComputedStyle(g).opacity > 0.5).map(g => g.dataset.person)"
    )
    return page.locator("#picture g").evaluate_all(seen)


def test_a_row_points_at_its_person_and_the_example_clears_the_name(page, tmp_path):
    choose(page, write(tmp_path / "a.png", noise()))
    assert rows(page) == 6 and ".png" in page.locator("#upload").inner_text()
    assert framed(page) == []
    row = page.locator("#people tbody tr")
    row.nth(1).focus()
    assert framed(page) == ["2"]
    page.keyboard.press("Tab")
    assert framed(page) == ["3"]
    row.nth(4).hover()
    assert framed(page) == ["5"]
    page.get_by_role("button", name="Try a drawn example").click()
    page.locator("#upload").get_by_text(".png").wait_for(state="detached")
    assert "people.png" in page.locator("#picture a").get_attribute("download")


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_everything_without_scrolling_sideways(page, tmp_path, width):
    page.set_viewport_size({"width": width, "height": 740})
    overflow = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(overflow) <= 0
    choose(page, write(tmp_path / "a.png", noise()))
    assert rows(page) == 6
    page.wait_for_function("scrollY > 100")  # to what was found
    assert page.evaluate(overflow) <= 0
    for name in ("#upload", "#threshold", "#picture", "#people", "#people table", "#json"):
        box = page.locator(name).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, name
        assert box["width"] > 200 or name == "#json"
    cells = "cells => cells.every(cell => cell.scrollWidth <= cell.clientWidth)"
    assert page.locator("#people :is(th, td)").evaluate_all(cells)
