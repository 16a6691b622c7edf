"""A picture or a small video with one label, in every layout that is known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.data.labels.layouts import LabelFiles
from masklet.ops.masks import rle_encode
from masklet.workflows.convert_labels import ConvertLabelsJob, convert_labels

SIZE = (20, 30)
MASK = np.zeros(SIZE, bool)
MASK[5:12, 6:18] = True
RUNS = {"size": [*SIZE], "counts": rle_encode(MASK)}
IMAGE: dict[str, Any] = {"id": 1, "file_name": "v/0.png", "height": SIZE[0], "width": SIZE[1]}
LABEL: dict[str, Any] = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": RUNS}
CATEGORIES = [{"id": 1, "name": "mug"}]
VIDEO = {"id": 1, "file_names": ["v/0.png", "v/1.png"], "height": SIZE[0], "width": SIZE[1], "length": 2}
MASKLET = {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [RUNS, None]}

DOCUMENTS: dict[str, dict[str, Any]] = {
    "coco": {"images": [IMAGE], "annotations": [LABEL], "categories": CATEGORIES},
    "lvis": {
        "images": [IMAGE | {"neg_category_ids": [], "not_exhaustive_category_ids": []}],
        "annotations": [LABEL],
        "categories": CATEGORIES,
    },
    "saco": {"images": [IMAGE | {"text_input": "mug"}], "annotations": [LABEL], "categories": CATEGORIES},
    "ytvis": {"videos": [VIDEO], "annotations": [MASKLET], "categories": CATEGORIES},
}


TOOLS = {
    "labelme": "out",
    "cvat": "out/annotations.xml",
    "voc": "out",
    "labelstudio": "out/tasks.json",
    "imagefolder": "out",
    "mot": "out/mot.txt",
}


def write_labels(folder: Path, layout: str) -> LabelFiles:
    """One labelled image, or a video of two frames, in this layout."""
    (folder / "images").mkdir(parents=True)
    (folder / "v").mkdir()
    for frame in (0, 1):
        Image.new("RGB", (SIZE[1], SIZE[0]), "grey").save(folder / f"v/{frame}.png")
    Image.new("RGB", (SIZE[1], SIZE[0]), "grey").save(folder / "images/a.png")
    if layout in DOCUMENTS:
        (folder / "labels.json").write_text(json.dumps(DOCUMENTS[layout]))
        return LabelFiles(labels=folder / "labels.json", images=folder)
    if layout == "yolo":
        (folder / "labels").mkdir()
        (folder / "labels/a.txt").write_text("0 0.2 0.25 0.6 0.25 0.6 0.6 0.2 0.6\n")
        (folder / "data.yaml").write_text("train: images\nnames: [mug]\n")
        return LabelFiles(labels=folder / "data.yaml")
    if layout in TOOLS:
        (folder / "coco.json").write_text(json.dumps(DOCUMENTS["coco"]))
        job = ConvertLabelsJob(labels=folder / "coco.json", images=folder, folder=folder / "out", to=layout)
        convert_labels(job)
        if layout == "mot":
            Image.new("RGB", (SIZE[1], SIZE[0]), "grey").save(folder / "img1.png")
            (folder / "img1").mkdir()
            (folder / "img1.png").rename(folder / "img1/000001.jpg")
        return LabelFiles(labels=folder / TOOLS[layout], images=folder)
    if layout == "objects":
        (folder / "objects/001-mug").mkdir(parents=True)
        Image.fromarray(MASK).save(folder / "objects/001-mug/0.png")
        (folder / "objects/objects.json").write_text(json.dumps([{"id": 1, "name": "mug", "folder": "001-mug"}]))
        return LabelFiles(labels=folder / "objects", images=folder / "v")
    place = folder / ("masks/mug/a.png" if layout == "masks" else "labels/v/0.png")
    place.parent.mkdir(parents=True)
    Image.fromarray(MASK.astype(np.uint8)).save(place)
    return LabelFiles(labels=folder) if layout == "masks" else LabelFiles(labels=folder / "labels", images=folder)
