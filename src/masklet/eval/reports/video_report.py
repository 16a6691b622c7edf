"""The main figures of evaluated videos, and the page: figures, curves, phrases and pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

from masklet.eval.concepts.cgf1 import IMAGE_FN, IMAGE_FP, IOU_THRESHOLDS
from masklet.eval.metrics import formatted, scaled
from masklet.eval.reports.charts import Line, line_chart
from masklet.eval.reports.page import Cell, Figure, Report, Table
from masklet.eval.videos.hota import ALPHAS
from masklet.eval.videos.video_files import VideoTruth
from masklet.eval.videos.video_scores import KINDS, VideoScores
from masklet.formats.records import Id

MAIN_FIGURES = {  # names in papers, and in `VideoScores.metrics`
    "cgF1": "demo_cgf1_macro_50_95",
    "pmF1": "demo_positive_macro_f1_50_95",
    "VL_MCC": "demo_ilmcc_50_95",
    "cgF1 micro": "demo_cgf1_micro_50_95",
    "pmF1 micro": "demo_positive_micro_f1_50_95",
    "pHOTA": "all_phrase_HOTA",
    "pDetA": "all_phrase_DetA",
    "pAssA": "all_phrase_AssA",
    "TETA": "teta",
    "mAP": "mAP_50_95",
    "phrase AP": "phrase_ap_50_95",
}
HEADLINE = ("cgF1", "pmF1", "VL_MCC", "pHOTA", "TETA", "mAP")


def main_figures(metrics: Mapping[str, float], kind: str) -> dict[str, float | int | None]:
    """The figures of papers, scaled as `metrics.scaled` does. cgF1 and pmF1 are macro, as the paper defines."""
    return {name: scaled(name, metrics.get(f"video_{kind}_{key}")) for name, key in MAIN_FIGURES.items()}


def figure_table(metrics: Mapping[str, float]) -> Table:
    """The main figures as text, by masks and by boxes."""
    rows = [
        [name, *(formatted(name, metrics.get(f"video_{kind}_{key}"), 1) for kind in KINDS)]
        for name, key in MAIN_FIGURES.items()
    ]
    return Table("", ["", "masks", "boxes"], rows)


def describe(scores: VideoScores, truth: VideoTruth, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `scores.json`: all published figures, and those of each pair with its video and phrase."""
    names = [
        {"video": truth.videos[pair.video_id].name, "phrase": _phrase(truth, pair.phrase_id)} for pair in scores.pairs
    ]
    return {
        "format": "masklet-eval-video",
        "version": 1,
        "settings": dict(settings),
        "metrics": scores.metrics(),
        "pairs": [name | record for name, record in zip(names, scores.per_pair(), strict=True)],
    }


def make_report(scores: VideoScores, truth: VideoTruth, subtitle: str) -> Report:
    """The page. Raises: InputError when matplotlib is missing."""
    metrics = scores.metrics()
    figures = {kind: main_figures(metrics, kind) for kind in KINDS}
    return Report(
        title="Video concepts",
        subtitle=subtitle,
        figures=[Figure(name, figures["mask"][name], note="masks") for name in HEADLINE],
        sections=[
            Table(
                "Figures",
                ["by", *MAIN_FIGURES],
                [[_PLURALS[kind], *values.values()] for kind, values in figures.items()],
                "cgF1 and pmF1 are means over pairs, as the paper defines them for videos; micro ones count objects.",
            ),
            line_chart(
                "Detection: F1 where the phrase is present",
                [Line(_PLURALS[kind], IOU_THRESHOLDS, scores.counts(kind).pmf1) for kind in KINDS],
                x_label="IoU over the whole video, at least",
                y_label="pmF1 (micro)",
                y_range=(0, 1),
            ),
            line_chart(
                "Tracking: HOTA and its parts, by masks",
                [Line(name, ALPHAS, scores.tracks("mask").curves()[name]) for name in ("HOTA", "DetA", "AssA")],
                x_label="IoU in a frame, at least",
                y_label="share",
                y_range=(0, 1),
            ),
            _phrase_table(scores, truth),
            _pair_table(scores, truth),
        ],
    )


_PLURALS = {"mask": "masks", "bbox": "boxes"}


def _phrase_table(scores: VideoScores, truth: VideoTruth) -> Table:
    rows: list[Sequence[Cell]] = []
    for phrase_id, own in scores.by_phrase().items():
        counts, followed = own.counts("mask"), own.tracks("mask").metrics()
        objects = sum(pair.num_truths for pair in own.pairs)
        f1 = 100 * float(counts.pmf1.mean()) if objects else None
        errors = [int(counts.sums[each]) for each in (IMAGE_FP, IMAGE_FN)]
        tracks = [100 * followed[name] if objects else None for name in ("HOTA", "DetA", "AssA")]
        rows.append([_phrase(truth, phrase_id), len(own.pairs), objects, f1, *errors, *tracks])
    columns = ["phrase", "videos", "objects", "pmF1", "false alarms", "overlooked", "pHOTA", "pDetA", "pAssA"]
    note = "By masks. A false alarm is a video without the concept but with a prediction; overlooked is the reverse."
    return Table("Phrases", columns, rows, note)


def _pair_table(scores: VideoScores, truth: VideoTruth) -> Table:
    rows: list[Sequence[Cell]] = []
    for pair in scores.pairs:
        by_mask = pair.kinds["mask"]
        figures, objects = by_mask.figures(), pair.num_truths
        f1 = 100 * figures["F1_50_95"]
        tracks = [100 * figures[name] if name in figures else None for name in ("HOTA", "DetA", "AssA")]
        counts = [objects, by_mask.concept.num_predictions, int(by_mask.concept.matches[0])]
        names = truth.videos[pair.video_id].name, _phrase(truth, pair.phrase_id)
        rows.append([*names, *counts, f1, *tracks])
    columns = ["video", "phrase", "objects", "predicted", "matched", "F1", "HOTA", "DetA", "AssA"]
    note = "By masks. Matched at an IoU of 0.5; a phrase that is absent and not predicted has an F1 of 100."
    return Table("Pairs of a video and a phrase", columns, rows, note)


def _phrase(truth: VideoTruth, phrase_id: Id) -> str:
    return truth.phrases.get(phrase_id, str(phrase_id))
