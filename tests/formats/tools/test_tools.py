"""Files as annotation tools write them, and hostile ones."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.formats.coco import CocoFile
from masklet.formats.mot import read_mot
from masklet.formats.records import decode_mask
from masklet.formats.tools.cvat import read_cvat
from masklet.formats.tools.imagefolder import METADATA, read_imagefolder
from masklet.formats.tools.labelme import read_labelme
from masklet.formats.tools.labelstudio import name_of_address, pack_brush, read_labelstudio, unpack_brush
from masklet.formats.tools.voc import read_voc

SIZE = (20, 30)
DISC = np.hypot(*(np.mgrid[: SIZE[0], : SIZE[1]] - np.array([10, 12])[:, None, None])) < 6


def names(labels: CocoFile) -> list[str]:
    return [labels.categories[each.category_id].name for each in labels.annotations]


def masks(labels: CocoFile) -> list[np.ndarray]:
    return [decode_mask(each.segmentation, SIZE) for each in labels.annotations]


# --- LabelMe ------------------------------------------------------------------------------------------------------


def labelme(*shapes: dict, **changes) -> dict:
    document = {"version": "5.0.1", "flags": {}, "imagePath": "..\\images\\a.jpg", "imageData": "x" * 99}
    return document | {"shapes": list(shapes), "imageHeight": SIZE[0], "imageWidth": SIZE[1]} | changes


def shape(kind: str, points: list, **changes) -> dict:
    return {"label": "mug", "points": points, "group_id": None, "shape_type": kind, "flags": {}} | changes


def test_labelme_shapes_become_objects(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(DISC[5:16, 7:18]).save(file, "PNG")
    square = [[2, 3], [8, 3], [8, 9], [2, 9]]
    document = labelme(
        shape("polygon", square, group_id=1),
        shape("polygon", [[20, 3], [25, 3], [25, 9]], group_id=1),
        shape("rectangle", [[8, 9], [2, 3]], label="pot"),
        shape("mask", [[7, 5], [17, 15]], mask=base64.b64encode(file.getvalue()).decode()),
        shape("circle", [[12.5, 10.5], [12.5, 16.4]]),
        shape("line", [[0, 0], [9, 9]]),
        shape("point", [[4, 4]]),
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.json").write_text(json.dumps(document), encoding="utf-8-sig")
    (tmp_path / "sub/._a.json").write_text("rubbish")
    (tmp_path / "other.json").write_text("[]")
    labels = read_labelme(tmp_path)
    assert [image.file_name for image in labels.images.values()] == ["images/a.jpg"]
    assert names(labels) == ["mug", "pot", "mug", "mug"]
    assert labels.annotations[1].bbox == [2, 3, 6, 6]
    polygon, _, mask, circle = masks(labels)
    assert polygon[3:9, 2:8].all()
    assert polygon[4, 24]
    np.testing.assert_array_equal(mask, DISC)
    assert (circle & DISC).sum() / (circle | DISC).sum() > 0.9


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (labelme(shape("polygon", [[1, 2, 3]])), "shape 0: points: two finite numbers"),
        (labelme(shape("rectangle", [[1, 2]])), "shape 0: points: a rectangle has two, not 1"),
        (labelme(shape("mask", [[1, 1], [4, 4]], mask="!!")), "shape 0: mask: is no PNG"),
        (labelme(shape("mask", [[1, 1], [4, 4]], mask=None), imageHeight=None), "imageHeight and imageWidth"),
        (labelme(imageHeight=2**20, imageWidth=2**20), "out of range"),
        (labelme(imageHeight="20"), 'imageHeight: is "20"; a whole number is expected'),
        (labelme(shapes=5), "shapes: is 5; a list is expected"),
    ],
)
def test_broken_labelme_files_are_told(tmp_path: Path, document: dict, message: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message) as caught:
        read_labelme(tmp_path)
    assert "a.json" in str(caught.value)


# --- CVAT ---------------------------------------------------------------------------------------------------------


def cvat(content: str, size: str = 'width="30" height="20"') -> str:
    image = f'<image id="0" name="sub/a.jpg" {size}>{content}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{image}</annotations>'


def test_cvat_shapes_become_objects(tmp_path: Path) -> None:
    part = np.concatenate([[False], DISC[5:16, 7:18].ravel()])
    runs = np.diff(np.flatnonzero(part[1:] != part[:-1]), prepend=0, append=121).tolist()
    content = (
        '<box label="pot" xtl="2" ytl="3" xbr="8" ybr="9" occluded="0"/>'
        '<box label="pot" xtl="2" ytl="4" xbr="12" ybr="8" rotation="90"/>'
        '<polygon label="mug" points="2,3;8,3;8,9;2,9" group_id="4"/>'
        '<polygon label="mug" points="20,3;25,3;25,9" group_id="4"/>'
        f'<mask label="mug" rle="{", ".join(map(str, runs))}" left="7" top="5" width="11" height="11"/>'
        '<ellipse label="mug" cx="12.5" cy="10.5" rx="6" ry="6"/><points label="mug" points="1,1"/><tag label="x"/>'
    )
    (tmp_path / "a.xml").write_text(cvat(content))
    labels = read_cvat(tmp_path / "a.xml")
    assert [(image.file_name, image.height) for image in labels.images.values()] == [("sub/a.jpg", 20)]
    assert names(labels) == ["pot", "pot", "mug", "mug", "mug"]
    assert labels.annotations[0].bbox == [2, 3, 6, 6]
    np.testing.assert_allclose(labels.annotations[1].bbox, [5, 1, 4, 10])
    assert masks(labels)[2][4, [3, 24]].all()
    np.testing.assert_array_equal(masks(labels)[3], DISC)
    assert (masks(labels)[4] & DISC).sum() / (masks(labels)[4] | DISC).sum() > 0.9


BOMB = '<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotations>&b;</annotations>'
FETCH = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation><filename>&f;</filename></annotation>'


@pytest.mark.parametrize("text", [BOMB, FETCH])
@pytest.mark.parametrize("read", [read_cvat, read_voc])
def test_xml_that_declares_anything_is_not_read(tmp_path: Path, text: str, read) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.xml: declares a document type or entities"):
        read(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotations>", "not readable as XML at line 1"),
        ("<other/>", "is <other>; <annotations> of CVAT"),
        ("<annotations><track/></annotations>", "holds tracks of a video"),
        ("<annotations/>", "has no images"),
        (cvat("", 'width="30"'), "height: is None; a number is expected"),
        (cvat("", 'width="1048576" height="1048576"'), "out of range"),
        (cvat('<box label="a" xtl="nan" ytl="1" xbr="2" ybr="3"/>'), "xtl: is 'nan'; a finite number"),
        (cvat('<polygon label="a" points="1,2;3,4"/>'), "polygon 0: points: three pairs"),
        (cvat('<mask label="a" rle="1, 2" left="0" top="0" width="3" height="3"/>'), "does not fill 3 x 3"),
        (cvat('<mask label="a" rle="9" left="29" top="0" width="3" height="3"/>'), "inside of the image"),
    ],
)
def test_broken_cvat_files_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_cvat(tmp_path / "a.xml")


def test_xml_is_bounded(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("masklet.formats.tools.objects.MAX_XML_BYTES", 10)
    (tmp_path / "a.xml").write_text("<annotations></annotations>")
    with pytest.raises(InputError, match="27 bytes are too many"):
        read_cvat(tmp_path / "a.xml")


# --- Pascal VOC ---------------------------------------------------------------------------------------------------


def test_voc_boxes_count_from_one_and_include_their_last_pixel(tmp_path: Path) -> None:
    box = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>8</xmax><ymax>9</ymax></bndbox>"
    text = f"<annotation><filename>a.jpg</filename><object><name> mug </name>{box}</object></annotation>"
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").write_text(text)
    labels = read_voc(tmp_path / "Annotations")
    assert (names(labels), labels.annotations[0].bbox) == (["mug"], [2, 3, 6, 6])
    assert labels.images[1].width is None
    (tmp_path / "Annotations/a.xml").write_text(text.replace("<xmin>3</xmin>", ""))
    with pytest.raises(InputError, match="object 0: xmin: is None; a number is expected"):
        read_voc(tmp_path / "Annotations")


# --- Label Studio -------------------------------------------------------------------------------------------------


def region(kind: str, **value) -> dict:
    sizes = {"original_width": SIZE[1], "original_height": SIZE[0]}
    return {"type": f"{kind}labels", "value": {f"{kind}labels": ["mug"], **value}, **sizes}


def one_region(kind: str, **value) -> dict:
    return {"data": {"image": "a.jpg"}, "annotations": [{"result": [region(kind, **value)]}]}


def test_label_studio_regions_become_objects(tmp_path: Path) -> None:
    results = [
        region("polygon", points=[[10, 10], [50, 10], [50, 50]]),
        region("rectangle", x=10, y=20, width=50, height=40, rotation=0),
        region("brush", format="rle", rle=pack_brush(DISC)),
        region("ellipse", x=41.5, y=52.5, radiusX=20, radiusY=30, rotation=0),
        {"type": "choices", "value": {"choices": ["good"]}},
    ]
    tasks = [
        {"id": 7, "data": {"image": "/data/upload/3/0a1b2c3d-a.jpg"}, "annotations": [{"result": results}]},
        {"data": {"image": "s3://b/c/b.jpg"}, "annotations": [{"result": results, "was_cancelled": True}]},
        {"data": {"image": "c.jpg"}, "annotations": [], "predictions": [{"result": results[:1]}]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    labels = read_labelstudio(tmp_path / "a.json")
    assert [image.file_name for image in labels.images.values()] == ["a.jpg", "b.jpg", "c.jpg"]
    assert [each.image_id for each in labels.annotations] == [1, 1, 1, 1, 3]
    assert labels.annotations[1].bbox == [3, 4, 15, 8]
    np.testing.assert_array_equal(masks(labels)[2], DISC)
    assert (masks(labels)[3] & DISC).sum() / (masks(labels)[3] | DISC).sum() > 0.85


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=set/a%20b.jpg", "set/a b.jpg"),
        ("http://host/x/a.jpg?token=1", "a.jpg"),
        ("images/sub/a.jpg", "images/sub/a.jpg"),
        ("/data/upload/12/deadbeef-a-b.jpg", "a-b.jpg"),
        ("../../etc/passwd", "passwd"),
    ],
)
def test_addresses_become_names_below_the_folder_of_images(address: str, name: str) -> None:
    assert name_of_address(address) == name


@pytest.mark.parametrize("mask", [DISC, ~DISC, np.zeros((300, 300), bool), np.ones((1, 1), bool)])
def test_brush_strokes_are_packed_and_unpacked(mask: np.ndarray) -> None:
    values = unpack_brush(np.array(pack_brush(mask), np.uint8), mask.size * 4)
    np.testing.assert_array_equal(values.reshape(*mask.shape, 4)[..., 3] > 0, mask)


def test_brush_values_may_stand_each_by_itself() -> None:
    """As the format's own packer writes what does not repeat: 8 values of 8 bits, lengths of 3 to 6 bits."""
    bits = f"{8:032b}{7:05b}{2:04b}{3:04b}{4:04b}{5:04b}" + "0" + "01" + f"{5:04b}"
    bits += "".join(f"{value:08b}" for value in (0, 0, 0, 255, 9, 9)) + "1" + "00" + "001" + f"{255:08b}"
    code = np.packbits(np.array([int(bit) for bit in bits], np.uint8))
    assert unpack_brush(code, 8).tolist() == [0, 0, 0, 255, 9, 9, 255, 255]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"data": {"image": "a.jpg"}, "annotations": [{"result": [region("brush", rle=[1, 2])]}]}, "rle: ends early"),
        (
            {"data": {"image": "a.jpg"}, "annotations": [{"result": [region("brush", rle=pack_brush(DISC[:9]))]}]},
            "holds",
        ),
        (
            {"data": {"image": "a.jpg"}, "annotations": [{"result": [region("polygon", points=[[1, 2]])]}]},
            "three pairs",
        ),
        ({"data": {"image": "a.jpg"}, "annotations": [{}]}, "is not as Label Studio writes it"),
        ({"data": {}}, "has no address of an image"),
        (5, "a list of tasks is expected"),
    ],
)
def test_broken_label_studio_files_are_told(tmp_path: Path, task, message: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps([task]))
    with pytest.raises(InputError, match=message):
        read_labelstudio(tmp_path / "a.json")


