"""TETA and its parts: localisation in each frame (LocA), association over frames (AssocA) and classification (ClsA);
the mean of the three, for each class and then over classes.

A class here is a phrase asked of the dataset. A class is scored on the predictions of a video of any class that overlap
an object of the class somewhere and do not belong to an object of another one. Scores of videos add up, and figures are
computed from sums.

Source: Li et al., Track Every Thing in the Wild (ECCV 2022). Labels are taken to be exhaustive, as in SA-Co/VEval: a
prediction of a class on none of its objects is an error of classification. Comments mark further rules of the released
evaluator.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

from masklet.eval.sums import Summable
from masklet.eval.videos.hota import EPS, FrameOverlap, align_tracks

ALPHAS = np.arange(0.0, 0.99, 0.05)
CLASS_ALPHAS = np.arange(0.5, 0.99, 0.05)
OVERLAP = 0.5  # IoU from which a prediction belongs to an object
_FIRST = len(ALPHAS) - len(CLASS_ALPHAS)  # localisation at 0.5


@dataclass(frozen=True, kw_only=True)
class ClassCounts(Summable):
    """Counts of one class at each threshold; the `association` fields are sums over localised objects."""

    located: Float64[np.ndarray, " alpha"]
    location_errors: Float64[np.ndarray, " alpha"]
    missed: Float64[np.ndarray, " alpha"]
    association: Float64[np.ndarray, " alpha"]
    association_recall: Float64[np.ndarray, " alpha"]
    association_precision: Float64[np.ndarray, " alpha"]
    classified: Float64[np.ndarray, " class_alpha"]
    class_errors: Float64[np.ndarray, " class_alpha"]
    misclassified: Float64[np.ndarray, " class_alpha"]

    @classmethod
    def zero(cls) -> "ClassCounts":
        """No videos yet."""
        none, few = np.zeros(len(ALPHAS)), np.zeros(len(CLASS_ALPHAS))
        in_class = ("classified", "class_errors", "misclassified")
        return cls(**{name: few if name in in_class else none for name in cls.__dataclass_fields__})

    @property
    def has_objects(self) -> bool:
        """Whether the class has an object; classes without one do not enter the average."""
        return bool(self.located[0] + self.missed[0] > 0)

    def figures(self) -> dict[str, float]:
        """TETA and its parts in [0, 1], averaged over thresholds."""
        hits = np.maximum(1, self.located)
        location = _ratios(self.located, self.location_errors, self.missed)
        naming = _ratios(self.classified, self.class_errors, self.misclassified)
        association = self.association / hits, self.association_recall / hits, self.association_precision / hits
        parts = {
            f"{prefix}_{name}": float(values.mean())
            for prefix, curves in (("loc", location), ("assoc", association), ("cls", naming))
            for name, values in zip(("a", "re", "pr"), curves, strict=True)
        }
        return {"teta": (parts["loc_a"] + parts["assoc_a"] + parts["cls_a"]) / 3, **parts}


def mean_figures(classes: Iterable[ClassCounts]) -> dict[str, float]:
    """TETA and its parts, in [0, 1], averaged over classes that have objects; -1 where there are none."""
    figures = [counts.figures() for counts in classes if counts.has_objects]
    names = ClassCounts.zero().figures()
    return {name: float(np.mean([each[name] for each in figures])) if figures else -1.0 for name in names}


def _ratios(hits: np.ndarray, errors: np.ndarray, missed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy, recall and precision."""
    return (
        hits / np.maximum(1, hits + errors + missed),
        hits / np.maximum(1, hits + missed),
        hits / np.maximum(1, hits + errors),
    )


@dataclass(frozen=True, kw_only=True)
class _View:
    """The part of a frame that scores one class: its objects, all predictions, and which of these are candidates.

    A candidate lies on an object of the class and belongs to none of another. `num_strangers` are predictions that name
    the class and are no candidates.
    """

    frame: FrameOverlap
    is_candidate: Bool[np.ndarray, " predicted"]
    num_strangers: int


