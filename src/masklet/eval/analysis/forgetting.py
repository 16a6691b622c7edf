"""The cost of training on a user's own images: does a model still reject absent phrases and find other objects?

The base and the model trained from it are asked the same questions: generated scenes, whose labels are exact; the
general data of the user, if there is some; and everyday things that the images of the user are unlikely to show. A
model trained without absent phrases accepts everything: in one report correct rejections fell from 95.8 % to 3.2 %, and
cgF1
from 55.7 to 6.7.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masklet.data.everyday import PROBES, absent_phrases
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import IndexedSource
from masklet.eval.analysis.reliability import wilson
from masklet.eval.concepts.cgf1 import SCORE_THRESHOLD
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.predict.examples import ask_example, figures_of, outcome_of
from masklet.protocols import Segmenter
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene

SCENES = 40  # some 130 absent phrases: a share of rejections is known to about 8 points
SCENE_SIDE = 336  # pixels
FIRST_SCENE = 2**31  # training draws the seeds below
MOST_IMAGES = 40
ABSENT_QUESTIONS = 480  # over all images of a user: a share is known to about 4 points
LOST_REJECTIONS = 5.0  # points; less may be chance with so many questions
LOST_QUALITY = 5.0  # points of pmF1; both models get the same questions, so chance matters less
HARDLY = 50.0  # percent of rejections that a coin toss reaches

Trouble = Literal["rejections", "quality"]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Images with phrases to ask; `image(i)` gives one with its name. `sure`: absence is labelled, not assumed."""

    name: str
    title: str
    count: int
    image: Callable[[int], tuple[str, Example]]
    sure: bool = True


def scene_questions(*, learnt: bool = False) -> Questions:
    """Generated scenes with seeds outside training; `learnt` says in the title that others were trained on."""

    def draw(index: int) -> tuple[str, Example]:
        return f"scene {index}", render_scene(FIRST_SCENE + index, SceneConfig(size=SCENE_SIDE))

    title = "Generated scenes, of a kind that was learnt from" if learnt else "Generated scenes"
    return Questions(name="scenes", title=title, count=SCENES, image=draw)


def image_questions(name: str, title: str, source: IndexedSource, places: Sequence[int]) -> Questions:
    """The fully labelled phrases of the given images of a source."""

    def read(index: int) -> tuple[str, Example]:
        place = places[index]
        example = source.example(place, np.random.default_rng(place))
        complete = {query.phrase: query for query in example.queries if query.exhaustive}
        return source.name(place), replace(example, queries=tuple(complete.values()))

    return Questions(name=name, title=title, count=len(places), image=read)


