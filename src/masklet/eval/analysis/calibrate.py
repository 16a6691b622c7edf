"""Choosing the thresholds of presence, score and mask for each phrase.

A pair of an image and a phrase is measured once, at every threshold; sums over pairs are then compared. The sums of a
phrase are regularised by those of `PRIOR_PAIRS` average pairs of all phrases. Performance on new images is estimated by
cross-validation.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32

from masklet.errors import InputError
from masklet.eval.analysis.ranking import match_by_score
from masklet.eval.concepts.cgf1 import PairScore, score_overlaps, total
from masklet.eval.predict.examples import LabelledInstances
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.predict.predict import Request, predict_pairs
from masklet.eval.sums import Summable
from masklet.formats.calibration import Calibration, Thresholds
from masklet.protocols import Segmenter

SCORES = np.linspace(0.25, 0.95, 71).round(2)  # detections below are numerous, mostly wrong, and slow
PRESENCES = np.linspace(0.0, 0.95, 20).round(2)
CUTS = (0.3, 0.4, 0.5, 0.6, 0.7)
UNCUT = CUTS.index(0.5)
MATCH_IOU = 0.5
PRIOR_PAIRS = 20
MIN_PAIRS = 10  # of a phrase with thresholds of its own, some of them with instances
INDIFFERENT = 1e-3  # of the objective: too little to change the thresholds


@dataclass(frozen=True, kw_only=True)
class LabelledPair:
    """Predictions for a phrase in an image and their overlaps with the labels for each of `CUTS`, best score first."""

    image: str
    phrase: str
    presence: float
    scores: Float[np.ndarray, " detection"]
    iou: Float32[np.ndarray, "cut truth detection"]

    @property
    def num_truths(self) -> int:
        """Labelled instances."""
        return self.iou.shape[1]


def measure(
    labelled: LabelledImages, segmenter: Segmenter, cache: Path, *, advance: Callable[[], object] = lambda: None
) -> Iterator[LabelledPair]:
    """Every pair of a data set whose instances are all labelled; `advance` is called after each image."""
    for index in range(len(labelled)):
        example = labelled.example(index)
        queries = labelled.queries(example)
        requests = [Request(labelled.name(index), row, query.phrase) for row, query in enumerate(queries)]
        predictions = predict_pairs(requests, [labelled.images], segmenter, cache, floor=float(SCORES[0]), cuts=CUTS)
        for query, prediction in zip(queries, predictions, strict=True):
            truths = LabelledInstances.of(example, query)
            iou = [truths.iou(prediction.boxes_xyxy, prediction.masks[cut]) for cut in CUTS]
            yield LabelledPair(
                image=labelled.name(index),
                phrase=query.phrase,
                presence=prediction.presence,
                scores=prediction.scores,
                iou=np.array(iou, np.float32),
            )
        advance()


@dataclass(frozen=True, kw_only=True)
class ThresholdTally(Summable):
    """Sums over pairs, at every threshold of presence and score, and of the overlaps of matches at every cut.

    `f1` is the local F1 at an IoU of one half; a pair without instances counts 1 if none is predicted, and else 0.
    """

    f1: Float[np.ndarray, "presence score"]
    hits: Float[np.ndarray, "presence score"]
    found: Float[np.ndarray, "presence score"]
    overlap: Float[np.ndarray, " cut"]
    pairs: float

    @classmethod
    def of(cls, pairs: Sequence[LabelledPair]) -> "ThresholdTally":
        """The sums of some pairs. A presence counts from its threshold on, a score above its own, as for a model."""
        matched = [match(pair) for pair in pairs]
        found = np.stack([(p.scores[:, None] > SCORES).sum(axis=0) for p in pairs]).astype(np.float64)
        hits = np.stack([(p.scores[m, None] > SCORES).sum(axis=0) for p, m in zip(pairs, matched, strict=True)])
        truths = np.array([pair.num_truths for pair in pairs])[:, None]
        f1 = np.where(found + truths > 0, 2 * hits / np.maximum(found + truths, 1), 1.0)
        absent = np.broadcast_to(truths == 0, f1.shape).astype(np.float64)
        levels = np.searchsorted(PRESENCES, [pair.presence for pair in pairs], side="right")
        best = [p.iou[:, :, m].max(axis=1).sum(axis=1) for p, m in zip(pairs, matched, strict=True) if m.any()]
        return cls(
            f1=_gated(f1 - absent, levels) + absent.sum(axis=0),
            hits=_gated(hits.astype(np.float64), levels),
            found=_gated(found, levels),
            overlap=np.array(best, np.float64).reshape(-1, len(CUTS)).sum(axis=0),
            pairs=float(len(pairs)),
        )

    def scaled(self, factor: float) -> "ThresholdTally":
        """The sums with each pair counted `factor` times."""
        return ThresholdTally(**{name: value * factor for name, value in vars(self).items()})


def match(pair: LabelledPair) -> Bool[np.ndarray, " detection"]:
    """Which detections match an instance that no better scored one matches.

    Greedy by score, so that the matches above a threshold never depend on detections below it.
    """
    return match_by_score(pair.iou[UNCUT].astype(np.float64), np.array([MATCH_IOU]))[0]


def _gated(rows: Float[np.ndarray, "pair score"], levels: np.ndarray) -> Float[np.ndarray, "presence score"]:
    """Sums over the pairs that pass each threshold of presence; a pair passes as many of them as its level says."""
    sums = np.zeros((len(PRESENCES) + 1, rows.shape[1]))
    np.add.at(sums, levels, rows)
    return np.cumsum(sums[::-1], axis=0)[::-1][1:]


def fit(
    pairs: Sequence[LabelledPair], target_precision: float | None = None
) -> tuple[Thresholds, dict[str, Thresholds]]:
    """Thresholds of all phrases together, and of each phrase with enough pairs.

    Without a target those of the highest mean local F1; with one those that find the most instances where the share of
    detections that are right reaches the target, and the strictest where none does.
    """
    by_phrase: dict[str, list[LabelledPair]] = {}
    for pair in pairs:
        by_phrase.setdefault(pair.phrase, []).append(pair)
    tallies = {phrase: ThresholdTally.of(each) for phrase, each in by_phrase.items()}
    everything = sum(tallies.values(), ThresholdTally.of(pairs[:1]).scaled(0.0))
    prior = everything.scaled(PRIOR_PAIRS / everything.pairs)
    phrases = {
        phrase: choose(tally + prior, target_precision)
        for phrase, tally in tallies.items()
        if tally.pairs >= MIN_PAIRS and any(pair.num_truths for pair in by_phrase[phrase])
    }
    return choose(everything, target_precision), phrases


def choose(tally: ThresholdTally, target_precision: float | None) -> Thresholds:
    """The best thresholds by the sums; of those as good as the best, the nearest to the uncalibrated ones."""
    if target_precision is None:
        value = tally.f1 / tally.pairs
        good = value >= value.max() - INDIFFERENT
    else:
        precision = tally.hits / np.maximum(tally.found, 1e-9)
        reached = np.where(precision >= target_precision, tally.hits, 0.0)
        good = reached == reached.max() if reached.any() else precision == precision.max()
    distance = np.where(good, np.abs(SCORES - 0.5) + PRESENCES[:, None], np.inf)
    presence, score = np.unravel_index(distance.argmin(), distance.shape)
    gain = tally.overlap - tally.overlap[UNCUT]
    cut = int(gain.argmax()) if gain.max() > INDIFFERENT * tally.overlap[UNCUT] else UNCUT
    return Thresholds(presence=float(PRESENCES[presence]), score=float(SCORES[score]), mask=CUTS[cut])


def calibrate(
    pairs: Sequence[LabelledPair], model: str, *, target_precision: float | None = None, folds: int = 5
) -> Calibration:
    """Thresholds from all pairs, with the figures that thresholds from a part of the images reach on the others.

    Raises: InputError when there are fewer images than folds.
    """
    images = list(dict.fromkeys(pair.image for pair in pairs))
    if len(images) < folds:
        raise InputError(f"{len(images)} images with labels cannot be split into {folds} parts: give fewer --folds")
    default, phrases = fit(pairs, target_precision)
    fold_of = {image: place % folds for place, image in enumerate(images)}
    unseen: list[tuple[LabelledPair, Thresholds]] = []
    for fold in range(folds):
        common, own = fit([pair for pair in pairs if fold_of[pair.image] != fold], target_precision)
        unseen += [(pair, own.get(pair.phrase, common)) for pair in pairs if fold_of[pair.image] == fold]
    plain = [(pair, Thresholds()) for pair, _ in unseen]
    table = {}
    for phrase in phrases:
        before, after = ([each for each in side if each[0].phrase == phrase] for side in (plain, unseen))
        table[phrase] = {
            "pairs": len(before),
            "instances": sum(pair.num_truths for pair, _ in before),
            "uncalibrated_local_F1": judge(before)["local_F1"],
            "calibrated_local_F1": judge(after)["local_F1"],
        }
    validation = {
        "folds": folds,
        "images": len(images),
        "pairs": len(pairs),
        "target_precision": target_precision,
        "uncalibrated": judge(plain),
        "calibrated": judge(unseen),
        "phrases": table,
    }
    return Calibration(model=model, default=default, phrases=phrases, validation=validation)


def judge(pairs: Iterable[tuple[LabelledPair, Thresholds]]) -> dict[str, float]:
    """Figures of pairs at given thresholds, in [0, 1] (cgF1 and IL_MCC from -1); `local_F1` is as in `ThresholdTally`.

    `mask_IoU` is the mean overlap of the matches. The rest is as in `eval.concept`, precision and recall at an IoU of
    one half.
    """
    scores: list[PairScore] = []
    local, shared = [], []
    for pair, limits in pairs:
        kept = (pair.scores > limits.score) & (pair.presence >= limits.presence)
        iou = pair.iou[CUTS.index(limits.mask)][:, kept].astype(np.float64)
        scores.append(score_overlaps(iou))
        size = sum(iou.shape)
        local.append(2 * float(scores[-1].matches[0]) / size if size else 1.0)
        best = iou.max(axis=0, initial=0.0)
        shared += best[best >= MATCH_IOU].tolist()
    metrics = total(scores).metrics()
    return {
        "local_F1": float(np.mean(local)),
        "precision": metrics["precision@0.5"],
        "recall": metrics["recall@0.5"],
        "mask_IoU": float(np.mean(shared)) if shared else 0.0,
        **{name: metrics[name] for name in ("cgF1", "positive_micro_F1", "IL_MCC")},
    }
