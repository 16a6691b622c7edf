"""Readers and mixtures: what is positive, what may safely be called absent, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.coco import CocoSource
from masklet.data.labels.saco import SacoSource
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import (
    CocoConfig,
    GeneratedSource,
    Mixture,
    held_out_names,
    kept_names,
)
from masklet.errors import InputError
from masklet.ops.masks import rle_encode

SIZE = (20, 30)  # height, width


def box_mask(x: int, y: int, width: int, height: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + height, x : x + width] = True
    return mask


def write(folder: Path, document: dict[str, Any]) -> Path:
    for record in document["images"]:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / Path(record["file_name"]).name)
    path = folder / "labels.json"
    path.write_text(json.dumps(document))
    return path


def coco_document() -> dict[str, Any]:
    mask = box_mask(2, 3, 10, 5)
    categories = [("mug", ["cup"]), ("plate", []), ("resistor", ["part"]), ("chip", ["part"]), ("cell", [])]
    return {
        "categories": [{"id": i, "name": n, "synonyms": s} for i, (n, s) in enumerate(categories)],
        "images": [
            image(0, "kitchen", "listed categories"),
            image(1, "kitchen", "mug"),
            image(2, "kitchen", "listed categories (some unlabelled)"),
            image(3, "board", "parts (boxes only)"),
            image(4, "slide", ["cell"]),
        ],
        "annotations": [
            label(0, 0, 0, {"size": SIZE, "counts": rle_encode(mask)}),
            label(1, 0, 1, [[2, 3, 12, 3, 12, 8, 2, 8]]),
            label(2, 1, 0, []),
            label(3, 2, 0, {"size": SIZE, "counts": [0, 600]}),
            label(4, 3, 2, []),
            label(5, 3, 3, []),
            label(6, 4, 4, []),
            {**label(7, 0, 1, []), "iscrowd": 1},
        ],
    }


def image(index: int, source: str, exhaustive: Any) -> dict[str, Any]:
    name = f"{index}.png"
    return {"id": index, "file_name": name, "height": 20, "width": 30, "source": source, "exhaustive": exhaustive}


def label(index: int, image_id: int, category: int, segmentation: Any) -> dict[str, Any]:
    return {
        "id": index,
        "image_id": image_id,
        "category_id": category,
        "bbox": [2, 3, 10, 5],
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def open_coco(folder: Path, document: dict[str, Any] | None = None, **changes: Any) -> CocoSource:
    settings = {"split": "all", "scenes": (("kitchen",), ("board",), ("slide",)), "synonym_probability": 1.0}
    return CocoSource(write(folder, document or coco_document()), folder, CocoConfig(**{**settings, **changes}))


def asked(example: Example) -> dict[str, tuple[tuple[int, ...], bool]]:
    return {query.phrase: (query.object_index, query.exhaustive) for query in example.queries}


def test_the_three_ways_to_write_a_mask_and_a_box_alone(tmp_path) -> None:
    source, rng = open_coco(tmp_path), np.random.default_rng(0)
    example = source.example(0, rng)
    np.testing.assert_array_equal(example.masks[0], box_mask(2, 3, 10, 5))
    np.testing.assert_array_equal(example.masks[1], example.masks[0])
    np.testing.assert_array_equal(example.boxes_xyxy, [[2, 3, 12, 8]] * 2)
    assert example.mask_valid.all()
    assert source.example(2, rng).masks.all()
    assert source.example(1, rng).mask_valid.tolist() == [False]


def test_names_and_synonyms_are_asked_and_crowds_are_not_objects(tmp_path) -> None:
    questions = asked(open_coco(tmp_path).example(0, np.random.default_rng(0)))
    assert questions["mug"] == questions["cup"] == ((0,), True)
    assert questions["plate"] == ((1,), False)  # a crowd of plates was not told apart


def test_only_what_is_labelled_in_full_is_called_absent_in_the_own_scene(tmp_path) -> None:
    source, rng = open_coco(tmp_path), np.random.default_rng(0)
    of_mug_only = asked(source.example(1, rng))
    assert of_mug_only["mug"] == ((0,), True)
    assert "plate" not in of_mug_only
    of_nothing = asked(source.example(2, rng))
    assert of_nothing["mug"] == ((0,), False)
    assert "plate" not in of_nothing
    assert {"resistor", "chip", "part", "cell"} >= {phrase for phrase, (found, _) in of_nothing.items() if not found}


def test_a_claim_for_a_broad_name_holds_for_the_narrower_ones(tmp_path) -> None:
    questions = asked(open_coco(tmp_path).example(3, np.random.default_rng(0)))
    assert questions["part"] == ((0, 1), True)
    assert questions["chip"] == ((1,), True)


def test_without_scenes_nothing_of_other_sources_is_called_absent(tmp_path) -> None:
    questions = asked(open_coco(tmp_path, scenes=()).example(4, np.random.default_rng(0)))
    assert questions == {"cell": ((0,), True)}


def test_an_ordinary_coco_file_takes_all_other_categories_as_absent(tmp_path) -> None:
    document = coco_document()
    for record in document["images"]:
        del record["source"], record["exhaustive"]
    questions = asked(open_coco(tmp_path, document, max_negatives=10).example(0, np.random.default_rng(0)))
    assert {phrase for phrase, (found, _) in questions.items() if not found} == {"resistor", "chip", "part", "cell"}


def test_a_phrase_of_which_there_is_only_a_crowd_is_not_asked(tmp_path) -> None:
    document = coco_document()
    document["annotations"][1]["iscrowd"] = 1
    assert "plate" not in asked(open_coco(tmp_path, document).example(0, np.random.default_rng(0)))


def test_hard_negatives_are_asked_first(tmp_path) -> None:
    document = coco_document()
    document["images"][0]["hard_negatives"] = ["bowl", "saucer"]
    source = open_coco(tmp_path, document, max_negatives=2)
    for seed in range(5):
        example = source.example(0, np.random.default_rng(seed))
        assert {phrase for phrase, (found, _) in asked(example).items() if not found} == {"bowl", "saucer"}
        assert {"bowl", "saucer"} <= example.absent
    more = asked(open_coco(tmp_path, document, max_negatives=4).example(0, np.random.default_rng(0)))
    assert len([phrase for phrase, (found, _) in more.items() if not found]) == 4


def test_what_an_image_is_labelled_with_as_a_whole_is_asked_without_objects_and_never_denied(tmp_path) -> None:
    document = coco_document()
    document["images"][0]["present"] = ["cell", "mug"]
    example = open_coco(tmp_path, document, max_negatives=20).example(0, np.random.default_rng(0))
    of_phrase = {query.phrase: query for query in example.queries}
    assert of_phrase["cell"] == PhraseQuery.somewhere("cell")
    assert of_phrase["mug"].object_index  # which has labels of its own
    assert not {"cell", "mug"} & example.absent


def test_what_is_labelled_in_full_and_not_there_is_known_to_be_absent(tmp_path) -> None:
    source, rng = open_coco(tmp_path, scenes=()), np.random.default_rng(0)
    assert source.example(1, rng).absent == frozenset()
    assert source.example(3, rng).absent == frozenset()
    other_scenes = open_coco(tmp_path).example(3, rng).absent
    assert other_scenes == {"mug", "cup", "plate", "cell"}
    ordinary = coco_document()
    for record in ordinary["images"]:
        del record["source"], record["exhaustive"]
    source = open_coco(tmp_path, ordinary, max_negatives=1)
    assert source.example(1, rng).absent == {"plate", "resistor", "part", "chip", "cell"}


def test_a_limit_keeps_the_same_pictures_and_smaller_ones_a_part_of_them() -> None:
    names = [f"{index}.jpg" for index in range(200)]
    few, many = (kept_names(names, "train", limit, "here") for limit in (10, 50))
    assert len(few) == 10
    assert set(few) < set(many)
    assert few == kept_names(reversed(names), "train", 10, "here")
    assert not held_out_names(names) & set(many)
    assert kept_names(names, "all", 1000, "here") == sorted(names)
    with pytest.raises(InputError, match="here: no image in split 'train'"):
        kept_names([], "train", None, "here")


def test_sources_keep_to_their_limit(tmp_path) -> None:
    assert len(open_coco(tmp_path, limit=2)) == 2
    source = open_coco(tmp_path, limit=1)
    assert source.name(0) == source.records[0].file_name


def test_a_tenth_is_held_out_and_nothing_is_in_both() -> None:
    names = [f"{index}.jpg" for index in range(5000)]
    held_out = held_out_names(names)
    assert 400 < len(held_out) < 600
    assert held_out_names(names[:2500]) == held_out & set(names[:2500]), "each by its own name"
    assert set(kept_names(names, "heldout", None, "here")) == held_out
    assert set(kept_names(names, "train", None, "here")) == set(names) - held_out


@pytest.mark.parametrize(("count", "expected"), [(3, 0), (4, 1), (12, 3), (20, 5), (30, 5)])
def test_of_few_images_enough_are_held_out_for_figures(count, expected) -> None:
    for prefix in "abc":
        names = [f"{prefix}{index}.jpg" for index in range(count)]
        tenth = len(held_out_names([*names, *(f"z{index}" for index in range(1000))]) & set(names))
        assert len(held_out_names(names)) == max(expected, tenth)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["annotations"][0]["segmentation"].update(counts="zzz"), "annotation 0"),
        (lambda d: d["annotations"][0]["segmentation"].update(size=[4, 4]), "annotation 0"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2]), "annotation 0"),
        (lambda d: d["images"][0].update(width=31), "image 0"),
        (lambda d: d["images"][0].update(file_name="../0.png"), "image 0: the file name .* leads out"),
        (lambda d: d["images"][0].update(exhaustive=3), "image 0: exhaustive: is "),
        (
            lambda d: d["images"][0].update(hard_negatives="dog"),
            "image 0: hard_negatives: is ",
        ),
        (lambda d: d["images"][0].update(hard_negatives=["mug"]), "image 0: hard_negatives names 'mug'"),
        (lambda d: d["categories"][0].update(name=None), "category 0: name: is "),
        (lambda d: d["categories"][0].update(synonyms="cup"), "category 0: synonyms: is "),
        (lambda d: d["annotations"][0].update(category_id=77), "annotation 0: category_id: there is no category 77"),
        (lambda d: d["annotations"][0].update(image_id=77), "annotation 0: image_id: there is no image 77"),
        (lambda d: d["images"][1].update(id=0), "image 0: id: is given twice"),
        (lambda d: d["images"][0].update(source=["a"]), "image 0: source: is "),
        (
            lambda d: d["annotations"][0].update(bbox=["a", 1, 2, 3]),
            "annotation 0: bbox.0: is ",
        ),
    ],
)
def test_broken_records_are_named(tmp_path, change, named) -> None:
    document = coco_document()
    change(document)
    with pytest.raises(InputError, match=named):
        open_coco(tmp_path, document).example(0, np.random.default_rng(0))


def test_missing_pictures_and_sections_are_named(tmp_path) -> None:
    source = open_coco(tmp_path)
    (tmp_path / "0.png").unlink()
    with pytest.raises(InputError, match=r"0\.png"):
        source.example(0, np.random.default_rng(0))
    (tmp_path / "labels.json").write_text('{"images": []}')
    with pytest.raises(InputError, match="has no images: COCO labels are expected"):
        CocoSource(tmp_path / "labels.json", tmp_path, CocoConfig())


def saco_document() -> dict[str, Any]:
    def pair(index: int, phrase: str, exhaustive: int = 1) -> dict[str, Any]:
        return {
            "id": index,
            "file_name": "a.png",
            "height": 20,
            "width": 30,
            "text_input": phrase,
            "is_instance_exhaustive": exhaustive,
        }

    counts = rle_encode(box_mask(3, 2, 6, 4))
    annotation = {"bbox": [0.1, 0.1, 0.2, 0.2], "segmentation": {"size": SIZE, "counts": counts}, "category_id": 1}
    crowd = {**annotation, "iscrowd": 1}
    return {
        "images": [pair(1, "mug"), pair(2, "dog"), pair(3, "red mug", 0), pair(4, "people"), pair(5, "bird")],
        "annotations": [
            {**annotation, "id": 1, "image_id": 1},
            {**annotation, "id": 2, "image_id": 3},
            {**crowd, "id": 3, "image_id": 4},
            {**annotation, "id": 4, "image_id": 5},
            {**crowd, "id": 5, "image_id": 5},
        ],
    }


def test_saco_pairs_of_one_picture_become_its_questions(tmp_path) -> None:
    source = SacoSource(write(tmp_path, saco_document()), tmp_path, "all")
    example = source.example(0)
    assert len(source) == 1
    assert asked(example) == {"mug": ((0,), True), "dog": ((), True), "red mug": ((1,), False), "bird": ((2,), False)}
    np.testing.assert_allclose(example.boxes_xyxy[0], [3, 2, 9, 6], atol=1e-5)
    np.testing.assert_array_equal(example.masks[0], box_mask(3, 2, 6, 4))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d["images"][0].pop("text_input"), "image 1: text_input: is missing"),
        (lambda d: d["annotations"][0].update(bbox=[0.1, 0.2]), "annotation 1: bbox"),
        (lambda d: d["annotations"][0].update(image_id=99), "annotation 1: image_id: there is no image 99"),
        (lambda d: d["images"][0].update(file_name="/a.png"), "image 1: the file name .* leads out"),
    ],
)
def test_broken_records_of_saco_files_are_named(tmp_path, change, named) -> None:
    document = saco_document()
    write(tmp_path, document)
    change(document)
    for record in document["images"][1:]:
        record["file_name"] = document["images"][0]["file_name"]
    (tmp_path / "labels.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=named):
        SacoSource(tmp_path / "labels.json", tmp_path, "all").example(0)


def render(seed: int, source: str = "generated") -> Example:
    return Example(
        image=np.full((4, 4, 3), seed % 256, np.uint8),
        boxes_xyxy=np.zeros((0, 4), np.float32),
        masks=np.zeros((0, 4, 4), bool),
        mask_valid=np.zeros(0, bool),
        queries=(),
        source=source,
    )


def test_an_item_of_a_mixture_depends_on_seed_and_index_alone() -> None:
    mixture = Mixture([GeneratedSource(render)], [1.0], seed=3)
    backwards = [mixture[index].image[0, 0, 0] for index in reversed(range(20))][::-1]
    assert backwards == [mixture[index].image[0, 0, 0] for index in range(20)]
    assert len(set(backwards)) > 10
    other = Mixture([GeneratedSource(render)], [1.0], seed=4)
    assert backwards != [other[index].image[0, 0, 0] for index in range(20)]


def test_sources_are_drawn_by_weight() -> None:
    sources = [GeneratedSource(lambda seed, name=name: render(seed, name)) for name in "abc"]
    drawn = [Mixture(sources, [3.0, 1.0, 0.0], seed=0)[index].source for index in range(400)]
    assert drawn.count("c") == 0
    assert 260 < drawn.count("a") < 340


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [2.0, -1.0]])
def test_weights_that_make_no_sense_are_refused(weights) -> None:
    with pytest.raises(ValueError, match="weights"):
        Mixture([GeneratedSource(render)] * 2, weights, seed=0)
