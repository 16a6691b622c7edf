"""Questions of a data-engine project over the Model Context Protocol: the same queues, pictures and verdicts as sheets.

A question has a handle; its answer is entered under the name of the reviewer whom whoever started the server named.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from masklet.engine.clips.drawing import strip
from masklet.engine.review.intake import take_in
from masklet.engine.review.pictures import from_near, whole
from masklet.engine.review.queues import ANSWERS, ReviewItem, queue
from masklet.engine.review.sheet import QUESTIONS
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.verify.choices import UNSURE
from masklet.errors import InputError
from masklet.workflows.engine.folder import open_project


@dataclass(frozen=True, kw_only=True)
class AskedQuestion:
    """A question that was shown, and of which task it is."""

    task: str
    item: ReviewItem


@dataclass(kw_only=True)
class ReviewQueues:
    """The open questions of a project. Raises: InputError when the folder is none."""

    folder: Path
    reviewer: str
    asked: dict[str, AskedQuestion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.reviewer.strip():
            raise InputError("verdicts need a name: say under whose they are entered")
        open_project(self.folder)

    def next(self, task: str) -> tuple[dict[str, Any], bytes | None]:
        """The next open question of a task that was not shown yet, and its PNG; none when there is none left."""
        project = open_project(self.folder)
        items = queue(project, task)
        shown = {(each.item.pair_id, each.item.number) for each in self.asked.values() if each.task == task}
        item = next((each for each in items if (each.pair_id, each.number) not in shown), None)
        if item is None:
            return {"open": len(items), "question": None}, None
        handle = f"question{len(self.asked) + 1}"
        self.asked[handle] = AskedQuestion(task=task, item=item)
        told = {"handle": handle, "question": QUESTIONS[task], "phrase": item.phrase, "masks": len(item.masks)}
        return {**told, "answers": [*ANSWERS[task], UNSURE], "open": len(items)}, _png(_drawn(project, item))

    def answer(self, handle: str, label: str) -> dict[str, Any]:
        """Enters the answer to a question that was shown. Raises: InputError saying what can be answered."""
        asked = self.asked.get(handle)
        if asked is None:
            raise InputError(f"there is no question {handle[:40]!r}; call review_next for one")
        allowed = (*ANSWERS[asked.task], UNSURE)
        if label not in allowed:
            raise InputError(f"{label[:40]!r} is no answer; it is one of {', '.join(allowed)}")
        decision = Decision(
            pair=asked.item.pair_id, maskset=asked.item.maskset_id, number=asked.item.number, label=label
        )
        task: Any = asked.task  # one of the tasks, as `queue` has checked
        file = VerdictFile(format="masklet-verdicts", version=1, task=task, answers=[decision])
        counts = take_in(open_project(self.folder), file, self.reviewer)
        return {"entered": {what: count for what, count in counts.items() if count}}


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _drawn(project: Project, item: ReviewItem) -> Image.Image:
    if item.number is not None:
        return from_near(project.picture(item.media_id, item.masks[0].frame), item.masks[0])
    if project.view.one_media(item.media_id)["profile"] is not None:
        return strip(project, item.media_id, item.masks)
    return whole(project.picture(item.media_id), item.masks)
