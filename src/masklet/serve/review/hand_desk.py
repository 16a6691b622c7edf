"""Pairs of a project that a person corrects, or labels for a slot of the gold set, as photo sessions.

All tools of a photo session are there for it. What it shows in the end is written to the ledger in the person's name,
once: a pair that has changed meanwhile is left as it is.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from masklet.engine.records import Author, MaskRow
from masklet.engine.review.corrections import TO_CORRECTION, WAITING, correct, is_decided_by_people, refuse, to_row
from masklet.engine.review.gold import SLOTS, Slot, label_in_slot, open_in_slot
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL, State
from masklet.engine.verify.choices import TAKES_MASK
from masklet.engine.view import Row
from masklet.ops.masks import rle_decode
from masklet.phrases import phrase_key
from masklet.serve.problems import HttpProblem, not_found
from masklet.serve.review.review_desk import LEASE_SECONDS, ReviewDesk, author_of, check_reviewer
from masklet.serve.review.review_schemas import HandCounts, HandDoneBody, HandTaskBody
from masklet.serve.schemas import HandTask, PhotoView
from masklet.serve.sessions.photo_state import PhotoObject
from masklet.serve.sessions.photo_view import is_counted
from masklet.serve.sessions.photo_work import PhotoWork
from masklet.serve.sessions.store import SessionStore
from masklet.serve.settings import Person
from masklet.workflows.engine.folder import open_project


class HandDesk:
    """Hands out pairs and takes them back. The lock is that of the project's other desk."""

    def __init__(self, desk: ReviewDesk, store: SessionStore) -> None:
        self.desk, self.store = desk, store

    def counts(self, person: Person, name: str = "") -> HandCounts:
        """What waits, for this person."""
        actor = author_of(person, name)
        with self.desk.lock:
            project = open_project(self.desk.folder)
            gold = {slot: len(open_in_slot(project, slot, actor)) for slot in SLOTS}
            return HandCounts(correct=len(_waiting(project)), gold=gold)

    def open(self, body: HandTaskBody, person: Person) -> PhotoView | None:
        """A session on the next pair, the one that this person has begun first; None where nothing is open.

        Raises: HttpProblem (403) from an annotator, (404, 409) for a pair that is not there or not to be corrected.
        """
        check_reviewer(person)
        actor = author_of(person, body.name)
        slot: Slot | None = (body.slot or "a") if body.kind == "gold" else None
        with self.desk.lock:
            project = open_project(self.desk.folder)
            others, mine = set[str](), dict[str, PhotoWork]()
            for work, task in self._tasks(body.kind, slot):
                if task.name == actor.name:
                    mine[task.pair] = work
                elif time.time() - work.used < LEASE_SECONDS:
                    others.add(task.pair)
            if body.pair is not None:
                pairs = [_correctable(project, body.pair, actor)]
            else:
                pairs = _waiting(project) if slot is None else open_in_slot(project, slot, actor)
            for pair in sorted(pairs, key=lambda pair: (pair["pair_id"] not in mine, pair["pair_id"])):
                if pair["pair_id"] in mine:
                    mine[pair["pair_id"]].used = time.time()
                    return mine[pair["pair_id"]].view()
                if pair["pair_id"] not in others:
                    return self._begin(project, pair, slot, actor, person).view()
            if body.pair is not None and pairs:
                raise HttpProblem(409, "somebody else corrects this one at present")
        return None

    def finish(self, key: str, body: HandDoneBody, person: Person) -> Counter[str]:
        """Writes what the session shows to the ledger, and ends it; its masks are there when this returns.

        Raises: HttpProblem (403, 404).
        """
        check_reviewer(person)
        work = self.store.photo(key, person)
        task = work.task
        if task is None:
            raise not_found("task")
        counts = Counter(left=1)
        if body.action != "leave":
            with self.desk.lock, work.lock:
                actor = Author(kind="person", name=task.name)
                project = open_project(self.desk.folder)
                write = _write_label if task.slot else _write_correction
                counts[write(project, task, _rows(work, task.phrase, body.groups), body, actor)] = 1
            del counts["left"]
        self.store.remove(key, person)
        return counts

    def _tasks(self, kind: str, slot: Slot | None) -> Iterator[tuple[PhotoWork, HandTask]]:
        for work in self.store.tasks():
            if work.task is not None and (work.task.kind, work.task.slot) == (kind, slot):
                yield work, work.task

    def _begin(self, project: Project, pair: Row, slot: Slot | None, actor: Author, person: Person) -> PhotoWork:
        media = project.view.one_media(pair["media_id"])
        project.picture(pair["media_id"])  # says so where it is gone or has changed
        maskset = project.view.maskset(pair["pair_id"])
        work = self.store.add_photo((project.originals / media["uri"]).read_bytes(), media["uri"], person)
        task = HandTask(
            kind="gold" if slot else "correct",
            slot=slot,
            pair=pair["pair_id"],
            maskset=maskset["maskset_id"] if maskset and not slot else "",
            phrase=pair["text"],
            name=actor.name,
        )
        work.begin_task(task, [] if slot or not maskset else _undisputed(project, pair, maskset))
        return work


