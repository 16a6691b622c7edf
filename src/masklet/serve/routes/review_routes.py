"""Reviews of the project that the server was started with."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from masklet.serve.problems import HttpProblem
from masklet.serve.reviews import ReviewDesk
from masklet.serve.schemas import ReviewSheet, VerdictCounts, VerdictsBody
from masklet.serve.state import Asker, Server, ServerState

router = APIRouter(prefix="/v1/review", tags=["review"])


@router.get("")
def sheet(
    server: Server,
    person: Asker,
    task: Literal["masks", "exhaustivity", "audit"] = "masks",
    limit: Annotated[int, Query(ge=1, le=60)] = 24,
    name: Annotated[str, Query(max_length=100)] = "",
) -> ReviewSheet:
    """The next questions of a task, for the person of the token, or on this machine for `name`."""
    return _desk(server).sheet(task, limit, person, name)


@router.post("/verdicts")
def verdicts(body: VerdictsBody, server: Server, person: Asker) -> VerdictCounts:
    """Takes answers in; they are in the ledger when this returns."""
    return VerdictCounts(counts=dict(_desk(server).decide(body, person)))


def _desk(server: ServerState) -> ReviewDesk:
    if server.desk is None:
        raise HttpProblem(404, "this server has no project: start it with --project FOLDER")
    return server.desk
