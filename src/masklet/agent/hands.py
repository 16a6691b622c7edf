"""Does what the agent wants done with the segmenter: one encoding an image, every phrase asked at most once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from masklet.agent import drawings, facts
from masklet.agent.judge import Judging
from masklet.agent.pool import Box, FoundMask, Mark, Pool, box_of
from masklet.agent.rules import readings
from masklet.agent.state import Ran
from masklet.agent.tools import (
    Arguments,
    Combine,
    Compare,
    Facts,
    Inspect,
    Judge,
    Propose,
    Query,
    Refine,
    Segment,
    SegmentBox,
    ViewCandidates,
)
from masklet.errors import InputError
from masklet.llm.places import Convention
from masklet.ops.masks import mask_to_box
from masklet.protocols import ImageSegmenter, Instances, Pixels
from masklet.query.evaluate import EVEN, ask, like_of
from masklet.query.text import from_text, to_text

LOWEST = 0.05  # what is kept of every phrase, so that another threshold costs nothing
OPS = {"union": np.logical_or, "intersect": np.logical_and, "difference": lambda a, b: a & ~b}
THOUSAND = Convention(scale="thousand")


@dataclass(frozen=True, kw_only=True)
class Found:
    """Instances of several phrases, put together from what was asked before. See `protocols.Instances`."""

    presence: Mapping[str, float]
    finds: tuple[FoundMask, ...]

    def __len__(self) -> int:
        return len(self.finds)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrase of each instance."""
        return tuple(find.phrase for find in self.finds)

    @property
    def scores(self) -> np.ndarray:
        """The probability of each."""
        return np.array([find.score for find in self.finds], np.float32)

    @property
    def boxes(self) -> np.ndarray:
        """Boxes xyxy in pixels."""
        return np.array([find.box for find in self.finds], np.float32).reshape(-1, 4)

    def mask(self, index: int, *, cut: float = 0.5) -> np.ndarray:  # noqa: ARG002 - they are cut already
        """The mask of one."""
        return self.finds[index].mask


