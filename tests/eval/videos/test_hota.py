"""HOTA against the released evaluator, its sums, and identity switches."""

import json
from pathlib import Path

import numpy as np
import pytest

from masklet.eval.videos.hota import FrameOverlap, identity_switches, mask_overlaps, score_tracks, total
from masklet.ops.masks import mask_iou, rle_decode

GOLDEN = Path(__file__).parents[2] / "golden/video_metrics"
PARTS = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA")

Pair = tuple[int, int]


def _box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of xywh boxes."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    return inter / (a[:, 2:].prod(-1)[:, None] + b[:, 2:].prod(-1)[None] - inter)


def _frames(truths: list[dict], predictions: list[dict], length: int, kind: str) -> list[FrameOverlap]:
    frames = []
    for frame in range(length):
        seen = [_shown(tracks, frame, kind) for tracks in (truths, predictions)]
        ids = [np.array(list(shown), np.int64) for shown in seen]
        shapes = [np.array(list(shown.values())) for shown in seen]
        if not all(len(i) for i in ids):
            iou = np.zeros((len(ids[0]), len(ids[1])))
        else:
            iou = mask_iou(*shapes) if kind == "mask" else _box_iou(*shapes)
        frames.append(FrameOverlap(truth_ids=ids[0], predicted_ids=ids[1], iou=iou))
    return frames


def _shown(tracks: list[dict], frame: int, kind: str) -> dict[int, np.ndarray]:
    """Masks or boxes that are not empty, by row."""
    shown = {}
    for row, track in enumerate(tracks):
        record, box = track["segmentations"][frame], track["bboxes"][frame]
        if kind == "mask" and record is not None:
            mask = rle_decode(record["counts"], *record["size"])
            if mask.any():
                shown[row] = mask
        if kind == "bbox" and box is not None and box[2] * box[3] > 0:
            shown[row] = np.array(box, np.float64)
    return shown


@pytest.fixture(scope="module", params=["mask", "bbox"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def sequences(kind: str) -> dict[Pair, list[FrameOverlap]]:
    """Pairs with an object or a prediction above 0.5."""
    document = json.loads((GOLDEN / "gt.json").read_text())
    predictions = [p for p in json.loads((GOLDEN / "pred.json").read_text()) if p["score"] > 0.5]
    lengths = {video["id"]: video["length"] for video in document["videos"]}
    found: dict[Pair, list[FrameOverlap]] = {}
    for pair in document["video_np_pairs"]:
        key = pair["video_id"], pair["category_id"]
        own, other = (
            [track for track in tracks if (track["video_id"], track["category_id"]) == key]
            for tracks in (document["annotations"], predictions)
        )
        if own or other:
            found[key] = _frames(own, other, lengths[key[0]], kind)
    return found


def test_equals_the_released_evaluator(sequences: dict[Pair, list[FrameOverlap]], kind: str) -> None:
    official = json.loads((GOLDEN / "official_results.json").read_text())
    scores = {pair: score_tracks(frames) for pair, frames in sequences.items()}
    combined = total(scores.values()).metrics()
    for part in PARTS:
        expected = official["dataset_results"][f"video_{kind}_all_phrase_{part}"]
        assert combined[part] == pytest.approx(expected, abs=_tolerance(kind, part)), part
    for record in official["video_np_results"]:
        pair = record["video_id"], record["category_id"]
        assert (f"{kind}_HOTA" in record) == (pair in scores)
        if pair in scores:
            single = scores[pair].metrics()
            for part in PARTS:
                assert single[part] == pytest.approx(record[f"{kind}_{part}"], abs=_tolerance(kind, part)), (pair, part)


def _tolerance(kind: str, part: str) -> float:
    """The released evaluator keeps box overlaps in float32, which shows where they are averaged and nowhere else."""
    return 2e-8 if (kind, part) == ("bbox", "LocA") else 1e-12


def test_sum_does_not_depend_on_how_sequences_are_grouped(sequences: dict[Pair, list[FrameOverlap]]) -> None:
    scores = [score_tracks(frames) for frames in sequences.values()]
    halves = total(scores[:3]) + total(scores[3:])
    assert halves.metrics() == pytest.approx(total(scores).metrics(), abs=1e-12)


def _disc(x: int, y: int) -> np.ndarray:
    rows, columns = np.mgrid[:30, :40]
    return (rows - y) ** 2 + (columns - x) ** 2 <= 25


def test_swapped_names_cost_association_but_no_detection() -> None:
    left = np.stack([_disc(8, 10)] * 6)
    right = np.stack([_disc(30, 10)] * 6)
    truth = np.stack([left, right])
    swapped = np.stack([np.concatenate([left[:3], right[3:]]), np.concatenate([right[:3], left[3:]])])
    frames = mask_overlaps(truth, swapped)
    figures = score_tracks(frames).metrics()
    assert figures["DetA"] == figures["LocA"] == 1
    assert figures["AssA"] == pytest.approx(3 / 9)
    assert identity_switches(frames) == 2
    assert identity_switches(mask_overlaps(truth, truth)) == 0


def test_a_return_under_the_same_name_is_no_switch() -> None:
    disc, nothing = _disc(8, 10), np.zeros((30, 40), bool)
    truth = np.stack([np.stack([disc, nothing, disc, disc])])
    gone = np.stack([np.stack([disc, nothing, disc, nothing])])
    assert identity_switches(mask_overlaps(truth, gone)) == 0
    renamed = np.stack([np.stack([disc] + [nothing] * 3), np.stack([nothing] * 2 + [disc] * 2)])
    assert identity_switches(mask_overlaps(truth, renamed)) == 1


def test_a_name_that_still_fits_is_kept() -> None:
    frames = [
        FrameOverlap(truth_ids=np.array([0]), predicted_ids=np.array([0]), iou=np.array([[0.9]])),
        FrameOverlap(truth_ids=np.array([0]), predicted_ids=np.array([0, 1]), iou=np.array([[0.6, 0.8]])),
        FrameOverlap(truth_ids=np.array([0]), predicted_ids=np.array([0, 1]), iou=np.array([[0.4, 0.8]])),
    ]
    assert identity_switches(frames[:2]) == 0
    assert identity_switches(frames) == 1


def test_nothing_there_and_nothing_predicted_counts_nothing() -> None:
    assert total([]).metrics()["HOTA"] == 0
    empty = FrameOverlap(truth_ids=np.zeros(0, np.int64), predicted_ids=np.array([0]), iou=np.zeros((0, 1)))
    assert score_tracks([empty]).false_positives.tolist() == [1.0] * 19