# --- MOT ----------------------------------------------------------------------------------------------------------


def test_mot_lines_are_boxes_of_frames(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt/gt.txt").write_text("1,5,11,21,30,40,1,3,0.9\n2,5,12,21,30,40,0,8,1\n2,6,1,1,5,5,1,1,1\n")
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nimDir=frames\nimExt=.png\nimWidth=100\nimHeight=80\n")
    labels = read_mot(tmp_path)
    assert [(each.file_name, each.height) for each in labels.images.values()] == [
        ("frames/000001.png", 80),
        ("frames/000002.png", 80),
    ]
    assert names(labels) == ["car", "distractor", "pedestrian"]
    assert [(each.track_id, each.iscrowd) for each in labels.annotations] == [(5, 0), (5, 1), (6, 0)]
    assert labels.annotations[0].bbox == [10, 20, 30, 40]


@pytest.mark.parametrize("line", ["a,b,c", "1,2,3", "0,1,1,1,1,1", "1,1,nan,1,1,1", "1e99,1,1,1,1,1"])
def test_broken_mot_lines_are_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "mot.txt").write_text(f"1,1,1,1,1,1\n{line}\n")
    with pytest.raises(InputError, match=r"mot\.txt: line 2: "):
        read_mot(tmp_path)


# --- Hugging Face image folders ------------------------------------------------------------------------------------


