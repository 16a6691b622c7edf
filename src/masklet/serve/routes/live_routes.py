"""Live streams: a camera's frames are pushed one by one."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from masklet.serve.routes.forms import file_body, upload_of
from masklet.serve.schemas import FrameObjects, LiveView, VideoClickBody, VideoConceptBody
from masklet.serve.state import Asker, Server

router = APIRouter(prefix="/v1/live", tags=["live"])


@router.post("", status_code=201)
def open_live(server: Server, person: Asker) -> LiveView:
    """Begins a stream."""
    return LiveView(id=server.live.open(person))


@router.post("/{key}/frames", openapi_extra=file_body("image"))
async def push(key: str, request: Request, server: Server, person: Asker) -> FrameObjects | None:
    """The next frame, and the objects on it."""
    async with upload_of(request, "image") as file:
        data = await file.read()
    return await run_in_threadpool(server.live.push, key, data, person)


@router.post("/{key}/concept")
def concept(key: str, body: VideoConceptBody, server: Server, person: Asker) -> FrameObjects | None:
    """Follows a concept from the last frame on, or from one of the few before it."""
    options = {"boxes": body.boxes or (), "not_boxes": body.not_boxes or (), "frame": body.frame}
    return server.live.prompt(key, person, lambda session: session.add_concept(body.phrase or None, **options))


@router.post("/{key}/click")
def click(key: str, body: VideoClickBody, server: Server, person: Asker) -> FrameObjects | None:
    """Follows an object from one of the last frames on."""
    return server.live.prompt(
        key,
        person,
        lambda session: session.click(body.object, body.frame, body.points, body.labels, box=body.box),
    )


@router.delete("/{key}", status_code=204)
def close(key: str, server: Server, person: Asker) -> None:
    """Ends a stream."""
    server.live.close(key, person)
