"""The table of label layouts: each is recognised by what it is, opened through the table, and documented."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.layouts import LAYOUTS, LabelFiles, recognise
from masklet.data.sources import CocoConfig, IndexedSource
from masklet.data.videos import LabelledVideos
from masklet.errors import InputError
from masklet.ops.masks import rle_encode
from masklet.workflows.convert_labels import ConvertLabelsJob, convert_labels

SIZE = (20, 30)
DOCUMENTATION = (Path(__file__).parents[3] / "docs/data.md").read_text(encoding="utf-8")
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
    "mot": "out/mot.txt",
}


def write(folder: Path, layout: str) -> LabelFiles:
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
    place = folder / ("masks/mug/a.png" if layout == "masks" else "labels/v/0.png")
    place.parent.mkdir(parents=True)
    Image.fromarray(MASK.astype(np.uint8)).save(place)
    return LabelFiles(labels=folder) if layout == "masks" else LabelFiles(labels=folder / "labels", images=folder)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_opened_and_documented(tmp_path, layout) -> None:
    files = write(tmp_path, layout)
    assert recognise(files.labels) == layout
    source = LAYOUTS[layout].open(files, CocoConfig(split="all"))
    assert isinstance(source, IndexedSource)
    example = source.example(0, np.random.default_rng(0))
    np.testing.assert_array_equal(example.masks, MASK[None] & (layout not in ("voc", "mot")))
    np.testing.assert_allclose(example.boxes_xyxy, [[6, 5, 18, 12]], atol=1e-4)
    assert [query.phrase for query in example.queries] == {"davis": [], "mot": ["object"]}.get(layout, ["mug"])
    assert f"| `{layout}` |" in DOCUMENTATION


@pytest.mark.parametrize("layout", ["ytvis", "davis"])
def test_layouts_of_videos_open_as_videos(tmp_path, layout) -> None:
    opened = LAYOUTS[layout].open_videos
    assert opened is not None
    videos = opened(write(tmp_path, layout), CocoConfig(split="all"))
    assert isinstance(videos, LabelledVideos)
    assert len(videos) == 1


def test_what_no_layout_fits_is_refused_with_their_names(tmp_path) -> None:
    (tmp_path / "labels.json").write_text('{"annotations": [1]}')
    for path in (tmp_path / "labels.json", tmp_path):
        with pytest.raises(
            InputError, match="has no known layout of labels; expected is one of saco, lvis, ytvis, coco"
        ):
            recognise(path)
