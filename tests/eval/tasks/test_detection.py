"""AP by the library against pycocotools, and the protocols around it against cases counted by hand."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from masklet.errors import InputError
from masklet.eval.predict.predict import PairPrediction
from masklet.eval.tasks.detection import DetectionProtocol, DetectionTruth, requests_of, results_of
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage, CocoResult, read_results
from masklet.formats.records import RunLengths
from masklet.ops.masks import rle_encode

NAMES = ("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large")
HEIGHT, WIDTH = 120, 160


def rectangle(x: int, y: int, width: int, height: int) -> dict:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + height, x : x + width] = True
    return {"size": [HEIGHT, WIDTH], "counts": rle_encode(mask)}


def random_files(folder: Path, seed: int) -> tuple[Path, Path]:
    """Some images of rectangles in three categories, some of them crowds, found more or less well."""
    rng = np.random.default_rng(seed)
    document = {
        "images": [{"id": 10 + i, "width": WIDTH, "height": HEIGHT, "file_name": f"{i}.jpg"} for i in range(6)],
        "categories": [{"id": each, "name": f"kind_{each} (a remark)"} for each in (1, 3, 7)],
        "annotations": [],
    }
    results = []
    for image in document["images"]:
        for _ in range(rng.integers(0, 7)):
            x, y = int(rng.integers(0, 100)), int(rng.integers(0, 70))
            width, height = int(rng.integers(4, 60)), int(rng.integers(4, 50))
            category = int(rng.choice([1, 3, 7]))
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": image["id"],
                    "category_id": category,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(rng.random() < 0.1),
                    "segmentation": rectangle(x, y, width, height),
                }
            )
            for _ in range(rng.integers(0, 3)):
                dx, dy = (int(value) for value in rng.integers(0, 8, 2))
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": category if rng.random() < 0.8 else 3,
                        "bbox": [x + dx, y + dy, width, height],
                        "segmentation": rectangle(x + dx, y + dy, width, height),
                        "score": round(float(rng.random()), 3),
                    }
                )
    (folder / "labels.json").write_text(json.dumps(document))
    (folder / "results.json").write_text(json.dumps(results))
    return folder / "labels.json", folder / "results.json"


@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_pycocotools(seed, kind, tmp_path):
    labels, results = random_files(tmp_path, seed)
    truth = DetectionTruth.read(labels)
    ours = DetectionProtocol(kinds=(kind,)).score(truth, read_results(results, truth.labels))[kind]
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(labels))
        found = [
            {
                name: each[name]
                for name in ("image_id", "category_id", "score", {"bbox": "bbox", "segm": "segmentation"}[kind])
            }
            for each in json.loads(results.read_text())
        ]
        evaluation = COCOeval(theirs, theirs.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    np.testing.assert_allclose([ours[name] for name in NAMES], evaluation.stats[:6], rtol=0, atol=1e-9)


def labelled(images: int, objects: list[tuple[int, int]], **fields) -> DetectionTruth:
    """Images 1, 2, ... with one box for each (image, category)."""
    box = [10.0, 10.0, 40.0, 40.0]
    labels = CocoFile(
        images={
            i: CocoImage(id=i, width=WIDTH, height=HEIGHT, file_name=f"{i}.jpg", **fields) for i in range(1, images + 1)
        },
        categories={
            1: CocoCategory(id=1, name="cat", frequency="f"),
            2: CocoCategory(id=2, name="grey_seal_(animal)", frequency="r"),
        },
        annotations=[
            CocoAnnotation(id=place, image_id=image, category_id=category, bbox=box)
            for place, (image, category) in enumerate(objects, start=1)
        ],
    )
    return DetectionTruth(path=Path("labels.json"), labels=labels)


def result(image: int, category: int, score: float) -> CocoResult:
    return CocoResult(image_id=image, category_id=category, bbox=[10.0, 10.0, 40.0, 40.0], score=score)


def test_the_positive_split_forgives_false_alarms_on_absent_categories():
    truth = labelled(2, [(1, 1)])
    results = [result(1, 1, 0.5), result(2, 1, 0.9)]
    assert DetectionProtocol().score(truth, results)["bbox"]["AP_50"] == pytest.approx(0.5)
    assert DetectionProtocol(present_only=True).score(truth, results)["bbox"]["AP_50"] == pytest.approx(1)


def test_lvis_judges_a_category_only_where_it_was_looked_for():
    results = [result(1, 1, 0.5), result(2, 1, 0.9), result(1, 2, 0.9)]
    unjudged = labelled(2, [(1, 1), (1, 2)], neg_category_ids=[], not_exhaustive_category_ids=[])
    figures = DetectionProtocol(lvis=True).score(unjudged, results)["bbox"]
    assert (figures["AP_all"], figures["APr"], figures["APf"]) == pytest.approx((1, 1, 1))
    negative = labelled(2, [(1, 1), (1, 2)], neg_category_ids=[1], not_exhaustive_category_ids=[])
    figures = DetectionProtocol(lvis=True).score(negative, results)["bbox"]
    assert (figures["APf"], figures["APr"], figures["APc"]) == pytest.approx((0.5, 1, -1))


def test_results_are_capped_by_image_or_for_lvis_by_category(monkeypatch):
    monkeypatch.setattr("masklet.eval.tasks.detection.PER_IMAGE", 2)
    monkeypatch.setattr("masklet.eval.tasks.detection.PER_CATEGORY", 3)
    truth = labelled(2, [(1, 1)])
    results = [result(image, category, score) for score in (0.1, 0.9, 0.5) for image in (1, 2) for category in (1, 2)]
    kept = DetectionProtocol().select(results, truth)
    assert sorted((each.image_id, each.score) for each in kept) == [(1, 0.9), (1, 0.9), (2, 0.9), (2, 0.9)]
    kept = DetectionProtocol(lvis=True).select(results, truth)
    assert sorted((each.category_id, each.score) for each in kept) == [
        (category, score) for category in (1, 2) for score in (0.5, 0.9, 0.9)
    ]


def test_nothing_found_is_zero_and_nothing_to_find_is_minus_one():
    assert DetectionProtocol().score(labelled(1, [(1, 1)]), [])["bbox"]["AP_all"] == 0
    assert DetectionProtocol().score(labelled(1, []), [result(1, 1, 0.5)])["bbox"]["AP_all"] == -1


def test_every_category_is_asked_of_every_image_and_the_answers_find_their_way_back():
    truth = labelled(2, [(1, 1)])
    requests = requests_of(truth)
    assert [(each.image, each.phrase) for each in requests] == [
        (f"{image}.jpg", phrase) for image in (1, 2) for phrase in ("cat", "grey seal")
    ]
    answer = PairPrediction(
        pair_id=requests[3].pair_id,
        height=HEIGHT,
        width=WIDTH,
        presence=0.9,
        scores=np.array([0.8]),
        boxes_xyxy=np.array([[1.0, 2.0, 4.0, 8.0]]),
        masks={0.5: ("abc",)},
    )
    (record,) = results_of([answer], truth)
    assert (record.image_id, record.category_id, record.bbox) == (2, 2, [1, 2, 3, 6])
    assert record.segmentation == RunLengths(size=[HEIGHT, WIDTH], counts="abc")


@pytest.mark.parametrize(
    ("labels", "results", "message"),
    [
        ({"images": []}, [], "labels.json: has no images"),
        ({"images": [{"id": 1, "width": 9, "height": 9}]}, [], "labels.json: has no categories"),
        (None, {"a": [1]}, "results.json: has no images: COCO labels are expected"),
        (None, [{"image_id": 9, "category_id": 1, "score": 1.0}], "result 0: image_id: there is no image 9"),
        (None, [{"image_id": 1, "category_id": 9, "score": 1.0}], "result 0: category_id: there is no category 9"),
        (None, [{"image_id": 1, "category_id": 1}], "score: is missing"),
        (None, [{"image_id": 1, "category_id": 1, "score": 1.0}], "result 0 has no bbox, which --iou asks for"),
    ],
)
def test_broken_files_are_told(labels, results, message, tmp_path):
    good = {
        "images": [{"id": 1, "width": 9, "height": 9}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 3]}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels or good))
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(InputError, match=message):
        _score_files(tmp_path)


def _score_files(folder: Path) -> None:
    truth = DetectionTruth.read(folder / "labels.json")
    DetectionProtocol().score(truth, read_results(folder / "results.json", truth.labels))


def document(annotations: list[dict], **image) -> dict:
    images = [{"id": key, "width": 80, "height": 60, "file_name": f"{key}.jpg", **image} for key in (1, 2, 3, 4)]
    return {"images": images, "categories": [{"id": 1, "name": "mug"}], "annotations": annotations}


def score_document(folder: Path, labels: dict, results: list[dict], **protocol) -> dict[str, float]:
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "results.json").write_text(json.dumps(results))
    truth = DetectionTruth.read(folder / "labels.json")
    figures = DetectionProtocol(**protocol).score(truth, read_results(folder / "results.json", truth.labels))
    return next(iter(figures.values()))


@pytest.mark.parametrize("ids", [(1, 2, 3, 4), (0, 1, 2, 3), (1, 2, 1, 2), (1, 1, 1, 1), "abcd", (None,) * 4])
@pytest.mark.parametrize("image_id", [int, str])
def test_ids_of_any_kind_do_not_change_figures(ids, image_id, tmp_path):
    box = {"category_id": 1, "bbox": [10, 10, 30, 20]}
    labels = document([{"id": key, "image_id": image_id(place), **box} for place, key in enumerate(ids, start=1)])
    for each in labels["images"]:
        each["id"] = image_id(each["id"])
    results = [{"image_id": image_id(place), "score": 0.9, **box} for place in (1, 2, 3, 4)]
    assert score_document(tmp_path, labels, results)["AP_all"] == pytest.approx(1)


TRIANGLE = [[0, 0, 40, 0, 0, 40]]  # 800 pixels of area in a box of 1600: small, where the box is of medium size


@pytest.mark.parametrize("stated", [{}, {"area": 1600.1}, {"area": 0}, {"area": 3}, {"area": None}])
@pytest.mark.parametrize("kind", ["bbox", "segm"])
@pytest.mark.parametrize("box", [{"bbox": [0, 0, 40, 40]}, {}, {"bbox": []}])
def test_a_missing_or_wrong_area_and_a_missing_box_come_from_the_mask(stated, kind, box, tmp_path):
    from masklet.ops.masks import polygons_to_mask

    label = {"image_id": 1, "category_id": 1, "segmentation": TRIANGLE, **box, **stated}
    mask = {"size": [60, 80], "counts": rle_encode(polygons_to_mask(TRIANGLE, 60, 80))}
    result = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40], "segmentation": mask, "score": 0.9}
    figures = score_document(tmp_path, document([label]), [result], kinds=(kind,))
    assert (figures["AP_small"], figures["AP_medium"]) == pytest.approx((1, -1))
    run_lengths = score_document(tmp_path, document([label | {"segmentation": mask}]), [result], kinds=(kind,))
    assert (run_lengths["AP_small"], run_lengths["AP_medium"]) == pytest.approx((1, -1))


def test_a_stated_area_that_fits_is_kept(tmp_path):
    label = {"image_id": 1, "category_id": 1, "segmentation": TRIANGLE, "bbox": [0, 0, 40, 40], "area": 1100}
    result = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.9}
    assert score_document(tmp_path, document([label]), [result])["AP_medium"] == pytest.approx(1)


def test_a_polygon_of_two_points_matters_where_masks_are_scored_alone(tmp_path):
    label = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 3], "segmentation": [[0, 0, 3, 3]]}
    result = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 3], "score": 0.9}
    assert score_document(tmp_path, document([label]), [result])["AP_all"] == pytest.approx(1)
    with pytest.raises(InputError, match="annotation 7: segmentation: a polygon needs three points or more"):
        score_document(tmp_path, document([label]), [], kinds=("segm",))


def test_lvis_rules_name_the_field_that_ordinary_files_lack(tmp_path):
    label = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}
    with pytest.raises(InputError, match="category 1: frequency: is missing; --lvis needs it"):
        score_document(tmp_path, document([label]), [], lvis=True)
    labels = document([label])
    labels["categories"][0]["frequency"] = "r"
    result = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.9}
    assert score_document(tmp_path, labels, [result], lvis=True)["APr"] == pytest.approx(1)


def test_sizes_are_needed_for_polygons_alone(tmp_path):
    label = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": TRIANGLE}
    labels = document([label], width=None, height=None)
    assert score_document(tmp_path, labels, [])["AP_all"] == 0
    with pytest.raises(InputError, match="image 1: width, height: are missing; --iou masks needs them"):
        score_document(tmp_path, labels, [], kinds=("segm",))
