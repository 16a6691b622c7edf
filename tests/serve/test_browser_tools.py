"""The rest of the page's tools in a real browser: ways in, what is shown, edits, questions, and a video's runs."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import COINS, drag, expect, keep, open_coins, opened, place
from serving import Running, running_server, write_clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

SIZE = (384, 303)
GIVE = """([kind, name, data]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0)), transfer = new DataTransfer()
  transfer.items.add(new File([bytes], name, { type: 'image/jpeg' }))
  const options = { bubbles: true, cancelable: true }
  const event = kind === 'drop' ? new DragEvent('drop', { ...options, dataTransfer: transfer })
    : new ClipboardEvent('paste', { ...options, clipboardData: transfer })
  document.querySelector('main').dispatchEvent(event)
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_server(tmp_path_factory.mktemp("tools"), "tiny") as running:
        yield running


@pytest.fixture
def page(browser: "Browser", server: Running) -> "Iterator[Page]":
    with opened(browser, server.address) as found:
        yield found


def rows(page: "Page") -> "Locator":
    return page.locator(".objects li")


def shown(page: "Page", count: int) -> None:
    expect(page.locator("aside h2").first).to_have_text(f"{count} shown")


def polygon(page: "Page", *points: tuple[float, float]) -> None:
    """A new object, drawn."""
    page.locator(".viewer").focus()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    before = rows(page).count()
    for x, y in points:
        page.mouse.click(*place(page, x, y, SIZE))
    page.keyboard.press("Shift+Enter")
    expect(rows(page)).to_have_count(before + 1)


def areas(page: "Page") -> list[int]:
    """Pixels of each object, as the server has them."""
    path = page.url.partition("photo=")[2]
    return [
        each["area"] for each in page.evaluate(f"fetch('/v1/images/{path}').then((each) => each.json())")["objects"]
    ]


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted(page: "Page", way: str) -> None:
    page.evaluate(GIVE, [way, f"{way}ped.jpg", base64.b64encode(COINS.read_bytes()).decode()])
    expect(page.locator(".viewer[data-ready='303x384']")).to_be_visible()
    expect(page.locator(".sessions option:checked")).to_have_text(f"{way}ped.jpg")


def test_the_photos_of_a_folder_become_sessions(page: "Page", tmp_path: Path) -> None:
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / name).write_bytes(COINS.read_bytes())
    (tmp_path / "notes.txt").write_text("no photo")
    page.set_input_files("input[aria-label=Folder]", str(tmp_path))
    expect(page.locator(".sessions option:checked")).to_have_text(re.compile("one|two"))
    names = page.locator(".sessions option").all_inner_texts()
    assert {"one.jpg", "two.jpg"} <= set(names)
    assert "notes.txt" not in names


def test_one_several_or_all_are_shown_and_the_surest_may_be_on_top(page: "Page") -> None:
    open_coins(page)
    page.fill("#phrase", "coin")
    page.keyboard.press("Enter")
    expect(page.locator(".chips .chip")).to_have_count(1)
    several = int(page.locator("aside h2").first.inner_text().split()[0])
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method) if request.method == "POST" else None)
    page.get_by_label("best one").check()
    shown(page, 1)
    page.get_by_label("all", exact=True).check()
    assert int(page.locator("aside h2").first.inner_text().split()[0]) >= several
    page.get_by_label("above the cut").check()
    shown(page, several)
    page.get_by_label("surest on top").check()
    expect(page.get_by_label("surest on top")).to_be_checked()
    assert not asked  # nothing of it is computed anew


def test_objects_are_hidden_locked_and_shown_alone_by_keys(page: "Page") -> None:
    open_coins(page)
    polygon(page, (20, 20), (60, 20), (60, 60))
    polygon(page, (120, 20), (160, 20), (160, 60))
    page.keyboard.press("h")
    shown(page, 1)
    page.keyboard.press("h")
    shown(page, 2)
    page.keyboard.press("l")
    expect(page.locator(".objects [aria-label^=Lock][aria-pressed=true]")).to_have_count(1)
    page.keyboard.press("s")
    shown(page, 1)
    page.keyboard.press("s")
    shown(page, 2)
    page.get_by_role("button", name=re.compile("^Hide")).first.click()
    shown(page, 1)


def test_objects_are_merged_split_filled_and_erased(page: "Page") -> None:
    open_coins(page)
    polygon(page, (20, 20), (60, 20), (60, 60), (20, 60))
    polygon(page, (120, 20), (160, 20), (160, 60), (120, 60))
    first, second = areas(page)
    page.get_by_role("button", name="Merge all shown").click()
    expect(rows(page)).to_have_count(1)
    assert areas(page) == [first + second]
    rows(page).first.locator(".name").click()
    page.get_by_role("button", name="Split").click()
    expect(rows(page)).to_have_count(2)
    assert sorted(areas(page)) == sorted([first, second])
    rows(page).first.locator(".name").click()
    page.keyboard.press("e")
    for _ in range(6):
        page.keyboard.press("[")
    spot = (40, 40) if page.locator(".objects .chosen").inner_text().startswith("object 1") else (140, 40)
    page.mouse.click(*place(page, *spot, SIZE))
    expect(rows(page).filter(has_text="by hand")).to_have_count(2)
    page.wait_for_timeout(700)
    assert min(areas(page)) < min(first, second)
    page.get_by_role("button", name="Fill holes").click()
    page.wait_for_timeout(700)
    assert sorted(areas(page)) == sorted([first, second])


