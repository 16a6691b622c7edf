"""A simulated user who corrects a concept by examples: each round adds one positive or negative box.

One curve starts from the phrase, one from a single example without a phrase. The baseline is a user who corrects one
instance a round by hand: examples are worthwhile where they do better.

Source: SAM 3 paper, interactive exemplars; thresholds of what counts as wrong as in training.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from masklet.data.schema import Example, PhraseQuery
from masklet.eval.concepts.cgf1 import PairScore, score_overlaps, total
from masklet.eval.metrics import SHORT_NAMES
from masklet.eval.predict.examples import LabelledInstances
from masklet.eval.predict.labelled import LabelledImages
from masklet.ops.corrections import DetectionErrors, find_errors
from masklet.ops.masks import rle_encode
from masklet.protocols import ImageSegmenter, Instances, Segmenter

ROUNDS = 5
SCORE = 0.5  # above which the user sees a detection

Box = tuple[float, float, float, float]
Overlaps = Float[np.ndarray, "truth detection"]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Boxes given so far."""

    like: tuple[Box, ...] = ()
    unlike: tuple[Box, ...] = ()


def draw_error(errors: DetectionErrors, rng: np.random.Generator) -> tuple[int | None, int | None]:
    """A random missed instance or wrong detection, either kind with equal probability; None for the other, or both."""
    kinds = [kind for kind in ("missed", "wrong") if getattr(errors, kind)]
    if not kinds:
        return None, None
    kind = kinds[int(rng.integers(len(kinds)))]
    chosen = int(rng.choice(getattr(errors, kind)))
    return (chosen, None) if kind == "missed" else (None, chosen)


@dataclass(kw_only=True)
class RoundScores:
    """Scores of all pairs after 0, 1, ... rounds."""

    scores: list[list[PairScore]]

    @classmethod
    def of(cls, rounds: int) -> "RoundScores":
        """No pairs yet."""
        return cls(scores=[[] for _ in range(rounds + 1)])

    def add(self, rounds: Sequence[Float[np.ndarray, "truth _"]]) -> None:
        """Adds a pair by its overlaps after each round; the last ones hold for all further rounds."""
        for place, scores in enumerate(self.scores):
            scores.append(score_overlaps(rounds[min(place, len(rounds) - 1)]))

    def figures(self) -> dict[str, list[float]]:
        """cgF1, pmF1 and IL_MCC after each round, in [0, 1]."""
        metrics = [total(scores).metrics() for scores in self.scores]
        names = ("cgF1", "positive_micro_F1", "IL_MCC")
        return {SHORT_NAMES[name]: [each[name] for each in metrics] for name in names}


@dataclass(kw_only=True)
class ExemplarCurves:
    """Scores by round from a phrase with an example a round, from a phrase corrected by hand, and from one example.

    The last has only pairs with instances, which examples need: it has pmF1 and no cgF1.
    """

    words: RoundScores
    by_hand: RoundScores
    examples: RoundScores

    @classmethod
    def of(cls, rounds: int) -> "ExemplarCurves":
        """No pairs yet."""
        return cls(words=RoundScores.of(rounds), by_hand=RoundScores.of(rounds), examples=RoundScores.of(rounds - 1))

    def figures(self) -> dict[str, Any]:
        """Figures of each curve; those from phrases begin without a box, those from examples with one."""
        return {
            "pairs": len(self.words.scores[0]),
            "positive_pairs": len(self.examples.scores[0]),
            "words": self.words.figures(),
            "by_hand": self.by_hand.figures(),
            "examples": {"pmF1": self.examples.figures()["pmF1"]},
        }


def correct_concepts(
    labelled: LabelledImages,
    model: Segmenter,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> ExemplarCurves:
    """All pairs of a data set whose instances are all labelled; `advance` is called after each image."""
    curves = ExemplarCurves.of(rounds)
    for index in range(len(labelled)):
        example = labelled.example(index)
        with closing(model.open(labelled.path(index))) as session:
            for place, query in enumerate(labelled.queries(example)):
                truths = LabelledInstances.of(example, query)
                pair = _Pair(session, example, query, truths, [seed, index, place])
                words = list(pair.rounds(query.phrase, Examples(), rounds))
                curves.words.add(words)
                curves.by_hand.add(list(mend(words[0], rounds, pair.rng(1))))
                if query.object_index:
                    row = int(pair.rng(2).choice(query.object_index))
                    first = Examples(like=(pair.box(row),))
                    curves.examples.add(list(pair.rounds(None, first, rounds - 1)))
        advance()
    return curves


@dataclass(frozen=True)
class _Pair:
    """A phrase of an image with its session."""

    session: ImageSegmenter
    example: Example
    query: PhraseQuery
    truths: LabelledInstances
    seed: list[int]

    def rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, stream])

    def box(self, row: int) -> Box:
        """The box of an object, cut at the border of the image."""
        height, width = self.example.image.shape[:2]
        return tuple(np.clip(self.example.boxes_xyxy[row].astype(np.float64), 0, [width, height] * 2).tolist())

    def rounds(self, phrase: str | None, given: Examples, rounds: int) -> Iterator[Overlaps]:
        """Overlaps before and after each of the rounds; fewer when no error is left."""
        rng = self.rng(0)
        for remaining in range(rounds, -1, -1):
            found = self.session.find(phrase, boxes=given.like, not_boxes=given.unlike, threshold=SCORE)
            iou = self.truths.iou(found.boxes, (rle_encode(found.mask(i, cut=0.5)) for i in range(len(found.scores))))
            yield iou
            if remaining == 0:
                return
            more = self._next(iou, found, given, rng)
            if more == given:
                return
            given = more

    def _next(self, iou: Overlaps, found: Instances, given: Examples, rng: np.random.Generator) -> Examples:
        """The examples with one more; no box is given twice."""
        errors = find_errors(iou)
        truths = {row: self.box(self.query.object_index[row]) for row in errors.missed}
        wrong = {row: tuple(found.boxes[row].astype(np.float64).tolist()) for row in errors.wrong}
        fresh = DetectionErrors(
            missed=tuple(row for row, box in truths.items() if box not in given.like and _has_area(box)),
            wrong=tuple(row for row, box in wrong.items() if box not in given.unlike and _has_area(box)),
        )
        missed, surplus = draw_error(fresh, rng)
        if missed is not None:
            return Examples(like=(*given.like, truths[missed]), unlike=given.unlike)
        if surplus is not None:
            return Examples(like=given.like, unlike=(*given.unlike, wrong[surplus]))
        return given


def _has_area(box: Sequence[float]) -> bool:
    return box[2] > box[0] and box[3] > box[1]


def mend(iou: Overlaps, rounds: int, rng: np.random.Generator) -> Iterator[Overlaps]:
    """Overlaps before and after each of the rounds when one error a round is corrected by hand."""
    yield iou
    for _ in range(rounds):
        missed, wrong = draw_error(find_errors(iou), rng)
        if missed is not None:
            drawn = np.zeros((len(iou), 1))
            drawn[missed] = 1.0
            iou = np.concatenate([iou, drawn], axis=1)
        elif wrong is not None:
            iou = np.delete(iou, wrong, axis=1)
        else:
            return
        yield iou
