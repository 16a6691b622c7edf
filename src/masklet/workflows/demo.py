"""The first run: questions about two photos that come with the package, answered by the built-in model."""

import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

EXAMPLE = (81, 175, 124, 217)  # a box around one coin, x0, y0, x1, y1 in pixels
PHOTO, EVERYDAY = (Path(str(files("masklet") / "assets" / name)) for name in ("coins.jpg", "cat.jpg"))


@dataclass(frozen=True, kw_only=True)
class DemoRun:
    """What was found, in how many seconds, and the files that show it."""

    by_words: str
    by_example: str
    everyday: str
    seconds: float
    device: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return (
            f"asked in words:      {self.by_words}\n"
            f"shown one example:   {self.by_example}\n"
            f"an everyday photo:   {self.everyday}\n"
            f"{self.seconds:.2f} s for five questions on {self.device}\n"
            f"look at {self.files[0]}, {self.files[1].name} and {self.files[3].name}; masks are in {self.files[2].name}"
        )


def run_demo(folder: Path) -> DemoRun:
    """Asks for coins and a cat in words, for what a box shows, and for a cat; writes pictures. Raises: InputError."""
    from masklet.inference.model import load

    model = load("tiny")
    started = time.perf_counter()
    with model.open(PHOTO) as session:
        by_words = session.find(["coin", "cat"])
        by_example = session.find(boxes=[EXAMPLE])
    everyday = model.segment(EVERYDAY, ["cat", "dog"])
    seconds = time.perf_counter() - started
    written = (
        by_words.save(folder / "coins.png"),
        by_example.save(folder / "coins_by_example.png"),
        by_words.save(folder / "coins.json"),
        everyday.save(folder / "cat.png"),
    )
    return DemoRun(
        by_words=by_words.summary(),
        by_example=by_example.summary(),
        everyday=everyday.summary(),
        seconds=seconds,
        device=f"{model.device}, {str(model.dtype).removeprefix('torch.')}",
        files=written,
    )
