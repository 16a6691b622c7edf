"""Video sessions and jobs: upload, prompt, track, read the frames as they come, cancel, correct, export."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathValue
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from masklet.serve.encoding import jpeg_bytes
from masklet.serve.routes.forms import file_body, upload_of
from masklet.serve.routes.photo_routes import PICTURE, ZIP
from masklet.serve.schemas import (
    ConceptBody,
    FrameObjects,
    JobView,
    StreamRow,
    TrackBody,
    VideoClickBody,
    VideoConceptBody,
    VideoMaskBody,
    VideoView,
)
from masklet.serve.sessions.track_run import TrackingJob
from masklet.serve.state import Asker, Server

router = APIRouter(prefix="/v1", tags=["videos"])
LINES = "application/x-ndjson"
POLL_SECONDS, BEAT_SECONDS = 0.03, 10.0
_STREAM = {200: {"description": "a StreamRow a line", "content": {LINES: {"schema": {"type": "string"}}}}}


@router.post("/videos", status_code=201, openapi_extra=file_body("video"))
async def open_video(request: Request, server: Server, person: Asker) -> VideoView:
    """Begins a session on a video."""
    async with upload_of(request, "video") as file:
        work = await run_in_threadpool(server.store.add_video, file.file, file.filename, person)
    return await run_in_threadpool(work.view)


@router.get("/videos/{key}")
def view(key: str, server: Server, person: Asker) -> VideoView:
    """The session as it stands."""
    return server.store.video(key, person).view()


@router.get("/videos/{key}/frames/{index}", responses=PICTURE, response_class=Response)  # type: ignore[arg-type]
def frame(key: str, index: Annotated[int, PathValue(ge=0, le=2**31)], server: Server, person: Asker) -> Response:
    """A frame as a JPEG."""
    data = jpeg_bytes(server.store.video(key, person).pixels(index))
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


@router.get("/videos/{key}/results")
def results(
    key: str,
    server: Server,
    person: Asker,
    start: Annotated[int, Query(ge=0, le=2**31)] = 0,
    count: Annotated[int, Query(ge=1, le=2000)] = 500,
) -> list[FrameObjects]:
    """Results of frames that were tracked, from `start` on."""
    return server.store.video(key, person).frame_views(start, count)


@router.post("/videos/{key}/concept")
def concept(key: str, body: VideoConceptBody, server: Server, person: Asker) -> FrameObjects:
    """Follows every instance of a concept."""
    return server.store.video(key, person).add_concept(body)


@router.post("/videos/{key}/click")
def click(key: str, body: VideoClickBody, server: Server, person: Asker) -> FrameObjects:
    """Corrects an object, or begins one."""
    return server.store.video(key, person).click(body)


@router.post("/videos/{key}/mask")
def mask(key: str, body: VideoMaskBody, server: Server, person: Asker) -> FrameObjects:
    """A mask drawn by hand."""
    return server.store.video(key, person).add_mask(body)


@router.post("/videos/{key}/forget")
def forget(key: str, body: ConceptBody, server: Server, person: Asker) -> VideoView:
    """Ends a concept and its objects."""
    return server.store.video(key, person).remove_concept(body.phrase)


@router.delete("/videos/{key}/objects/{number}")
def remove(key: str, number: Annotated[int, PathValue(ge=0, le=2**31)], server: Server, person: Asker) -> VideoView:
    """Ends an object."""
    return server.store.video(key, person).remove_object(number)


@router.post("/videos/{key}/versions/{place}")
def restore(key: str, place: Annotated[int, PathValue(ge=1, le=1000)], server: Server, person: Asker) -> VideoView:
    """Brings earlier results back; 1 are the latest."""
    return server.store.video(key, person).restore_version(place)


@router.post("/videos/{key}/track", status_code=202)
def track(key: str, body: TrackBody, server: Server, person: Asker) -> JobView:
    """Begins a tracking job."""
    return server.store.video(key, person).track(body).view()


@router.get("/videos/{key}/export", responses=ZIP, response_class=Response)  # type: ignore[arg-type]
def export(key: str, server: Server, person: Asker, format: Annotated[str, Query(max_length=200)] = "json") -> Response:
    """A zip of results in formats of the command line, separated by commas."""
    work = server.store.video(key, person)
    data = work.export([each.strip() for each in format.split(",") if each.strip()])
    return Response(
        data, media_type="application/zip", headers={"content-disposition": 'attachment; filename="masklet.zip"'}
    )


# --- jobs ---------------------------------------------------------------------------------------------------------


@router.get("/jobs/{key}")
def job(key: str, server: Server, person: Asker) -> JobView:
    """How a job stands."""
    return server.store.job(key, person).view()


@router.post("/jobs/{key}/cancel")
def cancel(key: str, server: Server, person: Asker) -> JobView:
    """Stops a job after the frame that it is at; what it did is kept."""
    found = server.store.job(key, person)
    found.cancel()
    found.join(20)
    return found.view()


@router.get("/jobs/{key}/frames", responses=_STREAM, response_class=StreamingResponse)  # type: ignore[arg-type]
def frames(
    key: str, server: Server, person: Asker, after: Annotated[int, Query(ge=-1, le=2**31)] = -1
) -> StreamingResponse:
    """Frames of a job as they come, one a line, from after the last that was acknowledged; the last line is the job."""
    found = server.store.job(key, person)
    found.enter()
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(_lines(found, after + 1), media_type=LINES, headers=headers)


async def _lines(found: TrackingJob, seq: int) -> AsyncIterator[str]:
    """Lines until the job has ended; an empty one now and then shows that the connection lives."""
    waited = 0.0
    try:
        while True:
            rows: list[StreamRow] = list(found.rows_from(seq))
            for row in rows:
                yield row.model_dump_json(exclude_none=True) + "\n"
            if rows and rows[-1].job is not None:
                return
            seq, waited = seq + len(rows), 0.0 if rows else waited + POLL_SECONDS
            if waited >= BEAT_SECONDS:
                waited = 0.0
                yield "\n"
            await asyncio.sleep(POLL_SECONDS)
    finally:
        found.leave()
