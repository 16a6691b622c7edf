"""Files of sentences, made by hand."""

import json

import pytest

from masklet.errors import InputError
from masklet.formats.referring import read_benchmark

OMNI = {
    "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
    "descriptions": [
        {"id": 7, "text": "red cup", "image_ids": [1, 2], "anno_info": {"type": "object_description"}},
        {"id": 8, "text": "cup", "image_ids": [1], "anno_info": {"type": "object_category"}},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "description_ids": [7, 8]},
        {"id": 2, "image_id": 1, "bbox": [5, 6, 7, 8], "description_ids": [8]},
    ],
}


def written(tmp_path, document):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    return path


def test_each_description_is_asked_of_the_images_it_names(tmp_path) -> None:
    pairs = list(read_benchmark("omnilabel", written(tmp_path, OMNI)))
    assert [(each.id, each.image, each.text, each.sort, each.boxes) for each in pairs] == [
        ("1-7", "a.jpg", "red cup", "descr", ((1, 2, 3, 4),)),
        ("2-7", "b.jpg", "red cup", "descr", ()),
        ("1-8", "a.jpg", "cup", "categ", ((1, 2, 3, 4), (5, 6, 7, 8))),
    ]


def test_a_description_of_an_image_that_is_not_there_is_named(tmp_path) -> None:
    other = json.loads(json.dumps(OMNI))
    other["descriptions"][0]["image_ids"].append(9)
    with pytest.raises(InputError, match="description 7: image_ids: there is no image 9"):
        list(read_benchmark("omnilabel", written(tmp_path, other)))
    del other["descriptions"][0]["text"]
    with pytest.raises(InputError, match="text"):
        list(read_benchmark("omnilabel", written(tmp_path, other)))


def test_our_own_sentences_have_a_mask_for_each_instance(tmp_path) -> None:
    instance = {"size": [2, 2], "counts": "022"}
    entry = {"id": "a", "image": "a.png", "text": "two cups", "sort": "count", "instances": [instance, instance]}
    (sentence,) = read_benchmark("own", written(tmp_path, {"sentences": [entry]}))
    assert (sentence.sort, len(sentence.shapes)) == ("count", 2)
