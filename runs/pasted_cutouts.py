"""Things with masks in everyday photos, cut out, to be pasted side by side as the other cut-outs are.

Few photos show animals or cars that touch another of their kind; scenes of these teach that each is one object.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

from masklet.ops.boxes import box_iou
from masklet.ops.components import component_areas
from masklet.ops.masks import mask_to_box, rle_decode

DRAWN_BY_PEOPLE = "coco_full", "coco_traffic", "coco_val", "oi_animals", "oi_masks", "tools"
OF_ONE_SUBJECT = "flowers", "oxford_cats"  # whose words are all said of the same thing
LEAST_OF_A_KIND = 3
LEAST_SIDE, MOST_SIDE = 56, 192
SAME = 0.8  # IoU of boxes of one thing
WHOLE = 0.9  # share of a mask in its largest piece, below which something hides part of it
LEAST_FILL = 0.25  # of its box: below, it is the rim of something, or full of holes

Box = tuple[int, int, int, int]  # left, top, right, bottom


def is_clean(mask: Bool[np.ndarray, "height width"], box: Box) -> bool:
    """Whether a mask shows a thing that is whole: of a fair size, in one piece, away from the rim of the photo."""
    left, top, right, bottom = box
    sides = right - left, bottom - top
    if max(sides) < LEAST_SIDE or min(sides) < LEAST_SIDE // 3:
        return False
    if min(left, top) < 2 or right > mask.shape[1] - 2 or bottom > mask.shape[0] - 2:
        return False
    area, largest = mask.sum(), int(component_areas(torch.from_numpy(mask)[None]).max())
    return bool(largest >= WHOLE * area and area >= LEAST_FILL * sides[0] * sides[1])


def cut_out(
    pixels: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"], box: Box
) -> Image.Image:
    """The thing alone, at most 192 pixels long; its rim, which shows some of the ground behind, is shaved a little."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    alpha = (np.clip(2 * soft - 0.7, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(np.dstack([pixels, alpha])).crop(box)
    image.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    return image


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two xyxy boxes."""
    return float(box_iou(torch.tensor(one, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)))


def write_pasted(document: dict, photos: Path, stuff: set[str], out: Path) -> int:
    """Cuts out the things in `document` (builtin_data.py) whose masks people drew; returns how many.

    So are those that a model labelled for itself (self_labels.py), if what they are called is known in full. Writes
    OUT/NUMBER.webp and OUT/index.json. Regions of `stuff` are left where they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = {each["id"]: [each["name"], *each["synonyms"]] for each in document["categories"]}
    images = {each["id"]: each for each in document["images"]}
    found: list[tuple[dict, Image.Image]] = []
    taken: dict[int, list[Box]] = defaultdict(list)  # of an image
    for each in document["annotations"]:
        image = images[each["image_id"]]
        said = names_in_full(each, image, names[each["category_id"]])
        if not said or said[0] in stuff or each["iscrowd"] or each.get("box_only"):
            continue
        mask = rle_decode(each["segmentation"]["counts"], *each["segmentation"]["size"])
        box = mask_to_box(mask)
        # A model that is asked "cat" and "Persian cat" labels the same thing twice
        again = box is not None and "by" in each and any(overlap(box, other) > SAME for other in taken[image["id"]])
        if box is None or again or not is_clean(mask, box):
            continue
        taken[image["id"]].append(box)
        pixels = np.asarray(Image.open(photos / image["file_name"]).convert("RGB"))
        group = "People & Body" if "person" in said else ""
        found.append(({"file": f"{each['id']}.webp", "phrases": said, "group": group}, cut_out(pixels, mask, box)))
    # Of a kind with few pictures scenes would show the same one again and again
    counts = Counter(record["phrases"][0] for record, _ in found)
    kept = [each for each in found if counts[each[0]["phrases"][0]] >= LEAST_OF_A_KIND]
    for record, image in kept:
        image.save(out / record["file"], quality=85)
    (out / "index.json").write_text(json.dumps([record for record, _ in kept]))
    return len(kept)


def names_in_full(annotation: dict, image: dict, said: list[str]) -> list[str]:
    """What a thing is called; nothing where its mask is rough, or it may have other names that are not at hand."""
    source = image["file_name"].split("/")[0]
    if source in OF_ONE_SUBJECT:
        return sorted(image["present"])
    was_boxed = "by" in annotation and said[0] not in image.get("present", [])
    return said if was_boxed or ("by" not in annotation and source in DRAWN_BY_PEOPLE) else []
