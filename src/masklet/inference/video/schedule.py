"""How far a session is: which frames were tracked, what waits to be shown, and what was changed since."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from masklet.inference.video.emission import DelayBuffer, FrameRecord
from masklet.inference.video.saving import pack_record, unpack_record
from masklet.models.memory_bank import Course

Key = tuple[str, str | int]  # ("concept", its name) or ("object", its id)


@dataclass(kw_only=True)
class Progress:
    """The part of a session that is neither memory nor result. `buffer` is what was tracked and waits, on `course`."""

    buffer: DelayBuffer
    course: Course = field(default_factory=Course)
    covered: set[int] = field(default_factory=set)  # frames that were tracked
    prompted: set[int] = field(default_factory=set)  # frames of which something was said
    ended: set[int] = field(default_factory=set)  # ids that nobody has any more
    due: list[FrameRecord] = field(default_factory=list)  # results that no longer wait and were not given yet
    # What changed after frames were tracked, and up to which frame that was followed, for the way forward and back.
    stale: dict[bool, dict[Key, int]] = field(default_factory=lambda: {False: {}, True: {}})

    def mark(self, key: Key, frame: int) -> None:
        """Something was said of a frame: what was tracked is no longer right for this concept or object."""
        self.prompted.add(frame)
        if self.covered:
            for reverse, changed in self.stale.items():
                changed[key] = (max if reverse else min)(frame, changed.get(key, frame))

    def visit(self, frame: int, course: Course) -> None:
        """A frame was tracked: changes were followed to here, and are done with where no tracked frame lies ahead."""
        self.covered.add(frame)
        changed, way = self.stale[course.reverse], 1 if course.step > 0 else -1
        for key, reached in list(changed.items()):
            if 0 <= (frame - reached) * way <= course.stride:
                changed[key] = frame
                if not any((other - frame) * way > 0 for other in self.covered):
                    del changed[key]

    def first_changed(self) -> int:
        """Where tracking should begin: at the first change, or at the first prompt."""
        return min(self.stale[False].values(), default=min(self.prompted, default=0))

    def continues(self, start: int, course: Course) -> bool:
        """Whether a run from here goes on with what was not given yet, which no prompt has changed since."""
        pending = self.pending
        same_way = replace(self.course, num_frames=course.num_frames) == course
        unchanged = not self.due or not self.stale[course.reverse]
        return bool(pending) and pending[0].frame == start and same_way and unchanged

    @property
    def pending(self) -> tuple[FrameRecord, ...]:
        """What was tracked and not given yet, in this order."""
        return (*self.due, *self.buffer.waiting)

    def pack(self) -> dict[str, Any]:
        """As JSON; images of what waits are not kept."""
        return {
            "waiting": [pack_record(record) for record in self.buffer.waiting],
            "due": [pack_record(record) for record in self.due],
            "course": asdict(self.course),
            "covered": sorted(self.covered),
            "prompted": sorted(self.prompted),
            "ended": sorted(self.ended),
            "stale": [[way, *key, frame] for way, changed in self.stale.items() for key, frame in changed.items()],
        }

    @classmethod
    def unpack(cls, document: dict[str, Any], buffer: DelayBuffer) -> "Progress":
        """What was packed; `buffer` is an empty one."""
        stale: dict[bool, dict[Key, int]] = {False: {}, True: {}}
        for way, kind, value, frame in document["stale"]:
            stale[bool(way)][kind, value] = int(frame)
        return cls(
            buffer=replace(buffer, waiting=tuple(unpack_record(entry) for entry in document["waiting"])),
            course=Course(**document["course"]),
            covered=set(document["covered"]),
            prompted=set(document["prompted"]),
            ended=set(document["ended"]),
            due=[unpack_record(entry) for entry in document["due"]],
            stale=stale,
        )
