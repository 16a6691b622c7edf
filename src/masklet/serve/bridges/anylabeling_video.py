"""Videos of X-AnyLabeling: frames as images, a phrase or points, and frames of a run as they come.

Points are fractions of the frame, frames count from 0, `end_frame` is visited as well.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from masklet.errors import InputError
from masklet.inference.result import CLICKED
from masklet.inference.video.video_session import VideoSession
from masklet.ops.masks import rle_decode
from masklet.serve.bridges.anylabeling import MODEL, AnyLabelingParams, failed, guarded, shapes_of_mask
from masklet.serve.bridges.bridge_videos import Source
from masklet.serve.bridges.lenient import Lenient, written_phrases
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import FrameNumber, FrameObjects, ObjectId, PointValues, Sign
from masklet.serve.sessions.track_run import TrackingJob
from masklet.serve.state import Asker, Server, ServerState
from masklet.serve.uploads import from_base64

router = APIRouter(prefix="/anylabeling/v1/video", tags=["x-anylabeling"])
MOST_FRAMES = 5000
POLL_SECONDS = 0.05
SessionKey = Annotated[str, Field(max_length=40)]


class AnyLabelingVideoInit(Lenient):
    """The frames of a video, each an image file in base64."""

    model: str = MODEL
    frames: Annotated[list[str], Field(min_length=1, max_length=MOST_FRAMES)]
    start_frame_index: FrameNumber = 0


class AnyLabelingVideoPrompt(Lenient):
    """A phrase to follow, or one object at points; a phrase begins anew."""

    session_id: SessionKey
    text_prompt: Annotated[str, Field(max_length=2000)] | None = ""
    frame_index: FrameNumber = 0
    points: Annotated[list[PointValues], Field(max_length=200)] | None = None
    point_labels: Annotated[list[Sign], Field(max_length=200)] | None = None
    obj_id: ObjectId | None = None
    params: AnyLabelingParams = AnyLabelingParams()


class AnyLabelingPropagate(Lenient):
    """A run from a frame to another."""

    session_id: SessionKey
    start_frame: FrameNumber | None = None
    end_frame: FrameNumber | None = None


@router.post("/init")
def init(body: AnyLabelingVideoInit, server: Server, person: Asker) -> dict[str, Any]:
    """Begins a session."""

    def fill(folder: Path) -> Source:
        files = []
        for place, frame in enumerate(body.frames):
            data = from_base64(frame)
            server.decoder.read(data)  # says what is wrong with it before a run does
            files.append(folder / f"{place:06d}.image")
            files[-1].write_bytes(data)
        return files

    def answer() -> dict[str, Any]:
        key, _ = server.videos.add(fill, person)
        return {"session_id": key, "num_frames": len(body.frames), "start_frame_index": body.start_frame_index}

    return guarded(answer)


@router.post("/prompt")
def prompt(body: AnyLabelingVideoPrompt, server: Server, person: Asker) -> dict[str, Any]:
    """Masks of the frame that was prompted."""

    def ask(session: VideoSession) -> object:
        if not body.points:
            phrases = written_phrases(body.text_prompt or "")
            if not phrases:
                raise InputError("a phrase or points are needed")
            return session.add_concept(phrases, frame=body.frame_index)
        height, width = session.size
        points = [(x * width, y * height) for x, y in body.points]
        labels = body.point_labels or [1] * len(points)
        return session.click(body.obj_id, body.frame_index, points, labels)

    def answer() -> dict[str, Any]:
        video = server.videos.get(body.session_id, person)
        if not body.points:
            video.begin_anew()
        shapes = shapes_of_frame(video.prompt(ask), body.params)
        return {"frame_index": body.frame_index, "masks": shapes, "num_objects": len({s["group_id"] for s in shapes})}

    return guarded(answer)


@router.post("/propagate")
def propagate(body: AnyLabelingPropagate, server: Server, person: Asker) -> dict[str, Any]:
    """Begins a run; `status` tells how far it is."""
    return guarded(lambda: {"task_id": _begin(body, server, person).key, "status": "processing"})


@router.post("/propagate/stream", response_model=None)
async def stream(body: AnyLabelingPropagate, server: Server, person: Asker) -> StreamingResponse | dict[str, Any]:
    """Begins a run and streams it as server-sent events; each frame comes with its masks, the end with all of them."""
    try:
        job = await run_in_threadpool(_begin, body, server, person)
    except (InputError, HttpProblem) as error:
        return failed("PROPAGATION_ERROR", str(error))
    total = await run_in_threadpool(lambda: server.videos.get(body.session_id, person).session.num_frames or 0)
    headers = {"x-accel-buffering": "no"}
    return StreamingResponse(_events(job, total, body), media_type="text/event-stream", headers=headers)


@router.get("/status/{key}")
def status(key: str, server: Server, person: Asker) -> dict[str, Any]:
    """How a run stands, with the results so far: what was cancelled is not lost."""

    def answer() -> dict[str, Any]:
        job = server.videos.job(key, person)
        results = {str(each.index): {"masks": shapes_of_frame(each, AnyLabelingParams())} for each in list(job.rows)}
        state = {"running": "processing", "done": "completed"}.get(job.state, job.state)
        return {"task_id": key, "status": state, "progress": len(results), "results": results, "error": job.error}

    return guarded(answer)


@router.post("/cancel/{key}")
def cancel(key: str, server: Server, person: Asker) -> dict[str, Any]:
    """Stops a run after the frame that it is at."""

    def answer() -> dict[str, Any]:
        job = server.videos.job(key, person)
        job.cancel()
        return {"task_id": key, "status": "cancelled"}

    return guarded(answer)


@router.post("/cleanup/{key}")
def cleanup(key: str, server: Server, person: Asker) -> dict[str, Any]:
    """Ends a session."""

    def answer() -> dict[str, Any]:
        server.videos.remove(key, person)
        return {"message": "the session is closed"}

    return guarded(answer)


def shapes_of_frame(frame: FrameObjects, params: AnyLabelingParams) -> list[dict[str, Any]]:
    """The objects of a frame as shapes; `group_id` is the object's id."""
    shapes = []
    for place, number in enumerate(frame.ids):
        mask = rle_decode(frame.rles[place], *frame.size)
        label = CLICKED if number in frame.clicked else frame.concepts[place] or CLICKED
        made = shapes_of_mask(label, frame.object_scores[place], mask, params)
        shapes += [shape | {"group_id": number} for shape in made]
    return shapes


