"""Choosing thresholds: on data where the right ones are known, and judged on images that were left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.eval.analysis.calibrate import (
    CUTS,
    PRESENCES,
    SCORES,
    LabelledPair,
    ThresholdTally,
    calibrate,
    fit,
    judge,
    match,
    measure,
)
from masklet.eval.predict.labelled import LabelledImages
from masklet.formats.calibration import Thresholds
from masklet.ops.masks import rle_encode
from masklet.protocols import ImageSegmenter, Segmenter


def pair(  # one row of IoUs for each instance, the same at every cut
    iou: list[list[float]], scores: list[float], *, presence: float = 0.9, phrase: str = "coin", image: str = "a.png"
) -> LabelledPair:
    table = np.array(iou, np.float32).reshape(len(iou), len(scores))
    return LabelledPair(
        image=image,
        phrase=phrase,
        presence=presence,
        scores=np.array(scores, np.float64),
        iou=np.broadcast_to(table, (len(CUTS), *table.shape)).copy(),
    )


def random_pairs(rng: np.random.Generator, count: int) -> list[LabelledPair]:
    pairs = []
    for index in range(count):
        truths, found = int(rng.integers(0, 4)), int(rng.integers(0, 6))
        scores = np.sort(rng.random(found).round(3))[::-1]
        iou = rng.random((truths, found))
        each = pair(iou.tolist(), scores.tolist(), presence=float(rng.random()), image=f"{index}.png")
        pairs.append(each)
    return pairs


def confusable(rng: np.random.Generator, phrase: str, right: float, wrong: float, count: int) -> list[LabelledPair]:
    """Pairs of one instance that is found at a score about `right`, and of something else found about `wrong`."""
    pairs = []
    for index in range(count):
        hit, miss = right + 0.04 * rng.random(), wrong + 0.04 * rng.random()
        columns = sorted([(hit, 0.9), (miss, 0.1)], reverse=True)
        iou, scores = [[value for _, value in columns]], [score for score, _ in columns]
        pairs.append(pair(iou, scores, phrase=phrase, image=f"{index}.png"))
    return pairs


def test_the_best_score_takes_an_instance_first_and_each_once() -> None:
    iou = [[0.6, 0.9, 0.7], [0.0, 0.55, 0.2]]
    assert match(pair(iou, [0.9, 0.8, 0.7])).tolist() == [True, True, False]
    assert match(pair([[0.9, 0.6]], [0.9, 0.8])).tolist() == [True, False]
    assert match(pair([[0.49]], [0.9])).tolist() == [False]
    assert match(pair([], [0.9, 0.8])).tolist() == [False, False]


def test_sums_are_those_of_counting_anew_at_every_threshold() -> None:
    pairs = random_pairs(np.random.default_rng(0), 40)
    tally = ThresholdTally.of(pairs)
    for row, column in ((0, 0), (0, 25), (7, 20), (19, 70), (10, 50)):
        f1 = hits = found = 0.0
        for each in pairs:
            kept = (each.scores > SCORES[column]) & (each.presence >= PRESENCES[row])
            right, size = int((match(each) & kept).sum()), int(kept.sum()) + each.num_truths
            hits, found = hits + right, found + int(kept.sum())
            f1 += 2 * right / size if size else 1.0
        assert tally.f1[row, column] == pytest.approx(f1)
        assert (tally.hits[row, column], tally.found[row, column]) == (hits, found)
    assert tally.pairs == 40


def test_sums_add_up() -> None:
    pairs = random_pairs(np.random.default_rng(1), 30)
    parts, whole = ThresholdTally.of(pairs[:11]) + ThresholdTally.of(pairs[11:]), ThresholdTally.of(pairs)
    for name, value in vars(whole).items():
        np.testing.assert_allclose(getattr(parts, name), value)


def test_a_phrase_with_many_pairs_gets_the_threshold_that_separates_it() -> None:
    rng = np.random.default_rng(2)
    pairs = confusable(rng, "coin", 0.8, 0.6, 200) + confusable(rng, "leaf", 0.4, 0.2, 200)
    _, phrases = fit(pairs)
    assert 0.64 <= phrases["coin"].score <= 0.8
    assert 0.25 <= phrases["leaf"].score <= 0.4


def test_a_phrase_with_few_pairs_leans_on_all_and_one_with_fewer_has_none_of_its_own() -> None:
    rng = np.random.default_rng(3)
    absent = [pair([], [0.6], image=f"absent {i}.png") for i in range(300)]
    common = confusable(rng, "coin", 0.8, 0.6, 100) + absent
    few = confusable(rng, "leaf", 0.4, 0.2, 12)
    default, phrases = fit([*common, *few, *confusable(rng, "cat", 0.4, 0.2, 9)])
    assert set(phrases) == {"coin", "leaf"}
    assert 0.64 <= default.score <= 0.8
    assert phrases["leaf"].score > 0.5
    assert 0.25 <= fit([*common, *confusable(rng, "leaf", 0.4, 0.2, 200)])[1]["leaf"].score <= 0.4


def test_a_phrase_that_is_never_there_has_no_thresholds_of_its_own() -> None:
    absent = [pair([], [0.7], phrase="cat", image=f"{i}.png") for i in range(50)]
    _, phrases = fit(absent + confusable(np.random.default_rng(4), "coin", 0.8, 0.6, 50))
    assert set(phrases) == {"coin"}


def test_where_nothing_is_to_be_gained_nothing_changes() -> None:
    perfect = [pair([[0.9]], [0.9], image=f"{i}.png") for i in range(20)]
    default, phrases = fit(perfect)
    assert default == phrases["coin"] == Thresholds()


def test_presence_is_what_tells_absent_concepts_apart_when_scores_do_not() -> None:
    there = [pair([[0.9]], [0.8], presence=0.9, image=f"{i}.png") for i in range(50)]
    absent = [pair([], [0.8], presence=0.6, image=f"{i}.png") for i in range(50, 100)]
    default, _ = fit(there + absent)
    assert 0.6 < default.presence <= 0.9
    assert judge([(each, default) for each in there + absent])["local_F1"] == pytest.approx(1.0)


def test_a_target_precision_finds_as_much_as_it_allows() -> None:
    """Of detections by falling score the first 50 are right, then every second of 50, then none of 50."""
    scores = np.linspace(0.94, 0.2, 150)
    right = [True] * 50 + [True, False] * 25 + [False] * 50
    pairs = [
        pair([[0.9 * yes]], [score], image=f"{i}.png") for i, (score, yes) in enumerate(zip(scores, right, strict=True))
    ]
    strict, _ = fit(pairs, target_precision=0.95)
    loose, _ = fit(pairs, target_precision=0.6)
    for limits, least in ((strict, 0.95), (loose, 0.6)):
        judged = judge([(each, limits) for each in pairs])
        lower = judge([(each, Thresholds(score=limits.score - 0.06)) for each in pairs])
        assert judged["precision"] >= least - 1e-4
        assert lower["precision"] < least or lower["recall"] == judged["recall"]
    assert strict.score > loose.score


def test_a_target_that_cannot_be_reached_gives_the_most_precise() -> None:
    pairs = [pair([[0.9 * (i % 2)]], [0.3 + 0.6 * (i % 2)], image=f"{i}.png") for i in range(20)]
    wrong = [pair([], [0.92], image=f"w{i}.png") for i in range(10)]
    limits, _ = fit(pairs + wrong, target_precision=0.99)
    assert judge([(each, limits) for each in pairs + wrong])["precision"] == pytest.approx(0.5, abs=1e-3)


def test_the_cut_is_the_one_at_which_matches_overlap_most() -> None:
    each = pair([[0.6]], [0.9])
    each.iou[:, 0, 0] = (0.6, 0.7, 0.6, 0.55, 0.5)
    pairs = [LabelledPair(**{**vars(each), "image": f"{i}.png"}) for i in range(20)]
    assert fit(pairs)[0].mask == 0.4
    assert judge([(one, Thresholds(mask=0.4)) for one in pairs])["mask_IoU"] == pytest.approx(0.7)


def test_what_is_promised_was_measured_on_other_images() -> None:
    """Random scores cannot be calibrated: chosen on the same images they seem to be, on others they are not."""
    rng = np.random.default_rng(5)
    noise = [
        pair([[0.9 * (rng.random() < 0.5)]], [float(rng.random())], phrase=f"phrase {i % 4}", image=f"{i}.png")
        for i in range(80)
    ]
    found = calibrate(noise, "model", folds=4)
    figures = found.validation
    fitted = judge([(each, found.thresholds(each.phrase)) for each in noise])["local_F1"]
    assert figures["calibrated"]["local_F1"] < fitted
    separable = confusable(rng, "coin", 0.9, 0.7, 100)
    figures = calibrate(separable, "model", folds=5).validation
    assert figures["calibrated"]["local_F1"] == pytest.approx(1.0)
    assert figures["uncalibrated"]["local_F1"] == pytest.approx(2 / 3)
    assert figures["phrases"]["coin"] == {
        "pairs": 100,
        "instances": 100,
        "uncalibrated_local_F1": pytest.approx(2 / 3),
        "calibrated_local_F1": pytest.approx(1.0),
    }


def test_all_pairs_of_an_image_are_left_out_together() -> None:
    """Images of which every pair says the same would give themselves away."""
    pairs = [pair([[0.9]], [0.3], phrase=f"{image} {i}", image=f"{image}.png") for image in range(2) for i in range(20)]
    with pytest.raises(InputError, match=r"2 images with labels cannot be split into 3 parts"):
        calibrate(pairs, "model", folds=3)
    assert calibrate(pairs, "model", folds=2).validation["images"] == 2


class FakeModel(Segmenter, ImageSegmenter):
    """Finds the coin of every picture, 8 x 8 at a half and larger where it is cut lower, and a shadow."""

    identity = "fake-8-float32"
    size = (20, 30)
    phrases, scores = ("coin", "coin"), np.array([0.8, 0.6], np.float32)
    boxes = np.array([[4, 4, 12, 12], [20, 4, 28, 12]], np.float32)

    def open(self, _image: Path) -> "FakeModel":
        return self

    def find(self, phrases: list[str], *, threshold: float, assume_present: bool) -> "FakeModel":
        assert (threshold, assume_present) == (0.25, False)
        self.presence = dict.fromkeys(phrases, 0.7)
        return self

    def __len__(self) -> int:
        return len(self.scores)

    def mask(self, index: int, *, cut: float) -> np.ndarray:
        mask = np.zeros(self.size, bool)
        left = 4 + 16 * index
        mask[4:12, left : left + 8 + round(10 * (0.5 - cut))] = True
        return mask

    def close(self) -> None:
        pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures with a coin of 8 x 9 each, the second labelled by a box; one of them also shows a leaf."""
    mask = np.zeros((20, 30), bool)
    mask[4:12, 4:13] = True
    images = [{"id": i, "file_name": f"{i}.png", "width": 30, "height": 20} for i in (1, 2)]
    segmentation = {"size": [20, 30], "counts": rle_encode(mask)}
    box = [4, 4, 9, 8]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "segmentation": segmentation},
        {"id": 2, "image_id": 2, "category_id": 1, "bbox": box, "segmentation": []},
        {"id": 3, "image_id": 2, "category_id": 2, "bbox": [0, 0, 3, 3], "segmentation": [[0, 0, 3, 0, 3, 3]]},
    ]
    categories = [{"id": 1, "name": "coin"}, {"id": 2, "name": "leaf"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "labels.json").write_text(json.dumps(document))
    for record in images:
        Image.new("RGB", (30, 20), "grey").save(tmp_path / record["file_name"])
    return tmp_path


def test_pairs_are_measured_against_masks_and_where_there_are_none_against_boxes(data: Path) -> None:
    calls = []
    labelled = LabelledImages(data / "labels.json", data)
    pairs = list(measure(labelled, FakeModel(), data / "cache", advance=lambda: calls.append(1)))
    assert sorted((each.image, each.phrase, each.num_truths) for each in pairs) == [
        ("1.png", "coin", 1),
        ("1.png", "leaf", 0),
        ("2.png", "coin", 1),
        ("2.png", "leaf", 1),
    ]
    by_mask, by_box = (next(p for p in pairs if (p.image, p.phrase) == (name, "coin")) for name in ("1.png", "2.png"))
    np.testing.assert_allclose(by_mask.iou[:, 0, 0], [9 / 10, 9 / 9, 8 / 9, 7 / 9, 6 / 9], rtol=1e-6)
    np.testing.assert_allclose(by_box.iou[:, 0, 0], [8 / 9] * 5, rtol=1e-6)
    assert by_mask.iou[:, 0, 1].max() == 0
    np.testing.assert_allclose(by_mask.scores, [0.8, 0.6])
    assert len(calls) == 2


def test_labels_of_either_layout_are_read_in_an_order_of_their_own(data: Path) -> None:
    images = [
        {"id": i, "file_name": f"{1 + i % 2}.png", "width": 30, "height": 20, "text_input": phrase}
        for i, phrase in enumerate(("coin", "leaf", "cat"))
    ]
    (data / "saco.json").write_text(json.dumps({"images": images, "annotations": []}))
    saco = LabelledImages(data / "saco.json", data)
    asked = {saco.name(i): [q.phrase for q in saco.queries(saco.example(i))] for i in range(len(saco))}
    assert asked == {"1.png": ["coin", "cat"], "2.png": ["leaf"]}
    assert len(LabelledImages(data / "saco.json", data, limit=1)) == 1
    names = {
        tuple(coco.name(i) for i in range(2))
        for seed in range(9)
        for coco in [LabelledImages(data / "labels.json", data, seed=seed)]
    }
    assert names == {("1.png", "2.png"), ("2.png", "1.png")}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"images": []}, "no known layout of labels"),
        ({"annotations": [{"id": 1}]}, "no known layout of labels"),
        (
            {"images": [{"id": 1}], "annotations": [], "categories": []},
            "image 1: file_name: is missing",
        ),
        ({"images": [{"id": 1, "width": 9, "height": 9}]}, "image 1: file_name: is missing"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, document: dict, message: str) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        LabelledImages(tmp_path / "labels.json", tmp_path)


def test_a_broken_label_and_a_name_that_leads_away_are_refused(data: Path) -> None:
    document = json.loads((data / "labels.json").read_text())
    document["annotations"][0]["category_id"] = 9
    (data / "broken.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"broken\.json: annotation 1: category_id: there is no category 9"):
        LabelledImages(data / "broken.json", data)
    document["annotations"][0] |= {"category_id": 1, "segmentation": {"size": [20, 30], "counts": "damaged"}}
    (data / "broken.json").write_text(json.dumps(document))
    labelled = LabelledImages(data / "broken.json", data)
    with pytest.raises(InputError, match=r"broken\.json: annotation 1: segmentation: "):
        [labelled.example(i) for i in range(2)]
    document["annotations"] = []
    document["images"] = [{"id": 1, "file_name": "../labels.json", "width": 30, "height": 20}]
    (data / "away.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="leads out of"):
        LabelledImages(data / "away.json", data).example(0)