def test_only_what_is_marked_is_merged(page: "Page") -> None:
    open_coins(page)
    for left in (20, 120, 220):
        polygon(page, (left, 20), (left + 40, 20), (left + 40, 60))
    rows(page).nth(0).locator(".name").click(modifiers=["Shift"])
    page.locator(".viewer").focus()
    page.keyboard.press("x")  # the one that was drawn last
    expect(page.get_by_role("button", name="Merge 2 marked")).to_be_visible()
    keep(page, "page-marked")
    page.keyboard.press("j")
    expect(rows(page)).to_have_count(2)
    expect(page.get_by_role("button", name="Merge all shown")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(rows(page)).to_have_count(3)


def test_what_is_painted_may_be_redrawn_by_the_model(page: "Page") -> None:
    open_coins(page)
    page.keyboard.press("p")
    page.get_by_label("as a prompt").check()
    drag(page, (45, 62), (60, 62), SIZE)
    expect(rows(page)).to_have_count(1)
    redrawn = areas(page)[0]
    page.keyboard.press("Escape")
    page.get_by_label("as a prompt").uncheck()
    drag(page, (45, 62), (60, 62), SIZE)
    expect(rows(page)).to_have_count(2)
    assert abs(redrawn - areas(page)[1]) > 0.1 * redrawn


def test_alt_takes_away_from_an_object_and_from_a_concept(page: "Page") -> None:
    open_coins(page)
    page.mouse.click(*place(page, 52, 62, SIZE))
    expect(rows(page)).to_have_count(1)
    page.keyboard.down("Alt")
    page.mouse.click(*place(page, 300, 200, SIZE))
    page.keyboard.up("Alt")
    page.wait_for_timeout(500)
    expect(rows(page)).to_have_count(1)  # the same object, with a click against it
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    drag(page, (81, 175), (124, 217), SIZE)
    expect(page.locator(".chips .chip")).to_have_count(1)
    page.keyboard.down("Alt")
    drag(page, (36, 44), (70, 80), SIZE)
    page.keyboard.up("Alt")
    page.wait_for_timeout(800)
    path = page.url.partition("photo=")[2]
    view = page.evaluate(f"fetch('/v1/images/{path}').then((each) => each.json())")
    assert [(len(each["boxes"]), len(each["not_boxes"])) for each in view["concepts"]] == [(1, 1)]
    [clicked] = [each for each in view["objects"] if each["source"] == "click"]
    assert clicked["labels"] == [1, 0]


def test_a_sentence_is_answered_and_explained(page: "Page") -> None:
    open_coins(page)
    page.fill("#question", "the three leftmost coins")
    page.keyboard.press("Enter")
    expect(page.locator(".why li").first).to_be_visible()
    assert rows(page).count() == 3
    keep(page, "page-ask")
    page.fill("#question", "the coins that glorp the frob of")
    page.keyboard.press("Enter")
    expect(page.locator(".notice.error")).to_be_visible()


def test_a_session_is_copied_as_python_and_as_a_command_line(browser: "Browser", server: Running) -> None:
    with opened(browser, server.address, permissions=["clipboard-read", "clipboard-write"]) as page:
        open_coins(page)
        page.fill("#phrase", "coin")
        page.keyboard.press("Enter")
        expect(page.locator(".chips .chip")).to_have_count(1)
        page.get_by_role("button", name="As code").click()
        page.get_by_role("button", name="Copy as Python").click()
        expect(page.locator(".notice")).to_contain_text("Python copied")
        text = page.evaluate("navigator.clipboard.readText()")
        compile(text, "script", "exec")
        assert 'session.find("coin", threshold=0.5)' in text
        page.get_by_role("button", name="Copy as command line").click()
        expect(page.locator(".notice")).to_contain_text("Command line copied")
        assert page.evaluate("navigator.clipboard.readText()") == "masklet segment coins.jpg -p coin --threshold 0.5\n"
        keep(page, "page-code")


def test_a_video_is_tracked_both_ways_in_a_range_and_earlier_results_come_back(page: "Page", tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=16)
    page.set_input_files("input[aria-label=Files]", str(clip))
    expect(page.locator(".viewer[data-ready='64x96']")).to_be_visible()

    def lanes(tracked: int, stale: int) -> None:
        label = f"Timeline: {tracked} of 16 frames tracked, {stale} stale"
        expect(page.locator(".timeline canvas")).to_have_attribute("aria-label", label)
        expect(page.get_by_role("progressbar")).to_have_count(0)

    for _ in range(6):
        page.keyboard.press("k")
    expect(page.get_by_label("Frame", exact=True).first).to_have_text("7 / 16")
    page.wait_for_timeout(500)
    page.keyboard.press("b")
    drag(page, (31, 19), (53, 41), (96, 64))
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("[")
    for _ in range(2):
        page.keyboard.press("k")
    page.keyboard.press("]")
    page.keyboard.press("t")  # in the range alone
    lanes(3, 0)
    page.get_by_role("button", name="Whole video").click()
    page.get_by_role("button", name="Backward").click()
    lanes(9, 0)
    page.get_by_role("button", name="Both").click()
    lanes(16, 0)
    earlier = page.get_by_label("Earlier results")
    expect(earlier.locator("option")).to_have_text(["before the last run", "2 runs ago"])
    earlier.select_option("2")
    page.get_by_role("button", name="Restore").click()
    lanes(3, 0)
    expect(earlier.locator("option")).to_have_count(3)
    page.get_by_role("button", name="Restore").click()  # what was there before that: nothing is lost
    lanes(16, 0)
    keep(page, "page-runs")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export").click()
    assert waiting.value.suggested_filename.endswith(".zip")
