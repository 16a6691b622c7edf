"""LVIS: what a picture says of itself decides what is labelled in full, what is absent, and what is not known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.coco import CocoSource
from masklet.data.sources import CocoConfig
from masklet.errors import InputError
from masklet.formats.lvis import phrase_of, read_lvis


def document() -> dict[str, Any]:
    names = [("bow_(weapon)", []), ("bow_(decorative_ribbons)", []), ("mug", ["mug", "coffee_cup"]), ("pig", [])]
    record = {"id": 7, "coco_url": "http://images.example.org/train2017/7.png", "width": 30, "height": 20}
    labels = [(2, [[2, 3, 12, 3, 12, 8, 2, 8]]), (0, [[20, 3, 25, 3, 25, 8, 20, 8]])]
    return {
        "categories": [{"id": i, "name": n, "synonyms": s} for i, (n, s) in enumerate(names)],
        "images": [{**record, "neg_category_ids": [3], "not_exhaustive_category_ids": []}],
        "annotations": [
            {"id": i, "image_id": 7, "category_id": c, "bbox": [2, 3, 10, 5], "segmentation": s}
            for i, (c, s) in enumerate(labels)
        ],
    }


def open_lvis(folder: Path, change: Callable[[dict[str, Any]], object] = lambda d: d) -> CocoSource:
    (folder / "train2017").mkdir(exist_ok=True)
    Image.new("RGB", (30, 20)).save(folder / "train2017/7.png")
    labels = document()
    change(labels)
    (folder / "lvis.json").write_text(json.dumps(labels))
    config = CocoConfig(split="all", synonym_probability=1.0)
    return CocoSource(folder / "lvis.json", folder, config, read=read_lvis)


def asked(source: CocoSource) -> dict[str, tuple[tuple[int, ...], bool]]:
    queries = source.example(0, np.random.default_rng(0)).queries
    return {query.phrase: (query.object_index, query.exhaustive) for query in queries}


def test_verified_negatives_are_asked_and_all_else_is_not_known(tmp_path) -> None:
    source = open_lvis(tmp_path)
    assert source.name(0) == "train2017/7.png"
    # ribbons were not looked for, so a "bow" may be without a label
    assert asked(source) == {
        "bow": ((1,), False),
        "mug": ((0,), True),
        "coffee cup": ((0,), True),
        "pig": ((), True),
    }


def test_what_is_not_labelled_in_full_is_asked_inexhaustively(tmp_path) -> None:
    source = open_lvis(tmp_path, lambda d: d["images"][0].update(not_exhaustive_category_ids=[2]))
    assert asked(source)["mug"] == asked(source)["coffee cup"] == ((0,), False)


def test_a_phrase_of_two_categories_is_complete_where_both_are(tmp_path) -> None:
    source = open_lvis(tmp_path, lambda d: d["images"][0].update(neg_category_ids=[1, 3]))
    assert asked(source)["bow"] == ((1,), True)


def test_a_list_that_an_image_leaves_out_is_empty(tmp_path) -> None:
    source = open_lvis(tmp_path, lambda d: d["images"][0].pop("neg_category_ids"))
    assert asked(source)["mug"] == ((0,), True)
    assert "pig" not in asked(source)


def test_categories_that_differ_in_case_alone_are_one_phrase(tmp_path) -> None:
    source = open_lvis(tmp_path, lambda d: d["categories"].append({"id": 9, "name": "Mug"}))
    assert asked(source)["mug"] == ((0,), False), "nobody looked for the other category"


@pytest.mark.parametrize(
    ("name", "phrase"),
    [("aerosol_can", "aerosol can"), ("bow_(weapon)", "bow"), ("(sic)_salt", "(sic) salt"), ("(all)", "(all)")],
)
def test_names_become_phrases(name, phrase) -> None:
    assert phrase_of(name) == phrase


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda d: [d["images"][0].pop(field) for field in ("neg_category_ids", "not_exhaustive_category_ids")],
            "no image has neg_category_ids or not_exhaustive_category_ids: LVIS labels are expected",
        ),
        (lambda d: d["images"][0].update(neg_category_ids=[99]), "image 7: neg_category_ids: there is no category 99"),
        (
            lambda d: d["images"][0].update(neg_category_ids=[2]),
            "image 7: neg_category_ids: holds category 2, which is labelled",
        ),
        (lambda d: d["images"][0].pop("coco_url"), "file_name"),
        (lambda d: d["images"][0].update(coco_url="http://../../secret.png"), "leads out"),
    ],
)
def test_records_that_make_no_sense_are_named(tmp_path, change, named) -> None:
    with pytest.raises(InputError, match=named):
        open_lvis(tmp_path, change).example(0, np.random.default_rng(0))
