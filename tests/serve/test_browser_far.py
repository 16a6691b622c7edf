"""The page far from its server, its picture or a file: offline, in tiles, a camera, examples of other photos."""

import io
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from browsing import AXE, COINS, drag, expect, faults_of_access, keep, open_coins, opened, place, wait_until
from PIL import Image
from serving import running_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COIN = (384, 303)


def test_the_page_opens_without_its_server_and_shows_what_was_there(
    browser: "Browser", base: Path, tmp_path: Path
) -> None:
    with running_server(tmp_path, str(base)) as server, opened(browser, server.address) as page:
        wait_until(page, "navigator.serviceWorker.controller !== null")
        open_coins(page)
        page.keyboard.press("g")
        for x, y in ((300, 250), (340, 250), (340, 290)):
            page.mouse.click(*place(page, x, y, COIN))
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".objects li")).to_have_count(1)
        page.reload()
        expect(page.locator(".objects li")).to_have_count(1)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(30)
        page.reload()
        expect(page.locator(".objects li")).to_have_count(1)
        expect(page.locator(".viewer[data-ready='303x384']")).to_be_visible()
        expect(page.locator(".notice.info")).to_contain_text("cannot be reached")
        page.keyboard.press("v")
        page.mouse.click(*place(page, 335, 270, COIN))
        expect(page.locator(".objects .chosen")).to_have_count(1)
        page.keyboard.press("Delete")
        expect(page.locator(".notice.error")).to_contain_text("cannot be reached")
        expect(page.locator(".objects li")).to_have_count(1)
        keep(page, "page-offline")


def test_what_comes_with_a_token_is_not_kept_on_the_machine(browser: "Browser", base: Path, tmp_path: Path) -> None:
    people = tmp_path / "people.json"
    people.write_text('{"a-token-of-some-length": {"name": "Ann", "role": "annotator"}}')
    options = ("--tokens", str(people))
    with (
        running_server(tmp_path / "kept", str(base), *options) as server,
        opened(browser, f"{server.address}/#token=a-token-of-some-length") as page,
    ):
        wait_until(page, "navigator.serviceWorker.controller !== null")
        open_coins(page)
        page.reload()
        expect(page.locator(".viewer[data-ready='303x384']")).to_be_visible()
        kept = page.evaluate(
            "async () => (await (await caches.open('masklet')).keys()).map((each) => new URL(each.url).pathname)"
        )
    assert sorted(kept) == ["/", "/assets/index.css", "/assets/index.js", "/assets/map.worker.js"]


def test_a_large_photo_is_shown_in_tiles(browser: "Browser", base: Path, tmp_path: Path) -> None:
    pixels = np.zeros((3200, 8000, 3), np.uint8)
    pixels[:, :] = (30, 60, 90)
    pixels[1400:1800, 3800:4200] = (250, 30, 20)
    path = tmp_path / "large.jpg"
    Image.fromarray(pixels).save(path, quality=80)
    with running_server(tmp_path / "kept", str(base)) as server, opened(browser, server.address) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.set_input_files("input[aria-label=Files]", str(path))
        expect(page.locator(".viewer[data-ready='3200x8000']")).to_be_visible()
        wait_until(
            page, "performance.getEntriesByType('resource').filter((e) => e.name.includes('/tiles/3/')).length >= 2"
        )
        box = page.locator(".viewer").bounding_box()
        assert box
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        for _ in range(6):
            page.mouse.wheel(0, -300)
        wait_until(page, "performance.getEntriesByType('resource').some((e) => e.name.includes('/tiles/0/7/3'))")
        page.wait_for_timeout(1500)
        picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
        keep(page, "page-tiles")
        near = picture[int(middle[1]) + 30, int(middle[0]) + 30]
        assert np.abs(near - (250, 30, 20)).max() < 25
        assert not [each for each in asked if each.endswith("/file")]
        assert len([each for each in asked if "/tiles/" in each]) < 60  # of 155
        page.keyboard.press("p")
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1] + 10, steps=4)
        page.mouse.up()
        expect(page.locator(".objects li")).to_have_count(1)


def test_a_camera_is_followed_live(browser: "Browser", tmp_path: Path) -> None:
    with running_server(tmp_path, "tiny") as server, opened(browser, f"{server.address}/#live") as page:
        expect(page.get_by_role("button", name="Start the camera")).to_be_visible()
        page.keyboard.press("Space")
        expect(page.get_by_label("Frames a second")).to_contain_text(re.compile("frames a second"))
        expect(page.locator(".viewer[data-ready]")).to_be_visible()
        page.wait_for_timeout(1500)
        page.locator(".viewer").focus()
        page.keyboard.press("c")
        page.keyboard.press("Enter")  # on what is in the middle
        expect(page.locator(".objects li")).to_have_count(1)
        wait_until(page, "Number(document.querySelector('.viewer').dataset.drawn) === 1")
        keep(page, "page-camera")
        if AXE.is_file():
            assert faults_of_access(page) == []
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Start the camera")).to_be_visible()


def test_examples_of_one_photo_are_kept_for_another(browser: "Browser", base: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, str(base)) as server, opened(browser, server.address) as page:
        open_coins(page)
        page.keyboard.press("b")
        drag(page, (81, 175), (124, 217), COIN)
        expect(page.locator(".chips .chip")).to_have_count(1)
        page.get_by_role("button", name="Keep the examples of like the boxes").click()
        expect(page.get_by_role("button", name="find like the boxes")).to_be_visible()
        page.get_by_role("button", name="masklet: open another file").click()
        page.set_input_files("input[aria-label=Files]", str(COINS))
        expect(page.locator("ul[aria-label='Phrases asked for'] .chip")).to_have_count(0)
        page.get_by_role("button", name="find like the boxes").click()
        expect(page.locator("ul[aria-label='Phrases asked for'] .chip")).to_have_count(1)
        keep(page, "page-bank")
        if AXE.is_file():
            assert faults_of_access(page) == []
        page.get_by_role("button", name="Forget the examples of like the boxes").click()
        expect(page.get_by_role("button", name="find like the boxes")).to_have_count(0)
