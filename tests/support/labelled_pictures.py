"""Pictures of discs and squares in files with COCO labels, for runs of recipes."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("disc", "square")
SIDE = 112


def write_pictures(folder: Path, count: int, *, bare_every: int = 0) -> Path:
    """`count` pictures of one or two objects, in `annotations.json` and `images/`; each `bare_every`-th shows none."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for index in range(count):
        picture = np.full((SIDE, SIDE, 3), 90, np.uint8)
        bare = bare_every and index % bare_every == 0
        for row in range(0 if bare else 1 + index % 2):
            kind = (index // 2 + row) % 2
            corner, side = (8 + 52 * row, 10 + 5 * (index % 8)), 40
            picture[_shape(corner, side, kind)] = (200, 60, 40)
            annotations.append({"id": len(annotations) + 1, "image_id": index, **_label(corner, side, kind)})
        Image.fromarray(picture).save(folder / "images" / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": SIDE, "height": SIDE})
    categories = [{"id": number + 1, "name": name} for number, name in enumerate(NAMES)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def _shape(corner: tuple[int, int], side: int, kind: int) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y = columns - corner[0] - side / 2, rows - corner[1] - side / 2
    return (x**2 + y**2 < (side / 2) ** 2) if kind == 0 else (np.maximum(abs(x), abs(y)) < side / 2)


def _label(corner: tuple[int, int], side: int, kind: int) -> dict:
    x, y = corner
    square = [x, y, x + side, y, x + side, y + side, x, y + side]
    box = [x, y, side, side]
    return {"category_id": kind + 1, "bbox": box, "area": side**2, "iscrowd": 0, "segmentation": [square]}
