"""How far a session is: which frames were tracked, what waits to be shown, and what was changed since."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from masklet.inference.emission import DelayBuffer
from masklet.inference.video_state import pack_record, unpack_record
from masklet.models.memory_bank import Course

Key = tuple[str, str | int]  # ("concept", its name) or ("object", its id)


@dataclass(kw_only=True)
class Progress:
    """The part of a session that is neither memory nor result. `buffer` is what is tracked and waits, on `course`."""

    buffer: DelayBuffer
    course: Course = field(default_factory=Course)
    covered: set[int] = field(default_factory=set)  # frames that were tracked
    prompted: set[int] = field(default_factory=set)  # frames of which something was said
    ended: set[int] = field(default_factory=set)  # ids that nobody has any more
    # What changed after frames were tracked, and on which frame it did, for the way forward and the way back.
    stale: dict[bool, dict[Key, int]] = field(default_factory=lambda: {False: {}, True: {}})

    def mark(self, key: Key, frame: int) -> None:
        """Something was said of a frame: what was tracked is no longer right for this concept or object."""
        self.prompted.add(frame)
        if self.covered:
            for changed in self.stale.values():
                changed[key] = min(frame, changed.get(key, frame))

    def finish(self, changed: Mapping[Key, int], begun: int, course: Course) -> None:
        """A run that began on this frame reached its end: it passed all that these changes can reach."""
        for key, prompted in changed.items():
            if (begun - prompted) // course.step <= 1:
                self.stale[course.reverse].pop(key, None)

    def first_changed(self) -> int:
        """Where tracking should begin: at the first change, or at the first prompt."""
        return min(self.stale[False].values(), default=min(self.prompted, default=0))

    def continues(self, start: int, course: Course) -> bool:
        """Whether a run from here goes on with what waits."""
        waiting = self.buffer.waiting
        same_way = replace(self.course, num_frames=course.num_frames) == course
        return bool(waiting) and waiting[0].frame == start and same_way

    def pack(self) -> dict[str, Any]:
        """As JSON; images of what waits are not kept."""
        return {
            "waiting": [pack_record(record) for record in self.buffer.waiting],
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
            stale[way][kind, value] = frame
        return cls(
            buffer=replace(buffer, waiting=tuple(unpack_record(entry) for entry in document["waiting"])),
            course=Course(**document["course"]),
            covered=set(document["covered"]),
            prompted=set(document["prompted"]),
            ended=set(document["ended"]),
            stale=stale,
        )
