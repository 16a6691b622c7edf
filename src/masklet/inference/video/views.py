"""What is shown of the frames of a session: the answer to a question, or one owner for each thing.

A view is handed frames in order and keeps what it decided, so that nothing flickers; a run that is resumed goes on with
what the view wrote down.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

from masklet.inference.arbitration import Contests
from masklet.inference.video.frame_result import FrameResult
from masklet.ops.masks import rle_encode
from masklet.query.answer import Step, told
from masklet.query.nodes import Node, phrases
from masklet.query.over_time import AnswerMemory, answer_frame


@runtime_checkable
class ShownFrames(Protocol):
    """Chooses of each frame what is shown."""

    def __call__(self, result: FrameResult) -> FrameResult:
        """The frame as it is shown; frames come in order."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What was decided so far."""
        ...

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Goes on from there. Raises: InputError when `to_json` did not write it."""
        ...


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FrameAnswer(FrameResult):
    """The objects of a frame that answer a question; `tracked` counts all that were looked at, by phrase."""

    tracked: Mapping[str, int]
    names: Mapping[int, str]
    steps: tuple[Step, ...]

    def explain(self) -> str:
        """What was tracked, kept, left out on this frame and why, a line each."""
        looked = ", ".join(f"{phrase} {count}" for phrase, count in self.tracked.items())
        return told(f"frame {self.index}: {looked}", self.steps, self.names)


@dataclass(kw_only=True)
class QuestionView:
    """The answer to a question on each frame; where it cuts masks, objects have the masks of the answer."""

    question: Node
    memory: AnswerMemory = field(default_factory=AnswerMemory)

    def __call__(self, result: FrameResult) -> FrameAnswer:
        """The objects that answer, with their explanation."""
        answer = answer_frame(result, self.question, self.memory)
        places = [place for place, number in enumerate(result.ids.tolist()) if number in answer.kept]
        masks = [answer.kept[int(result.ids[place])].mask for place in places]
        shown = replace(result[places], rles=tuple(map(rle_encode, masks)))
        counted = [each.phrase for each in answer.found]
        return FrameAnswer(
            **{each.name: getattr(shown, each.name) for each in fields(FrameResult)},
            tracked={phrase: counted.count(phrase) for phrase in phrases(self.question)},
            names={each.number: f"{each.phrase} #{each.number}" for each in answer.found},
            steps=answer.steps,
        )

    def to_json(self) -> dict[str, Any]:
        """What was decided so far."""
        return self.memory.to_json()

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Goes on from there. Raises: InputError."""
        self.memory = AnswerMemory.from_json(plain)


@dataclass(kw_only=True)
class ExclusiveView:
    """One owner for each thing that is tracked under several phrases; see `arbitration.Contests`."""

    together: Collection[tuple[str, str]] = ()
    contests: Contests = field(default_factory=Contests)

    def __call__(self, result: FrameResult) -> FrameResult:
        """The frame without those that another object owns."""
        hidden = self.contests.hidden(result, result.iou(result), self.together)
        return result[[place for place, number in enumerate(result.ids.tolist()) if number not in hidden]]

    def to_json(self) -> dict[str, Any]:
        """What was decided so far."""
        return self.contests.to_json()

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Goes on from there. Raises: InputError."""
        self.contests = Contests.from_json(plain)