def score_classes(
    frames: Sequence[FrameOverlap],
    truth_classes: Int64[np.ndarray, " truth"],
    predicted_classes: Int64[np.ndarray, " prediction"],
) -> dict[int, ClassCounts]:
    """Counts of one video for every class of its objects and predictions.

    Ids in `frames` are places in the two arrays of classes. Frames without any object count for nothing, as the
    released evaluator takes its frames from the labels.
    """
    frames = [frame for frame in frames if len(frame.truth_ids)]
    owners = _owners(frames, len(predicted_classes))
    counts: dict[int, ClassCounts] = {}
    errors: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(len(CLASS_ALPHAS)))
    for each in np.union1d(truth_classes, predicted_classes).tolist():
        is_own = truth_classes == each, predicted_classes == each
        views = [_view(frame, owner, *is_own) for frame, owner in zip(frames, owners, strict=True)]
        if not any(view.is_candidate.any() for view in views):
            # The released evaluator forgets here what classes of lower ids found wrong with this one.
            errors[each] = np.zeros(len(CLASS_ALPHAS))
        errors[each] += sum(view.num_strangers for view in views)
        counts[each] = _score_class(views, predicted_classes, each, errors)
    return {each: replace(found, class_errors=errors[each]) for each, found in counts.items()}


def _owners(frames: Sequence[FrameOverlap], num_predictions: int) -> list[np.ndarray]:
    """The object of any class that each prediction of each frame belongs to, -1 where there is none."""
    is_near = np.zeros(num_predictions, bool)
    for frame in frames:
        is_near[frame.predicted_ids[(frame.iou >= OVERLAP).any(axis=0)]] = True
    kept = [is_near[frame.predicted_ids] for frame in frames]
    near = [_only(frame, chosen) for frame, chosen in zip(frames, kept, strict=True)]
    alignment = align_tracks(near)
    owners = []
    for frame, chosen in zip(near, kept, strict=True):
        rows, columns = alignment.assign(frame)
        fits = frame.iou[rows, columns] >= OVERLAP - EPS
        owner = np.full(len(chosen), -1)
        owner[np.flatnonzero(chosen)[columns[fits]]] = frame.truth_ids[rows[fits]]
        owners.append(owner)
    return owners


def _view(
    frame: FrameOverlap,
    owner: Int64[np.ndarray, " predicted"],
    is_own: Bool[np.ndarray, " truth"],
    is_named: Bool[np.ndarray, " prediction"],
) -> _View:
    rows = is_own[frame.truth_ids]
    iou = frame.iou[rows]
    is_candidate = (iou >= OVERLAP).any(axis=0) & ((owner < 0) | is_own[owner])
    return _View(
        frame=FrameOverlap(truth_ids=frame.truth_ids[rows], predicted_ids=frame.predicted_ids, iou=iou),
        is_candidate=is_candidate,
        num_strangers=int((is_named[frame.predicted_ids] & ~is_candidate).sum()),
    )


def _score_class(
    views: Sequence[_View], classes: Int64[np.ndarray, " prediction"], own: int, errors: dict[int, np.ndarray]
) -> ClassCounts:
    """Counts without the errors of classification, which are added to `errors` of the predicted class."""
    is_near = np.zeros(len(classes), bool)
    for view in views:
        is_near[view.frame.predicted_ids[view.is_candidate]] = True
    kept = [is_near[view.frame.predicted_ids] for view in views]
    frames = [_only(view.frame, chosen) for view, chosen in zip(views, kept, strict=True)]
    alignment = align_tracks(frames)
    matches = np.zeros((len(ALPHAS), *alignment.together.shape))
    location_errors, right, wrong = np.zeros(len(ALPHAS)), np.zeros(len(CLASS_ALPHAS)), np.zeros(len(CLASS_ALPHAS))
    for view, frame, chosen in zip(views, frames, kept, strict=True):
        rows, columns = alignment.assign(frame)
        hit = frame.iou[rows, columns] >= ALPHAS[:, None] - EPS
        found, is_candidate = frame.predicted_ids[columns], view.is_candidate[chosen]
        matches[:, frame.truth_ids[rows], found] += hit
        location_errors += is_candidate.sum() - hit[:, is_candidate[columns]].sum(axis=1)
        named = classes[found]
        right += hit[_FIRST:, named == own].sum(axis=1)
        wrong += hit[_FIRST:, named != own].sum(axis=1)
        for column in np.flatnonzero(named != own):
            errors[int(named[column])] += hit[_FIRST:, column]
    located = matches.sum(axis=(1, 2))
    association, recall, precision = alignment.association(matches)
    return ClassCounts(
        located=located,
        location_errors=location_errors,
        missed=alignment.truth_counts.sum() - located,
        association=association,
        association_recall=recall,
        association_precision=precision,
        classified=right,
        class_errors=np.zeros(len(CLASS_ALPHAS)),
        misclassified=wrong,
    )


def _only(frame: FrameOverlap, kept: Bool[np.ndarray, " predicted"]) -> FrameOverlap:
    return FrameOverlap(truth_ids=frame.truth_ids, predicted_ids=frame.predicted_ids[kept], iou=frame.iou[:, kept])
