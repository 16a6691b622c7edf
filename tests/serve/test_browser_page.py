"""The page in a real browser, by mouse and by keyboard. Needs Chromium (`apt-get install chromium`) and Playwright."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import AXE, expect, faults_of_access, keep, open_coins, opened, place
from engine_world import open_world
from reviewing import write_project
from serving import Running, running_server, write_clip

from masklet.engine.records import Author
from masklet.engine.review.gold import annotations_of, choose_gold
from masklet.ops.masks import rle_decode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LONG_CLIP = 200  # frames: more than are tracked before a test looks


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The built-in model: what is looked at should be worth a look."""
    with running_server(tmp_path_factory.mktemp("page"), "tiny") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Photos of squares whose masks wait for people."""
    return write_project(tmp_path / "project", tmp_path / "photos", 6)


def said_by(project: Path, name: str) -> Counter[str]:
    """The labels of a person's verdicts on masks in the ledger."""
    view = open_world(project, project.parent / "photos").view
    rows = [row for pair in view.pairs() for row in view.verdicts(pair["pair_id"], "mask")]
    return Counter(row["label"] for row in rows if row["actor_id"] == Author(kind="person", name=name).actor_id)


@pytest.fixture
def page(browser: "Browser", server: Running) -> "Iterator[Page]":
    with opened(browser, server.address) as found:
        yield found


@contextmanager
def reviewing(page: "Page", folder: Path, model: str, project: Path) -> Iterator[Running]:
    """A server of a project; the page is left before it stops, for what it still asks then would count as a fault."""
    with running_server(folder, model, "--project", str(project)) as server:
        yield server
        page.goto("about:blank")


def shown(page: "Page") -> int:
    return int(page.locator("aside h2").first.inner_text().split()[0])


def test_phrases_are_chips_and_a_reload_keeps_everything(page: "Page") -> None:
    open_coins(page)
    page.fill("#phrase", "coin, cat")
    page.keyboard.press("Enter")
    chips = page.locator(".chips .chip")
    expect(chips).to_have_count(2)
    assert "absent" in chips.nth(1).inner_text()
    before = shown(page)
    assert before >= 15
    page.locator(".viewer[data-drawn]").wait_for()
    page.wait_for_timeout(300)
    keep(page, "page")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator(".bar input[type=range]").evaluate(
        "e => { e.value = 0.88; e.dispatchEvent(new Event('input', {bubbles: true})) }"
    )
    assert shown(page) < before
    assert not [each for each in requests if "/find" in each]
    page.wait_for_timeout(900)  # the server is told once the slider rests
    fewer = shown(page)
    page.reload()
    expect(page.locator(".chips .chip")).to_have_count(2)
    assert shown(page) == fewer


def test_clicks_boxes_brush_and_undo_by_mouse(page: "Page") -> None:
    open_coins(page)
    page.mouse.click(*place(page, 52, 62, (384, 303)))
    expect(page.locator(".objects li")).to_have_count(1)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Brush").click()
    page.mouse.move(*place(page, 200, 150, (384, 303)))
    page.mouse.down()
    page.mouse.move(*place(page, 230, 150, (384, 303)), steps=4)
    page.mouse.up()
    expect(page.locator(".objects li")).to_have_count(2)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Polygon").click()
    for x, y in ((300, 250), (340, 250), (340, 290)):
        page.mouse.click(*place(page, x, y, (384, 303)))
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".objects li")).to_have_count(3)
    page.get_by_role("button", name="Example box").click()
    page.mouse.move(*place(page, 81, 175, (384, 303)))
    page.mouse.down()
    page.mouse.move(*place(page, 124, 217, (384, 303)), steps=4)
    page.mouse.up()
    expect(page.locator(".chips .chip")).to_have_count(1)
    keep(page, "page-tools")
    for left in (3, 2, 1, 0):
        page.keyboard.press("Control+z")
        expect(page.locator(".objects li")).to_have_count(left)
    page.keyboard.press("Control+y")
    expect(page.locator(".objects li")).to_have_count(1)


def test_everything_goes_by_keyboard(page: "Page") -> None:
    open_coins(page)
    page.keyboard.press("/")
    page.keyboard.type("coin")
    page.keyboard.press("Enter")
    expect(page.locator(".chips .chip")).to_have_count(1)
    found = page.locator(".objects li").count()
    page.locator(".viewer").focus()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    for _ in range(6):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".objects li").filter(has_text="coin")).not_to_have_count(0)
    page.wait_for_timeout(600)
    assert page.locator(".objects li").count() >= found
    page.keyboard.press("n")
    page.keyboard.press("Delete")
    page.wait_for_timeout(600)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    keep(page, "page-keys")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_session_is_shown_as_code_and_exported(page: "Page") -> None:
    open_coins(page)
    page.fill("#phrase", "coin")
    page.keyboard.press("Enter")
    expect(page.locator(".chips .chip")).to_have_count(1)
    page.get_by_role("button", name="As code").click()
    assert 'session.find("coin", threshold=0.5)' in page.locator("pre").first.inner_text()
    page.get_by_role("button", name="Close").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export").click()
    assert waiting.value.suggested_filename == "coins-coco.zip"


