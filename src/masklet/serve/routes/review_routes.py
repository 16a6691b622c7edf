"""Reviews of the project that the server was started with."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from masklet.serve.problems import HttpProblem
from masklet.serve.review.hand_desk import HandDesk
from masklet.serve.review.review_desk import ReviewDesk
from masklet.serve.review.review_schemas import (
    HandCounts,
    HandDoneBody,
    HandTaskBody,
    PersonName,
    ReviewSheet,
    TaskName,
    VerdictCounts,
    VerdictsBody,
)
from masklet.serve.schemas import PhotoView
from masklet.serve.state import Asker, Server, ServerState

router = APIRouter(prefix="/v1/review", tags=["review"])


@router.get("")
def sheet(
    server: Server,
    person: Asker,
    task: TaskName = "masks",
    limit: Annotated[int, Query(ge=1, le=60)] = 24,
    name: PersonName = "",
) -> ReviewSheet:
    """The next questions of a task, for the person of the token, or on this machine for `name`."""
    return _desk(server).sheet(task, limit, person, name)


@router.post("/verdicts")
def verdicts(body: VerdictsBody, server: Server, person: Asker) -> VerdictCounts:
    """Takes answers in; they are in the ledger when this returns."""
    return VerdictCounts(counts=dict(_desk(server).decide(body, person)))


@router.get("/hand")
def hand_counts(server: Server, person: Asker, name: PersonName = "") -> HandCounts:
    """What waits for a person's own masks: corrections, and open slots of the gold set."""
    return _hand(server).counts(person, name)


@router.post("/hand", response_model=PhotoView, responses={204: {"description": "nothing is open"}})
def hand_open(body: HandTaskBody, server: Server, person: Asker) -> PhotoView | Response:
    """A photo session on the next pair to be corrected or labelled; the one that was begun comes first."""
    return _hand(server).open(body, person) or Response(status_code=204)


@router.post("/hand/{key}")
def hand_done(key: str, body: HandDoneBody, server: Server, person: Asker) -> VerdictCounts:
    """Takes the masks of such a session in, and ends it; they are in the ledger when this returns."""
    return VerdictCounts(counts=dict(_hand(server).finish(key, body, person)))


def _hand(server: ServerState) -> HandDesk:
    return HandDesk(_desk(server), server.store)


def _desk(server: ServerState) -> ReviewDesk:
    if server.desk is None:
        raise HttpProblem(404, "this server has no project: start it with --project FOLDER")
    return server.desk
