"""How smoothly the page pans and zooms over many masks, in Chromium without a GPU.

    python benchmarks/page.py [--masks 2000] [--seconds 5]

Frames a second are those of a browser that paints WebGL on the processor; what the page itself needs for a frame is the
time of its scripts, which is what a machine with a GPU would pay.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from browsing import launched, open_coins, opened, wait_until  # noqa: E402
from serving import running_server  # noqa: E402

from masklet.ops.masks import rle_encode  # noqa: E402

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


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), "tiny") as server,
        launched() as browser,
        opened(browser, server.address, service_workers="block") as page,
    ):
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
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
        print(json.dumps(found | {"first_paint_ms": round(paint)}, indent=1))


if __name__ == "__main__":
    main()