@dataclass(kw_only=True)
class Hands:
    """The segmenter's session on one image, and who judges. `convention` is how the planner writes places."""

    session: ImageSegmenter
    image: Pixels
    judge: Judging | None = None
    convention: Convention = THOUSAND
    known: dict[str, tuple[float, tuple[FoundMask, ...]]] = field(default_factory=dict)

    def run(self, arguments: Arguments, pool: Pool, request: str) -> Ran:  # noqa: PLR0911 - one of each tool
        """The result of a tool. What the segmenter refuses is told, not raised."""
        try:
            match arguments:
                case Segment():
                    return self._segment(arguments)
                case Propose():
                    return self._propose(arguments)
                case SegmentBox():
                    return self._box(arguments)
                case Refine():
                    return self._refine(arguments, pool.marks[arguments.mask])
                case Query():
                    return self._query(arguments)
                case _:
                    return self._tell(arguments, pool, request)
        except InputError as error:
            return Ran(text=f"not done: {error}")

    def _tell(self, arguments: Arguments, pool: Pool, request: str) -> Ran:  # noqa: PLR0911 - one of each tool
        """What tools say of candidates that are there."""
        match arguments:
            case ViewCandidates():
                return self._view(arguments, pool)
            case Compare():
                return self._compare(arguments, pool, request)
            case Judge():
                return self._judge(arguments, [pool.marks[key] for key in arguments.masks], request)
            case Inspect():
                draw = drawings.zoomed if arguments.view == "zoom" else drawings.marked
                shown = [pool.marks[key] for key in dict.fromkeys(arguments.masks)]
                return Ran(text="shown", pictures=(draw(self.image, shown),))
            case Combine():
                return self._combine(arguments, [pool.marks[key] for key in arguments.masks])
            case Facts():
                chosen = [m for key, m in pool.marks.items() if not arguments.masks or key in arguments.masks]
                missing = pool.unknown(arguments.masks)
                return Ran(text=f"{missing}\n{facts.table(chosen, self.image, arguments.sort)}".strip())
            case _:
                return Ran(text=f"{type(arguments).__name__} is not done here")

    def find(self, phrases: Sequence[str], least: float) -> tuple[Instances, int]:
        """Instances of phrases above a score, and how many phrases had to be asked for it."""
        fresh = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self.known]
        if fresh:
            result = self.session.find(fresh, threshold=LOWEST)
            by_phrase: dict[str, list[FoundMask]] = {phrase: [] for phrase in fresh}
            for find in finds_of(result):
                by_phrase[find.phrase].append(find)
            self.known |= {phrase: (float(result.presence[phrase]), tuple(by_phrase[phrase])) for phrase in fresh}
        chosen = [f for phrase in dict.fromkeys(phrases) for f in self.known[phrase][1] if f.score >= least]
        chosen.sort(key=lambda find: -find.score)
        presence = {phrase: self.known[phrase][0] for phrase in phrases}
        return Found(presence=presence, finds=tuple(chosen)), len(fresh)

    def _segment(self, asked: Segment) -> Ran:
        phrases = [" ".join(phrase.lower().split()) for phrase in asked.phrases]
        found, cost = self.find(phrases, asked.min_score)
        told = "; ".join(
            f"{phrase}: {found.phrases.count(phrase)} (presence {presence:.2f})"
            for phrase, presence in found.presence.items()
        )
        return Ran(text=told, finds=tuple(finds_of(found)), prompts=cost)

    def _propose(self, asked: Propose) -> Ran:
        """A group of finds for each phrase and each box; boxes outside the image give none."""
        phrases = list(dict.fromkeys(" ".join(phrase.lower().split()) for phrase in asked.phrases))
        found, cost = self.find(phrases, SHOWN)
        groups = {phrase: [find for find in finds_of(found) if find.phrase == phrase] for phrase in phrases}
        for number, numbers in enumerate(asked.boxes, 1):
            box = self._in_pixels(numbers)
            name = f"box {number}"
            groups[name] = [] if box is None else list(_one(self.session.click(box=box).masks[0], name))
            cost += box is not None
        told = "; ".join(f"{name}: {len(finds)}" for name, finds in groups.items())
        sizes = tuple((name, len(finds)) for name, finds in groups.items())
        return Ran(text=told, finds=tuple(f for finds in groups.values() for f in finds), groups=sizes, prompts=cost)

    def _view(self, asked: ViewCandidates, pool: Pool) -> Ran:
        chosen = [pool.marks[key] for key in asked.masks]
        pictures = (drawings.marked(self.image, chosen),) if asked.with_picture else ()
        more = len(pool.marks) - len(chosen)
        left_out = f"\n{more} less sure candidates are not shown" if more else ""
        return Ran(text=f"{facts.table(chosen, self.image)}{left_out}", pictures=pictures)

    def _compare(self, asked: Compare, pool: Pool, request: str) -> Ran:
        if self.judge is None:
            return Ran(text="nobody is here to compare", preference=EVEN)
        first, second = ([pool.marks[key] for key in keys] for keys in (asked.first, asked.second))
        judged = self.judge.compare(self.image, first, second, request)
        return Ran(text="compared", preference=judged.probabilities[0], usage=judged.usage)

    def _query(self, asked: Query) -> Ran:
        node = from_text(asked.question) if '"' in asked.question else next(iter(readings(asked.question)), None)
        if node is None:
            return Ran(text="not done: this sentence is beyond the query language; use segment and facts")
        cost = 0

        def find(phrases: Sequence[str], least: float) -> Instances:
            nonlocal cost
            found, cost = self.find(phrases, least)
            return found

        answer = ask(find, self.image, node, like=like_of(self.session))
        finds = tuple(
            FoundMask(phrase=each.phrase, score=each.score, box=box_of(each.box), mask=each.mask)
            for each in answer.instances
        )
        return Ran(text=f"read as {to_text(node)}\n{answer.explain()}", finds=finds, answers=True, prompts=cost)

    def _box(self, asked: SegmentBox) -> Ran:
        box = self._in_pixels(asked.box)
        if box is None:
            return Ran(text=f"not done: the box {asked.box} lies outside the image or is empty")
        if asked.mode == "all_like_this":
            negative = [each for numbers in asked.negative_boxes if (each := self._in_pixels(numbers)) is not None]
            result = self.session.find(asked.phrase, boxes=[box], not_boxes=negative, threshold=SHOWN)
            return Ran(text="like the box", finds=tuple(finds_of(result, asked.phrase or "like the box")), prompts=1)
        masks = self.session.click(box=box)
        name = asked.phrase or "in the box"
        return Ran(text="the thing in the box", finds=_one(masks.masks[0], name), prompts=1)

    def _refine(self, asked: Refine, mark: Mark) -> Ran:
        on = [self._point(point) for point in asked.add_points]
        off = [self._point(point) for point in asked.remove_points]
        if not on and not off:
            return Ran(text="not done: refine needs points to add or to remove")
        masks = self.session.click([*on, *off], [1] * len(on) + [0] * len(off), box=mark.box)
        return Ran(text=f"{mark.id} corrected", finds=_one(masks.masks[0], mark.phrases[0]), prompts=1)

    def _judge(self, asked: Judge, marks: list[Mark], request: str) -> Ran:
        if self.judge is None:
            return Ran(text="not done: nobody is here to judge; use facts and query")
        judged = self.judge.judge(self.image, marks, asked.question or request)
        verdicts = {mark.id: value for mark, value in zip(marks, judged.probabilities, strict=True)}
        told = "; ".join(f"{key}: {_verdict(value)}" for key, value in verdicts.items())
        return Ran(text=told, verdicts=verdicts, usage=judged.usage)

    def _combine(self, asked: Combine, marks: list[Mark]) -> Ran:
        mask = marks[0].mask
        for other in marks[1:]:
            mask = OPS[asked.op](mask, other.mask)
        if not mask.any():
            return Ran(text=f"not done: the {asked.op} of {', '.join(asked.masks)} is empty")
        return Ran(text=f"{asked.op} of {', '.join(asked.masks)}", finds=_one(mask, marks[0].phrases[0]))

    def _in_pixels(self, numbers: Sequence[float | int]) -> Box | None:
        """A box as the planner wrote it, in pixels of the image: what it saw was padded."""
        canvas = drawings.fit(self.image).shape
        box = self.convention.box(numbers, (canvas[0], canvas[1]))
        if box is None:
            return None
        across, down = drawings.shown_share(self.image)
        height, width = self.image.shape[:2]
        x0, y0, x1, y1 = (min(1.0, value / (down if k % 2 else across)) for k, value in enumerate(box))
        return (x0 * width, y0 * height, x1 * width, y1 * height) if x1 > x0 and y1 > y0 else None

    def _point(self, point: Sequence[float]) -> tuple[float, float]:
        box = self._in_pixels([point[0], point[1], point[0] + 1e-3, point[1] + 1e-3])
        if box is None:
            raise InputError(f"the point {list(point)} lies outside the image")
        return box[0], box[1]


SHOWN = 0.4  # score of what an example box brings


def finds_of(found: Instances, name: str | None = None) -> list[FoundMask]:
    """Instances as finds, without empty masks."""
    finds: list[FoundMask] = []
    for index, phrase in enumerate(found.phrases):
        mask = found.mask(index)
        if mask.any():
            score = float(found.scores[index])
            finds.append(FoundMask(phrase=name or phrase, score=score, box=box_of(found.boxes[index]), mask=mask))
    return finds


def _one(mask: np.ndarray, name: str) -> tuple[FoundMask, ...]:
    box = mask_to_box(mask)
    return () if box is None else (FoundMask(phrase=name, score=1.0, box=box_of(box), mask=mask),)


def _verdict(probability: float) -> str:
    word = "accepted" if probability >= 0.65 else "rejected" if probability <= 0.35 else "unsure"
    return f"{word} ({probability:.2f})"
