"""The server itself: health, models, figures, sessions."""

from typing import Any

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

import masklet
from masklet.checkpoints.hub import describe_models
from masklet.inference.output.registry import VIDEO_FORMATS
from masklet.serve.schemas import HealthView, ModelRow, ServerView, SessionRow
from masklet.serve.sessions.photo_view import PHOTO_FORMATS
from masklet.serve.state import Asker, Server
from masklet.workflows.machine import examine_machine

router = APIRouter(tags=["server"])


@router.get("/health")
async def health(server: Server) -> HealthView:
    """Answers at once, whatever is loaded or computed."""
    host = server.host
    return HealthView(model=host.choice.name, state=host.state, problem=host.problem)


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}}, response_class=Response)
async def metrics(server: Server) -> Response:
    """Figures for Prometheus."""
    return Response(server.telemetry.text(), media_type="text/plain; version=0.0.4")


@router.get("/v1/server")
async def about(server: Server, person: Asker) -> ServerView:
    """What a page needs to know."""
    return ServerView(
        version=masklet.__version__,
        model=server.host.choice.name,
        state=server.host.state,
        person=person.name,
        role=person.role,
        has_project=server.desk is not None,
        image_formats=list(PHOTO_FORMATS),
        video_formats=list(VIDEO_FORMATS),
    )


@router.get("/v1/models")
def models(server: Server) -> list[ModelRow]:
    """Models by name, and which is served."""
    served = server.host.choice.name
    rows = [ModelRow(name=each.name, note=each.note, is_served=each.name == served) for each in describe_models()]
    known = any(row.is_served for row in rows)
    return rows if known else [*rows, ModelRow(name="custom", note="a weight file", is_served=True)]


@router.get("/v1/doctor")
async def doctor(server: Server) -> dict[str, Any]:
    """What `masklet doctor` says of the machine, without the paths of its weights."""
    machine = await run_in_threadpool(examine_machine, server.host.choice)
    return machine.to_json() | {"model": server.host.choice.name.rsplit("/", 1)[-1]}


@router.get("/v1/sessions")
def sessions(server: Server, person: Asker) -> list[SessionRow]:
    """Sessions that may be gone on with, the latest first."""
    return server.store.rows(person)


@router.delete("/v1/sessions/{key}", status_code=204)
def close(key: str, server: Server, person: Asker) -> None:
    """Ends a session and deletes what is kept of it."""
    server.store.remove(key, person)