def spread(count: int) -> list[int]:
    """Evenly spaced indices of at most `MOST_IMAGES` of `count` images."""
    chosen = min(MOST_IMAGES, count)
    return [index * count // chosen for index in range(chosen)]


def everyday_questions(own: Questions) -> Questions:
    """The same images, asked for everyday things that none of their labels names."""
    examples = [own.image(index)[1] for index in range(own.count)]
    known = {query.phrase for example in examples for query in example.queries}
    phrases = absent_phrases(known.union(*(example.absent for example in examples)), PROBES)
    each = min(len(phrases), -(-ABSENT_QUESTIONS // own.count))

    def read(index: int) -> tuple[str, Example]:
        name, example = own.image(index)
        chosen = np.random.default_rng(index).permutation(len(phrases))[:each].tolist()
        queries = tuple(PhraseQuery(phrase=phrases[place], object_index=()) for place in chosen)
        return name, replace(example, queries=queries)

    return Questions(
        name="everyday", title="Your images, asked for everyday things", count=own.count, image=read, sure=False
    )


def ask_questions(
    questions: Questions, model: Segmenter, cache: Path, advance: Callable[[], object] = lambda: None
) -> list[PairOutcome]:
    """Outcomes of all questions; `advance` is called after each image.

    Raises: InputError when an image cannot be read or the cache not written.
    """
    outcomes = []
    for index in range(questions.count):
        name, example = questions.image(index)
        predictions = ask_example(example.image, [query.phrase for query in example.queries], model, cache)
        for query in example.queries:
            outcome = outcome_of(example, query, predictions[query.phrase], image=name, subset=questions.name)
            outcomes.append(replace(outcome, pair_id=len(outcomes)))
        advance()
    return outcomes


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Figures of a model on a set of questions: percent, IL_MCC in [-1, 1]; None where nothing gives a value.

    `rejected` of the `absent` pairs had no prediction at score 0.5; `low` and `high` are the ends of the 95 % interval
    of that share in percent. `false_alarms` counts images by phrase.
    """

    pairs: int
    absent: int
    rejected: int
    rejections: float | None
    low: float | None
    high: float | None
    cgF1: float | None
    IL_MCC: float | None
    pmF1: float | None
    false_alarms: dict[str, int]

    @classmethod
    def of(cls, outcomes: Sequence[PairOutcome]) -> "Standing":
        """The figures of one set."""
        absent = [outcome for outcome in outcomes if not len(outcome.iou)]
        alarms = [outcome.phrase for outcome in absent if (outcome.scores >= SCORE_THRESHOLD).any()]
        rejected = len(absent) - len(alarms)
        low, high = (float(end[0]) for end in wilson(np.array([rejected]), np.array([len(absent)])))
        has_both = 0 < len(absent) < len(outcomes)
        figures = figures_of(outcomes) if len(absent) < len(outcomes) else {}
        return cls(
            pairs=len(outcomes),
            absent=len(absent),
            rejected=rejected,
            rejections=_percent(rejected / len(absent)) if absent else None,
            low=_percent(low) if absent else None,
            high=_percent(high) if absent else None,
            cgF1=_percent(figures["cgF1"]) if has_both else None,
            IL_MCC=round(figures["IL_MCC"], 4) if has_both else None,
            pmF1=_percent(figures["positive_micro_F1"]) if figures else None,
            false_alarms=dict(Counter(alarms).most_common()),
        )


def _percent(share: float) -> float:
    return round(100 * share, 2)


@dataclass(frozen=True, kw_only=True)
class Change:
    """A set of questions before and after training."""

    name: str
    title: str
    images: int
    sure: bool
    before: Standing
    after: Standing

    @property
    def lost_rejections(self) -> float:
        """Points of correct rejections lost: at least `LOST_REJECTIONS`, with disjoint intervals; otherwise 0."""
        if self.before.rejections is None or self.after.rejections is None:
            return 0.0
        fall = self.before.rejections - self.after.rejections
        apart = (self.after.high or 0.0) < (self.before.low or 0.0)
        return fall if fall >= LOST_REJECTIONS and apart else 0.0

    @property
    def lost_quality(self) -> float:
        """Points of pmF1 that were lost: at least `LOST_QUALITY`; otherwise 0."""
        if self.before.pmF1 is None or self.after.pmF1 is None:
            return 0.0
        fall = self.before.pmF1 - self.after.pmF1
        return fall if fall >= LOST_QUALITY else 0.0


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """The changes of all sets of questions."""

    changes: tuple[Change, ...]

    @property
    def troubles(self) -> frozenset[Trouble]:
        """Kinds of loss; empty when nothing was lost."""
        found: set[Trouble] = set()
        if any(change.lost_rejections for change in self.changes):
            found.add("rejections")
        if any(change.lost_quality for change in self.changes):
            found.add("quality")
        return frozenset(found)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if not self.troubles:
            return self._kept()
        parts = []
        if "rejections" in self.troubles:
            worst = max(self.changes, key=lambda change: change.lost_rejections)
            parts.append(
                f"it unlearnt to say no: {worst.before.rejections:.1f} % of absent phrases were rejected before, "
                f"{worst.after.rejections:.1f} % are now ({worst.title.lower()})"
            )
        if "quality" in self.troubles:
            worst = max(self.changes, key=lambda change: change.lost_quality)
            parts.append(
                f"it finds other things less well: pmF1 {worst.before.pmF1:.1f} before, {worst.after.pmF1:.1f} now "
                f"({worst.title.lower()})"
            )
        return "; ".join(parts)

    def _kept(self) -> str:
        """The sentence when nothing was lost, with the rejections of the last set, the closest to the user's images."""
        known = [change for change in self.changes if change.before.rejections is not None]
        kept = "nothing was forgotten that these questions could show"
        if not known:
            return f"{kept}: there were no absent phrases to ask"
        last = known[-1]
        hardly = (last.before.rejections or 0.0) < HARDLY and (last.after.rejections or 0.0) < HARDLY
        return (
            f"{'nothing more was forgotten, but the model hardly says no' if hardly else kept}: "
            f"{last.before.rejections:.1f} % of absent phrases were rejected before, {last.after.rejections:.1f} % are "
            f"now ({last.title.lower()})"
        )

    def to_json(self) -> dict[str, Any]:
        """The content of `forgetting.json`."""
        return {
            "format": "masklet-forgetting",
            "version": 1,
            "verdict": self.verdict,
            "lost": sorted(self.troubles),
            "thresholds": {"rejections": LOST_REJECTIONS, "pmF1": LOST_QUALITY},
            "sets": [asdict(change) for change in self.changes],
        }


def standings(
    sets: Sequence[Questions], model: Segmenter, cache: Path, advance: Callable[[], object] = lambda: None
) -> list[Standing]:
    """Figures of the model on each set; `advance` is called after each image."""
    return [Standing.of(ask_questions(questions, model, cache, advance)) for questions in sets]


def compare(sets: Sequence[Questions], before: Sequence[Standing], after: Sequence[Standing]) -> Forgetting:
    """The changes between two models on the same sets."""
    changes = [
        Change(
            name=questions.name,
            title=questions.title,
            images=questions.count,
            sure=questions.sure,
            before=first,
            after=second,
        )
        for questions, first, second in zip(sets, before, after, strict=True)
    ]
    return Forgetting(changes=tuple(changes))
