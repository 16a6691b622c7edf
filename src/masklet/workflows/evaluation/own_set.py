"""Writes our own set of sentences: its images and one file of labels, the same every time."""

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from masklet.files import write_atomically
from masklet.media.images import read_image
from masklet.ops.masks import rle_encode
from masklet.scenes.own_questions import ITEMS, OwnItem, draw_own_scene, own_items
from masklet.workflows.demo import EVERYDAY, PHOTO

LABELS = "own.json"


def write_own_set(folder: Path, total: int = ITEMS) -> Path:
    """The file of labels beside the images that it names; what is there already is taken as it is."""
    labels = folder / LABELS
    if labels.exists():
        return labels
    folder.mkdir(parents=True, exist_ok=True)
    photos = {path.name: path for path in (PHOTO, EVERYDAY)}
    sizes = {name: read_image(path).shape[:2] for name, path in photos.items()}
    items = list(own_items(sizes, total))
    for name, seed in {item.image: item.seed for item in items}.items():
        if seed is None:
            shutil.copyfile(photos[name], folder / name)
        else:
            Image.fromarray(draw_own_scene(seed).image).save(folder / name)
    write_atomically(labels, json.dumps({"sentences": [_plain(item) for item in items]}))
    return labels


def _plain(item: OwnItem) -> dict[str, Any]:
    instances = [{"size": list(thing.mask.shape), "counts": rle_encode(thing.mask)} for thing in item.answer]
    return {"id": item.key, "image": item.image, "text": item.sentence, "sort": item.sort, "instances": instances}
