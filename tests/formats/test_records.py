"""Records: what is checked, how it is named, and the way back into JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.formats.coco import CocoAnnotation, CocoImage, read_coco, read_results
from masklet.formats.records import RunLengths, by_id, decode_mask, inside, parse, parse_line, read_list, to_json
from masklet.formats.saco import SacoLabel, SacoPresence
from masklet.ops.masks import rle_encode

FILE = Path("labels.json")
GOOD = {"id": 7, "image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b", "C:\\a.jpg", "..\\a.jpg", "C:a.jpg"])
def test_names_that_leave_the_folder_are_refused(name) -> None:
    with pytest.raises(InputError, match=r"labels\.json: image 3: the file name .* leads out"):
        inside(Path("images"), name, "labels.json: image 3")


@pytest.mark.parametrize("name", ["", " ", "a\0.jpg"])
def test_names_that_are_none_are_refused(name) -> None:
    with pytest.raises(InputError, match=r"labels\.json: image 3: .* is no file name"):
        inside(Path("images"), name, "labels.json: image 3")


@pytest.mark.parametrize("name", ["train/a b.jpg", "./train/a b.jpg", "train\\a b.jpg", "train/x/../a b.jpg"])
def test_names_below_the_folder_are_joined(name) -> None:
    assert inside(Path("images"), name, "here") == Path("images/train/a b.jpg")


def test_absolute_names_inside_the_folder_backslashes_in_names_and_the_folder_itself_are_taken(tmp_path) -> None:
    (tmp_path / "a\\b.jpg").touch()
    assert inside(tmp_path, str(tmp_path / "c" / "1.jpg"), "here") == tmp_path / "c" / "1.jpg"
    assert inside(tmp_path, "a\\b.jpg", "here") == tmp_path / "a\\b.jpg"
    assert inside(tmp_path, ".", "here") == tmp_path


def test_a_name_that_no_disk_holds_is_refused(tmp_path):
    for name in ("x" * 300 + ".png", "a\\" + "\u00e4" * 128 + "/b.png"):
        with pytest.raises(InputError, match=r"labels.json: the file name .* is too long"):
            inside(tmp_path, name, "labels.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, float("nan"), 4]}, "annotation 7: bbox.2: is nan; a finite number is expected"),
        ({"bbox": [1, 2]}, "annotation 7: bbox: is [1, 2]; a list of 4 entries or more is expected"),
        ({"bbox": ["1", 2, 3, 4]}, 'annotation 7: bbox.0: is "1"; a number is expected'),
        ({"image_id": True}, "annotation 7: image_id: is true; "),
        ({"segmentation": [[1, "2"]]}, 'annotation 7: segmentation.0.1: is "2"; a number is expected'),
        ({"segmentation": {"size": [2, 2]}}, "annotation 7: segmentation.counts: is missing"),
        ({"iscrowd": 2}, "annotation 7: iscrowd: is 2; "),
    ],
)
def test_file_record_and_field_are_named(change, message) -> None:
    with pytest.raises(InputError) as caught:
        parse(CocoAnnotation, json.dumps(GOOD | change), FILE, "annotation")
    assert str(caught.value).startswith(f"labels.json: {message}")


def test_a_record_without_an_id_is_named_by_its_place() -> None:
    with pytest.raises(InputError, match=r"labels\.json: annotation 4 of image 3: bbox: "):
        parse(CocoAnnotation, '{"image_id": 3, "category_id": 1, "bbox": 5}', FILE, "annotation", 4)
    with pytest.raises(InputError, match=r"labels\.json: annotation 4: it: is \[5\]; an object is expected"):
        parse(CocoAnnotation, "[5]", FILE, "annotation", 4)
    with pytest.raises(InputError, match=r"labels\.json: line 2: presence: "):
        parse_line(SacoPresence, '{"image_id": 1, "presence": 2}', FILE, 2)


def test_pixels_where_fractions_are_expected_are_told_apart() -> None:
    with pytest.raises(InputError, match="boxes of these files are fractions of the image, not pixels"):
        parse(SacoLabel, json.dumps(GOOD | {"bbox": [10, 20, 300, 200]}), FILE, "annotation")


def test_records_are_written_as_they_were_read() -> None:
    texts = [
        json.dumps(GOOD | {"segmentation": {"size": [2, 3], "counts": "abc"}, "iscrowd": 0}),
        json.dumps(GOOD | {"segmentation": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]], "iscrowd": 1, "score": 0.5}),
    ]
    for text in texts:
        assert to_json(parse(CocoAnnotation, text, FILE, "annotation")) == json.loads(text)


def test_an_id_is_given_once() -> None:
    image = CocoImage(id="a", width=3, height=2)
    assert by_id([image], FILE, "image") == {"a": image}
    with pytest.raises(InputError, match=r"labels\.json: image a: id: is given twice"):
        by_id([image, CocoImage(id="a", width=3, height=2)], FILE, "image")


def test_masks_of_every_kind_are_decoded() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    for segmentation in (
        RunLengths(size=[4, 6], counts=rle_encode(mask)),
        RunLengths(size=[4, 6], counts=[9, 2, 2, 2, 2, 2, 5]),
        [[2.0, 1.0, 5.0, 1.0, 5.0, 3.0, 2.0, 3.0]],
    ):
        np.testing.assert_array_equal(decode_mask(segmentation, (4, 6)), mask)
    assert not decode_mask(None, (4, 6)).any()
    assert not decode_mask([], (4, 6)).any()


def test_a_list_is_expected_where_there_is_one(tmp_path) -> None:
    (tmp_path / "a.json").write_text('{"images": [1]}')
    with pytest.raises(InputError, match="a list of results is expected, not an object"):
        list(read_list(tmp_path / "a.json", CocoImage, "result"))


def test_references_are_checked_whatever_the_order_of_sections(tmp_path) -> None:
    document = {
        "annotations": [GOOD],
        "categories": [{"id": 1, "name": "mug"}],
        "images": [{"id": 3, "width": 4, "height": 4}],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    labels = read_coco(path)
    assert labels.by_image()[3][0].bbox == [1, 2, 3, 4]
    (tmp_path / "results.json").write_text(json.dumps([{"image_id": 3, "category_id": 9, "score": 1.0}]))
    with pytest.raises(InputError, match=r"results\.json: result 0: category_id: there is no category 9"):
        read_results(tmp_path / "results.json", labels)
    path.write_text(json.dumps(document | {"categories": [{"id": 2, "name": "mug"}]}))
    with pytest.raises(InputError, match=r"labels\.json: annotation 7: category_id: there is no category 1"):
        read_coco(path)


@pytest.mark.parametrize(("flag", "read"), [("0", 0), ("1", 1), (0.0, 0), (True, True), (None, None)])
def test_flags_are_read_as_tools_write_them(flag, read) -> None:
    assert parse(CocoAnnotation, json.dumps(GOOD | {"iscrowd": flag}), FILE, "annotation").iscrowd == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ([1, 1, 9, 9, 1, 9], [[1, 1, 9, 9, 1, 9]]),
        ([[], [1, 1, 9, 9, 1, 9]], [[1, 1, 9, 9, 1, 9]]),
        ({}, None),
        ([], []),
    ],
)
def test_polygons_are_read_as_tools_write_them(written, read) -> None:
    record = parse(CocoAnnotation, json.dumps(GOOD | {"segmentation": written}), FILE, "annotation")
    assert record.segmentation == read


def test_an_empty_box_is_none() -> None:
    assert parse(CocoAnnotation, json.dumps(GOOD | {"bbox": []}), FILE, "annotation").bbox is None


def test_a_byte_order_mark_is_no_content_and_null_is_no_list(tmp_path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"images": [{"id": "a", "file_name": "1.jpg"}]}', encoding="utf-8-sig")
    assert read_coco(path).images["a"].width is None
    path.write_text('{"images": [{"id": "a"}], "annotations": null}')
    with pytest.raises(InputError, match="annotations: is null; a list is expected"):
        read_coco(path)


def test_heads_of_groups_are_categories_that_others_name_and_nothing_is_labelled_with(tmp_path) -> None:
    """As Roboflow's export begins; a category of COCO may well be called as its group."""
    path = tmp_path / "labels.json"
    names = [(0, "mug", "none"), (1, "red mug", "mug"), (2, "person", "person"), (3, "food", "x"), (4, "cake", "food")]
    categories = [{"id": key, "name": name, "supercategory": group} for key, name, group in names]
    labels = [{"id": 0, "image_id": 1, "category_id": 3}]
    path.write_text(json.dumps({"images": [{"id": 1}], "categories": categories, "annotations": labels}))
    assert read_coco(path).groups == {0}
