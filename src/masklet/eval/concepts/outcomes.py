"""The outcome of each scored pair of an image and a phrase: all that tables, curves and images of a report need.

A run writes one JSON line for each scored pair, and readers take the lines one at a time, so neither holds the dataset.
Files are named in `RunFiles`; the figures themselves are in `scores.json`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from jaxtyping import Float, Int64

from masklet.errors import InputError
from masklet.eval.concepts.cgf1 import IOU_THRESHOLDS, SCORE_THRESHOLD, PairScore, score_overlaps
from masklet.formats.records import Id


@dataclass(frozen=True)
class RunFiles:
    """The files in the folder of one evaluation."""

    folder: Path

    @property
    def scores(self) -> Path:
        """Figures and settings."""
        return self.folder / "scores.json"

    @property
    def outcomes(self) -> Path:
        """A line for each pair."""
        return self.folder / "outcomes.jsonl"

    def predictions(self, subset: str) -> Path:
        """Predictions of a model for a subset, in the published layout."""
        return self.folder / subset / "predictions.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"


@dataclass(frozen=True, kw_only=True)
class PairOutcome:
    """One image and phrase after scoring against the annotator that was chosen for it.

    Predictions are sorted by score and include those below the score threshold; `iou` is their overlap with the
    labelled instances, by masks or by boxes. Areas are in pixels. Run-length counts are those of masks of the image's
    size, and empty where a record had boxes alone. `presence` is None where only a file was scored.
    """

    pair_id: Id
    phrase: str
    image: str
    subset: str
    height: int
    width: int
    scores: Float[np.ndarray, " prediction"]
    iou: Float[np.ndarray, "truth prediction"]
    truth_areas: Int64[np.ndarray, " truth"]
    predicted_areas: Int64[np.ndarray, " prediction"]
    truth_boxes_xyxy: Float[np.ndarray, "truth 4"]
    predicted_boxes_xyxy: Float[np.ndarray, "prediction 4"]
    truth_counts: tuple[str, ...] = ()
    predicted_counts: tuple[str, ...] = ()
    presence: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of a line; empty entries are left out, because most pairs are empty on both sides."""
        entries = vars(self).items()
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in entries}
        return {name: value for name, value in plain.items() if name in _ALWAYS or value not in ([], (), None)}

    @classmethod
    def of_json(cls, line: dict[str, Any]) -> "PairOutcome":
        """The outcome of a line. Raises: KeyError, TypeError or ValueError for other content."""
        if not all(isinstance(line[name], str) for name in ("phrase", "image", "subset")):
            raise ValueError("phrase, image or subset is no text")
        if min(line["height"], line["width"]) < 1:
            raise ValueError(f"a size of {line['height']} x {line['width']} pixels is none")
        num_truths, num_predictions = len(line.get("truth_areas", ())), len(line.get("scores", ()))
        return cls(
            **{name: line[name] for name in _ALWAYS},
            scores=np.array(line.get("scores", ()), np.float64),
            iou=np.array(line.get("iou", ()), np.float64).reshape(num_truths, num_predictions),
            truth_areas=np.array(line.get("truth_areas", ()), np.int64),
            predicted_areas=np.array(line.get("predicted_areas", ()), np.int64),
            truth_boxes_xyxy=np.array(line.get("truth_boxes_xyxy", ()), np.float64).reshape(num_truths, 4),
            predicted_boxes_xyxy=np.array(line.get("predicted_boxes_xyxy", ()), np.float64).reshape(-1, 4),
            truth_counts=tuple(line.get("truth_counts", ())),
            predicted_counts=tuple(line.get("predicted_counts", ())),
            presence=line.get("presence"),
        )


_ALWAYS = ("pair_id", "phrase", "image", "subset", "height", "width")


def write_outcome(file: TextIO, outcome: PairOutcome) -> None:
    """Adds one line."""
    file.write(json.dumps(outcome.to_json(), separators=(",", ":")) + "\n")


def read_outcomes(path: Path) -> Iterator[PairOutcome]:
    """The outcomes of a file, one at a time. Raises: InputError naming the file and the line that cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield PairOutcome.of_json(json.loads(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path}: line {number} is not an outcome: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


_NOTHING = PairScore(num_truths=0, num_predictions=0, matches=np.zeros(len(IOU_THRESHOLDS), np.int64))


def score_outcome(outcome: PairOutcome, threshold: float | np.floating = SCORE_THRESHOLD) -> PairScore:
    """The pair as the metric counts it when predictions of at least that score are kept."""
    kept = outcome.scores >= threshold
    num_truths, num_predictions = len(outcome.iou), int(kept.sum())
    if num_truths and num_predictions:
        return score_overlaps(outcome.iou[:, kept])
    if not num_truths and not num_predictions:
        return _NOTHING  # most pairs are this
    return PairScore(num_truths=num_truths, num_predictions=num_predictions, matches=_NOTHING.matches)
