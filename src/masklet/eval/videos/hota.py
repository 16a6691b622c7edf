"""HOTA and its parts: detection of objects in each frame (DetA), and association over frames (AssA).

One sequence is one video and phrase (then HOTA is called pHOTA). It is scored from the overlaps of true and predicted
objects in each frame; sequences become counts, counts add up over videos and processes, figures are computed from sums.
A caller leaves out predicted masklets with a score of 0.5 or less, and empty masks.

Source: Luiten et al., HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking; SAM 3 paper, video metrics.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from masklet.eval.sums import Summable
from masklet.ops.masks import mask_iou

ALPHAS = np.arange(0.05, 0.99, 0.05)
SWITCH_IOU = 0.5
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class FrameOverlap:
    """The visible objects of a frame, the predicted ones, and their IoU. An id is the row number of a track."""

    truth_ids: Int[np.ndarray, " truth"]
    predicted_ids: Int[np.ndarray, " predicted"]
    iou: Float[np.ndarray, "truth predicted"]


@dataclass(frozen=True, kw_only=True)
class TrackScore(Summable):
    """Counts at each threshold; the last four are sums over true positives. Scores of sequences add up."""

    true_positives: Float[np.ndarray, " alpha"]
    false_positives: Float[np.ndarray, " alpha"]
    false_negatives: Float[np.ndarray, " alpha"]
    association: Float[np.ndarray, " alpha"]
    association_recall: Float[np.ndarray, " alpha"]
    association_precision: Float[np.ndarray, " alpha"]
    localisation: Float[np.ndarray, " alpha"]

    def curves(self) -> dict[str, Float[np.ndarray, " alpha"]]:
        """HOTA and its parts at each threshold, in [0, 1]."""
        hits, false_alarms, missed = self.true_positives, self.false_positives, self.false_negatives
        found, named = hits / np.maximum(1, hits + missed + false_alarms), self.association / np.maximum(1, hits)
        recall = hits / np.maximum(1, hits + missed)
        return {
            "HOTA": np.sqrt(found * named),
            "DetA": found,
            "AssA": named,
            "DetRe": recall,
            "DetPr": hits / np.maximum(1, hits + false_alarms),
            "AssRe": self.association_recall / np.maximum(1, hits),
            "AssPr": self.association_precision / np.maximum(1, hits),
            "LocA": np.maximum(1e-10, self.localisation) / np.maximum(1e-10, hits),  # 1 where nothing was matched
            "OWTA": np.sqrt(recall * named),
        }

    def metrics(self) -> dict[str, float]:
        """HOTA and its parts, in [0, 1], averaged over thresholds."""
        return {name: float(curve.mean()) for name, curve in self.curves().items()}


def total(scores: Iterable[TrackScore]) -> TrackScore:
    """Sum over sequences. Sequences with neither objects nor predictions may be left out."""
    nothing = np.zeros(len(ALPHAS))
    return reduce(TrackScore.__add__, scores, TrackScore(**dict.fromkeys(TrackScore.__dataclass_fields__, nothing)))


def mask_overlaps(
    truth: Bool[np.ndarray, "object frame height width"], predicted: Bool[np.ndarray, "track frame height width"]
) -> list[FrameOverlap]:
    """Overlaps of masklets, frame by frame; an empty mask is an object that is not visible."""
    frames = []
    for frame in range(truth.shape[1]):
        rows = np.flatnonzero(truth[:, frame].any(axis=(1, 2)))
        columns = np.flatnonzero(predicted[:, frame].any(axis=(1, 2)))
        iou = mask_iou(truth[rows, frame], predicted[columns, frame])
        frames.append(FrameOverlap(truth_ids=rows, predicted_ids=columns, iou=iou))
    return frames


def score_tracks(frames: Sequence[FrameOverlap]) -> TrackScore:
    """Counts of one sequence."""
    alignment = align_tracks(frames)
    matches = np.zeros((len(ALPHAS), *alignment.together.shape))
    localisation = np.zeros(len(ALPHAS))
    for frame in frames:
        rows, columns = alignment.assign(frame)
        overlaps = frame.iou[rows, columns]
        hit = overlaps >= ALPHAS[:, None] - EPS
        matches[:, frame.truth_ids[rows], frame.predicted_ids[columns]] += hit
        localisation += (hit * overlaps).sum(axis=1)
    hits = matches.sum(axis=(1, 2))
    association, recall, precision = alignment.association(matches)
    return TrackScore(
        true_positives=hits,
        false_positives=alignment.predicted_counts.sum() - hits,
        false_negatives=alignment.truth_counts.sum() - hits,
        association=association,
        association_recall=recall,
        association_precision=precision,
        localisation=localisation,
    )


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Alignment of each two tracks over a whole sequence, in [0, 1], and the number of frames each is visible in."""

    together: Float[np.ndarray, "truth predicted"]
    truth_counts: Float[np.ndarray, " truth"]
    predicted_counts: Float[np.ndarray, " predicted"]

    def assign(self, frame: FrameOverlap) -> tuple[Int[np.ndarray, " match"], Int[np.ndarray, " match"]]:
        """Rows and columns of the overlaps of one frame that are assigned to each other, at any IoU."""
        grid = self.together[frame.truth_ids[:, None], frame.predicted_ids]
        return linear_sum_assignment(grid * frame.iou, maximize=True)

    def association(
        self, matches: Float[np.ndarray, "alpha truth predicted"]
    ) -> tuple[Float[np.ndarray, " alpha"], Float[np.ndarray, " alpha"], Float[np.ndarray, " alpha"]]:
        """Accuracy, recall and precision of association, summed over matches; `matches` counts frames."""
        truth, predicted = self.truth_counts[:, None], self.predicted_counts[None]
        return (
            (matches**2 / np.maximum(1, truth + predicted - matches)).sum(axis=(1, 2)),
            (matches**2 / np.maximum(1, truth)).sum(axis=(1, 2)),
            (matches**2 / np.maximum(1, predicted)).sum(axis=(1, 2)),
        )


