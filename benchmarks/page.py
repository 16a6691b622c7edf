"""How smoothly the page pans and zooms over many masks, in Chromium without a GPU.

    python benchmarks/page.py --write            one minute

Frames a second are those of a browser that paints WebGL on the processor; what the page itself needs for a frame is the
time of its scripts, which is what a machine with a GPU would pay.
"""

import argparse
import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browsing import expect, launched, open_coins, opened, wait_until  # noqa: E402
from serving import running_server  # noqa: E402
from tables import put_table  # noqa: E402

from masklet.ops.masks import rle_encode  # noqa: E402

PAGE = ROOT / "src" / "masklet" / "serve" / "page"
PAN = """async (milliseconds) => {
  const viewer = document.querySelector('.viewer'), box = viewer.getBoundingClientRect(), begun = performance.now()
  let frames = 0
  for (let now = begun; now - begun < milliseconds; now = await new Promise(requestAnimationFrame)) {
    const at = { clientX: box.left + box.width / 2 + 80 * Math.cos(frames / 9), clientY: box.top + box.height / 2 }
    viewer.dispatchEvent(new WheelEvent('wheel', { ...at, deltaY: 60 * Math.sin(frames / 7), cancelable: true }))
    frames++
  }
  return frames / ((performance.now() - begun) / 1000)
}"""


def many_objects(count: int, height: int, width: int) -> list[dict[str, Any]]:
    """Discs in rows over the picture, as the server sends objects."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    objects = []
    for number in range(count):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(3, 9)
        mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        box = [max(0, x - radius), max(0, y - radius), min(width, x + radius), min(height, y + radius)]
        fields = {"id": number + 1, "phrase": "coin", "score": 0.9, "box": box, "area": int(mask.sum())}
        counts = {"size": [height, width], "counts": rle_encode(mask)}
        fields |= {"mask": counts, "source": "phrase", "hidden": False, "locked": False, "points": [], "labels": []}
        objects.append(fields)
    return objects


def large_photo(folder: Path, width: int = 12_000, height: int = 8_000) -> dict[str, Any]:
    """A photo of 96 megapixels on a server of its own: what the server needs at most, and what the page asks for."""
    path = folder / "large.jpg"
    ramp = (np.arange(width) // 47 % 200).astype(np.uint8)
    pixels = np.stack([np.broadcast_to(ramp, (height, width))] * 3, axis=2)
    pixels[3000:5000, 5000:7000] = (250, 30, 20)
    Image.fromarray(pixels).save(path, quality=85)
    with (
        running_server(folder / "kept", "tiny") as server,
        launched() as browser,
        opened(browser, server.address, service_workers="block") as page,
    ):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        began = time.perf_counter()
        page.set_input_files("input[aria-label=Files]", str(path))
        expect(page.locator(f".viewer[data-ready='{height}x{width}']")).to_be_visible()
        page.wait_for_timeout(100)
        shown = time.perf_counter() - began
        box = page.locator(".viewer").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        for _ in range(12):
            page.mouse.wheel(0, -200)
            page.wait_for_timeout(200)
        began = time.perf_counter()
        page.keyboard.press("c")
        page.mouse.click(*middle)
        expect(page.locator(".objects li")).to_have_count(1)
        clicked = time.perf_counter() - began
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        most = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return {
            "photo_seconds": round(shown, 1),
            "photo_click_seconds": round(clicked, 1),
            "photo_tiles": len({each for each in asked if "/tiles/" in each}),
            "photo_server_mb": round(most * 1024 / 1e6),
        }


def gzip_bytes() -> int:
    """Bytes of all files of the page, packed each by itself."""
    return sum(len(gzip.compress(each.read_bytes())) for each in PAGE.rglob("*") if each.is_file())


def rows_of(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures as rows of a table: what, measured, aim."""
    return [
        (f"{found['masks']} masks, pan and zoom", f"{found['frames_a_second']} frames a second", ">= 30"),
        ("scripts of the page for a frame", f"{found['script_ms_a_frame']} ms", ""),
        ("first paint from this machine", f"{found['first_paint_ms']} ms", "<= 1,000 ms"),
        ("a photo of 12,000 x 8,000: until it is shown", f"{found['photo_seconds']} s", ""),
        ("the same: tiles asked for on the way to full size, of 500", str(found["photo_tiles"]), ""),
        ("the same: first click, with the encoding", f"{found['photo_click_seconds']} s", ""),
        ("the same: most memory of the server", f"{found['photo_server_mb']} MB", "bounded"),
        ("all files of the page, gzip", f"{found['gzip_kb']} KB", "<= 150 KB"),
    ]


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--write", action="store_true", help="renew the table of benchmarks/serve.md")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), "tiny") as server,
        launched() as browser,
        opened(browser, server.address, service_workers="block") as page,
    ):
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        open_coins(page)
        page.wait_for_url("**/#photo=*")
        path = page.url.partition("photo=")[2]

        def with_objects(route: Any) -> None:
            answer = route.fetch()
            view = answer.json() | {"objects": many_objects(options.masks, 303, 384)}
            route.fulfill(response=answer, json=view)

        page.context.route(f"**/v1/images/{path}", with_objects)
        page.reload()
        wait_until(page, f"Number(document.querySelector('.viewer')?.dataset.drawn) === {options.masks}")
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def script_seconds() -> float:
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            return next(each["value"] for each in metrics if each["name"] == "ScriptDuration")

        before = script_seconds()
        rate = page.evaluate(PAN, 1000 * options.seconds)
        scripts = 1000 * (script_seconds() - before) / max(1.0, rate * options.seconds)
        found = {"masks": options.masks, "frames_a_second": round(rate, 1), "script_ms_a_frame": round(scripts, 2)}
        found |= {"first_paint_ms": round(paint), "gzip_kb": round(gzip_bytes() / 1000, 1)}
    print(json.dumps(found), file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found |= large_photo(Path(folder))
    if options.write:
        put_table(Path(__file__).with_name("serve.md"), "page", ("what", "measured", "aim"), rows_of(found))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
