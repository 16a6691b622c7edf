"""Answers a question: every concept of it in one batch over one encoding, then set by set up the tree.

The calculus: an instance of a concept has the segmenter's probability; being related is its own times the best of the
relation times that of the other; `no` is one minus that; `every` the least of all. Sets are cut at even odds where they
are counted or ranked, and in the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from masklet.errors import InputError
from masklet.ops.masks import mask_iou
from masklet.protocols import ImageSegmenter, Instances, Pixels
from masklet.query.answer import Answer, Candidate, Step
from masklet.query.nodes import (
    Between,
    Both,
    ButNot,
    Counted,
    Cut,
    Either,
    Located,
    Named,
    Nearest,
    Node,
    Ranked,
    Related,
    named,
)
from masklet.query.relations import GUESSED, RELATION, between, extent_of, gap, lies_at
from masklet.query.text import to_text

EVEN = 0.5
SAME = 0.8  # IoU of masks that are one instance
PART = 0.8  # of a mask within another of its phrase: no instance of its own
TIE = 1e-3  # weight of the distance of centres, which tells things apart that both touch
ALL = -1  # stands for a whole set, such as one that is counted


Find = Callable[[Sequence[str], float], Instances]  # instances of phrases above a score, in one image
Like = Callable[[Named, float], Instances]  # the same of one concept that example boxes show


def like_of(session: ImageSegmenter) -> Like:
    """How a session is asked for a concept with example boxes."""
    return lambda concept, least: session.find(
        concept.phrase, boxes=concept.boxes, not_boxes=concept.not_boxes, threshold=least
    )


def plain_phrases(question: Node) -> tuple[str, ...]:
    """What `ask` looks for by words alone."""
    return tuple(dict.fromkeys(concept.phrase for concept in named(question) if not concept.has_examples))


def ask(find: Find, image: Pixels, question: Node, *, threshold: float = EVEN, like: Like | None = None) -> Answer:
    """The answer to one question: one call of `find`, and one of `like` for each concept with example boxes.

    Raises: InputError when a concept cannot be asked.
    """
    concepts = named(question)
    if not concepts:
        raise InputError("the question names no concept to look for")
    candidates: list[Candidate] = []
    presence: dict[str, float] = {}
    plain = {concept.phrase: concept for concept in concepts if not concept.has_examples}
    if plain:
        found = find(plain_phrases(question), threshold / 2)
        _collect(found, plain, candidates)
        presence |= {phrase: float(found.presence[phrase]) for phrase in plain}
    for concept in concepts:
        if concept.has_examples:
            if like is None:
                raise InputError("example boxes cannot be asked for here: give phrases alone")
            found = like(concept, threshold / 2)
            _collect(found, dict.fromkeys(found.phrases, concept), candidates)
            presence[to_text(concept)] = max(map(float, found.presence.values()), default=0.0)
    steps: list[Step] = []
    kept = evaluate(candidates, question, steps)
    chosen = [replace(each, score=score) for each, score in kept.values() if score >= threshold]
    best_first = sorted(chosen, key=lambda each: (-each.score, each.number))
    return Answer(
        question=question,
        image=image,
        instances=tuple(best_first),
        found=tuple(candidates),
        looked_for=presence,
        steps=tuple(steps),
    )


def _collect(found: Instances, concepts: Mapping[str, Named], result: list[Candidate]) -> None:
    """Adds instances by the phrase under which they were found."""
    for index, phrase in enumerate(found.phrases):
        mask, box, concept = found.mask(index), found.boxes[index], concepts[phrase]
        if mask.any() and not _doubled(mask, concept, result):
            shape = extent_of(mask, box)
            score = float(found.scores[index])
            result.append(Candidate(number=len(result), concept=concept, score=score, box=box, mask=mask, shape=shape))


def _doubled(mask: np.ndarray, concept: Named, surer: Sequence[Candidate]) -> bool:
    """Whether a mask lies in that of a surer instance of its concept: a fragment would be counted and ranked."""
    area = mask.sum()
    return any((each.mask & mask).sum() >= PART * area for each in surer if each.concept == concept)


Found = dict[int, tuple[Candidate, float]]


@runtime_checkable
class Steadying(Protocol):
    """What keeps the sets of a video from flickering; nodes go by their text. See `over_time.AnswerMemory`."""

    def steady(self, node: str, number: int, value: float) -> float:
        """The probability of an identity at a node."""
        ...

    def missing(self, node: str) -> set[int]:
        """The identities that were in the set of a node."""
        ...

    def ordered(self, node: str, keys: Mapping[int, float]) -> list[int]:
        """Identities, those of low keys first."""
        ...


def evaluate(
    candidates: Sequence[Candidate], question: Node, steps: list[Step], memory: Steadying | None = None
) -> Found:
    """The probability of each candidate to answer, by its number; what was done is added to `steps`."""
    return _Evaluation(candidates, steps, memory).of(question)


class _Evaluation:
    """Walks a question from its leaves."""

    def __init__(self, candidates: Sequence[Candidate], steps: list[Step], memory: Steadying | None) -> None:
        self.candidates, self.steps, self.memory = candidates, steps, memory

    def of(self, node: Node) -> Found:  # noqa: PLR0911 - one of each kind
        match node:
            case Named():
                return {each.number: (each, each.score) for each in self.candidates if each.concept == node}
            case Related():
                return self._related(node)
            case Between():
                return self._between(node)
            case Ranked():
                return self._ranked(node)
            case Located():
                return self._placed(node)
            case Nearest():
                return self._nearest(node)
            case Either() | Both():
                return self._joined(node)
            case ButNot():
                return self._but_not(node)
            case Counted():
                return self._counted(node)
            case Cut():
                return self._cut(node)

    def _related(self, node: Related) -> Found:
        subjects, others = self.of(node.subject), self.of(node.object)
        measure = RELATION[node.relation]
        kept: Found = {}
        why: dict[int, str] = {}
        for number, (each, score) in subjects.items():
            values = [
                measure(each.shape, other.shape) * own
                for key, (other, own) in others.items()
                if key != number and not _same(each, other)
            ]
            probability = _quantified(values, node)
            kept[number] = (each, score * probability)
            if score * probability < EVEN <= score:
                why[number] = (
                    f"{node.relation} {_quantity(node)} {to_text(node.object)} has probability {probability:.2f}"
                )
        return self._tell(node, kept, why, is_guess=node.relation in GUESSED)

    def _between(self, node: Between) -> Found:
        subjects, first, second = self.of(node.subject), self.of(node.first), self.of(node.second)
        kept: Found = {}
        why: dict[int, str] = {}
        for number, (each, score) in subjects.items():
            values = [
                between(each.shape, a.shape, b.shape) * p * q
                for i, (a, p) in first.items()
                for j, (b, q) in second.items()
                if len({number, i, j}) == 3 and not (_same(each, a) or _same(each, b))
            ]
            probability = max(values, default=0.0)
            kept[number] = (each, score * probability)
            if score * probability < EVEN <= score:
                why[number] = f"lies between them with probability {probability:.2f}"
        return self._tell(node, kept, why)

    def _ranked(self, node: Ranked) -> Found:
        sure = _even(self.of(node.of))
        middle = np.median([each.shape.centre for each, _ in sure.values()], axis=0) if sure else np.zeros(2)
        keys = {
            number: _from_middle(each, middle) if node.order == "middle" else _ORDERS[node.order](each, score)
            for number, (each, score) in sure.items()
        }
        order = self._in_order(node, keys)
        chosen = _chosen(order, node)
        why = {
            number: f"is number {order.index(number) + 1} of {len(order)}" for number in order if number not in chosen
        }
        return self._told(node, {number: sure[number] for number in chosen}, why)

    def _nearest(self, node: Nearest) -> Found:
        sure, others = _even(self.of(node.of)), _even(self.of(node.to))
        distance = {
            number: min(gap(each.shape, other.shape) + TIE * _apart(each, other) for other, _ in rest)
            for number, (each, _) in sure.items()
            if (rest := [pair for key, pair in others.items() if key != number and not _same(each, pair[0])])
        }
        order = self._in_order(node, {key: -value if node.far else value for key, value in distance.items()})
        return self._told(node, {number: sure[number] for number in _chosen(order, node)}, {})

    def _placed(self, node: Located) -> Found:
        kept: Found = {}
        why: dict[int, str] = {}
        for number, (each, score) in self.of(node.of).items():
            probability = lies_at(node.side, each.shape, each.mask.shape)
            kept[number] = (each, score * probability)
            if score * probability < EVEN <= score:
                why[number] = f"lies at the {node.side} of the image with probability {probability:.2f}"
        return self._tell(node, kept, why)

    def _in_order(self, node: Node, keys: Mapping[int, float]) -> list[int]:
        """Numbers by their keys, lowest first."""
        if self.memory is not None:
            return self.memory.ordered(to_text(node), keys)
        return sorted(keys, key=lambda number: keys[number])

    def _joined(self, node: Either | Both) -> Found:
        parts = [self.of(part) for part in node.parts]
        kept: Found = {}
        for place, part in enumerate(parts):
            for number, (each, score) in part.items():
                twin = next((key for key, (other, _) in kept.items() if _same(each, other)), None)
                if isinstance(node, Either):
                    if twin is None:
                        kept[number] = (each, score)
                    elif score > kept[twin][1]:
                        kept[twin] = (kept[twin][0], score)
                elif place == 0:
                    others = [max((s for o, s in rest.values() if _same(each, o)), default=0.0) for rest in parts[1:]]
                    kept[number] = (each, score * float(np.prod(others)))
        return self._tell(node, kept, {})

    def _but_not(self, node: ButNot) -> Found:
        kept, without = self.of(node.of), self.of(node.without)
        result: Found = {}
        why: dict[int, str] = {}
        for number, (each, score) in kept.items():
            against = max((other_score for other, other_score in without.values() if _same(each, other)), default=0.0)
            result[number] = (each, score * (1 - against))
            if score * (1 - against) < EVEN <= score:
                why[number] = f"is {to_text(node.without)} with probability {against:.2f}"
        return self._tell(node, result, why)

    def _counted(self, node: Counted) -> Found:
        sure = _even(self.of(node.of))
        fits = len(sure) >= node.least and (node.most is None or len(sure) <= node.most)
        if self.memory is not None:
            fits = self.memory.steady(to_text(node), ALL, float(fits)) >= EVEN
        why = {} if fits else {number: f"there are {len(sure)}" for number in sure}
        return self._told(node, sure if fits else {}, why)

    def _cut(self, node: Cut) -> Found:
        kept, tools = self.of(node.of), list(_even(self.of(node.by)).values())
        cover = np.logical_or.reduce([tool.mask for tool, _ in tools]) if tools else None
        result: Found = {}
        for number, (each, score) in kept.items():
            mask = each.mask if cover is None else _CUTS[node.how](each.mask, cover)
            if cover is None and node.how == "intersection":
                continue
            if mask.any():
                rows, columns = np.nonzero(mask)
                box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
                result[number] = (replace(each, mask=mask, box=box, shape=extent_of(mask, box)), score)
        return self._told(node, result, {})

    def _tell(self, node: Node, kept: Found, why: Mapping[int, str], *, is_guess: bool = False) -> Found:
        """The set of a node, steadied where there is a memory, and written down."""
        if self.memory is not None:
            name, here = to_text(node), {each.number: each for each in self.candidates}
            gone = (self.memory.missing(name) & here.keys()) - kept.keys()
            kept = {**kept, **{number: (here[number], 0.0) for number in gone}}
            kept = {n: (each, self.memory.steady(name, n, score)) for n, (each, score) in kept.items()}
            why = {number: reason for number, reason in why.items() if kept[number][1] < EVEN}
        return self._told(node, kept, why, is_guess=is_guess)

    def _told(self, node: Node, kept: Found, why: Mapping[int, str], *, is_guess: bool = False) -> Found:
        shown = {number: score for number, (_, score) in kept.items() if score >= EVEN}
        self.steps.append(Step(question=to_text(node), kept=shown, left_out=dict(why), is_guess=is_guess))
        return kept


def _quantified(values: Sequence[float], node: Related) -> float:
    if node.least is not None:
        count = sum(value >= EVEN for value in values)
        return float(count >= node.least and (node.most is None or count <= node.most))
    if node.quantifier == "every":
        return min(values, default=0.0)
    best = max(values, default=0.0)
    return 1 - best if node.quantifier == "no" else best


def _quantity(node: Related) -> str:
    if node.least is None:
        return node.quantifier
    if node.most is None:
        return f"at least {node.least}"
    return str(node.least) if node.least == node.most else f"{node.least} to {node.most}"


def _chosen(order: Sequence[int], node: Ranked | Nearest) -> list[int]:
    """Those that are counted out of an order; none where there are too few."""
    chosen = list(order[node.place - 1 : node.place - 1 + node.count])
    return chosen if len(chosen) == node.count else []


def _from_middle(each: Candidate, middle: np.ndarray) -> float:
    return float(np.hypot(*(each.shape.centre - middle)))


def _even(found: Found) -> Found:
    return {number: pair for number, pair in found.items() if pair[1] >= EVEN}


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates are the same thing, found by two phrases or once."""
    if one.number == other.number:
        return True
    width, height = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    smaller, larger = sorted((one.shape.area, other.shape.area))
    if min(width, height) <= 0 or smaller < SAME * larger:
        return False
    return bool(mask_iou(one.mask[None], other.mask[None])[0, 0] >= SAME)


