"""What a session has tracked, what was changed since, and so what must be tracked anew on a frame."""

from dataclasses import dataclass, field

from masklet.inference.video.records import SessionState
from masklet.models.memory_bank import Traversal

Key = tuple[str, str | int]  # ("concept", its name) or ("object", its id)


@dataclass(frozen=True, kw_only=True)
class FrameWork:
    """What a visit to a frame must track: concepts by name, and cohorts by place that no tracked concept brings along.

    `object_ids` are those whose earlier results on the frame are replaced; None replaces all.
    """

    concepts: tuple[str, ...]
    cohorts: tuple[int, ...]
    object_ids: frozenset[int] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the frame is known as it is."""
        return not self.concepts and not self.cohorts and self.object_ids is not None


@dataclass(kw_only=True)
class Schedule:
    """Which frames were tracked and prompted, and how far each change since was followed."""

    covered: set[int] = field(default_factory=set)  # frames that were tracked
    prompted: set[int] = field(default_factory=set)  # frames that were prompted
    # What changed after frames were tracked, and up to which frame that was followed, for the way forward and back.
    stale: dict[bool, dict[Key, int]] = field(default_factory=lambda: {False: {}, True: {}})

    def mark(self, key: Key, frame: int) -> None:
        """A prompt on a frame: what was tracked is no longer right for this concept or object."""
        self.prompted.add(frame)
        if self.covered:
            for reverse, changed in self.stale.items():
                changed[key] = (max if reverse else min)(frame, changed.get(key, frame))

    def unprompt(self, frame: int) -> None:
        """No object is prompted on the frame any more: nothing begins there."""
        self.prompted.discard(frame)

    def visit(self, frame: int, traversal: Traversal) -> None:
        """A frame was tracked: changes were followed to here, and are done with where no tracked frame lies ahead."""
        self.covered.add(frame)
        changed, way = self.stale[traversal.reverse], 1 if traversal.step > 0 else -1
        for key, reached in list(changed.items()):
            if 0 <= (frame - reached) * way <= traversal.stride:
                changed[key] = frame
                if not any((other - frame) * way > 0 for other in self.covered):
                    del changed[key]

    def first_changed(self) -> int:
        """Where tracking should begin: at the first change, or at the first prompt."""
        return min(self.stale[False].values(), default=min(self.prompted, default=0))

    def work_on(self, frame: int, state: SessionState, *, reverse: bool) -> FrameWork:
        """What to track on a frame: everything the first time, later what changed since."""
        if frame not in self.covered:
            alone = tuple(i for i, cohort in enumerate(state.cohorts) if cohort.concept is None)
            return FrameWork(concepts=tuple(state.concepts), cohorts=alone)
        stale = self.stale[reverse]
        names = tuple(name for name in state.concepts if ("concept", name) in stale)
        changed = {object_id for object_id in state.object_ids if ("object", object_id) in stale}
        alone = tuple(
            place
            for place, cohort in enumerate(state.cohorts)
            if cohort.concept not in names and changed.intersection(cohort.object_ids)
        )
        # The objects of a changed concept are only known once it was tracked: see `VideoSession._visit`.
        return FrameWork(concepts=names, cohorts=alone, object_ids=frozenset(changed))
