"""The page in a real browser: Chromium driven by Playwright. Skips the module that imports it without them."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
if BROWSER is None:
    pytest.skip("there is no Chromium: apt-get install chromium", allow_module_level=True)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
ROOT = Path(__file__).parents[2]
COINS = ROOT / "src" / "masklet" / "assets" / "coins.jpg"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
expect = sync_api.expect
expect.set_options(timeout=60_000)  # machines are shared


@contextmanager
def launched() -> "Iterator[Browser]":
    """A browser with an empty profile and a camera that shows a test picture."""
    with sync_api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=BROWSER, args=list(ARGUMENTS), timeout=60_000)
        yield found
        found.close()


@contextmanager
def opened(browser: "Browser", address: str, **options: Any) -> "Iterator[Page]":
    """A page at an address. A fault of its scripts is one of the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark", **options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert not faults


def keep(page: "Page", name: str) -> None:
    """A picture for people to look at, where a folder for it is named."""
    folder = os.environ.get("MASKLET_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def open_coins(page: "Page") -> None:
    page.set_input_files("input[aria-label=Files]", str(COINS))
    expect(page.locator(".viewer[data-ready='303x384']")).to_be_visible()


def place(page: "Page", x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Where a point of a picture of `size` (width, height) is in the window."""
    box = page.locator(".viewer").bounding_box()
    assert box is not None
    zoom = min(box["width"] / size[0], box["height"] / size[1])
    left = box["x"] + (box["width"] - size[0] * zoom) / 2
    top = box["y"] + (box["height"] - size[1] * zoom) / 2
    return left + x * zoom, top + y * zoom


def wait_until(page: "Page", expression: str, seconds: float = 60.0) -> None:
    """Until an expression is true on the page, whose content policy forbids Playwright's own way of waiting for one."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(100)


def drag(page: "Page", start: tuple[float, float], end: tuple[float, float], size: tuple[int, int]) -> None:
    """A drag from a point of the picture to another."""
    page.mouse.move(*place(page, *start, size))
    page.mouse.down()
    page.mouse.move(*place(page, *end, size), steps=4)
    page.mouse.up()


def faults_of_access(page: "Page") -> list[str]:
    """Serious faults of access that axe-core finds."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in found if each["impact"] in ("serious", "critical")
    ]
