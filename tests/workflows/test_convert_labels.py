"""Labels go from every layout into every other and come back with the same masks, boxes and phrases."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from masklet.cli import main
from masklet.data.labels.conversion import READERS, WRITERS, find_image, read_any
from masklet.data.labels.layouts import LAYOUTS, LabelFiles, find_labels, recognise
from masklet.data.sources import CocoConfig
from masklet.errors import InputError
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.records import RunLengths, decode_mask
from masklet.formats.tools.objects import box_of, by_image
from masklet.ops.masks import rle_encode
from masklet.workflows.convert_labels import LABEL_FORMATS, ConvertLabelsJob, convert_labels
from masklet.workflows.fiftyone_samples import to_fiftyone

SIZE = (60, 80)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]
RING = (np.hypot(Y - 30, X - 30) < 20) & (np.hypot(Y - 30, X - 30) > 9)
PARTS = (abs(Y - 10) < 5) & ((abs(X - 65) < 5) | (abs(X - 75) < 3))
SQUARE = [[5.0, 40.0, 25.0, 40.0, 25.0, 55.0, 5.0, 55.0]]
WITH_MASKS = [name for name in LABEL_FORMATS if name in READERS and name not in ("voc", "mot")]


def run_lengths(mask: np.ndarray) -> RunLengths:
    return RunLengths(size=[*SIZE], counts=rle_encode(mask))


def build() -> CocoFile:
    """A ring, an object of two parts and a polygon on one image, nothing on another."""
    builder = CocoBuilder()
    for name in ("red mug", "coin", "absent thing"):
        builder.add_category(name)
    builder.add_image("a.png", SIZE)
    builder.add_object("red mug", None, run_lengths(RING))
    builder.add_object("coin", None, run_lengths(PARTS))
    builder.add_object("coin", [5, 40, 20, 15], SQUARE)
    builder.add_image("b.png", SIZE)
    return builder.build()


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """The labels above as COCO's, beside their images."""
    (tmp_path / "start/images").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "start/images" / name)
    path = tmp_path / "start/coco.json"
    path.write_text(json.dumps(build().to_json()))
    return path


def place(folder: Path, layout: str) -> Path:
    """What to read of a folder that was written in a layout."""
    files = {"coco": "coco.json", "lvis": "lvis.json", "saco": "saco.json", "yolo": "data.yaml"}
    files |= {"cvat": "annotations.xml", "labelstudio": "tasks.json", "mot": "mot.txt"}
    return folder / files[layout] if layout in files else folder


def read(labels: Path, images: Path) -> CocoFile:
    return read_any(LabelFiles(labels=labels), find_image(labels, images))


def objects(labels: CocoFile) -> dict[str, list[np.ndarray]]:
    """The masks of each phrase on the first image, from left to right."""
    image, records = next(iter(by_image(labels)))
    assert image.file_name == "a.png"
    found: dict[str, list[np.ndarray]] = {}
    for record in records:
        mask = decode_mask(record.segmentation, SIZE)
        found.setdefault(labels.categories[record.category_id].name, []).append(mask)
    return {name: sorted(masks, key=lambda mask: X[mask].mean()) for name, masks in sorted(found.items())}


@pytest.mark.parametrize("second", WITH_MASKS)
@pytest.mark.parametrize("first", WITH_MASKS)
def test_masks_survive_every_pair_of_layouts(start: Path, tmp_path: Path, first: str, second: str) -> None:
    images = start.parent / "images"
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "one", to=first))
    done = convert_labels(
        ConvertLabelsJob(labels=place(tmp_path / "one", first), folder=tmp_path / "two", to=second, images=images)
    )
    assert (done.layout, done.num_objects, done.num_masks) == (first, 3, 3)
    found, expected = objects(read(place(tmp_path / "two", second), images)), objects(build())
    assert found.keys() == expected.keys()
    for name, masks in expected.items():
        for mask, other in zip(masks, found[name], strict=True):
            assert (mask & other).sum() / (mask | other).sum() > 0.99


@pytest.mark.parametrize("layout", WITH_MASKS)
def test_what_is_written_is_trained_on(start: Path, tmp_path: Path, layout: str) -> None:
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to=layout))
    labels = place(tmp_path / "out", layout)
    assert recognise(labels) == layout
    source = LAYOUTS[layout].open(LabelFiles(labels=labels, images=start.parent / "images"), CocoConfig(split="all"))
    example = source.example(0, np.random.default_rng(0))
    asked = {query.phrase: len(query.object_index) for query in example.queries if query.object_index}
    assert asked == {"red mug": 1, "coin": 2}
    assert example.mask_valid.all()


@pytest.mark.parametrize("layout", [*WITH_MASKS, "voc"])
def test_what_is_written_with_its_images_is_a_root_to_train_from(start: Path, tmp_path: Path, layout: str) -> None:
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to=layout))
    found, files = find_labels(tmp_path / "out")
    source = LAYOUTS[found].open(files, CocoConfig(split="all"))
    assert found == layout
    assert source.example(0, np.random.default_rng(0)).image.shape[:2] == SIZE


