"""Photo sessions: open, ask, click, draw, undo, export."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathValue
from starlette.concurrency import run_in_threadpool

from masklet.serve.encoding import jpeg_bytes
from masklet.serve.routes.forms import file_body, upload_of
from masklet.serve.schemas import (
    ConceptBody,
    DrawBody,
    ExemplarBody,
    FindBody,
    LikeBody,
    ObjectsBody,
    PhotoClickBody,
    PhotoView,
    QuestionBody,
    ScriptView,
    ThresholdBody,
)
from masklet.serve.sessions.photo_script import script_of
from masklet.serve.sessions.photo_view import export_photo, instances_of
from masklet.serve.sessions.photo_work import IMAGE
from masklet.serve.state import Asker, Server

router = APIRouter(prefix="/v1/images", tags=["images"])
ZIP = {200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}}
Level = Annotated[int, PathValue(ge=0, le=20)]
Place = Annotated[int, PathValue(ge=0, le=10_000)]
SHOWN = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}
PICTURE = {200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("", status_code=201, openapi_extra=file_body("image"))
async def open_photo(request: Request, server: Server, person: Asker) -> PhotoView:
    """Begins a session on an image, which is encoded when it is first asked."""
    async with upload_of(request, "image") as file:
        data = await file.read()
        work = await run_in_threadpool(server.store.add_photo, data, file.filename, person)
    return work.view()


@router.get("/{key}", response_model=PhotoView, responses={204: {"description": "nothing has changed"}})
def view(
    key: str, server: Server, person: Asker, since: Annotated[int, Query(ge=-1, le=2**31)] = -1
) -> PhotoView | Response:
    """The session as it stands; nothing where it has not changed `since` a version."""
    work = server.store.photo(key, person)
    return Response(status_code=204) if work.history.version == since else work.view()


@router.post("/{key}/encode", status_code=204)
def encode(key: str, server: Server, person: Asker) -> None:
    """Encodes the image, so that the first question need not wait for it."""
    work = server.store.photo(key, person)
    with work.lock:
        _ = work.session


@router.get("/{key}/file", responses=PICTURE, response_class=Response)  # type: ignore[arg-type]
def file(key: str, server: Server, person: Asker) -> Response:
    """The image as it came, or as a JPEG where browsers do not read its kind."""
    work = server.store.photo(key, person)
    data = (work.folder / IMAGE).read_bytes()
    kind = next((kind for start, kind in SHOWN.items() if data.startswith(start)), None)
    headers = {"cache-control": "private, max-age=86400"}
    return Response(data if kind else jpeg_bytes(work.pixels), media_type=kind or "image/jpeg", headers=headers)


@router.get("/{key}/tiles/{level}/{column}/{row}", responses=PICTURE, response_class=Response)  # type: ignore[arg-type]
def tile(key: str, level: Level, column: Place, row: Place, server: Server, person: Asker) -> Response:
    """A tile of a large photo, 512 pixels a side; each level has half the width and height of the one before."""
    work = server.store.photo(key, person)
    data = work.tile(level, column, row)
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400"})


@router.post("/{key}/find")
def find(key: str, body: FindBody, server: Server, person: Asker) -> PhotoView:
    """Looks for concepts."""
    return server.store.photo(key, person).find(body)


@router.post("/{key}/exemplar")
def exemplar(key: str, body: ExemplarBody, server: Server, person: Asker) -> PhotoView:
    """One more example of a concept."""
    return server.store.photo(key, person).add_exemplar(body)


@router.post("/{key}/like")
def like(key: str, body: LikeBody, server: Server, person: Asker) -> PhotoView:
    """Looks for a kept concept, whose examples are on another photo."""
    name, kept = server.bank.get(body.concept, person)
    return server.store.photo(key, person).find_like(name, kept, body.concept)


@router.post("/{key}/click")
def click(key: str, body: PhotoClickBody, server: Server, person: Asker) -> PhotoView:
    """Clicks on an object."""
    return server.store.photo(key, person).click(body)


@router.post("/{key}/ask")
def ask(key: str, body: QuestionBody, server: Server, person: Asker) -> PhotoView:
    """Answers a sentence."""
    return server.store.photo(key, person).ask(body.text)


@router.post("/{key}/draw")
def draw(key: str, body: DrawBody, server: Server, person: Asker) -> PhotoView:
    """A mask drawn by hand."""
    return server.store.photo(key, person).draw(body)


@router.post("/{key}/objects")
def objects(key: str, body: ObjectsBody, server: Server, person: Asker) -> PhotoView:
    """Deletes, joins, parts or changes objects."""
    return server.store.photo(key, person).edit(body)


@router.post("/{key}/forget")
def forget(key: str, body: ConceptBody, server: Server, person: Asker) -> PhotoView:
    """Takes a concept away."""
    return server.store.photo(key, person).forget(body.phrase)


@router.post("/{key}/threshold")
def threshold(key: str, body: ThresholdBody, server: Server, person: Asker) -> PhotoView:
    """Moves the cut."""
    return server.store.photo(key, person).set_threshold(body.threshold)


@router.post("/{key}/undo")
def undo(key: str, server: Server, person: Asker) -> PhotoView:
    """One step back."""
    return server.store.photo(key, person).undo()


@router.post("/{key}/redo")
def redo(key: str, server: Server, person: Asker) -> PhotoView:
    """One step forth."""
    return server.store.photo(key, person).redo()


@router.get("/{key}/script")
def script(key: str, server: Server, person: Asker) -> ScriptView:
    """The session so far as Python and as a command line."""
    work = server.store.photo(key, person)
    return script_of(work.name, work.history, server.host.choice.name)


@router.get("/{key}/export", responses=ZIP, response_class=Response)  # type: ignore[arg-type]
def export(key: str, server: Server, person: Asker, format: Annotated[str, Query(max_length=200)] = "coco") -> Response:
    """A zip of files in formats of the command line, separated by commas."""
    work = server.store.photo(key, person)
    with work.lock:
        result = instances_of(work.name, work.history, dict(work.masks), work.pixels)
    data = export_photo(result, [each.strip() for each in format.split(",") if each.strip()])
    return Response(
        data, media_type="application/zip", headers={"content-disposition": 'attachment; filename="masklet.zip"'}
    )
