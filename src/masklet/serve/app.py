"""The application: routes joined, errors as one shape, sessions saved when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import masklet
from masklet.errors import InputError
from masklet.serve.bridges import anylabeling, anylabeling_video, label_studio, nuclio, roboflow
from masklet.serve.bridges.bridge_videos import BridgeVideos
from masklet.serve.bridges.encoded import EncodedImages
from masklet.serve.guard import Guard
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem
from masklet.serve.review.review_desk import ReviewDesk
from masklet.serve.routes import (
    concept_routes,
    live_routes,
    photo_routes,
    review_routes,
    segment_routes,
    system_routes,
    video_routes,
)
from masklet.serve.schemas import ProblemView
from masklet.serve.sessions.concept_bank import ConceptBank
from masklet.serve.sessions.live import LiveStreams
from masklet.serve.sessions.store import SessionStore
from masklet.serve.settings import ServeSettings
from masklet.serve.state import ServerState
from masklet.serve.telemetry import LOG, Telemetry
from masklet.serve.uploads import ImageDecoder

PAGE = Path(__file__).parent / "page"
RELIEF_SECONDS = 5.0
FREE_THREADS = 40
LOADING_SECONDS = 3.0  # that a server which is stopped waits for weights that it reads
PROBLEMS = {
    status: {"model": ProblemView, "description": text}
    for status, text in {
        400: "cannot be used",
        401: "no token",
        403: "not allowed",
        404: "not there",
        409: "not now",
        413: "too large",
        415: "another kind of body",
        421: "another host",
        422: "not of the form",
        429: "too many requests",
        503: "not ready, or too busy",
        507: "no room",
    }.items()
}
ROUTERS = (
    *(
        system_routes.router,
        segment_routes.router,
        photo_routes.router,
        concept_routes.router,
        video_routes.router,
        live_routes.router,
        review_routes.router,
    ),
    *(label_studio.router, nuclio.router, anylabeling.router, anylabeling_video.router, roboflow.router),
)


def create_app(settings: ServeSettings) -> FastAPI:
    """The server as an ASGI application. Raises: InputError when a project is named that is none."""
    telemetry = Telemetry()
    host, decoder = ModelHost(settings.model, settings.limits.waiting), ImageDecoder(settings.limits)
    server = ServerState(
        settings=settings,
        host=host,
        store=SessionStore(settings, host, decoder, telemetry),
        decoder=decoder,
        telemetry=telemetry,
        encoded=EncodedImages(host, decoder),
        live=LiveStreams(host, decoder, settings.limits),
        videos=BridgeVideos(host, settings.limits),
        bank=ConceptBank(settings.folder / "concepts"),
        desk=None if settings.project is None else ReviewDesk(settings.project),
    )
    app = FastAPI(
        title="masklet",
        version=masklet.__version__,
        summary="Segment anything with concepts: photos, videos and reviews.",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        responses=PROBLEMS,  # type: ignore[arg-type] - FastAPI wants wider keys
    )
    app.state.server = server
    for router in ROUTERS:
        app.include_router(router)
    _add_page(app)
    _add_errors(app)
    app.add_middleware(Guard, settings=settings, telemetry=telemetry)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads weights once requests are answered, lets idle sessions go, and saves all of them at the end."""
    server: ServerState = app.state.server
    # What waits for the model holds a thread, in either lane; everything else needs threads of its own beside them
    to_thread.current_default_thread_limiter().total_tokens = 2 * server.settings.limits.waiting + FREE_THREADS
    server.host.start()
    task = asyncio.create_task(_relieve(server))
    try:
        yield
    finally:
        server.stop()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.videos.relieve, everything=True)
        await asyncio.to_thread(server.store.close)
        await asyncio.to_thread(server.host.join, LOADING_SECONDS)


async def _relieve(server: ServerState) -> None:
    while True:
        await asyncio.sleep(RELIEF_SECONDS)
        for part in (server.store, server.live, server.videos):
            try:
                await asyncio.to_thread(part.relieve)
            except (InputError, HttpProblem, OSError, RuntimeError, LookupError, ValueError) as error:
                LOG.error(json.dumps({"relief": f"{type(error).__name__}: {error}"[:500]}))


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/sw.js", include_in_schema=False)
    async def worker() -> FileResponse:
        return FileResponse(PAGE / "sw.js", media_type="text/javascript", headers={"cache-control": "no-cache"})

    app.mount("/assets", StaticFiles(directory=PAGE / "assets"), name="assets")


def _add_errors(app: FastAPI) -> None:
    def answer(request: Request, status: int, message: str, retry_after: int | None = None) -> JSONResponse:
        sentence = message.encode(errors="replace").decode()  # a half of a letter, sent by a client, is no UTF-8
        body = {"error": sentence, "request_id": getattr(request.state, "request_id", "")}
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        return JSONResponse(body, status, headers)

    @app.exception_handler(HttpProblem)
    async def problem(request: Request, error: HttpProblem) -> JSONResponse:
        return answer(request, error.status, error.message, error.retry_after)

    @app.exception_handler(InputError)
    async def unusable(request: Request, error: InputError) -> JSONResponse:
        return answer(request, 400, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return answer(request, 422, f"{where}: {first['msg']}"[:500])

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        plain = {404: "there is nothing at this address", 405: f"{request.method} is not what this address takes"}
        is_plain = error.detail == HTTPStatus(error.status_code).phrase
        return answer(request, error.status_code, plain.get(error.status_code, "") if is_plain else error.detail[:500])