def _apart(one: Candidate, other: Candidate) -> float:
    return float(np.hypot(*(one.shape.centre - other.shape.centre)))


_ORDERS = {
    "left": lambda each, _: float(each.shape.centre[0]),
    "right": lambda each, _: -float(each.shape.centre[0]),
    "top": lambda each, _: float(each.shape.centre[1]),
    "bottom": lambda each, _: -float(each.shape.centre[1]),
    "top left": lambda each, _: float(each.shape.centre[0] + each.shape.centre[1]),
    "top right": lambda each, _: float(each.shape.centre[1] - each.shape.centre[0]),
    "bottom left": lambda each, _: float(each.shape.centre[0] - each.shape.centre[1]),
    "bottom right": lambda each, _: -float(each.shape.centre[0] + each.shape.centre[1]),
    "large": lambda each, _: -float(np.sqrt(each.shape.area)),
    "small": lambda each, _: float(np.sqrt(each.shape.area)),
    "tall": lambda each, _: -each.shape.height,
    "short": lambda each, _: each.shape.height,
    "wide": lambda each, _: -each.shape.width,
    "narrow": lambda each, _: each.shape.width,
    "long": lambda each, _: -float(np.hypot(each.shape.width, each.shape.height)),
    "sure": lambda _, score: -score,
}
_CUTS = {"difference": lambda a, b: a & ~b, "union": lambda a, b: a | b, "intersection": lambda a, b: a & b}
