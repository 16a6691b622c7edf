"""runs/pasted_cutouts.py: which things of the photos are cut out, and what is left of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from pasted_cutouts import cut_out, is_clean, write_pasted
from PIL import Image
from scipy import ndimage

from masklet.ops.masks import mask_to_box, rle_encode

HEIGHT, WIDTH = 120, 160


def _box(top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _is_clean(mask: np.ndarray) -> bool:
    box = mask_to_box(mask)
    assert box is not None
    return is_clean(mask, box)


def _rim(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, iterations=3)


WHOLE = _box(20, 30, 70, 50)


@pytest.mark.parametrize("mask", [WHOLE, WHOLE | _box(20, 90, 70, 4)], ids=["one piece", "little beside it"])
def test_things_are_cut_out_that_are_whole(mask: np.ndarray) -> None:
    assert _is_clean(mask)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(_box(20, 30, 55, 50), id="small"),
        pytest.param(_box(20, 30, 80, 10), id="a stripe"),
        pytest.param(_box(0, 30, 70, 50), id="cut off by the rim above"),
        pytest.param(_box(20, 30, 70, 130), id="cut off by the rim at the right"),
        pytest.param(WHOLE | _box(20, 90, 70, 7), id="in two pieces, one of an eighth"),
        pytest.param(_rim(_box(20, 30, 80, 80)), id="a frame"),
    ],
)
def test_what_is_not_whole_is_left(mask: np.ndarray) -> None:
    assert not _is_clean(mask)


def test_a_cut_out_shows_the_thing_and_nothing_of_its_ground() -> None:
    mask = WHOLE
    pixels = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    pixels[mask] = 90, 50, 10
    image = np.asarray(cut_out(pixels, mask, (30, 20, 80, 90)))
    assert image.shape == (70, 50, 4)
    assert (image[image[..., 3] > 0][:, :3] == (90, 50, 10)).all()
    assert (image[3:-3, 3:-3, 3] == 255).all()
    assert (image[0, :, 3] < 255).all()


def _document(names: list[str], masks: list[np.ndarray]) -> dict:
    return {
        "images": [{"id": 1, "file_name": "tools/one.png"}, {"id": 2, "file_name": "fruits/one.png"}],
        "categories": [{"id": i, "name": name, "synonyms": ["thing"]} for i, name in enumerate(names)],
        "annotations": [
            {"id": 10 * image + i, "image_id": image, "category_id": i % len(names), "iscrowd": int(i == 4)}
            | {"segmentation": {"size": [HEIGHT, WIDTH], "counts": rle_encode(mask)}}
            for image in (1, 2)
            for i, mask in enumerate(masks)
        ],
    }


def test_kinds_of_which_there_are_enough_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pasted_cutouts.LEAST_OF_A_KIND", 2)
    for folder in ("tools", "fruits"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / folder / "one.png")
    names = ["hammer", "saw", "grass", "person"]
    masks = [WHOLE] * 5 + [_box(20, 30, 20, 20)] + [WHOLE] * 3
    # hammer: whole, a crowd, whole; saw: whole, too small; grass is not a thing; person: two
    count = write_pasted(_document(names, masks), tmp_path, {"grass"}, tmp_path / "out")
    records = json.loads((tmp_path / "out/index.json").read_text())
    assert count == len(records) == 4
    assert [each["file"] for each in records] == ["10.webp", "13.webp", "17.webp", "18.webp"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.webp")) == sorted(each["file"] for each in records)
    assert records[0] == {"file": "10.webp", "phrases": ["hammer", "thing"], "group": ""}
    assert records[1]["group"] == "People & Body"
    with Image.open(tmp_path / "out/10.webp") as image:
        assert image.mode == "RGBA"
        assert image.size == (50, 70)


def test_what_a_model_labelled_is_cut_out_where_its_names_are_known_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pasted_cutouts.LEAST_OF_A_KIND", 1)
    photos = [("oxford_cats", ["cat", "Persian cat"]), ("coco_val", ["horse"]), ("clothing", ["dress"])]
    for folder, _ in photos:
        (tmp_path / folder).mkdir()
        Image.new("RGB", (WIDTH, HEIGHT), "red").save(tmp_path / folder / "one.png")
    names = ["cat", "Persian cat", "horse", "person", "dress"]
    labelled = [(1, 0, WHOLE), (1, 1, _box(21, 30, 70, 50)), (1, 0, _box(20, 90, 70, 60)), (2, 2, WHOLE), (2, 3, WHOLE)]
    document = {
        "images": [
            {"id": i + 1, "file_name": f"{folder}/one.png", "present": words}
            for i, (folder, words) in enumerate(photos)
        ],
        "categories": [{"id": i, "name": name, "synonyms": []} for i, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": kind, "iscrowd": 0, "by": "masklet"}
            | {"segmentation": {"size": [HEIGHT, WIDTH], "counts": rle_encode(mask)}}
            for number, (image, kind, mask) in enumerate([*labelled, (3, 4, WHOLE)])
        ],
    }
    # The cat once though asked for twice, another cat, the person who was boxed; not what may be called otherwise
    write_pasted(document, tmp_path, set(), tmp_path / "out")
    records = json.loads((tmp_path / "out/index.json").read_text())
    assert [(each["file"], each["phrases"]) for each in records] == [
        ("0.webp", ["Persian cat", "cat"]),
        ("2.webp", ["Persian cat", "cat"]),
        ("4.webp", ["person"]),
    ]
