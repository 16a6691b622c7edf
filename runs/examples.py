"""What the built-in model finds on five photos, beside boxes that a person drew.

    python runs/examples.py IMAGES MODEL

IMAGES holds cat.jpg, dogs.jpg, cars.jpg, truck.jpg and coffee.jpg (two are scikit-image's). "Elephant" is
asked of each as well.
"""

import sys
from pathlib import Path

import torch

from masklet.inference.model import load
from masklet.media.images import read_image
from masklet.ops.boxes import box_iou_table

# Drawn on a grid, xyxy in pixels, before anything was found.
DRAWN = {
    "cat.jpg": ("cat", [(20, 0, 405, 300)]),
    "dogs.jpg": ("dog", [(434, 181, 636, 553), (553, 219, 736, 562)]),
    "cars.jpg": ("car", [(119, 229, 613, 479), (603, 129, 1024, 645)]),
    "truck.jpg": ("truck", [(46, 160, 973, 475)]),
    "coffee.jpg": ("cup", [(173, 17, 408, 310)]),
}
ABSENT = "elephant"


def main(images: Path, name: str) -> None:
    """Prints a row a photo: how many there are, how many were found, the best IoU with each drawn box."""
    model = load(name)
    print(f"| photo | phrase | there | found | IoU with each drawn box | elephants |\n{'| --- ' * 6}|")
    for file, (phrase, drawn) in DRAWN.items():
        result = model.segment(read_image(images / file), [phrase, ABSENT])
        found, absent = (result.for_phrase(each) for each in (phrase, ABSENT))
        boxes = torch.tensor(drawn, dtype=torch.float32)
        table = box_iou_table(boxes, torch.as_tensor(found.boxes, dtype=torch.float32))
        best = [float(row.max()) if len(row) else 0.0 for row in table]
        shown = ", ".join(f"{each:.2f}" for each in best)
        print(f"| {file} | {phrase} | {len(drawn)} | {len(found)} | {shown} | {len(absent)} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
