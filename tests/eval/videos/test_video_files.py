"""Reading truth and predictions of videos: what is taken from them, and what is said of files that are wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import video_documents as vd

from masklet.errors import InputError
from masklet.eval.videos.video_files import read_predictions, read_truth
from masklet.eval.videos.video_scores import score_videos

MASKS = [vd.square(4), None, vd.square(6)]


def test_reads_what_is_published(tmp_path: Path) -> None:
    annotations = [vd.truth(1, 7, MASKS, noun_phrase="left hand"), vd.truth(0, 3, MASKS)]
    path, found = vd.write(tmp_path, vd.document(annotations, [(0, 9)], (3, 3)), [vd.prediction(0, 9, 0.25, MASKS)])
    truth = read_truth(path)
    video = truth.videos[1]
    assert (video.name, video.height, video.width, video.length) == ("video_1", vd.HEIGHT, vd.WIDTH, 3)
    assert video.file_names[2] == "video_1/00002.jpg"
    assert truth.asked == {(1, 7), (0, 3), (0, 9)}
    assert truth.phrases == {7: "thing 7", 3: "thing 3", 9: "thing 9"}, "categories that nobody asks for are left out"
    first = truth.masklets[0]
    assert (first.video_id, first.phrase_id, first.score) == (1, 7, 1)
    assert first.frames.tolist() == [0, 2]
    assert first.counts == tuple(annotations[0]["segmentations"][frame]["counts"] for frame in (0, 2))
    assert first.boxes_xywh is not None
    assert first.boxes_xywh.tolist() == [[4, 4, 6, 6], [0, 0, 0, 0], [6, 4, 6, 6]]
    (prediction,) = read_predictions(found, truth.videos)
    assert (prediction.video_id, prediction.phrase_id, prediction.score) == (0, 9, 0.25)


def test_reads_youtube_vis(tmp_path: Path) -> None:
    """No pairs, no names of videos, plain counts; the categories are the phrases."""
    truths = vd.document([vd.truth(0, 3, MASKS)])
    del truths["video_np_pairs"], truths["videos"][0]["video_name"]
    plain = {"size": [vd.HEIGHT, vd.WIDTH], "counts": [0, 5, vd.HEIGHT * vd.WIDTH - 5]}
    truths["annotations"][0]["segmentations"] = [plain, None, None]
    del truths["annotations"][0]["bboxes"]
    path, found = vd.write(tmp_path, truths, [vd.prediction(0, 3, 0.9, [None] * 3, segmentations=[plain, None, None])])
    truth = read_truth(path)
    assert truth.asked == {(0, 3)}
    assert truth.phrases == {3: "phrase 3"}
    assert truth.videos[0].name == "video_0"
    figures = score_videos(truth, read_predictions(found, truth.videos)).metrics()
    assert figures["video_mask_mAP_50_95"] == pytest.approx(1)


def test_crowds_are_nothing_to_find(tmp_path: Path) -> None:
    path, _ = vd.write(tmp_path, vd.document([vd.truth(0, 3, MASKS, iscrowd=1)]), [])
    truth = read_truth(path)
    assert truth.masklets == ()
    assert truth.asked == {(0, 3)}


def test_a_category_that_is_declared_nowhere_goes_by_its_number(tmp_path: Path) -> None:
    truths = vd.document([vd.truth(0, 777, MASKS)])
    del truths["video_np_pairs"]
    path, found = vd.write(tmp_path, truths, [vd.prediction(0, 777, 0.9, MASKS), vd.prediction(0, 888, 0.9, MASKS)])
    truth = read_truth(path)
    assert truth.phrases == {777: "777"}
    figures = score_videos(truth, read_predictions(found, truth.videos)).metrics()
    assert figures["video_mask_demo_positive_micro_f1_50"] > 0.999
    assert figures["video_mask_mAP_50_95"] == pytest.approx(1)


Change = Callable[[dict], object]
BROKEN_TRUTH: dict[str, tuple[Change, str]] = {
    "no field": (lambda d: d["annotations"][0].pop("category_id"), "annotation 1: category_id: is missing"),
    "text for a number": (lambda d: d["videos"][0].update(height="20"), "video 0: height: is "),
    "no box": (
        lambda d: d["annotations"][0]["bboxes"].__setitem__(2, [1, 2, 3]),
        "annotation 1: bboxes.2: is [1, 2, 3]; a list of 4",
    ),
    "not a number": (
        lambda d: d["annotations"][0]["bboxes"].__setitem__(0, [1, 2, 3, float("nan")]),
        "annotation 1: bboxes.0.3: is ",
    ),
    "inside out": (
        lambda d: d["annotations"][0]["bboxes"].__setitem__(2, [9, 9, 4, -3]),
        "annotation 1: bboxes.2: its width or height is negative",
    ),
    "other length": (
        lambda d: d["annotations"][0]["segmentations"].pop(),
        "annotation 1: segmentations: 2 entries for the 3 frames of video 0",
    ),
    "other size": (
        lambda d: d["annotations"][0]["segmentations"][2].update(size=[30, 20]),
        "annotation 1: segmentations.2.size: 30 x 20, but video 0 is 20 x 30",
    ),
    "unknown video": (lambda d: d["annotations"][0].update(video_id=5), "annotation 1: video_id: there is no video 5"),
    "pair of no video": (
        lambda d: d["video_np_pairs"][0].update(video_id=5),
        "the pair of video 5 and category 3: video_id: there is no video 5",
    ),
    "annotation twice": (
        lambda d: d["annotations"].append(d["annotations"][0]),
        "annotation 1 is given twice",
    ),
    "video twice": (lambda d: d["videos"].append(d["videos"][0]), "video 0 is given twice"),
    "pair twice": (
        lambda d: d["video_np_pairs"].append(d["video_np_pairs"][0]),
        "the pair of video 0 and category 3 is given twice",
    ),
    "frames of another length": (
        lambda d: d["videos"][0]["file_names"].pop(),
        "video 0: length: is 3, but there are 2 file_names",
    ),
    "nothing": (lambda d: d.clear(), "no videos in it"),
    "no object": (lambda d: d.update(videos=[3]), "video 0: it: is "),
}


@pytest.mark.parametrize(("change", "message"), BROKEN_TRUTH.values(), ids=BROKEN_TRUTH)
def test_a_broken_truth_file_is_told_by_file_record_and_field(tmp_path: Path, change: Change, message: str) -> None:
    truths = vd.document([vd.truth(0, 3, MASKS)])
    change(truths)
    path, _ = vd.write(tmp_path, truths, [])
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")):
        read_truth(path)


BROKEN_PREDICTIONS: dict[str, tuple[Change, str]] = {
    "no score": (lambda p: p.pop("score"), "prediction 1: score: is missing"),
    "a logit": (lambda p: p.update(score=3.5), "prediction 1: score: is "),
    "unknown video": (lambda p: p.update(video_id=9), "prediction 1: video_id: there is no video 9"),
    "other length": (lambda p: p["bboxes"].append(None), "prediction 1: bboxes: 4 entries for the 3 frames"),
    "other size": (
        lambda p: p["segmentations"][0].update(size=[1, 600]),
        "prediction 1: segmentations.0.size: 1 x 600",
    ),
    "no counts": (
        lambda p: p["segmentations"][0].pop("counts"),
        "prediction 1: segmentations.0.counts: is missing",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN_PREDICTIONS.values(), ids=BROKEN_PREDICTIONS)
def test_broken_predictions_are_told_by_file_record_and_field(tmp_path: Path, change: Change, message: str) -> None:
    predictions = [vd.prediction(0, 3, 0.9, MASKS), vd.prediction(0, 3, 0.8, MASKS)]
    change(predictions[1])
    paths = vd.write(tmp_path, vd.document([vd.truth(0, 3, MASKS)]), predictions)
    with pytest.raises(InputError, match=re.escape(f"{paths[1]}: {message}")):
        read_predictions(paths[1], read_truth(paths[0]).videos)


def test_damaged_runs_are_told_by_record_and_frame_when_they_are_scored(tmp_path: Path) -> None:
    damaged = vd.prediction(0, 3, 0.8, MASKS)
    damaged["segmentations"][2]["counts"] = damaged["segmentations"][2]["counts"][:-1]
    predictions = [vd.prediction(0, 3, 0.9, MASKS), damaged]
    paths = vd.write(tmp_path, vd.document([vd.truth(0, 3, MASKS)]), predictions)
    truth = read_truth(paths[0])
    with pytest.raises(InputError, match=re.escape(f"{paths[1]}: prediction 1: segmentations.2.counts: ")):
        score_videos(truth, read_predictions(paths[1], truth.videos))


def test_predictions_are_a_list(tmp_path: Path) -> None:
    path, _ = vd.write(tmp_path, vd.document([vd.truth(0, 3, MASKS)]), [])
    with pytest.raises(InputError, match="a list of predictions is expected"):
        read_predictions(path, read_truth(path).videos)


def test_declared_categories_cost_nothing(tmp_path: Path) -> None:
    """Each published file declares the phrases of all others too."""
    truths = vd.document([vd.truth(0, 3, MASKS)])
    path, found = vd.write(tmp_path, truths, [vd.prediction(0, 3, 0.9, MASKS)])
    few = read_truth(path)
    truths["categories"] = [{"id": number, "name": f"phrase {number}"} for number in range(50_000)]
    path.write_text(json.dumps(truths))
    many = read_truth(path)
    assert many.phrases == few.phrases
    assert many.asked == few.asked
    assert len(score_videos(many, read_predictions(found, many.videos)).pairs) == 1


def test_an_empty_text_of_runs_is_a_frame_without_mask(tmp_path: Path) -> None:
    empty = {"size": [vd.HEIGHT, vd.WIDTH], "counts": ""}
    truths = vd.document([vd.truth(0, 3, MASKS, segmentations=[empty] * 3)])
    (masklet,) = read_truth(vd.write(tmp_path, truths, [])[0]).masklets
    assert masklet.frames.size == len(masklet.counts) == 0
    assert masklet.boxes_xywh is not None
    assert np.count_nonzero(masklet.boxes_xywh[0]) == 4
