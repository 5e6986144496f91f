"""The page in a real browser: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from src.prediction.playground.scenes import Scenes
from tests.prediction.playground.conftest import Served

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (chromium, google-chrome) on the PATH")

SCREENS = {"desktop": (1280, 900, "light"), "phone": (390, 844, "dark")}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.mark.parametrize("screen", SCREENS)
def test_a_visit(browser: Any, served: Served, tmp_path: Path, screen: str) -> None:
    """Sliders, a click, a broken and a whole image, a preset; no other server is asked, and nothing is too wide."""
    width, height, scheme = SCREENS[screen]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    expect = playwright.expect
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(served.url)
    expect(page.locator("#time")).to_have_text(re.compile(r"\d+ ms"))
    expect(page.locator("#status")).to_contain_text("generated 1: 321 × 321, shrunk to 100 × 100")
    labels, network = page.locator("#crf .labels"), page.locator("#network .labels").get_attribute("src")
    assert labels.get_attribute("src") != network

    # Without pairwise terms, the CRF's labels are the network's.
    for name in ("w1", "w2"):
        page.locator(f"#{name}").press("Home")
    expect(labels).to_have_attribute("src", network)

    # ... and so are its probabilities.
    page.locator("#network .frame").click(position={"x": 20, "y": 20})
    expect(page.locator("#pixel")).to_be_visible()
    cells = page.locator("#bars tr").first.locator("td").all_inner_texts()
    assert cells[2] == cells[3]
    assert page.locator("#own").inner_text() == "0 = w1 + w2"
    page.locator("#w1").press("End")
    expect(page.locator("#own")).to_have_text("20 = w1 + w2")
    expect(labels).not_to_have_attribute("src", network)
    page.locator("#reset").click()
    expect(page.locator("#own")).to_have_text("7 = w1 + w2")

    # An image that the server has dropped is opened again.
    served.app.scenes = Scenes(1 << 20)
    page.locator("#w1").press("Home")
    page.locator("#w2").press("Home")
    expect(labels).to_have_attribute("src", network)
    page.locator("#reset").click()
    expect(labels).not_to_have_attribute("src", network)

    scores = page.locator("#scores .heat").get_attribute("src")
    page.locator("[data-class='3']").click()
    expect(page.locator("#scores .heat")).not_to_have_attribute("src", scores)

    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    page.locator("#file").set_input_files(tmp_path / "broken.png")
    expect(page.locator("#status")).to_have_text(re.compile(r"^broken\.png: not an image that Pillow can read"))
    Image.new("RGB", (60, 40), "green").save(tmp_path / "whole.png")
    page.locator("#file").set_input_files(tmp_path / "whole.png")
    expect(page.locator("#status")).to_have_text("whole.png: 60 × 40")
    expect(page.locator("#pixel")).to_be_hidden()

    page.locator("#preset").fill(screen)
    page.locator("#save button").click()
    path = served.presets / f"{screen}.yaml"
    expect(page.locator("#saved")).to_have_text(f"saved {path}; use it: crf={screen}")
    assert "\nw1: 4\n" in path.read_text()
    page.locator("#sxy").press("Home")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#save button").click()
    expect(page.locator("#saved")).to_have_text(f"saved {path}; use it: crf={screen}")
    page.locator("#preset").fill("../x")
    page.locator("#save button").click()
    expect(page.locator("#saved")).to_contain_text("give letters")
    assert "\nsxy: 1\n" in path.read_text()

    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert faults == []
    assert {url for url in asked if not url.startswith((f"{served.url}/", "data:"))} == set()
    page.close()
