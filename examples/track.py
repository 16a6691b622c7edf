"""Following an object through a video: a clip that the package films itself, a click, a correction, and the result.

python examples/track.py [OUT_DIR]
"""

import sys
from pathlib import Path

import numpy as np

import masklet
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import render_clip


def main(out: Path) -> None:
    """Clicks on the largest object of the first frame, follows it, and says how well its mask fits on each frame."""
    out.mkdir(parents=True, exist_ok=True)
    clip = render_clip(seed=3, config=SceneConfig(size=336, difficulty=0.3), num_frames=24)
    target = int(np.argmax([mask.sum() for mask in clip.frames[0].masks]))
    truth = [frame.masks[target] for frame in clip.frames]
    rows, columns = np.nonzero(truth[0])
    middle = (float(np.median(columns)) + 0.5, float(np.median(rows)) + 0.5)
    with masklet.load("tiny").open_video([frame.image for frame in clip.frames]) as session:
        session.click(None, 0, [middle], [1])
        for result in session.track():
            mask = result.masks.any(axis=0)
            overlap = (mask & truth[result.index]).sum() / max((mask | truth[result.index]).sum(), 1)
            print(f"frame {result.index:2d} at {result.time:.2f} s: IoU {overlap:.2f}")
            result.plot().save(out / f"{result.index:05d}.png")
    print(f"look at the frames in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("out/track"))
