"""The first run: three questions about a photo that comes with the package, answered by the built-in model."""

import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

EXAMPLE = (81, 175, 124, 217)  # a box around one coin, x0, y0, x1, y1 in pixels
PHOTO = Path(str(files("masklet") / "assets" / "coins.jpg"))


@dataclass(frozen=True, kw_only=True)
class DemoRun:
    """What was found, in how many seconds, and the files that show it."""

    by_words: str
    by_example: str
    seconds: float
    device: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return (
            f"asked in words:      {self.by_words}\n"
            f"shown one example:   {self.by_example}\n"
            f"{self.seconds:.2f} s for three questions on {self.device}\n"
            f"look at {self.files[0]} and {self.files[1]}; masks are in {self.files[2]}"
        )


def run_demo(folder: Path) -> DemoRun:
    """Asks for coins and a cat in words, then for what a box shows; writes pictures. Raises: InputError."""
    from masklet.inference.model import load

    model = load("tiny")
    started = time.perf_counter()
    with model.open(PHOTO) as session:
        by_words = session.find(["coin", "cat"])
        by_example = session.find(boxes=[EXAMPLE])
    seconds = time.perf_counter() - started
    written = (
        by_words.save(folder / "coins.png"),
        by_example.save(folder / "coins_by_example.png"),
        by_words.save(folder / "coins.json"),
    )
    return DemoRun(
        by_words=by_words.summary(),
        by_example=by_example.summary(),
        seconds=seconds,
        device=f"{model.device}, {str(model.dtype).removeprefix('torch.')}",
        files=written,
    )