def test_two_tabs_agree(page: "Page") -> None:
    open_coins(page)
    page.wait_for_url("**/#photo=*")
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator(".viewer")).to_be_visible()
    page.mouse.click(*place(page, 52, 62, (384, 303)))
    expect(page.locator(".objects li")).to_have_count(1)
    other.bring_to_front()
    expect(other.locator(".objects li")).to_have_count(1, timeout=15_000)


def test_a_video_is_tracked_cancelled_and_corrected(page: "Page", tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=LONG_CLIP)  # a slow browser must be able to stop it on the way
    page.set_input_files("input[aria-label=Files]", str(clip))
    expect(page.locator(".viewer[data-ready='64x96']")).to_be_visible()
    page.get_by_role("button", name="Box", exact=True).click()
    page.mouse.move(*place(page, 7, 19, (96, 64)))
    page.mouse.down()
    page.mouse.move(*place(page, 29, 41, (96, 64)), steps=4)
    page.mouse.up()
    expect(page.locator(".objects li")).to_have_count(1)
    page.keyboard.press("t")
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("aside p").filter(has_text=re.compile(r"^ *([2-9]|\d\d+) frames"))).to_be_visible()
    page.keyboard.press("x")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    label = page.locator(".timeline canvas").get_attribute("aria-label") or ""
    tracked = int(label.split()[1])
    assert 2 <= tracked <= LONG_CLIP
    page.keyboard.press("t")
    expect(page.locator(".timeline canvas")).to_have_attribute(
        "aria-label", f"Timeline: {LONG_CLIP} of {LONG_CLIP} frames tracked, 0 stale"
    )
    page.keyboard.press("k")
    expect(page.get_by_label("Frame", exact=True).first).to_have_text(f"2 / {LONG_CLIP}")
    keep(page, "page-video")
    page.reload()
    expect(page.locator(".timeline canvas")).to_have_attribute(
        "aria-label", f"Timeline: {LONG_CLIP} of {LONG_CLIP} frames tracked, 0 stale"
    )


def test_reviews_go_by_keyboard_and_no_verdict_is_lost(page: "Page", project: Path, base: Path, tmp_path: Path) -> None:
    with reviewing(page, tmp_path / "kept", str(base), project) as server:
        page.goto(f"{server.address}/#review")
        cards, marks = page.locator(".sheet .card"), page.locator(".sheet em")
        expect(cards).to_have_count(24)
        first = page.locator(".sheet img").first.get_attribute("src") or ""
        page.get_by_label("your name").fill("Ada")
        page.get_by_label("your name").press("Tab")
        expect(page.locator(".sheet img").first).not_to_have_attribute("src", first)  # an order of Ada's own
        for key in ("a", "r", "3", "u"):
            page.keyboard.press(key)
        expect(cards.nth(4)).to_have_class("card chosen")
        assert marks.all_inner_texts()[:5] == ["accept", "reject", "reject", "unsure", ""]
        page.keyboard.press("z")
        page.keyboard.press("Control+z")
        expect(cards.nth(2)).to_have_class("card chosen")
        assert marks.all_inner_texts()[:4] == ["accept", "reject", "", ""]
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("a")
        keep(page, "page-review")
        page.keyboard.press("f")
        expect(page.locator(".sheet.large .card.chosen img")).to_be_visible()
        expect(page.locator(".sheet.large .card:not(.chosen)").first).to_be_hidden()
        keep(page, "page-review-large")
        page.keyboard.press("f")
        before = marks.all_inner_texts()
        page.reload()  # verdicts that were not sent can still be taken back
        expect(cards).to_have_count(24)
        assert marks.all_inner_texts() == before
        page.keyboard.press("z")
        expect(page.get_by_role("button", name="Send 2")).to_be_visible()
        assert not said_by(project, "Ada")
        page.context.set_offline(True)
        page.keyboard.press("Enter")
        expect(page.locator(".notice.error")).to_be_visible()
        expect(page.get_by_role("button", name="Send 2")).to_be_visible()
        page.context.set_offline(False)
        page.keyboard.press("Enter")
        expect(page.locator(".score")).to_contain_text("Ada: 2 answers")
        assert said_by(project, "Ada") == {"accept": 1, "reject": 1}


