"""How many scenes a second one core makes: `python benchmarks/scenes.py [cutouts_dir backgrounds_dir]`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from masklet.scenes.cutouts import CutoutLibrary, compose_scene
from masklet.scenes.scene import SceneConfig, render_scene


def measure(name: str, make: Callable[[int], object], count: int = 400) -> None:
    for seed in range(300):  # fill the caches: tiles, noise, decoded cut-outs
        make(seed)
    start = time.process_time()
    for seed in range(10_000, 10_000 + count):
        make(seed)
    print(f"{name}: {count / (time.process_time() - start):.0f} scenes/s")


def main() -> None:
    for difficulty in (0.0, 0.5, 1.0):
        config = SceneConfig(difficulty=difficulty)
        measure(f"rendered, difficulty {difficulty}", lambda seed, config=config: render_scene(seed, config))
    if len(sys.argv) == 3:
        library = CutoutLibrary.open(Path(sys.argv[1]), Path(sys.argv[2]))
        measure("composed", lambda seed: compose_scene(seed, library, SceneConfig()))


if __name__ == "__main__":
    main()