def test_labels_whose_images_are_elsewhere_are_still_converted(start: Path, tmp_path: Path) -> None:
    (start.parent / "images/a.png").unlink()
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to="labelme"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "b.json"]


def test_a_folder_around_labels_stands_for_them(start: Path, tmp_path: Path) -> None:
    done = convert_labels(ConvertLabelsJob(labels=start.parent, folder=tmp_path / "out", to="cvat"))
    assert (done.layout, done.num_masks) == ("coco", 3)
    (start.parent / "other.json").write_text(start.read_text())
    with pytest.raises(InputError, match=r"has labels in 2 places; name one of .*coco\.json, .*other\.json"):
        convert_labels(ConvertLabelsJob(labels=start.parent, folder=tmp_path / "more", to="cvat"))


@pytest.mark.parametrize("layout", ["voc", "mot"])
def test_boxes_survive_layouts_that_hold_no_masks(start: Path, tmp_path: Path, layout: str) -> None:
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to=layout))
    if layout == "mot":
        for number, name in enumerate(("a.png", "b.png"), start=1):
            (tmp_path / "out/img1").mkdir(exist_ok=True)
            Image.open(start.parent / "images" / name).save(tmp_path / f"out/img1/{number:06d}.jpg")
    images = start.parent / "images" if layout == "voc" else tmp_path / "out"
    labels = read(place(tmp_path / "out", layout), images)
    boxes = [box_of(each, SIZE) for each in labels.annotations]
    np.testing.assert_allclose(boxes, [box_of(each, SIZE) for each in build().annotations])
    names = [labels.categories[each.category_id].name for each in labels.annotations]
    assert names == (["red mug", "coin", "coin"] if layout == "voc" else ["object"] * 3)


def test_an_image_folder_of_hugging_face_has_a_line_for_each_image(start: Path, tmp_path: Path) -> None:
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to="imagefolder"))
    lines = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
    assert [(line["file_name"], line["objects"]["category"]) for line in lines] == [
        ("a.png", ["red mug", "coin", "coin"]),
        ("b.png", []),
    ]
    mask = lines[0]["objects"]["segmentation"][0]
    np.testing.assert_array_equal(decode_mask(RunLengths(**mask), SIZE), RING)
    assert (tmp_path / "out/a.png").read_bytes() == (start.parent / "images/a.png").read_bytes()


def test_yolo_has_its_data_yaml_and_images(start: Path, tmp_path: Path) -> None:
    convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to="yolo"))
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert found == ["data.yaml", "images/a.png", "images/b.png", "labels/a.txt", "labels/b.txt"]


def test_every_format_that_is_offered_has_a_writer() -> None:
    assert set(LABEL_FORMATS) == set(WRITERS)
    assert {*LABEL_FORMATS, "objects"} == set(READERS) <= set(LAYOUTS)  # those of a tracked video are read alone


def test_the_command_converts(start: Path, tmp_path: Path, capsys) -> None:
    assert main(["convert-labels", str(start), str(tmp_path / "out"), "--to", "cvat"]) == 0
    assert capsys.readouterr().out == (
        f"coco: 2 images, 3 objects (3 with masks) -> {tmp_path / 'out/annotations.xml'}\n"
    )
    assert main(["convert-labels", str(start), str(tmp_path / "out"), "--to", "docx"]) == 1
    assert "unknown format 'docx': choose from coco" in capsys.readouterr().err


def test_what_cannot_be_converted_is_told(start: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds the labels themselves"):
        convert_labels(ConvertLabelsJob(labels=start, folder=start.parent, to="voc"))
    (start.parent / "images/a.png").unlink()
    with pytest.raises(InputError, match=r"there is no image a\.png in .*--images"):
        convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to="yolo"))
    boxes = CocoBuilder()
    boxes.add_image("b.png", SIZE)
    boxes.add_object("mug", [1, 2, 3, 4])
    start.write_text(json.dumps(boxes.build().to_json()))
    with pytest.raises(InputError, match=r"image b\.png: an object \(mug\) has no mask"):
        convert_labels(ConvertLabelsJob(labels=start, folder=tmp_path / "out", to="masks"))


def test_fiftyone_gets_samples_with_detections(start: Path, monkeypatch) -> None:
    class Sample(dict):
        """A sample keeps fields by name."""

        def __init__(self, filepath: str) -> None:
            self.filepath = filepath

    kinds = {"Sample": Sample, "Detection": SimpleNamespace, "Detections": SimpleNamespace}
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    find = find_image(start)
    with pytest.raises(ImportError, match=r'pip install "masklet\[fiftyone\]"'):
        next(to_fiftyone(build(), find))
    monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(**kinds))
    first, second = to_fiftyone(build(), find)
    assert first.filepath == str(start.parent / "images/a.png")
    ring = first["ground_truth"].detections[0]
    assert (ring.label, ring.mask.shape) == ("red mug", (39, 39))
    np.testing.assert_allclose(ring.bounding_box, [11 / 80, 11 / 60, 39 / 80, 39 / 60])
    assert second["ground_truth"].detections == []