def align_tracks(frames: Sequence[FrameOverlap]) -> Alignment:
    """Overlaps in each frame weighted by those with other tracks, and numbers of frames."""
    num_truths = 1 + max((int(frame.truth_ids.max(initial=-1)) for frame in frames), default=-1)
    num_predicted = 1 + max((int(frame.predicted_ids.max(initial=-1)) for frame in frames), default=-1)
    together = np.zeros((num_truths, num_predicted))
    truth_counts, predicted_counts = np.zeros(num_truths), np.zeros(num_predicted)
    for frame in frames:
        union = frame.iou.sum(axis=0)[None] + frame.iou.sum(axis=1)[:, None] - frame.iou
        share = np.divide(frame.iou, union, out=np.zeros_like(union), where=union > EPS)
        together[frame.truth_ids[:, None], frame.predicted_ids] += share
        truth_counts[frame.truth_ids] += 1
        predicted_counts[frame.predicted_ids] += 1
    union = truth_counts[:, None] + predicted_counts[None] - together
    return Alignment(
        together=together / np.maximum(union, EPS), truth_counts=truth_counts, predicted_counts=predicted_counts
    )


def identity_switches(frames: Sequence[FrameOverlap]) -> int:
    """Number of times an object changes its predicted track between detections, at an IoU of `SWITCH_IOU` or more.

    A name that still fits is kept even where another fits better.

    Source: Bernardin & Stiefelhagen, CLEAR MOT metrics (IDSW).
    """
    last: dict[int, int] = {}
    switches = 0
    for frame in frames:
        known = np.array([last.get(int(i), -1) for i in frame.truth_ids], np.int64)
        kept = 1000.0 * (known[:, None] == frame.predicted_ids[None])
        fits = frame.iou >= SWITCH_IOU - EPS
        rows, columns = linear_sum_assignment(np.where(fits, kept + frame.iou, 0.0), maximize=True)
        for row, column in zip(rows, columns, strict=True):
            if fits[row, column]:
                truth, predicted = int(frame.truth_ids[row]), int(frame.predicted_ids[column])
                switches += last.get(truth, predicted) != predicted
                last[truth] = predicted
    return switches
