"""What a session knows: the concepts and cohorts it tracks, and the record of each frame it processed.

Everything here is frozen; a step or a prompt gives another state, so a session can be saved between any two frames.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from masklet.inference.concepts import Concept
from masklet.inference.rules.lifecycle import ConceptState
from masklet.inference.rules.rules import Rules
from masklet.inference.video.cohorts import Cohort
from masklet.inference.video.frame_result import FrameResult
from masklet.phrases import phrase_key
from masklet.types import TokenSet


@dataclass(frozen=True, kw_only=True)
class VideoConcept:
    """A concept of a session under its name, with its masklets. `tokens` encode its examples, if it has any."""

    name: str
    concept: Concept
    tokens: TokenSet | None = None
    state: ConceptState = field(default_factory=ConceptState)


@dataclass(frozen=True, kw_only=True)
class SessionState:
    """All that a session knows but its results. `scores` are those that masklets began with, also of ended ones."""

    concepts: Mapping[str, VideoConcept] = field(default_factory=dict)
    cohorts: tuple[Cohort, ...] = ()
    next_id: int = 0
    scores: Mapping[int, float] = field(default_factory=dict)
    clicked: frozenset[int] = field(default_factory=frozenset)  # objects that the user began

    @property
    def object_ids(self) -> tuple[int, ...]:
        """All objects that are tracked."""
        return tuple(object_id for cohort in self.cohorts for object_id in cohort.object_ids)

    def cohort_of(self, object_id: int) -> int | None:
        """The place of an object's cohort."""
        return next((i for i, cohort in enumerate(self.cohorts) if object_id in cohort.object_ids), None)

    def members(self, names: Collection[str]) -> set[int]:
        """The objects of some concepts."""
        return {i for cohort in self.cohorts if cohort.concept in names for i in cohort.object_ids}

    def name_of(self, phrase: str) -> str | None:
        """The concept that the phrase means, by its name; it may be written otherwise."""
        return next((name for name in self.concepts if phrase_key(name) == phrase_key(phrase)), None)

    def with_concept(self, concept: VideoConcept) -> "SessionState":
        """The state with a concept, which keeps the masklets that its name had before."""
        known = self.concepts.get(concept.name)
        concept = concept if known is None else replace(concept, state=known.state)
        return replace(self, concepts={**self.concepts, concept.name: concept})

    def with_cohort(self, place: int, cohort: Cohort) -> "SessionState":
        """The state with one cohort changed, or added at the end."""
        return replace(self, cohorts=(*self.cohorts[:place], cohort, *self.cohorts[place + 1 :]))

    def with_user_object(self, object_id: int, frame: int, rules: Rules) -> tuple["SessionState", int]:
        """The state with an object that a user prompts on a frame, and the place of its cohort.

        A new object joins a cohort of the only concept, if there is exactly one, that was not tracked yet; otherwise it
        begins a cohort of its own. Its score is 1, and the rules do not end it.
        """
        state, place = self, self.cohort_of(object_id)
        if place is None:
            concept = next(iter(self.concepts)) if len(self.concepts) == 1 else None
            joinable = [i for i, each in enumerate(self.cohorts) if each.concept == concept and not each.has_begun]
            place = joinable[0] if joinable else len(self.cohorts)
            cohort = self.cohorts[place] if joinable else Cohort(object_ids=(), concept=concept)
            next_id = max(self.next_id, object_id + 1)
            clicked = self.clicked | {object_id}
            state = replace(self.with_cohort(place, cohort.join(object_id)), next_id=next_id, clicked=clicked)
        concepts, name = dict(state.concepts), state.cohorts[place].concept
        if name is not None:
            lifecycle = concepts[name].state.with_user_track(object_id, frame, rules)
            concepts[name] = replace(concepts[name], state=lifecycle)
        return replace(state, concepts=concepts, scores={**state.scores, object_id: 1.0}), place

    def without(self, object_ids: Collection[int]) -> "SessionState":
        """The state without some objects, and without those that no prompt is left of then."""
        kept = [cohort.without(object_ids) for cohort in self.cohorts]
        state = replace(self, cohorts=tuple(cohort for cohort in kept if cohort is not None))
        concepts = {
            name: replace(concept, state=concept.state.without(object_ids)) for name, concept in self.concepts.items()
        }
        state = replace(state, concepts=concepts)
        orphans = {object_id for cohort in state.cohorts for object_id in cohort.orphans}
        return state.without(orphans) if orphans else state

    def without_prompts(self, object_id: int, frame: int) -> "SessionState":
        """The state with the prompts of one object on one frame taken back; it ends when they were its only ones."""
        state = replace(self, cohorts=tuple(each.without_prompts([object_id], [frame]) for each in self.cohorts))
        return state.without({orphan for cohort in state.cohorts for orphan in cohort.orphans})


@dataclass(frozen=True, kw_only=True)
class FrameRecord:
    """What one processed frame adds to the output: every masklet that lived on it, also those that are not shown."""

    result: FrameResult
    hidden: frozenset[int] = field(default_factory=frozenset)  # suppressed on this frame
    unconfirmed: frozenset[int] = field(default_factory=frozenset)

    @property
    def frame(self) -> int:
        """The number of the frame."""
        return self.result.index
