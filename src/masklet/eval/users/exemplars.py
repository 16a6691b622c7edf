"""A simulated user who corrects a concept by examples: each round one more box, "like this" or "not like this".

One curve starts from the words, one from a single example without words. Beside them stands what a user would get who,
with the same patience, mends one instance a round by hand: examples are worth it where they do better.

Source: SAM 3 paper, interactive exemplars; thresholds of what counts as wrong as in training.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from masklet.data.schema import Example, PhraseQuery
from masklet.eval.concepts.cgf1 import PairScore, assign, score_overlaps, total
from masklet.eval.metrics import SHORT_NAMES
from masklet.eval.predict.examples import LabelledInstances
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.predict.predict import Found
from masklet.ops.masks import rle_encode

ROUNDS = 5
SCORE = 0.5  # of what the user is shown
FOUND_IOU = 0.5  # from here on an instance was found
WRONG_IOU = 0.3  # below it with every instance, a detection shows something else

Box = tuple[float, float, float, float]
Overlaps = Float[np.ndarray, "truth detection"]


@runtime_checkable
class ExemplarSession(Protocol):
    """One image, encoded. See `masklet.ImageSession`."""

    def find(self, phrases: str | None, *, boxes: Sequence[Box], not_boxes: Sequence[Box], threshold: float) -> Found:
        """Instances of a concept given by a phrase, by boxes in pixels, or by both."""
        ...

    def close(self) -> None:
        """Lets the image go."""
        ...


@runtime_checkable
class ExemplarModel(Protocol):
    """What is asked; `masklet.Model` is one."""

    def open(self, image: Path) -> ExemplarSession:
        """Encodes an image."""
        ...


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Boxes given so far."""

    like: tuple[Box, ...] = ()
    unlike: tuple[Box, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConceptErrors:
    """Instances that were not found, and detections of something else."""

    missed: tuple[int, ...]
    wrong: tuple[int, ...]


def find_errors(iou: Overlaps) -> ConceptErrors:
    """What a user sees at once. A second detection of an instance, or a poor one, is neither."""
    rows, columns = assign(iou)
    pairs = [pair for pair in zip(rows.tolist(), columns.tolist(), strict=True) if iou[pair] >= FOUND_IOU]
    found, used = {row for row, _ in pairs}, {column for _, column in pairs}
    poor = np.flatnonzero(iou.max(axis=0, initial=0.0) < WRONG_IOU).tolist()
    return ConceptErrors(
        missed=tuple(row for row in range(len(iou)) if row not in found),
        wrong=tuple(column for column in poor if column not in used),
    )


def draw_error(errors: ConceptErrors, rng: np.random.Generator) -> tuple[int | None, int | None]:
    """A missed instance or a wrong detection, the other None; either kind is as likely. Both None when all is right."""
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
        """One pair: its overlaps after each round, the last of which holds for those that are not listed."""
        for place, scores in enumerate(self.scores):
            scores.append(score_overlaps(rounds[min(place, len(rounds) - 1)]))

    def figures(self) -> dict[str, list[float]]:
        """cgF1, pmF1 and IL_MCC after each round, in [0, 1]."""
        metrics = [total(scores).metrics() for scores in self.scores]
        names = ("cgF1", "positive_micro_F1", "IL_MCC")
        return {SHORT_NAMES[name]: [each[name] for each in metrics] for name in names}


@dataclass(kw_only=True)
class ExemplarCurves:
    """From words, with each round an example; the same mended by hand; from one example, which counts as a round.

    The last knows only pairs whose concept is there, as nothing can be shown of others: it has pmF1 and no cgF1.
    """

    rounds: int
    words: RoundScores = field(init=False)
    by_hand: RoundScores = field(init=False)
    examples: RoundScores = field(init=False)

    def __post_init__(self) -> None:
        self.words, self.by_hand = RoundScores.of(self.rounds), RoundScores.of(self.rounds)
        self.examples = RoundScores.of(self.rounds - 1)

    def figures(self) -> dict[str, Any]:
        """Each curve's figures; those from words begin with no box, those from examples with one."""
        return {
            "pairs": len(self.words.scores[0]),
            "positive_pairs": len(self.examples.scores[0]),
            "words": self.words.figures(),
            "by_hand": self.by_hand.figures(),
            "examples": {"pmF1": self.examples.figures()["pmF1"]},
        }


def correct_concepts(
    labelled: LabelledImages,
    model: ExemplarModel,
    *,
    rounds: int = ROUNDS,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> ExemplarCurves:
    """All pairs of a data set whose instances are all labelled; `advance` is called after each image."""
    curves = ExemplarCurves(rounds=rounds)
    for index in range(len(labelled)):
        example = labelled.example(index)
        session = model.open(labelled.path(index))
        try:
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
        finally:
            session.close()
        advance()
    return curves


@dataclass(frozen=True)
class _Pair:
    """A phrase of an image, asked again and again."""

    session: ExemplarSession
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
        """Overlaps before and after each of the rounds; fewer when there is nothing left to say."""
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

    def _next(self, iou: Overlaps, found: Found, given: Examples, rng: np.random.Generator) -> Examples:
        """The examples with one more; nobody draws the same box twice."""
        errors = find_errors(iou)
        truths = {row: self.box(self.query.object_index[row]) for row in errors.missed}
        wrong = {row: tuple(found.boxes[row].astype(np.float64).tolist()) for row in errors.wrong}
        fresh = ConceptErrors(
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
    """Overlaps before and after each of the rounds when one mistake a round is put right, and nothing else changes."""
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