def _begin(body: AnyLabelingPropagate, server: ServerState, person: Asker) -> TrackingJob:
    stop = None if body.end_frame is None else body.end_frame + 1
    return server.videos.get(body.session_id, person).track("forward", body.start_frame or 0, stop)


async def _events(job: TrackingJob, total: int, body: AnyLabelingPropagate) -> AsyncIterator[str]:
    job.enter()
    results: dict[str, Any] = {}
    try:
        yield _event("started", total_frames=total, start_frame_index=body.start_frame or 0)
        seq = 0
        while True:
            rows = list(job.rows_from(seq))
            for row in rows:
                if row.frame is not None:
                    masks = await run_in_threadpool(shapes_of_frame, row.frame, AnyLabelingParams())
                    now = {str(row.frame.index): {"masks": masks}}
                    results |= now
                    done = len(results) / max(1, total)
                    yield _event("progress", current_frame=row.frame.index, progress=round(done, 4), results=now)
                elif job.error is not None:
                    yield _event("error", message=job.error)
                    return
                else:
                    yield _event("completed", total_frames=total, results=results)
                    return
            seq += len(rows)
            await asyncio.sleep(POLL_SECONDS)
    finally:
        job.leave()
        job.cancel()  # its client closes the stream to cancel


def _event(kind: str, **fields: Any) -> str:
    return f"data: {json.dumps({'type': kind, **fields})}\n\n"
