"""The viewer's page in the browser that is installed: tiles, layers, address, and an outline drawn and saved."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from drunet.annotation import read_annotation
from drunet.annotation.provenance import provenance_of

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from tiny_cohort import Project

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REGIONS = """rank slide x0 y0 x1 y1 why
1 unlabelled 320 192 384 256 unsure
2 unlabelled 64 64 128 128 unlike
""".replace(" ", "\t")
CLASSES = {"tumour": ["tumor"], "non_tumour": ["stroma"], "ignore": []}
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def address(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address that `drunet view` prints, and where it saves."""
    saves, project = tmp_path_factory.mktemp("saves"), finished.copy_to(tmp_path_factory.mktemp("viewed") / "project")
    regions = project.results / "next_regions/tone/regions.tsv"
    regions.parent.mkdir(parents=True)
    regions.write_text(REGIONS)
    command = [
        sys.executable,
        "-m",
        "drunet_commands.cli",
        "view",
        "--directory",
        project.folder,
        "--port",
        "0",
        "--save",
        saves,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "scripts")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", server.stdout.readline())
            assert found
            yield found.group(), saves
            server.send_signal(signal.SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()


@pytest.fixture(scope="module")
def page(address: tuple[str, Path]) -> Iterator[Page]:
    """The page with a slide on it; nothing may be wrong in the console by the end."""
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    with sync_playwright() as playwright:
        # Root, as in containers, has no sandbox.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 800})
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # Requests that the page itself gives up, as on its way to another slide, are no failures.
        page.on(
            "requestfailed", lambda r: None if "ABORTED" in str(r.failure) else wrong.append(f"{r.url} {r.failure}")
        )
        page.goto(f"{address[0]}#slide=tumour_a")
        ready(page, "tumour_a")
        yield page
        seen = list(wrong)
        browser.close()
    assert seen == []


def ready(page: Page, slide: str) -> None:
    page.wait_for_selector(f"#panes[data-shown={slide}]")
    page.wait_for_load_state("networkidle")


def pixels(page: Page, canvas: str) -> dict[str, int]:
    """Colours of a canvas and how often each occurs, opaque or not."""
    script = """canvas => { const d = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      const n = {};
      for (let i = 0; i < d.length; i += 4) { const k = d.slice(i, i + 4).join(); n[k] = (n[k] || 0) + 1; }
      return n; }"""
    return dict(page.eval_on_selector(canvas, script))


def drawn(page: Page) -> int:
    """Pixels of the layers that are not transparent."""
    page.wait_for_timeout(150)
    return sum(n for colour, n in pixels(page, "canvas.over").items() if not colour.endswith(",0"))


def test_tiles_arrive_and_the_list_says_what_became_of_the_slides(page: Page) -> None:
    # Tissue of the tiny cohort is coloured; glass and an empty canvas are grey.
    colours = pixels(page, ".openseadragon-canvas canvas:not(.over)")
    tinted = sum(n for c, n in colours.items() if max(rgb := [*map(int, c.split(","))][:3]) - min(rgb) > 30)
    assert tinted > 20_000
    assert page.inner_text("#name") == "tumour_a" and "Dice" in page.inner_text("#score")
    listed = page.eval_on_selector_all("#slides li", "all => all.map(e => [e.dataset.slide, e.innerText])")
    assert "resolution" in dict(listed)["unscaled"] and len(listed) == 7
    assert re.fullmatch(r"\d+ (µm|mm)", page.inner_text(".scale"))


def test_layers_go_on_and_off_and_the_threshold_asks_the_server_for_nothing(page: Page) -> None:
    asked: list[str] = []
    assert page.is_checked("#layer-errors")
    shown = drawn(page)
    assert shown > 1000
    page.keyboard.press("4")
    assert drawn(page) == 0
    page.check("#layer-heatmap")
    everything = drawn(page)
    page.on("request", lambda request: asked.append(request.url))
    page.fill("#threshold", "0.5")
    likely = drawn(page)
    assert 0 < likely < everything
    assert "0.50" in page.inner_text("#above")
    page.fill("#threshold", "0")
    assert drawn(page) == everything and [a for a in asked if "cohort" not in a] == []
    page.uncheck("#layer-heatmap")
    page.check("#layer-errors")
    assert drawn(page) == shown


def test_an_address_leads_back_to_the_place(page: Page) -> None:
    page.evaluate("location.hash = 'slide=tumour_b&run=by_colour&beside=-&x=310&y=240&zoom=2'")
    ready(page, "tumour_b")
    assert page.locator(".pane").count() == 2
    page.reload()
    ready(page, "tumour_b")
    page.wait_for_timeout(300)
    place = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
    assert place["slide"] == "tumour_b" and place["beside"] == "-"
    assert float(place["x"]) == pytest.approx(310, abs=2) and float(place["zoom"]) == pytest.approx(2, rel=0.01)
    page.keyboard.press("n")
    ready(page, "unlabelled")
    assert page.inner_text("#name") == "unlabelled"


def test_the_list_of_what_to_annotate_next_leads_to_each_square_and_shows_it(page: Page) -> None:
    page.evaluate("location.hash = 'slide=tumour_b&run=by_colour'")
    ready(page, "tumour_b")
    assert page.is_disabled("#layer-next")
    entries = page.locator("#regions a")
    said = [" ".join(text.split()) for text in entries.all_inner_texts()]
    assert said == ["1. unlabelled the classifier is unsure here", "2. unlabelled looks unlike all that is annotated"]
    entries.nth(0).click()
    ready(page, "unlabelled")
    page.wait_for_timeout(300)
    place = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
    assert (float(place["x"]), float(place["y"])) == pytest.approx((352, 224), abs=2)
    # Of the layers the squares alone, of 64 px, and no fill.
    page.evaluate("for (const box of document.querySelectorAll('#toggles input[type=checkbox]:checked')) box.click()")
    assert drawn(page) == 0
    page.keyboard.press("7")
    assert 0 < drawn(page) < (64 * float(place["zoom"])) ** 2 / 4
    # A square that is asked for is shown, though the layer was put away: on this slide, and from another one.
    page.keyboard.press("7")
    assert drawn(page) == 0
    page.evaluate("location.hash = 'slide=tumour_b&run=by_colour'")
    ready(page, "tumour_b")
    entries.nth(0).click()
    ready(page, "unlabelled")
    page.wait_for_timeout(300)
    assert drawn(page) > 0
    page.keyboard.press("7")
    entries.nth(1).click()
    page.wait_for_timeout(300)
    assert page.is_checked("#layer-next") and drawn(page) > 0
    moved = page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")
    assert (moved["slide"], float(moved["x"])) == ("unlabelled", pytest.approx(96, abs=2))


@pytest.mark.slow
def test_an_outline_is_drawn_saved_and_read_back(page: Page, address: tuple[str, Path]) -> None:
    page.evaluate("location.hash = 'slide=tumour_a&run=by_colour'")
    ready(page, "tumour_a")
    page.click("#correct")
    page.wait_for_selector("#begin option[value=run]", state="attached")
    page.click("#draw")
    box: dict[str, Any] = page.evaluate("document.querySelector('.pane').getBoundingClientRect().toJSON()")
    corners = [(box["x"] + x, box["y"] + y) for x, y in ((60, 120), (130, 125), (120, 200), (60, 190))]
    for x, y in [*corners, corners[0]]:
        # A second click that follows at once would be a double click, which ends the outline; and a button that is held
        # for long, as by moves of its own on a busy machine, is no click.
        page.wait_for_timeout(400)
        page.mouse.click(x, y)
    page.wait_for_selector("#draw[aria-pressed=false]")
    page.click("#save")
    page.wait_for_function("document.getElementById('hint').textContent.startsWith('Saved')")
    saved = address[1] / "tumour_a.geojson"
    assert "corrected from run by_colour" in page.inner_text("#hint")
    assert provenance_of(saved, "tumour_a").how == "corrected"
    new = shapely.geometry.shape(json.loads(saved.read_text("utf-8"))["features"][-1]["geometry"])
    read = read_annotation(saved, kind="wta", where="tumour_a", width=600, height=500, classes=CLASSES)
    assert read.regions[-1].geometry.symmetric_difference(new).area < 0.01
    zoom = page.evaluate("Number(new URLSearchParams(location.hash.slice(1)).get('zoom'))")
    # The address rounds the zoom, and the browser each click.
    assert new.area == pytest.approx(shapely.Polygon(corners).area / zoom**2, rel=0.1)
    page.click("#close")
    assert page.is_hidden("#correction")
