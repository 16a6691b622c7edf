"""Scores of videos against the released evaluator, at thresholds, where one side is empty, and in parts."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import video_documents as vd

from masklet.eval.concepts.cgf1 import IMAGE_COUNTS, IMAGE_FP
from masklet.eval.videos.video_files import read_predictions, read_truth
from masklet.eval.videos.video_scores import KINDS, VideoScores, score_video, score_videos, total_scores

GOLDEN = Path(__file__).parents[2] / "golden/video_metrics"
OFFICIAL = json.loads((GOLDEN / "official_results.json").read_text())
SUMMARY = {"cgF1": "cgf1_micro", "positive_macro_F1": "positive_macro_f1", "positive_micro_F1": "positive_micro_f1"}


def _tolerance(figure: str) -> float:
    """The released evaluator keeps box overlaps in float32, which shows where they are averaged and nowhere else."""
    return 2e-8 if figure.endswith(("bbox_LocA", "bbox_all_phrase_LocA")) else 1e-12


@pytest.fixture(scope="module")
def golden() -> VideoScores:
    truth = read_truth(GOLDEN / "gt.json")
    return score_videos(truth, read_predictions(GOLDEN / "pred.json", truth.videos))


def score(
    folder: Path, truths: Sequence[dict], predictions: Sequence[dict], asked: Sequence[tuple[int, int]] = ()
) -> VideoScores:
    paths = vd.write(folder, vd.document(truths, asked, lengths=(3, 3)), predictions)
    truth = read_truth(paths[0])
    return score_videos(truth, read_predictions(paths[1], truth.videos))


def test_every_figure_equals_the_released_evaluator(golden: VideoScores) -> None:
    figures, expected = golden.metrics(), OFFICIAL["dataset_results"]
    assert len(expected) == 54
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=_tolerance(name)), name
    assert {name.replace("bbox", "mask") for name in set(figures) - set(expected)} == {
        f"video_mask_demo_{name}_{point}"
        for name in ("cgf1_macro", "positive_macro_f1")
        for point in ("50_95", "50", "75")
    }


def test_every_pair_equals_the_released_evaluator(golden: VideoScores) -> None:
    records = golden.per_pair()
    expected = sorted(OFFICIAL["video_np_results"], key=lambda record: (record["video_id"], record["category_id"]))
    assert len(records) == len(expected) == 11
    for record, reference in zip(records, expected, strict=True):
        assert record.keys() == reference.keys()
        for name, value in reference.items():
            assert record[name] == pytest.approx(value, abs=_tolerance(name)), (reference["category_id"], name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_of_concept_f1_equals_the_released_evaluator(golden: VideoScores, kind: str) -> None:
    figures, expected = golden.metrics(), OFFICIAL["cgf1_summary"][kind]
    named = golden.counts(kind).metrics()
    for name, value in expected.items():
        ours = name.replace("_50_95", "").replace("_50", "@0.5").replace("_75", "@0.75")
        assert named[ours] == pytest.approx(value, abs=1e-12), name
    for point in ("50_95", "50", "75"):
        macro = expected[f"positive_macro_F1_{point}"]
        assert figures[f"video_{kind}_demo_positive_macro_f1_{point}"] == pytest.approx(macro, abs=1e-12)
        assert figures[f"video_{kind}_demo_cgf1_macro_{point}"] == pytest.approx(macro * expected["IL_MCC"], abs=1e-12)


def test_sums_do_not_depend_on_who_scored_which_video(golden: VideoScores) -> None:
    truth = read_truth(GOLDEN / "gt.json")
    predictions = read_predictions(GOLDEN / "pred.json", truth.videos)
    assert score_videos(truth, predictions, processes=2).metrics() == golden.metrics()
    parts = [
        score_video(
            video,
            [masklet for masklet in truth.masklets if masklet.video_id == index],
            [masklet for masklet in predictions if masklet.video_id == index],
            [phrase for of, phrase in truth.asked if of == index],
        )
        for index, video in truth.videos.items()
    ]
    assert total_scores(parts[::-1]).metrics() == pytest.approx(golden.metrics(), abs=1e-12)
    assert total_scores([parts[2], total_scores(parts[:2])]).per_pair() == golden.per_pair()


def test_progress_is_told_once_for_each_video() -> None:
    truth = read_truth(GOLDEN / "gt.json")
    told = []
    score_videos(truth, (), advance=lambda: told.append(1))
    assert len(told) == len(truth.videos) == 3


def test_a_score_of_one_half_is_counted_but_not_followed(tmp_path: Path) -> None:
    masks = [vd.square(4)] * 3
    figures = score(tmp_path, [vd.truth(0, 1, masks)], [vd.prediction(0, 1, 0.5, masks)]).metrics()
    assert figures["video_mask_demo_positive_micro_f1_50"] > 0.999
    assert figures["video_mask_teta"] == 100
    assert figures["video_mask_all_phrase_DetRe"] == 0
    above = score(tmp_path, [vd.truth(0, 1, masks)], [vd.prediction(0, 1, 0.500001, masks)]).metrics()
    assert above["video_mask_all_phrase_HOTA"] == 1
    below = score(tmp_path, [vd.truth(0, 1, masks)], [vd.prediction(0, 1, 0.499999, masks)]).metrics()
    assert below["video_mask_demo_positive_micro_f1_50"] == below["video_mask_teta"] == 0
    assert below["video_mask_mAP_50_95"] == 1, "a ranking has no threshold"


def test_nothing_predicted_scores_nothing(tmp_path: Path) -> None:
    figures = score(tmp_path, [vd.truth(0, 1, [vd.square(4)] * 3)], [], asked=[(0, 2)]).metrics()
    macro = {name for name in figures if "positive_macro" in name}
    assert {figures[name] for name in macro} == {-1}
    assert {value for name, value in figures.items() if name not in macro and "LocA" not in name} == {0}


def test_nothing_to_find_is_no_figure(tmp_path: Path) -> None:
    scores = score(tmp_path, [], [vd.prediction(0, 1, 0.9, [vd.square(4)] * 3)], asked=[(0, 1), (0, 2)])
    figures = scores.metrics()
    for name in ("mAP_50_95", "phrase_ap_50", "teta", "loc_a", "demo_positive_macro_f1_50"):
        assert figures[f"video_mask_{name}"] == -1, name
    counts = scores.counts("mask")
    assert counts.sums[IMAGE_COUNTS].tolist() == [0, 1, 1, 0]
    assert scores.pairs[0].kinds["mask"].tracks is not None
    assert scores.pairs[1].kinds["mask"].tracks is None


def test_a_phrase_nobody_asked_for_is_a_false_alarm(tmp_path: Path) -> None:
    masks = [vd.square(4)] * 3
    scores = score(tmp_path, [vd.truth(0, 1, masks)], [vd.prediction(1, 7, 0.9, masks)])
    assert [(pair.video_id, pair.phrase_id) for pair in scores.pairs] == [(0, 1), (1, 7)]
    assert scores.counts("mask").sums[IMAGE_FP] == scores.counts("bbox").sums[IMAGE_FP] == 1


@pytest.mark.parametrize("missing", [None, np.zeros((vd.HEIGHT, vd.WIDTH), bool)], ids=["null", "empty"])
def test_frames_on_one_side_alone_lower_the_volume(tmp_path: Path, missing: np.ndarray | None) -> None:
    there, partly = [vd.square(4)] * 3, [vd.square(4), missing, vd.square(4)]
    scores = score(tmp_path, [vd.truth(0, 1, partly)], [vd.prediction(0, 1, 0.9, there)])
    for kind in KINDS:
        of_pair = scores.pairs[0].kinds[kind]
        assert of_pair.concept.matches.tolist() == [1] * 4 + [0] * 6, "an overlap of two thirds"
        assert of_pair.tracks is not None
        assert of_pair.tracks.metrics()["DetA"] == pytest.approx(2 / 3)


def test_a_masklet_never_seen_is_matched_by_another(tmp_path: Path) -> None:
    scores = score(tmp_path, [vd.truth(0, 1, [None] * 3)], [vd.prediction(0, 1, 0.9, [None] * 3)])
    for kind in KINDS:
        assert scores.pairs[0].kinds[kind].concept.matches.tolist() == [1] * 10


def test_a_prediction_that_is_empty_on_every_frame_was_tracked_all_the_same(tmp_path: Path) -> None:
    """As in the released evaluator: the pair has figures, and they are those of a sequence without objects."""
    scores = score(tmp_path, [], [vd.prediction(0, 1, 0.9, [None] * 3), vd.prediction(0, 2, 0.4, [None] * 3)])
    for kind in KINDS:
        first, second = (pair.kinds[kind].figures() for pair in scores.pairs)
        assert (first["HOTA"], first["LocA"], first["DetA"]) == (0, 1, 0)
        assert "HOTA" not in second, "its score is too low to be tracked"


def test_a_box_without_area_is_seen_unless_it_is_all_zeros(tmp_path: Path) -> None:
    masks = [vd.square(4)] * 3
    for box, seen in ([9, 9, 0, 0], 1), ([0, 0, 0, 0], 0):
        wrong = vd.prediction(0, 1, 0.9, [None] * 3, bboxes=[box, None, None])
        tracks = score(tmp_path, [vd.truth(0, 1, masks)], [wrong]).pairs[0].kinds["bbox"].tracks
        assert tracks is not None
        assert tracks.false_positives.tolist() == [seen] * 19


def test_boxes_that_a_file_leaves_out_are_those_of_the_masks(tmp_path: Path) -> None:
    truths = [vd.truth(0, 1, [vd.square(4), None, vd.square(9)])]
    predictions = [vd.prediction(0, 1, 0.9, [vd.square(5), None, vd.square(11)])]
    given = score(tmp_path, truths, predictions).metrics()
    for record in (*truths, *predictions):
        del record["bboxes"]
    assert score(tmp_path, truths, predictions).metrics() == given


def test_ranking_takes_the_best_score_first_and_the_last_of_equal_objects(tmp_path: Path) -> None:
    masks, other = [vd.square(4)] * 3, [vd.square(4)] * 2 + [vd.square(20)]
    truths = [vd.truth(0, 1, masks), vd.truth(0, 1, masks)]
    predictions = [vd.prediction(0, 1, 0.7, other), vd.prediction(0, 1, 0.9, masks), vd.prediction(0, 1, 0.8, masks)]
    hits = score(tmp_path, truths, predictions).pairs[0].kinds["mask"].hits
    assert hits[0].tolist() == [True, True, False]
    assert hits[-1].tolist() == [True, True, False]
    shifted = [vd.square(5)] * 3  # overlaps the first object as much as the second
    truths = [vd.truth(0, 1, masks), vd.truth(0, 1, [vd.square(6)] * 3)]
    predictions = [vd.prediction(0, 1, 0.9, shifted), vd.prediction(0, 1, 0.8, masks)]
    hits = score(tmp_path, truths, predictions).pairs[0].kinds["mask"].hits
    assert hits[:, 1].all(), "the first object was left for it"


def test_no_more_than_a_hundred_predictions_of_a_pair_are_ranked(tmp_path: Path) -> None:
    truths = [vd.truth(0, 1, [vd.square(4)] * 3)]
    predictions = [vd.prediction(0, 1, 0.3, [vd.square(20)] * 3)] * 100 + [vd.prediction(0, 1, 0.2, [vd.square(4)] * 3)]
    assert score(tmp_path, truths, predictions).metrics()["video_mask_mAP_50_95"] == 0
    assert score(tmp_path, truths, predictions[1:]).metrics()["video_mask_mAP_50_95"] == pytest.approx(0.01)


def test_classes_rank_over_videos_and_phrases_rank_together(tmp_path: Path) -> None:
    """A false alarm of one class above the hits of the other is no matter to the mean over classes alone."""
    masks, elsewhere = [vd.square(4)] * 3, [vd.square(20)] * 3
    truths = [vd.truth(0, 1, masks), vd.truth(1, 2, masks)]
    predictions = [
        vd.prediction(0, 1, 0.9, masks),
        vd.prediction(1, 1, 0.8, elsewhere),
        vd.prediction(1, 2, 0.7, masks),
    ]
    figures = score(tmp_path, truths, predictions).metrics()
    assert figures["video_mask_mAP_50_95"] == pytest.approx(1)
    assert figures["video_mask_phrase_ap_50"] == pytest.approx((51 + 50 * 2 / 3) / 101)
