"""Scores of videos: detection of masklets (cgF1), tracking (pHOTA), classification (TETA) and ranking (AP).

A pair of a video and a phrase is scored at a time, by masks and by boxes, from the overlaps of its masklets. Sums add
up over videos and processes, and figures are computed from them. Names of figures are the published ones.

Source: SAM 3 paper, video metrics; thresholds and ties as in the released evaluator.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from masklet.eval.analysis.ranking import average_precision, best_first, match_by_score
from masklet.eval.concepts.cgf1 import IOU_THRESHOLDS, SCORE_THRESHOLD, ConceptCounts, PairScore, score_overlaps, total
from masklet.eval.processes import map_in_processes
from masklet.eval.videos import hota as tracks
from masklet.eval.videos.hota import TrackScore, score_tracks
from masklet.eval.videos.teta import ClassCounts, mean_figures, score_classes
from masklet.eval.videos.video_files import Masklet, Video, VideoTruth
from masklet.eval.videos.video_overlaps import VideoOverlaps, measure_overlaps
from masklet.formats.records import Id, id_order

_Job = tuple[Video, Sequence[Masklet], Sequence[Masklet], Sequence[Id]]

KINDS = ("mask", "bbox")
POINTS = {"50_95": slice(None), "50": slice(0, 1), "75": slice(5, 6)}  # the thresholds that a figure is the mean over
TRACKED_ABOVE = 0.5  # a score of 0.5 counts as a prediction in cgF1 and TETA, and not here


@dataclass(frozen=True, kw_only=True)
class KindScore:
    """One pair by masks or by boxes.

    `tracks` is None where there is neither an object nor a prediction to follow; `hits` says which of the best
    predictions hit at each IoU threshold, best first.
    """

    concept: PairScore
    tracks: TrackScore | None
    hits: Bool[np.ndarray, "threshold prediction"]

    def figures(self) -> dict[str, float]:
        """Matches, false and missed objects and F1 of this pair alone, and HOTA and its parts where it is tracked."""
        matched, found, there = self.concept.matches, self.concept.num_predictions, self.concept.num_truths
        f1 = 2 * matched / (found + there) if found + there else np.ones(len(matched))
        curves = {"TP": matched, "FP": found - matched, "FN": there - matched, "F1": f1}
        means = {
            f"{name}_{point}": float(curve[chosen].mean())
            for point, chosen in POINTS.items()
            for name, curve in curves.items()
        }
        return (self.tracks.metrics() if self.tracks else {}) | means


@dataclass(frozen=True, kw_only=True)
class VideoPairScore:
    """One phrase in one video. `scores` are those of the best predictions, falling; `kinds` has an entry of `KINDS`."""

    video_id: Id
    phrase_id: Id
    scores: Float64[np.ndarray, " prediction"]
    kinds: Mapping[str, KindScore]

    @property
    def num_truths(self) -> int:
        """Labelled objects."""
        return self.kinds["mask"].concept.num_truths


@dataclass(frozen=True, kw_only=True)
class VideoScores:
    """Scored videos: their pairs, in order, and the counts of TETA for each phrase."""

    pairs: tuple[VideoPairScore, ...]
    classes: Mapping[Id, ClassCounts]

    def counts(self, kind: str) -> ConceptCounts:
        """The sums that cgF1 and its parts are computed from."""
        return total(pair.kinds[kind].concept for pair in self.pairs)

    def tracks(self, kind: str) -> TrackScore:
        """The sums that pHOTA and its parts are computed from."""
        followed = [pair.kinds[kind].tracks for pair in self.pairs]
        return tracks.total(each for each in followed if each is not None)

    def by_phrase(self) -> dict[Id, "VideoScores"]:
        """The scores by phrase."""
        pairs: dict[Id, list[VideoPairScore]] = defaultdict(list)
        for pair in self.pairs:
            pairs[pair.phrase_id].append(pair)
        return {
            phrase_id: VideoScores(
                pairs=tuple(pairs[phrase_id]), classes={phrase_id: self.classes.get(phrase_id, ClassCounts.zero())}
            )
            for phrase_id in sorted(pairs)
        }

    def metrics(self) -> dict[str, float]:
        """Every figure under its published name: fractions, but percent for TETA; -1 where there is nothing to find."""
        figures: dict[str, float] = {}
        for kind in KINDS:
            followed = {f"all_phrase_{name}": value for name, value in self.tracks(kind).metrics().items()}
            own = self._average_precisions(kind) | followed | self._concepts(kind)
            figures |= {f"video_{kind}_{name}": value for name, value in own.items()}
        for name, value in mean_figures(self.classes.values()).items():
            # Percent with five digits, as the released evaluator reports TETA; -1 stays.
            figures[f"video_mask_{name}"] = float(f"{100 * value:.5g}") if value >= 0 else value
        return figures

    def per_pair(self) -> list[dict[str, float | Id]]:
        """Figures of each pair, in order of videos and phrases."""
        return [
            {"video_id": pair.video_id, "category_id": pair.phrase_id}
            | {f"{kind}_{name}": value for kind in KINDS for name, value in pair.kinds[kind].figures().items()}
            for pair in self.pairs
        ]

    def _concepts(self, kind: str) -> dict[str, float]:
        counts = self.counts(kind)
        found, macro = counts.curves(), counts.curves(nothing=0.0)["positive_macro_F1"]
        curves = {
            "cgf1_micro": found["cgF1"],
            "positive_micro_f1": counts.pmf1,
            "cgf1_macro": macro * counts.il_mcc,
            "positive_macro_f1": found["positive_macro_F1"],
            "ilmcc": np.full(len(macro), counts.il_mcc),
        }
        return {
            f"demo_{name}_{point}": float(curve[chosen].mean())
            for point, chosen in POINTS.items()
            for name, curve in curves.items()
        }

    def _average_precisions(self, kind: str) -> dict[str, float]:
        """By classes: each phrase ranks its predictions in all videos. By phrases: one ranking of everything."""
        groups = [group.pairs for group in self.by_phrase().values()]
        classes = [_precisions(pairs, kind) for pairs in groups if any(pair.num_truths for pair in pairs)]
        figures = {"mAP_50_95": float(np.mean(classes)) if classes else -1.0}
        together = _precisions(self.pairs, kind) if classes else np.full(len(IOU_THRESHOLDS), -1.0)
        return figures | {f"phrase_ap_{point}": float(together[chosen].mean()) for point, chosen in POINTS.items()}


def score_videos(
    truth: VideoTruth, predictions: Sequence[Masklet], processes: int = 1, advance: Callable[[], object] = lambda: None
) -> VideoScores:
    """Scores every video of a truth file, several at a time where there are several processes; same figures either way.

    `advance` is called after each video. Raises: InputError naming a record whose run lengths are damaged.
    """
    own, found, asked = defaultdict(list), defaultdict(list), defaultdict(list)
    for members, masklets in ((own, truth.masklets), (found, predictions)):
        for masklet in masklets:
            members[masklet.video_id].append(masklet)
    for video_id, phrase_id in truth.asked:
        asked[video_id].append(phrase_id)
    jobs = [(video, own[index], found[index], asked[index]) for index, video in truth.videos.items()]
    return total_scores(map_in_processes(_score_job, jobs, processes, advance))


def total_scores(parts: Iterable[VideoScores]) -> VideoScores:
    """Scores of parts of a data set, brought together; no video may be in two of them."""
    pairs: list[VideoPairScore] = []
    classes: dict[Id, ClassCounts] = {}
    for part in parts:
        pairs += part.pairs
        for phrase_id, counts in part.classes.items():
            classes[phrase_id] = classes.get(phrase_id, ClassCounts.zero()) + counts
    return VideoScores(pairs=tuple(sorted(pairs, key=_order)), classes=classes)


def _order(pair: VideoPairScore) -> tuple:
    return id_order(pair.video_id), id_order(pair.phrase_id)


def _score_job(job: _Job) -> VideoScores:
    return score_video(*job)


def score_video(
    video: Video, truths: Sequence[Masklet], predictions: Sequence[Masklet], asked: Sequence[Id]
) -> VideoScores:
    """Scores all phrases of one video: those asked, and any other that a masklet has.

    Raises: InputError naming a record whose run lengths are damaged.
    """
    scores = np.array([masklet.score for masklet in predictions], np.float64)
    known = sorted({*asked, *(masklet.phrase_id for masklet in (*truths, *predictions))}, key=id_order)
    numbers = {phrase_id: number for number, phrase_id in enumerate(known)}
    phrases = [
        np.array([numbers[masklet.phrase_id] for masklet in masklets], np.int64) for masklets in (truths, predictions)
    ]
    overlaps = dict(zip(KINDS, measure_overlaps(video, truths, predictions), strict=True))
    pairs = []
    for number, phrase_id in enumerate(known):
        own, found = (np.flatnonzero(each == number) for each in phrases)
        kinds = {kind: _score_kind(each.select(own, found), scores[found]) for kind, each in overlaps.items()}
        pair = VideoPairScore(
            video_id=video.video_id, phrase_id=phrase_id, scores=scores[found][best_first(scores[found])], kinds=kinds
        )
        pairs.append(pair)
    kept = np.flatnonzero(scores >= SCORE_THRESHOLD)
    frames = overlaps["mask"].select(np.arange(len(truths)), kept).frames()
    classes = score_classes(frames, phrases[0], phrases[1][kept])
    return VideoScores(pairs=tuple(pairs), classes={known[number]: counts for number, counts in classes.items()})


def _score_kind(overlaps: VideoOverlaps, scores: Float64[np.ndarray, " prediction"]) -> KindScore:
    iou = overlaps.volume_iou
    followed = overlaps.select(np.arange(len(iou)), np.flatnonzero(scores > TRACKED_ABOVE))
    something = followed.truth_seen.any() or followed.predicted_seen.shape[1] > 0  # a prediction counts, seen or not
    return KindScore(
        concept=score_overlaps(iou, scores),
        tracks=score_tracks(followed.frames()) if something else None,
        hits=match_by_score(iou[:, best_first(scores)], IOU_THRESHOLDS),
    )


def _precisions(pairs: Sequence[VideoPairScore], kind: str) -> Float64[np.ndarray, " threshold"]:
    scores = np.concatenate([pair.scores for pair in pairs])
    hits = np.concatenate([pair.kinds[kind].hits for pair in pairs], axis=1)
    num_truths = sum(pair.num_truths for pair in pairs)
    return average_precision(scores, hits, num_truths)
