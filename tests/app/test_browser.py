"""The page in a browser: headless Chromium, driven by Playwright."""

import json
import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright
from served_page import Server

from siftvton.files import read_grey, read_image

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
PATIENCE = 60_000  # milliseconds
SENT = "**/component_server/**"  # where the editor sends its layers after each change
SETTLED = 1000  # milliseconds after which they have arrived
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright's own Chromium, or else the system's; in CI it must be there."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        path = str(own) if own.exists() else shutil.which("chromium") or shutil.which("chromium-browser")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        try:
            started = playwright.chromium.launch(executable_path=path, args=arguments)
        except Error as error:
            missing = f"no Chromium that starts ({error.message.splitlines()[0]}); playwright install chromium gets one"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        yield started
        started.close()


class Visit:
    """One visitor's page, and the addresses that it asks for."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.goto(url)
        expect(self.page.locator("#garments button")).to_have_count(8)

    def choose(self, person: int, garment: int) -> None:
        with self.page.expect_request(SENT):  # the editor shows the mask, and sends it once
            self.page.locator("#persons button").nth(person).click()
        self.page.locator("#garments button").nth(garment).click()
        expect(self.page.locator("#garment img")).to_be_visible()

    def paint(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a stroke on the mask, between points given as shares of the photo's width and height."""
        x, y, width, height = self._shown()
        mouse = self.page.mouse
        mouse.move(x + start[0] * width, y + start[1] * height)
        mouse.down()
        mouse.move(x + end[0] * width, y + end[1] * height, steps=6)
        with self.page.expect_request(SENT):
            mouse.up()
        self.page.wait_for_timeout(SETTLED)

    def _shown(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the photo in the editor, which shows it in the middle, scaled."""
        canvas = self.page.locator("#editor canvas").first
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        scale = int(self.page.locator("#editor").get_by_text("%").inner_text().rstrip("%")) / 100
        width, height = 576 * scale, 768 * scale
        return box["x"] + (box["width"] - width) / 2, box["y"] + (box["height"] - height) / 2, width, height

    def run(self) -> None:
        self.page.get_by_role("button", name="Try it on").click()
        expect(self.page.locator("#after img")).to_be_visible()

    def downloaded(self, name: str, folder: Path) -> Path:
        with self.page.expect_download() as download:
            self.page.locator(f"#{name}").click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def look(self, x: float, y: float) -> None:
        """Click on the result, at a place given as shares of its width and height."""
        picture = self.page.locator("#after img")
        picture.scroll_into_view_if_needed()
        box = picture.bounding_box()
        assert box is not None
        shown = min(box["width"], box["height"] * 0.75)  # the picture is 3:4 and stands in the middle
        left, top = (box["width"] - shown) / 2, (box["height"] - shown / 0.75) / 2
        picture.click(position={"x": left + x * shown, "y": top + y * shown / 0.75})
        expect(self.page.locator("#looked img")).to_be_visible()


@pytest.fixture
def desktop(browser: Browser, server: Server) -> Iterator[Visit]:
    with browser.new_context(**DESKTOP) as context:
        yield Visit(context, server.url)


def picture_in(visit: Visit, selector: str, folder: Path) -> np.ndarray:
    answer = visit.page.request.get(visit.page.locator(selector).get_attribute("src") or "")
    path = folder / "shown.png"
    path.write_bytes(answer.body())
    return read_image(path)


def test_gallery_brush_result_click_and_downloads_on_a_desktop(desktop: Visit, server: Server, tmp_path: Path):
    page = desktop.page
    desktop.choose(person=0, garment=4)
    page.get_by_label("number input for Steps").fill("2")
    desktop.paint((0.05, 0.9), (0.2, 0.9))  # the floor at the lower left, which the mask leaves out
    page.screenshot(path=tmp_path / "painted.png", full_page=True)
    desktop.run()
    result = read_image(desktop.downloaded("save_picture", tmp_path))
    settings = json.loads(desktop.downloaded("save_settings", tmp_path).read_text())
    assert settings.items() >= {"person": "00000_00", "garment": "00004_00", "mask_edited": True, "steps": 2}.items()
    test = server.folder / "output/gallery/test"
    photo = read_image(test / "image/00000_00.jpg")
    prepared = read_grey(test / "agnostic-mask/00000_00_mask.png") > 127
    changed = np.abs(result.astype(int) - photo).max(axis=2) > 8
    stroke = changed & ~prepared
    rows, columns = np.nonzero(stroke[440:])
    assert stroke[452:470, 24:72].mean() > 0.5  # where it was painted
    assert columns.max() < 120
    desktop.look(0.5, 0.45)
    marked = picture_in(desktop, "#after img", tmp_path)
    rows, columns = np.nonzero((marked != result).any(axis=2))
    assert abs(columns.mean() - 0.5 * 384) < 3
    assert abs(rows.mean() - 0.45 * 512) < 3
    page.screenshot(path=tmp_path / "desktop.png", full_page=True)
    assert Image.open(tmp_path / "desktop.png").width == DESKTOP["viewport"]["width"]
    assert desktop.faults == []
    elsewhere = [url for url in desktop.asked if not url.startswith((server.url, "data:", "blob:"))]
    assert elsewhere == []


def test_an_error_is_one_sentence_on_the_page(desktop: Visit, tmp_path: Path):
    page = desktop.page
    page.get_by_role("button", name="Try it on").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("no person is chosen; take one from the gallery, or upload a picture")
    toast.get_by_role("button", name="Close", exact=True).click()
    expect(toast).to_have_count(0)
    (tmp_path / "me.png").write_text("no picture")
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "me.png")
    expect(toast).to_contain_text("me.png: cannot be decoded as JPEG, PNG or WebP")
    expect(page.locator("#photo img")).to_have_count(0)
    assert "Traceback" not in page.inner_text("body")
    page.screenshot(path=tmp_path / "error.png", full_page=True)


def test_a_phone_shows_everything_below_each_other(browser: Browser, server: Server, tmp_path: Path):
    with browser.new_context(**PHONE) as context:
        visit = Visit(context, server.url)
        visit.choose(person=3, garment=1)
        visit.page.get_by_label("number input for Steps").fill("2")
        visit.run()
        visit.look(0.5, 0.4)
        visit.page.screenshot(path=tmp_path / "phone.png", full_page=True)
        assert visit.page.evaluate("document.documentElement.scrollWidth") == PHONE["viewport"]["width"]
        tops = [visit.page.locator(name).bounding_box() for name in ("#photo", "#editor", "#garment", "#run", "#after")]
        assert all(above["y"] < below["y"] for above, below in pairwise(tops))
