"""Asks a compound question of a video: its concepts are tracked, and only what answers is a result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from masklet.inference.video.views import FrameAnswer
from masklet.query.english import read_question
from masklet.query.nodes import check_plain, phrases
from masklet.query.text import to_text
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver
from masklet.workflows.track_job import TrackJob, TrackPrompts
from masklet.workflows.track_video import TrackedVideo, track_video


@dataclass(frozen=True, kw_only=True)
class VideoQuestion:
    """A question of a video. `formats` are those of `masklet track`; without a `folder` nothing is written."""

    video: str
    question: str
    model: ModelChoice
    formats: tuple[str, ...] = ("overlay",)
    folder: Path | None = None
    resume: bool = False


@dataclass(kw_only=True)
class AnswerSpans:
    """When each identity answers: the first and the last frame of each time, by name ("cup #3")."""

    spans: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    current: frozenset[str] | None = None

    def follow(self, answer: FrameAnswer) -> bool:
        """Takes one more frame; whether another set answers than on the frame before."""
        before, self.current = self.current, frozenset(answer.names[number] for number in answer.ids.tolist())
        for name in sorted(self.current):
            times = self.spans.setdefault(name, [])
            begin = times.pop()[0] if name in (before or ()) else answer.index
            times.append((begin, answer.index))
        return self.current != before

    def told(self) -> str:
        """In words: "cup #1 on 0-40, cup #3 on 12-30 and 50-80"."""
        shown: Mapping[str, str] = {
            name: " and ".join(f"{first}-{last}" for first, last in times) for name, times in self.spans.items()
        }
        return ", ".join(f"{name} on {times}" for name, times in shown.items()) or "nothing found"


def ask_video(asked: VideoQuestion, observer: JobObserver = SILENT) -> tuple[tuple[str, ...], TrackedVideo]:
    """The readings, likeliest first, and the video; each `FrameAnswer` is produced to the observer.

    Raises: InputError before a model is loaded when the question cannot be read.
    """
    readings = read_question(asked.question)
    check_plain(readings[0].node)
    job = TrackJob(
        video=asked.video,
        prompts=TrackPrompts(phrases=phrases(readings[0].node)),
        question=to_text(readings[0].node),
        model=asked.model,
        formats=asked.formats,
        folder=asked.folder,
        resume=asked.resume,
    )
    return tuple(to_text(each.node) for each in readings), track_video(job, observer)
