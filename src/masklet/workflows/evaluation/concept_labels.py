"""Labels and predictions of concepts in any layout, as the SA-Co files that are scored."""

import json
from collections.abc import Sequence
from pathlib import Path

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import match_names, read_coco
from masklet.formats.records import to_json
from masklet.formats.saco import SacoPrediction, Subset, read_pairs
from masklet.formats.stream import iterate_items
from masklet.formats.tools.objects import box_of, name_of_image, size_of
from masklet.phrases import phrase_key
from masklet.workflows.observer import JobObserver


def labels_as_saco(argument: str, images: Sequence[Path], folder: Path) -> str:
    """A subset as `find_subsets` takes it; labels of another layout are written as SA-Co's into the folder.

    Every category is asked of every image, and is absent where it has no label; of LVIS, those that an image is
    labelled for. Raises: InputError when labels cannot be read.
    """
    path = Path(argument)
    if not path.exists() or _is_saco(path):
        return argument
    from masklet.data.labels.conversion import find_image, read_any, to_saco  # which import torch
    from masklet.data.labels.layouts import LabelFiles, labels_at, recognise

    path = labels_at(path, "val")
    try:
        recognise(path)
    except InputError:
        return argument
    labels = read_any(LabelFiles(labels=path, part="val"), find_image(path, images[0] if images else None))
    return str(write_atomically(folder / f"{path.stem}.json", json.dumps(to_saco(labels).to_json())))


def predictions_as_saco(path: Path, subset: Subset, folder: Path, observer: JobObserver) -> Path:
    """A file of predictions; a COCO dataset, such as `masklet segment --format coco` writes, becomes a list of them.

    Its images and categories are those of the labels by their names; what the labels do not ask for is left out.
    Raises: InputError when a mask cannot be read.
    """
    if next(iterate_items(path), ("",))[0] == "":  # a list
        return path
    from masklet.data.labels.conversion import run_lengths

    found = read_coco(path)
    pairs = {(each.file_name, phrase_key(each.text_input)): each.id for each in read_pairs(subset.files[0])}
    names = match_names(map(name_of_image, found.images.values()), {name for name, _ in pairs})
    records, num_others = [], 0
    for each in found.annotations:
        image = found.images[each.image_id]
        phrase = phrase_key(found.categories[each.category_id].name)
        pair = pairs.get((names.get(name_of_image(image), ""), phrase))
        if pair is None:
            num_others += 1
            continue
        height, width = size = size_of(image)
        x, y, w, h = box_of(each, size)
        prediction = SacoPrediction(
            image_id=pair,
            score=1.0 if each.score is None else each.score,
            bbox=[x / width, y / height, w / width, h / height],
            segmentation=run_lengths(each, size),
        )
        records.append(to_json(prediction))
    if num_others:
        observer.warned(f"{path}: {num_others} predictions are of images or phrases that the labels do not have")
    return write_atomically(folder / subset.name / "predictions.json", json.dumps(records))


def _is_saco(path: Path) -> bool:
    """Whether a file, or the first of a folder, has SA-Co's pairs."""
    file = path if path.is_file() else next(iter(sorted(path.rglob("[!.]*.json"))), path)
    if file.suffix.lower() != ".json" or not file.is_file():
        return False
    try:
        first = next((value for section, value, _ in iterate_items(file) if section == "images"), None)
    except InputError:
        return False
    return isinstance(first, dict) and "text_input" in first
