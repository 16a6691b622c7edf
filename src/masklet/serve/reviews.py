"""Reviews of a data-engine project over the network: the same queues, pictures and verdicts as the sheet in a file."""

import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from masklet.engine.review.intake import take_in
from masklet.engine.review.pictures import from_near, jpeg, whole
from masklet.engine.review.queues import ANSWERS, ReviewItem, queue
from masklet.engine.review.sheet import QUESTIONS
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.verify.choices import UNSURE
from masklet.errors import InputError
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import ReviewCard, ReviewSheet, VerdictsBody
from masklet.serve.settings import Person
from masklet.workflows.engine.folder import open_project

MOST_CARDS = 60


class ReviewDesk:
    """Questions of one project and answers to them. Its ledger is opened for each request: threads do not share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        open_project(folder)  # says at once what is wrong with it

    def sheet(self, task: str, limit: int, person: Person) -> ReviewSheet:
        """The next questions: strange ones first, and within a sheet in an order that is a person's own."""
        with self._lock:
            project = open_project(self.folder)
            items = queue(project, task)
            chosen = sorted(items[: min(limit, MOST_CARDS)], key=lambda item: _place(item, person.name))
            cards = [_card(project, item) for item in chosen]
        return ReviewSheet(
            task=task,  # type: ignore[arg-type] - queue has checked it
            question=QUESTIONS[task],
            answers=[*ANSWERS[task], UNSURE],
            open=len(items),
            cards=cards,
        )

    def decide(self, body: VerdictsBody, person: Person) -> Counter[str]:
        """Takes answers in; they are in the ledger when this returns.

        Raises: HttpProblem (403) from a person who may not review, InputError on an answer that the task has not.
        """
        if not person.may_review:
            raise HttpProblem(403, f"{person.name} is an annotator: verdicts are for reviewers and leads")
        allowed = (*ANSWERS[body.task], UNSURE)
        for each in body.answers:
            if each.label not in allowed or (each.number is None) == (body.task == "masks"):
                raise InputError(f"an answer of {body.task} is one of {', '.join(allowed)}, with the number of a mask")
        decisions: Sequence[Decision] = [Decision(**each.model_dump()) for each in body.answers]
        name = body.name or person.name if person.name == "local" else person.name
        with self._lock:
            file = VerdictFile(format="masklet-verdicts", version=1, task=body.task, answers=list(decisions))
            counts = take_in(open_project(self.folder), file, name)
        return Counter({what: count for what, count in counts.items() if count})


def _place(item: ReviewItem, name: str) -> str:
    """Two people never see questions in the same order."""
    return hashlib.sha256(f"{name} {item.pair_id} {item.number}".encode()).hexdigest()


def _card(project: Project, item: ReviewItem) -> ReviewCard:
    image = project.picture(item.media_id)
    drawn = whole(image, item.masks) if item.number is None else from_near(image, item.masks[0])
    return ReviewCard(
        pair=item.pair_id,
        maskset=item.maskset_id,
        number=item.number,
        phrase=item.phrase,
        masks=len(item.masks),
        picture=base64.b64encode(jpeg(drawn)).decode(),
    )
