"""Reviews of a data-engine project over the network: the same queues, pictures and verdicts as the sheet in a file."""

import base64
import hashlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select

from masklet.engine.clips.drawing import strip
from masklet.engine.ledger import tables
from masklet.engine.records import Author
from masklet.engine.review.intake import take_in
from masklet.engine.review.people import CHECKED, EVERY, hidden_items, known_answer, people_scores
from masklet.engine.review.pictures import from_near, jpeg, whole
from masklet.engine.review.queues import ANSWERS, ReviewItem, queue
from masklet.engine.review.sheet import QUESTIONS
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.verify.choices import UNSURE
from masklet.errors import InputError
from masklet.serve.guard import LOCAL_PERSON
from masklet.serve.problems import HttpProblem
from masklet.serve.review.review_schemas import ReviewCard, ReviewSheet, VerdictsBody
from masklet.serve.settings import Person
from masklet.workflows.engine.folder import open_project

MOST_CARDS = 60
LEASE_SECONDS = 600.0  # that a question, or a pair to correct, is kept for somebody who does nothing
MOST_KNOWN = 1000  # known questions that one sheet chooses from


class Leases:
    """Questions that are on somebody's sheet, and until when they are kept for them. For one thread at a time."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, int | None], tuple[str, float]] = {}

    def free(self, items: Sequence[ReviewItem], holder: str) -> list[ReviewItem]:
        """Those that nobody else holds."""
        now = time.monotonic()
        self._held = {key: lease for key, lease in self._held.items() if lease[1] > now}
        return [each for each in items if self._held.get(_key(each), (holder,))[0] == holder]

    def hold(self, items: Sequence[ReviewItem], holder: str) -> None:
        """Keeps them for somebody, from now on."""
        until = time.monotonic() + LEASE_SECONDS
        self._held.update({_key(each): (holder, until) for each in items})

    def release(self, task: str, decisions: Sequence[Decision]) -> None:
        """Lets go of what was answered, by whomever."""
        for each in decisions:
            self._held.pop((task, each.maskset, each.number), None)


def _key(item: ReviewItem) -> tuple[str, str, int | None]:
    return item.task, item.maskset_id, item.number


class ReviewDesk:
    """Questions of one project and answers to them. Its ledger is opened for each request: threads do not share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.Lock()
        self.leases = Leases()
        open_project(folder)  # says at once what is wrong with it

    def sheet(self, task: str, limit: int, person: Person, name: str = "") -> ReviewSheet:
        """The next questions: strange ones first, and within a sheet in an order that is a person's own.

        What is on the sheet of one who may review is on nobody else's until it is answered, or for ten minutes; without
        tokens all are one person, who may begin before they give a name. Among those about masks are known ones; their
        answers change nothing and make the person's score.
        """
        asker = author_of(person, name)
        with self.lock:
            project = open_project(self.folder)
            items = queue(project, task)
            free = self.leases.free(items, person.name)
            asked = free[: min(limit, MOST_CARDS)]
            if person.may_review:
                self.leases.hold(asked, person.name)
            known = _known(project, len(asked), asker) if task == "masks" and asked else []
            chosen = sorted([*asked, *known], key=lambda item: _place(item, asker.name))
            cards = [_card(project, item) for item in chosen]
            score = next((each.line() for each in people_scores(project.view) if each.name == asker.name), "")
        return ReviewSheet(
            task=task,  # type: ignore[arg-type] - queue has checked it
            question=QUESTIONS[task],
            answers=[*ANSWERS[task], UNSURE],
            open=len(items),
            held=len(items) - len(free),
            cards=cards,
            score=score,
        )

    def decide(self, body: VerdictsBody, person: Person) -> Counter[str]:
        """Takes answers in; they are in the ledger when this returns.

        Raises: HttpProblem (403) from a person who may not review, InputError on an answer that the task has not.
        """
        check_reviewer(person)
        allowed = (*ANSWERS[body.task], UNSURE)
        for each in body.answers:
            if each.label not in allowed or (each.number is None) == (body.task == "masks"):
                raise InputError(f"an answer of {body.task} is one of {', '.join(allowed)}, with the number of a mask")
        decisions: Sequence[Decision] = [Decision(**each.model_dump()) for each in body.answers]
        with self.lock:
            file = VerdictFile(format="masklet-verdicts", version=1, task=body.task, answers=list(decisions))
            counts = take_in(open_project(self.folder), file, author_of(person, body.name).name)
            self.leases.release(body.task, decisions)
        return Counter({what: count for what, count in counts.items() if count})


def check_reviewer(person: Person) -> None:
    """Raises: HttpProblem (403) for a person whose word does not count in a project."""
    if not person.may_review:
        raise HttpProblem(403, f"{person.name} is an annotator: verdicts are for reviewers and leads")


def author_of(person: Person, name: str) -> Author:
    """Who answers: the name that goes with the token, and on this machine the one that is given."""
    chosen = name if person.name == LOCAL_PERSON.name and name.strip() else person.name
    return Author(kind="person", name=" ".join(chosen.split()))


def _known(project: Project, count: int, asker: Author) -> list[ReviewItem]:
    """Questions that somebody else decided and that this person was not asked: one on so many open ones."""
    view = project.view
    told = select(tables.event.c.subject).where(tables.event.c.kind == CHECKED)
    answered = {row["subject"] for row in view.ledger.read(told.where(tables.event.c.actor_id == asker.actor_id))}
    found: list[ReviewItem] = []
    for item in hidden_items(project, MOST_KNOWN * EVERY):
        subject = f"{item.maskset_id}#{item.number}"
        is_open = view.one_pair(item.pair_id)["state"] == State.HUMAN_MASKS
        if subject in answered or is_open or known_answer(view, item.pair_id, subject, asked_by=asker.actor_id) is None:
            continue
        found.append(item)
        if len(found) == max(1, count // EVERY):
            break
    return found


def _place(item: ReviewItem, name: str) -> str:
    """Two people never see questions in the same order."""
    return hashlib.sha256(f"{name} {item.pair_id} {item.number}".encode()).hexdigest()


def _card(project: Project, item: ReviewItem) -> ReviewCard:
    if item.number is not None:
        drawn = from_near(project.picture(item.media_id, item.masks[0].frame), item.masks[0])
    elif project.view.one_media(item.media_id)["profile"] is not None:
        drawn = strip(project, item.media_id, item.masks)
    else:
        drawn = whole(project.picture(item.media_id), item.masks)
    return ReviewCard(
        pair=item.pair_id,
        maskset=item.maskset_id,
        number=item.number,
        phrase=item.phrase,
        masks=len(item.masks),
        picture=base64.b64encode(jpeg(drawn)).decode(),
    )
