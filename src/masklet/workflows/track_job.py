"""What to track in a video, and where: phrases, example boxes and clicks, frames, and the formats to write.

Nothing heavy is imported here, so that a mistake is reported at once.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.formats.calibration import Calibration
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.segment_folder import Box


@dataclass(frozen=True, kw_only=True)
class ObjectClicks:
    """One object, by points in pixels on one frame or by a box around it; label 1 is on the object, 0 is off it."""

    frame: int
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class TrackPrompts:
    """Prompts of a video. The boxes lie on `box_frame` and show the one phrase, or a concept without a phrase.

    Raises: InputError when there is no prompt, or boxes come with several phrases.
    """

    phrases: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    box_frame: int = 0
    clicks: tuple[ObjectClicks, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.phrases:
            raise InputError("a phrase is empty")
        if not self.phrases and not self.boxes and not self.clicks:
            raise InputError("nothing to follow: give a phrase, an example box, the box of an object or a click")
        if self.boxes and len(self.phrases) > 1:
            raise InputError("example boxes belong to one concept: give one phrase with them, or none")

    @property
    def last_frame(self) -> int:
        """The last frame with a prompt."""
        return max([self.box_frame, *(each.frame for each in self.clicks)])


@dataclass(frozen=True, kw_only=True)
class TrackJob:
    """A video, its prompts, and the formats to write into `folder`; results of frames `start`, `start + step`, ...

    `video` is a path or the number of a camera. `delay` is the number of frames a new object is watched before it is
    reported, None the model's own. With `exclusive` a thing that is tracked under several phrases has one owner. With a
    `question`, in its exact form, whose concepts are among the phrases, only what answers it is a result. With `resume`
    the run in the folder is continued. Raises: InputError when there is no frame to track, or no folder to resume from.
    """

    video: str
    prompts: TrackPrompts
    start: int = 0
    stop: int | None = None
    step: int = 1
    delay: int | None = None
    calibration: Calibration | None = None
    exclusive: bool = False
    question: str | None = None
    model: ModelChoice = field(default_factory=ModelChoice)
    formats: tuple[str, ...] = ()
    folder: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.stop is not None and self.stop <= self.start:
            raise InputError(f"there is no frame from {self.start} to {self.stop}")
        if self.resume and self.folder is None:
            raise InputError("--resume needs the folder of the run: give --out")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything that a run must share with its beginning to be resumed."""
        values = {
            "video": self.video if self.video.isdecimal() else str(Path(self.video).absolute()),
            "prompts": asdict(self.prompts),
            "start": self.start,
            "step": self.step,
            "delay": self.delay,
            "calibration": self.calibration and self.calibration.digest,
            "model": self.model.name,
            "exclusive": self.exclusive,
            "question": self.question,
        }
        return json.loads(json.dumps(values))