def image_folder(tmp_path: Path, objects: object) -> Path:
    (tmp_path / METADATA).write_text(json.dumps({"file_name": "a.png", "objects": objects}) + "\n\n")
    return tmp_path


def test_lines_of_an_image_folder_are_images_with_their_objects(tmp_path: Path) -> None:
    labels = read_imagefolder(
        image_folder(tmp_path, {"bbox": [[1, 2, 3, 4], [0, 0, 5, 5]], "categories": ["cup", "dog"]})
    )
    assert [(each.bbox, each.segmentation) for each in labels.annotations] == [
        ([1, 2, 3, 4], None),
        ([0, 0, 5, 5], None),
    ]
    assert names(labels) == ["cup", "dog"]
    assert not read_imagefolder(image_folder(tmp_path, None)).annotations


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"bbox": [[1, 2, 3, 4]], "categories": [0]}, "line 1: objects.categories.0: is 0; a text is expected"),
        ({"bbox": [[1, 2, 3, 4]], "category": ["cup", "cup"]}, "line 1: objects: 2 names, 1 boxes and 2 masks"),
        ({"category": ["cup"]}, "line 1: objects: an object (cup) has neither a box nor a mask"),
        ({"bbox": [[1, 2, 3]], "category": ["cup"]}, "line 1: objects.bbox.0: is [1, 2, 3]"),
    ],
)
def test_broken_lines_of_image_folders_are_told(tmp_path: Path, objects: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_imagefolder(image_folder(tmp_path, objects))
    assert message in str(caught.value)
