"""The first run: every coin in a photo, a phrase that is not there, and an example instead of words.

python examples/demo.py [OUT_DIR]
"""

import sys
import time
from pathlib import Path

import masklet

PHOTO = Path(__file__).parent / "images" / "coins.jpg"
EXAMPLE = (81.0, 175.0, 124.0, 217.0)  # a box around one coin, x0, y0, x1, y1 in pixels


def main(out: Path) -> None:
    """Asks three questions of one photo and writes the results as images."""
    out.mkdir(parents=True, exist_ok=True)
    model = masklet.load("tiny")
    started = time.perf_counter()
    with model.open(PHOTO) as session:
        by_words = session.find(["coin", "cat"])
        by_example = session.find(boxes=[EXAMPLE])
    seconds = time.perf_counter() - started
    by_words.save(out / "coins.png")
    by_example.save(out / "coins_by_example.png")
    by_words.save(out / "coins.json")
    print(f"asked in words:      {by_words.summary()}")
    print(f"shown one example:   {by_example.summary()}")
    print(f"{seconds:.2f} s for three questions on {model.device}, {str(model.dtype).removeprefix('torch.')}")
    print(f"look at {out / 'coins.png'} and {out / 'coins_by_example.png'}; masks are in {out / 'coins.json'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out"))
