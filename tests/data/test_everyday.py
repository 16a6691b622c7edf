"""Everyday things: what may be asked of a picture of something else, and that no lesson gives a probe away."""

import json

import numpy as np
import pytest
from PIL import Image

from masklet.data.everyday import LESSONS, PROBES, absent_phrases
from masklet.data.sources import IndexedSource
from masklet.errors import InputError
from masklet.train.recipes.schema import load_recipe
from masklet.train.recipes.source_specs import FileSpec, open_images


def test_everyday_things_share_no_word_with_what_is_labelled():
    everything = absent_phrases([], PROBES)
    assert len(everything) == len(set(everything)) >= 60
    for known, gone in (
        ("Traffic Lights", "traffic light"),
        ("bananas", "bunch of bananas"),
        ("hats", "top hat"),
        ("vehicle", "fire truck"),
        ("vehicle", "police car"),
        ("delivery_truck", "school bus"),
        ("bird", "penguin"),
        ("animals", "zebra"),
        ("dishes", "pizza"),
    ):
        assert gone in everything
        assert gone not in absent_phrases([known], PROBES), known
    kept = absent_phrases(["corn kernel"], PROBES)
    assert kept == everything
    assert 0 < len(absent_phrases(["car", "bird"], PROBES)) < len(everything)


def test_lessons_and_probes_share_no_word():
    lessons, probes = absent_phrases([], LESSONS), absent_phrases([], PROBES)
    words = [set(" ".join(phrases).replace("-", " ").split()) - {"in"} for phrases in (lessons, probes)]
    assert not words[0] & words[1]
    assert len(lessons) == len(set(lessons)) >= 90


@pytest.fixture
def corn(tmp_path):
    """Two pictures of one class, which nothing can be denied of."""
    box = {"category_id": 1, "bbox": [4, 4, 20, 20], "segmentation": [[4, 4, 24, 4, 24, 24]]}
    images = [{"id": index, "file_name": f"{index}.png", "width": 48, "height": 48} for index in range(2)]
    labels = {"images": images, "annotations": [{"id": 1, "image_id": 0, **box}, {"id": 2, "image_id": 1, **box}]}
    for image in images:
        Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(tmp_path / image["file_name"])

    def open_with(name: str, *others: str, **options) -> IndexedSource:
        labels["categories"] = [{"id": 1 + row, "name": each} for row, each in enumerate((name, *others))]
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        spec = {"kind": "coco", "annotations": "labels.json", "images": ".", "split": "all", **options}
        recipe = load_recipe("finetune", [f"data.sources.mine={json.dumps(spec)}"])
        (mine,) = (each for each in recipe.data.sources.values() if isinstance(each, FileSpec))
        return open_images(mine, tmp_path)

    return open_with


def test_pictures_of_one_class_are_asked_for_everyday_things_too(corn):
    pictures = corn("corn kernel", everyday_negatives=3)
    plain = corn("corn kernel").example(1, np.random.default_rng(5))
    asked = pictures.example(1, np.random.default_rng(5))
    first, *rest = asked.queries
    assert (first,) == plain.queries
    assert len({query.phrase for query in rest}) == 3
    for query in rest:
        assert query.phrase in absent_phrases([], LESSONS)
        assert (query.object_index, query.exhaustive) == ((), True)
    assert pictures.example(1, np.random.default_rng(5)).queries == asked.queries
    assert pictures.sample(np.random.default_rng(6)).queries != asked.queries
    assert (len(pictures), pictures.name(1)) == (2, "1.png")


def test_everyday_things_fill_up_what_other_classes_leave(corn):
    two = corn("corn kernel", "rice", "wheat", everyday_negatives=3).example(0, np.random.default_rng(0))
    absent = [query.phrase for query in two.queries if not query.object_index]
    assert {"rice", "wheat"} < set(absent)
    assert len(absent) == 3
    enough = corn("corn kernel", "rice", "wheat", everyday_negatives=2).example(0, np.random.default_rng(0))
    assert {query.phrase for query in enough.queries} == {"corn kernel", "rice", "wheat"}


def test_what_the_labels_may_speak_of_is_not_denied(corn):
    for name, kind in (("animal", "camel"), ("dumbbells", "dumbbell"), ("Vehicles", "taxi")):
        pictures = corn(name, everyday_negatives=200)
        denied = {query.phrase for query in pictures.example(0, np.random.default_rng(0)).queries[1:]}
        assert len(denied) > 60
        assert kind not in denied


def test_a_number_below_nothing_is_refused(corn):
    with pytest.raises(InputError, match="everyday_negatives"):
        corn("corn kernel", everyday_negatives=-1)
