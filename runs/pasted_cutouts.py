"""Things with masks in everyday photos, cut out, to be pasted side by side as the other cut-outs are.

Few photos show animals or cars that touch another of their kind; scenes of these teach that each is one object.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

from masklet.ops.masks import rle_decode

DRAWN_BY_PEOPLE = "coco_full", "coco_traffic", "coco_val", "oi_animals", "oi_masks", "tools"
LEAST_OF_A_KIND = 3
LEAST_SIDE, MOST_SIDE = 56, 192
WHOLE = 0.9  # share of a mask in its largest piece, below which something hides part of it
LEAST_FILL = 0.25  # of its box: below, it is the rim of something, or full of holes

Box = tuple[slice, slice]


def is_clean(mask: Bool[np.ndarray, "height width"], box: Box) -> bool:
    """Whether a mask shows a thing that is whole: of a fair size, in one piece, away from the rim of the photo."""
    sides = [side.stop - side.start for side in box]
    if max(sides) < LEAST_SIDE or min(sides) < LEAST_SIDE // 3:
        return False
    if any(side.start < 2 or side.stop > length - 2 for side, length in zip(box, mask.shape, strict=True)):
        return False
    pieces, _ = ndimage.label(mask)
    largest = np.bincount(pieces.ravel())[1:].max()
    return bool(largest >= WHOLE * mask.sum() and mask.sum() >= LEAST_FILL * sides[0] * sides[1])


def cut_out(
    pixels: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"], box: Box
) -> Image.Image:
    """The thing alone, at most 192 pixels long; its rim, which shows some of the ground behind, is shaved a little."""
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.7)
    alpha = (np.clip(2 * soft - 0.7, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(np.dstack([pixels, alpha])[box])
    image.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    return image


def write_pasted(document: dict, photos: Path, stuff: set[str], out: Path) -> int:
    """Cuts out the things in `document` (builtin_data.py) whose masks people drew; returns how many.

    Writes OUT/NUMBER.webp and OUT/index.json. Regions of `stuff` are left where they are.
    """
    out.mkdir(parents=True, exist_ok=True)
    phrases = {each["id"]: [each["name"], *each["synonyms"]] for each in document["categories"]}
    of_image = defaultdict(list)
    for each in document["annotations"]:
        if not each["iscrowd"] and not each.get("box_only") and phrases[each["category_id"]][0] not in stuff:
            of_image[each["image_id"]].append(each)
    records = []
    for image in document["images"]:
        if image["file_name"].split("/")[0] not in DRAWN_BY_PEOPLE or image["id"] not in of_image:
            continue
        pixels = np.asarray(Image.open(photos / image["file_name"]).convert("RGB"))
        for each in of_image[image["id"]]:
            mask = rle_decode(each["segmentation"]["counts"], *each["segmentation"]["size"])
            found = ndimage.find_objects(mask.astype(np.uint8))
            if not found or not is_clean(mask, found[0]):
                continue
            said, name = phrases[each["category_id"]], f"{each['id']}.webp"
            cut_out(pixels, mask, found[0]).save(out / name, quality=85)
            records.append({"file": name, "phrases": said, "group": "People & Body" if "person" in said else ""})
    names = Counter(each["phrases"][0] for each in records)
    kept = [each for each in records if names[each["phrases"][0]] >= LEAST_OF_A_KIND]
    (out / "index.json").write_text(json.dumps(kept))
    return len(kept)
