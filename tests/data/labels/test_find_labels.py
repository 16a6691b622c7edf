"""Labels below a folder are found by looking, and what is there is told where that does not say enough."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.layouts import LAYOUTS, find_labels
from masklet.data.sources import CocoConfig
from masklet.errors import InputError
from masklet.train.recipes.source_specs import CocoSpec, open_images

LABEL = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
COCO = {
    "info": {},
    "licenses": [{}],
    "images": [{"id": 1, "file_name": "a.jpg", "width": 30, "height": 20}],
    "categories": [{"id": 1, "name": "mug"}],
    "annotations": [LABEL],
}
TASK = {
    "data": {"image": "/data/upload/1/01234567-a.jpg"},
    "annotations": [
        {
            "result": [
                {
                    "type": "rectanglelabels",
                    "original_width": 30,
                    "original_height": 20,
                    "value": {"x": 10, "y": 10, "width": 30, "height": 30, "rectanglelabels": ["mug"]},
                }
            ]
        }
    ],
}
SHAPE = {"label": "mug", "points": [[1, 2], [9, 2], [9, 9]], "shape_type": "polygon"}
LABELME = {"shapes": [SHAPE], "imagePath": "a.jpg", "imageHeight": 20, "imageWidth": 30}
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
VOC = f"<annotation><filename>a.jpg</filename><object><name>mug</name>{BOX}</object></annotation>"
SHAPE_OF_CVAT = '<box label="mug" xtl="1" ytl="2" xbr="9" ybr="9"/>'
CVAT = f'<annotations><image id="0" name="a.jpg" width="30" height="20">{SHAPE_OF_CVAT}</image></annotations>'
LINE = {"file_name": "images/a.jpg", "objects": {"bbox": [[1, 2, 8, 7]], "categories": ["mug"]}}

EXPORTS: dict[str, tuple[str, str, str, str]] = {  # where labels and images lie, the layout, the labels
    "ours": ("annotations/all.json", "images/a.jpg", "coco", json.dumps(COCO)),
    "Roboflow": ("train/_annotations.coco.json", "train/a.jpg", "coco", json.dumps(COCO)),
    "CVAT as COCO": ("annotations/instances_default.json", "images/default/a.jpg", "coco", json.dumps(COCO)),
    "Label Studio as COCO": ("result.json", "images/a.jpg", "coco", json.dumps(COCO)),
    "Label Studio": ("project-1.json", "images/a.jpg", "labelstudio", json.dumps([TASK])),
    "LabelMe": ("photos/a.json", "photos/a.jpg", "labelme", json.dumps(LABELME)),
    "VOC": ("Annotations/a.xml", "JPEGImages/a.jpg", "voc", VOC),
    "CVAT": ("annotations.xml", "images/a.jpg", "cvat", CVAT),
    "Hugging Face": ("data/metadata.jsonl", "data/images/a.jpg", "imagefolder", json.dumps(LINE)),
    "YOLO": ("labels/a.txt", "images/a.jpg", "yolo", "0 .5 .5 .4 .4\n"),
}


def write(root: Path, labels: str, image: str, content: str) -> None:
    for name in (labels, image):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / image)
    (root / labels).write_text(content)
    if labels.endswith(".txt"):
        (root / "data.yaml").write_text("train: images\nnames: [mug]\n")


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_found_by_looking(tmp_path: Path, name: str) -> None:
    labels, image, layout, content = EXPORTS[name]
    write(tmp_path, labels, image, content)
    found, files = find_labels(tmp_path)
    assert found == layout
    source = LAYOUTS[found].open(files, CocoConfig(split="all"))
    example = source.example(0, np.random.default_rng(0))
    assert [(query.phrase, query.object_index) for query in example.queries] == [("mug", (0,))]


def test_a_recipe_whose_labels_are_not_there_looks_for_them(tmp_path: Path) -> None:
    write(tmp_path, "train/_annotations.coco.json", "train/a.jpg", json.dumps(COCO))
    write(tmp_path, "valid/_annotations.coco.json", "valid/a.jpg", json.dumps(COCO))
    spec = CocoSpec(kind="coco", annotations="annotations.json", images="images", split="all")
    assert len(open_images(spec, tmp_path)) == 1
    named = spec.model_copy(update={"annotations": "mine.json"})
    with pytest.raises(InputError, match=r"mine\.json"):
        open_images(named, tmp_path)


def test_what_is_there_is_told_with_the_setting_that_chooses(tmp_path: Path) -> None:
    write(tmp_path, "one.json", "images/a.jpg", json.dumps(COCO))
    write(tmp_path, "two.json", "images/a.jpg", json.dumps(COCO))
    with pytest.raises(InputError) as caught:
        find_labels(tmp_path)
    assert "data.sources.mine='{kind: coco, annotations: two.json, images: images}'" in str(caught.value)
    for name in ("one.json", "two.json"):
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"no labels of a known layout, only images/; name them"):
        find_labels(tmp_path)
