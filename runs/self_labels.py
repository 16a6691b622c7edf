"""Masks for photos that have none: those on which what the model finds, a label and the classifier's map agree.

    python runs/self_labels.py MODEL DATA NAME

DATA is what runs/builtin_data.py wrote. DATA/NAME.json is its everyday.json with the masks that were accepted, marked
`"by": "masklet"`; what a person labelled stays as it is. DATA/NAME are cut-outs of both (pasted_cutouts.py).

A boxed object gets the detection of its phrase that lies in its box, or else what the click head makes of the box; a
word that holds of the whole photo gets its detections. Each must fill its box to the edges, and where ImageNet knows
the word, the cells inside must agree with it better than those around.
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from builtin_data import STUFF
from heat_maps import cosines
from jaxtyping import Bool
from pasted_cutouts import overlap, write_pasted

from masklet.checkpoints.containers import read_metadata
from masklet.inference.model import Model, load
from masklet.media.images import read_image
from masklet.ops.components import component_areas
from masklet.ops.masks import mask_to_box, rle_encode

Mask = Bool[np.ndarray, "height width"]
Box = tuple[float, float, float, float]  # xyxy
BOX_IOU = 0.75  # of a mask's own box with the box it stands for
SURE, FOUND = 0.5, 0.2  # scores of detections without a box, and within one
CLICK_IOU = 0.75  # that the click head expects
LEAST_FILL = 0.3  # of a box; less is a rim or a fragment
LEAST_WHOLE = 0.9  # of the mask in its largest piece, and of that with its holes filled
MOST_FOUND, LEAST_SHARE = 3, 0.05  # of one word of a whole photo, and of the photo
RISE = 0.05  # of the cosine, inside over around


def fits(mask: Mask, box: Box) -> bool:
    """Whether a mask is one piece that reaches the edges of a box and fills enough of it."""
    own = mask_to_box(mask)
    if own is None or overlap(own, box) < BOX_IOU:
        return False
    inside, ground = (component_areas(torch.from_numpy(each)[None])[0].numpy() for each in (mask, ~mask))
    holes = (ground > 0) & (ground < ground.max())
    is_whole = inside.max() >= LEAST_WHOLE * mask.sum() and mask.sum() >= LEAST_WHOLE * (mask.sum() + holes.sum())
    return bool(is_whole and mask.sum() >= LEAST_FILL * (own[2] - own[0]) * (own[3] - own[1]))


class Photo:
    """A photo with what the model sees in it."""

    def __init__(self, model: Model, path: Path, known: set[str]) -> None:
        self.model, self.known = model, known
        self.session = model.open(read_image(path))

    def is_recognised(self, mask: Mask, phrase: str) -> bool:
        """Whether the cells inside agree with the phrase better than the rest; true for what ImageNet does not know."""
        if phrase not in self.known or mask.all():
            return True
        cells = cosines(self.model, self.session.features, [phrase])
        heat = F.interpolate(cells[None], self.session.size, mode="bilinear")[0, 0].numpy()
        return bool(heat[mask].mean() > heat[~mask].mean() + RISE)

    def of_box(self, box: Box, phrase: str) -> Mask | None:
        """The mask of a boxed object."""
        found = self.session.find(phrase, threshold=FOUND, assume_present=True)
        ranked = sorted(range(len(found)), key=lambda place: -overlap(tuple(found.boxes[place].tolist()), box))
        candidates = [found.mask(place) for place in ranked[:1]]
        drawn = self.session.click(box=box)
        candidates += [drawn.mask(0)] if drawn.iou_scores[0] >= CLICK_IOU else []
        return next((each for each in candidates if fits(each, box) and self.is_recognised(each, phrase)), None)

    def of_word(self, phrase: str) -> list[Mask]:
        """The masks of a word that holds of the whole photo; none when one of them is in doubt."""
        found = self.session.find(phrase, threshold=SURE, assume_present=True)
        masks = list(found.iterate_masks())
        agree = all(
            fits(mask, tuple(box.tolist())) and mask.mean() >= LEAST_SHARE and self.is_recognised(mask, phrase)
            for mask, box in zip(masks, found.boxes, strict=True)
        )
        return masks if agree and len(masks) <= MOST_FOUND else []


def drawn(mask: Mask) -> dict[str, Any]:
    """The fields of an annotation that a mask changes."""
    x0, y0, x1, y1 = mask_to_box(mask) or (0, 0, 0, 0)
    segmentation = {"size": list(mask.shape), "counts": rle_encode(mask)}
    bbox = [float(value) for value in (x0, y0, x1 - x0, y1 - y0)]
    return {"segmentation": segmentation, "bbox": bbox, "area": int(mask.sum()), "iscrowd": 0, "by": "masklet"}


def label(document: dict[str, Any], images: Path, model: Model, known: set[str]) -> Counter[str]:
    """Adds masks to a COCO document in place; how many of what kind were accepted and left."""
    names = {each["id"]: each["name"] for each in document["categories"]}
    numbers: dict[str, int] = {}
    boxed, labelled, tally = defaultdict(list), defaultdict(set), Counter[str]()
    for each in document["annotations"]:
        labelled[each["image_id"]].add(names[each["category_id"]])
        numbers.setdefault(names[each["category_id"]], each["category_id"])
        if each.get("box_only"):
            boxed[each["image_id"]].append(each)
    for image in document["images"]:
        words = [word for word in image.get("present", []) if word not in labelled[image["id"]]]
        if not (boxed[image["id"]] or words):
            continue
        photo = Photo(model, images / image["file_name"], known)
        for each in boxed[image["id"]]:
            x, y, width, height = each["bbox"]
            box = (x, y, min(x + width, image["width"]), min(y + height, image["height"]))
            mask = photo.of_box(box, names[each["category_id"]])
            tally["boxes accepted" if mask is not None else "boxes left"] += 1
            if mask is not None:
                del each["box_only"]
                each.update(drawn(mask))
        for word in words:
            masks = photo.of_word(word)
            tally["words accepted" if masks else "words left"] += 1
            number = numbers.setdefault(word, len(document["categories"]) + 1)
            if number > len(document["categories"]):
                document["categories"].append({"id": number, "name": word, "synonyms": []})
            for mask in masks:
                place = {"id": len(document["annotations"]) + 1, "image_id": image["id"], "category_id": number}
                document["annotations"].append(place | drawn(mask))
    return tally


def main(model: str, data: Path, name: str) -> None:
    """Writes both and says what was accepted."""
    document = json.loads((data / "everyday.json").read_text())
    known = set(json.loads(read_metadata(data.parent / "words.safetensors")["of_phrase"]))
    tally = label(document, data / "everyday", load(model), known)
    (data / f"{name}.json").write_text(json.dumps(document))
    print(", ".join(f"{count} {what}" for what, count in sorted(tally.items())))
    print(f"{write_pasted(document, data / 'everyday', STUFF, data / name)} cut-outs")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