def test_a_wrong_mask_is_corrected_from_the_sheet_by_keyboard(
    page: "Page", project: Path, base: Path, tmp_path: Path
) -> None:
    with reviewing(page, tmp_path / "kept", str(base), project) as server:
        page.goto(f"{server.address}/#review")
        cards = page.locator(".sheet .card")
        expect(cards).to_have_count(24)
        page.get_by_label("your name").fill("Ada")
        page.get_by_label("your name").press("Tab")
        page.wait_for_timeout(500)
        expect(cards).to_have_count(24)
        page.keyboard.press("c")
        expect(page.get_by_role("toolbar", name="Work for the project")).to_be_visible()
        expect(page.locator(".viewer[data-ready='96x96']")).to_be_visible()
        begun = page.locator(".objects li").count()
        assert begun
        keep(page, "page-correct")
        page.locator(".viewer").focus()
        page.keyboard.press("b")  # an example box is one key away
        page.keyboard.press("Enter")
        for way in ("ArrowRight", "ArrowDown"):
            for _ in range(3):
                page.keyboard.press(f"Shift+{way}")
        page.keyboard.press("Enter")
        expect(page.locator(".chips .chip")).to_have_count(1)
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        for x, y in ((80, 80), (94, 80), (94, 94)):
            page.mouse.click(*place(page, x, y, (96, 96)))
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".objects li").filter(has_text="by hand")).to_have_count(begun + 1)
        page.reload()  # the work goes on where it was
        expect(page.locator(".objects li").filter(has_text="by hand")).to_have_count(begun + 1)
        page.keyboard.press("Control+Enter")
        expect(page.locator(".notice")).to_contain_text("Nothing is open")
        expect(cards).not_to_have_count(0)
    view = open_world(project, project.parent / "photos").view
    author = Author(kind="person", name="Ada").actor_id
    sets = [view.maskset(pair["pair_id"]) for pair in view.pairs()]
    [written] = [each for each in sets if each and each["actor_id"] == author]
    assert written["num_masks"] >= begun + 1
    drawn = rle_decode(view.masks(written)[begun].counts, 96, 96)
    assert drawn[83, 90]
    assert not drawn[40, 10]


def test_gold_slots_are_labelled_on_the_page(page: "Page", project: Path, base: Path, tmp_path: Path) -> None:
    world = open_world(project, project.parent / "photos")
    choose_gold(world, 1)
    with reviewing(page, tmp_path / "kept", str(base), project) as server:
        page.goto(f"{server.address}/#review")
        page.get_by_role("button", name=re.compile("Gold b")).click()
        expect(page.get_by_role("toolbar", name="Work for the project")).to_contain_text("Gold, slot b")
        expect(page.locator(".viewer[data-ready='96x96']")).to_be_visible()
        expect(page.locator(".objects li")).to_have_count(0)
        page.keyboard.press("g")
        for x, y in ((10, 10), (40, 10), (40, 40)):
            page.mouse.click(*place(page, x, y, (96, 96)))
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".objects li")).to_have_count(1)
        keep(page, "page-gold")
        page.get_by_role("button", name="Done: 1 right and all").click()
        expect(page.locator(".notice")).to_contain_text(re.compile("labelled|Nothing is open"))
    assert [row["polarity"] for row in annotations_of(world.view, "b")] == [1]


def test_verdicts_of_two_tabs_all_arrive(page: "Page", project: Path, base: Path, tmp_path: Path) -> None:
    with reviewing(page, tmp_path / "kept", str(base), project) as server:
        page.goto(f"{server.address}/#review")
        expect(page.locator(".sheet .card")).to_have_count(24)
        other = page.context.new_page()
        other.goto(f"{server.address}/#review")
        expect(other.locator(".sheet .card")).to_have_count(24)
        page.keyboard.press("a")
        other.keyboard.press("ArrowRight")
        other.keyboard.press("r")
        other.keyboard.press("Enter")
        expect(other.locator(".score")).to_contain_text("2 answers")
        page.keyboard.press("Enter")
        expect(page.locator(".score")).to_contain_text("2 answers")
        assert said_by(project, "reviewer") == {"accept": 1, "reject": 1}


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci --prefix web")
def test_no_serious_fault_of_access(page: "Page") -> None:
    assert faults_of_access(page) == []
    open_coins(page)
    page.fill("#phrase", "coin, cat")
    page.keyboard.press("Enter")
    expect(page.locator(".chips .chip")).to_have_count(2)
    assert faults_of_access(page) == []
    page.keyboard.press("Tab")
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_timeout(300)
    keep(page, "page-phone")
    assert faults_of_access(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_from_elsewhere_is_asked_for(page: "Page", server: Running) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.wait_for_timeout(500)
    assert asked
    assert all(each.startswith((server.address, "data:", "blob:")) for each in asked)