def _waiting(project: Project) -> list[Row]:
    """Pairs to be corrected; those of clips are corrected in other tools."""
    is_clip = {row["media_id"]: row["profile"] is not None for row in project.view.media()}
    return [pair for pair in project.view.pairs(*WAITING) if not is_clip.get(pair["media_id"], True)]


def _correctable(project: Project, key: str, actor: Author) -> Row:
    """A pair that a person wants to correct before it is asked for. Raises: HttpProblem (404, 409)."""
    pair = next((pair for pair in project.view.pairs() if pair["pair_id"] == key), None)
    if pair is None:
        raise not_found("pair")
    state, maskset = State(pair["state"]), project.view.maskset(key)
    if state not in TO_CORRECTION or project.view.one_media(pair["media_id"])["profile"] is not None:
        raise HttpProblem(409, "this one is not to be corrected here")
    if state in FINAL and is_decided_by_people(project, pair):
        raise HttpProblem(409, "a person has decided this one")
    if state is State.RECHECK and maskset and maskset["actor_id"] == actor.actor_id:
        raise HttpProblem(409, "somebody else looks at your own corrections")
    return pair


def _undisputed(project: Project, pair: Row, maskset: Row) -> list[MaskRow]:
    """Masks that nobody refused: where to begin."""
    said = {row["subject"]: row["label"] for row in project.view.verdicts(pair["pair_id"], "mask")}
    masks, accepted = project.view.masks(maskset), project.view.accepted(pair["pair_id"], maskset)
    return [
        mask
        for number, mask in enumerate(masks)
        if number in accepted or said.get(f"{maskset['maskset_id']}#{number}", "accept") in TAKES_MASK
    ]


def _rows(work: PhotoWork, phrase: str, groups: Sequence[int]) -> list[MaskRow]:
    """The objects of the phrase that count, as masks."""
    history, key = work.history, phrase_key(phrase)

    def row(each: PhotoObject) -> MaskRow:
        return to_row(rle_decode(work.masks[each.mask], *work.size), is_group=each.id in groups)

    return [row(o) for o in history.now.objects if phrase_key(o.phrase) == key and is_counted(o, history.threshold)]


def _write_correction(project: Project, task: HandTask, rows: list[MaskRow], body: HandDoneBody, actor: Author) -> str:
    pair, maskset = project.view.one_pair(task.pair), project.view.maskset(task.pair)
    if State(pair["state"]) not in TO_CORRECTION or (maskset["maskset_id"] if maskset else "") != task.maskset:
        return "decided before"
    if body.action == "refuse":
        refuse(project, pair, actor, body.reason)
        return "refused"
    project.view.ledger.act(correct(project, pair, rows, actor, seconds=body.seconds), actor)
    return "corrected"


def _write_label(project: Project, task: HandTask, rows: list[MaskRow], body: HandDoneBody, actor: Author) -> str:
    if body.action == "refuse":
        raise HttpProblem(409, "a gold pair is labelled or left open: it cannot be refused")
    assert task.slot is not None
    if task.pair not in {pair["pair_id"] for pair in open_in_slot(project, task.slot, actor)}:
        return "filled before"
    project.view.ledger.act(label_in_slot(project, project.view.one_pair(task.pair), task.slot, rows, actor), actor)
    return "labelled"
