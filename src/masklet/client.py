"""A typed client of `masklet serve`: what the server's OpenAPI document says, as Python.

with Client("http://127.0.0.1:8765") as client:
    answer = client.segment("photo.jpg", [PhrasePrompt(text="coin")])
    photo = client.open_image("photo.jpg")
    photo = client.find(photo.id, FindBody(phrases=["coin"]))
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

from masklet.serve.review.review_schemas import (
    HandCounts,
    HandDoneBody,
    HandTaskBody,
    ReviewSheet,
    VerdictCounts,
    VerdictsBody,
)
from masklet.serve.schemas import (
    ConceptBody,
    ConceptKeepBody,
    DrawBody,
    ExemplarBody,
    FindBody,
    FrameObjects,
    HealthView,
    JobView,
    KeptConceptView,
    LikeBody,
    MaskForm,
    ModelRow,
    ObjectsBody,
    PhotoClickBody,
    PhotoView,
    Prompt,
    QuestionBody,
    ScriptView,
    SegmentAnswer,
    SegmentBody,
    ServerView,
    SessionRow,
    StreamRow,
    ThresholdBody,
    TrackBody,
    VideoClickBody,
    VideoConceptBody,
    VideoMaskBody,
    VideoView,
)

View = TypeVar("View", bound=BaseModel)
Source = str | Path | bytes


class ServerError(Exception):
    """An answer that is an error: its HTTP status, and the server's sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} ({status})")
        self.status, self.message = status, message


class Client(AbstractContextManager["Client"]):
    """One connection to a server at `address`. `http` is an httpx2 client to be used instead, as tests do.

    Methods raise ServerError where the server answers with an error. Needs `masklet[serve]`.
    """

    def __init__(self, address: str = "http://127.0.0.1:8765", *, token: str | None = None, http: Any = None) -> None:
        if http is None:
            import httpx2

            http = httpx2.Client(base_url=address, timeout=120)
        self.http = http
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    # --- one request ----------------------------------------------------------------------------------------------

    def health(self) -> HealthView:
        """Whether the server is up, and its model there."""
        return self._get("/health", HealthView)

    def server(self) -> ServerView:
        """What the server is, and who you are to it."""
        return self._get("/v1/server", ServerView)

    def models(self) -> list[ModelRow]:
        """Models that are known there."""
        return TypeAdapter(list[ModelRow]).validate_python(self._json("GET", "/v1/models"))

    def doctor(self) -> dict[str, Any]:
        """What `masklet doctor` says of the machine that the server runs on."""
        return self._json("GET", "/v1/doctor")

    def segment(
        self, image: Source, prompts: Sequence[Prompt], *, threshold: float = 0.5, form: MaskForm = "rle"
    ) -> SegmentAnswer:
        """Answers to prompts about a file or its bytes, each by itself. Masks come as `form`: rle, polygon or png."""
        body = SegmentBody(prompts=list(prompts), threshold=threshold, format=form)
        name, data = _read(image)
        found = self._json(
            "POST",
            "/v1/segment",
            files={"image": (name, data)},
            data={"request": body.model_dump_json(exclude_none=True)},
        )
        return SegmentAnswer.model_validate(found)

    # --- images ---------------------------------------------------------------------------------------------------

    def sessions(self) -> list[SessionRow]:
        """Your sessions, the latest first."""
        return TypeAdapter(list[SessionRow]).validate_python(self._json("GET", "/v1/sessions"))

    def close_session(self, key: str) -> None:
        """Ends a session and deletes what is kept of it."""
        self._request("DELETE", f"/v1/sessions/{key}")

    def open_image(self, image: Source) -> PhotoView:
        """Begins a session on an image."""
        return PhotoView.model_validate(self._json("POST", "/v1/images", files={"image": _read(image)}))

    def image(self, key: str) -> PhotoView:
        """A session as it stands."""
        return self._get(f"/v1/images/{key}", PhotoView)

    def find(self, key: str, body: FindBody) -> PhotoView:
        """Looks for concepts."""
        return self._post(f"/v1/images/{key}/find", body, PhotoView)

    def add_exemplar(self, key: str, body: ExemplarBody) -> PhotoView:
        """One more example of a concept."""
        return self._post(f"/v1/images/{key}/exemplar", body, PhotoView)

    def concepts(self) -> list[KeptConceptView]:
        """Concepts that were kept, the latest first."""
        return TypeAdapter(list[KeptConceptView]).validate_python(self._json("GET", "/v1/concepts"))

    def keep_concept(self, key: str, phrase: str = "", name: str = "") -> KeptConceptView:
        """Keeps a concept of a session with its examples, for other images."""
        return self._post("/v1/concepts", ConceptKeepBody(image=key, phrase=phrase, name=name), KeptConceptView)

    def find_like(self, key: str, concept: str) -> PhotoView:
        """Looks for a kept concept by its id."""
        return self._post(f"/v1/images/{key}/like", LikeBody(concept=concept), PhotoView)

    def forget_concept(self, concept: str) -> None:
        """Forgets a kept concept."""
        self._request("DELETE", f"/v1/concepts/{concept}")

    def click(self, key: str, body: PhotoClickBody) -> PhotoView:
        """Clicks on an object."""
        return self._post(f"/v1/images/{key}/click", body, PhotoView)

    def ask(self, key: str, question: str) -> PhotoView:
        """Answers a sentence."""
        return self._post(f"/v1/images/{key}/ask", QuestionBody(text=question), PhotoView)

    def draw(self, key: str, body: DrawBody) -> PhotoView:
        """A mask drawn by hand."""
        return self._post(f"/v1/images/{key}/draw", body, PhotoView)

    def edit(self, key: str, body: ObjectsBody) -> PhotoView:
        """Deletes, joins, parts or changes objects."""
        return self._post(f"/v1/images/{key}/objects", body, PhotoView)

    def forget(self, key: str, phrase: str) -> PhotoView:
        """Takes a concept away."""
        return self._post(f"/v1/images/{key}/forget", ConceptBody(phrase=phrase), PhotoView)

    def set_threshold(self, key: str, threshold: float) -> PhotoView:
        """Moves the cut."""
        return self._post(f"/v1/images/{key}/threshold", ThresholdBody(threshold=threshold), PhotoView)

    def undo(self, key: str) -> PhotoView:
        """One step back."""
        return self._post(f"/v1/images/{key}/undo", None, PhotoView)

    def redo(self, key: str) -> PhotoView:
        """One step forth."""
        return self._post(f"/v1/images/{key}/redo", None, PhotoView)

    def script(self, key: str) -> ScriptView:
        """The session so far as a program."""
        return self._get(f"/v1/images/{key}/script", ScriptView)

    def export_image(self, key: str, formats: str = "coco") -> bytes:
        """A zip of files in formats of the command line, separated by commas."""
        return self._request("GET", f"/v1/images/{key}/export", params={"format": formats}).content

    # --- videos ---------------------------------------------------------------------------------------------------

    def open_video(self, video: Source, name: str = "") -> VideoView:
        """Begins a session on a video; bytes need a `name` with its suffix."""
        shown, data = _read(video)
        return VideoView.model_validate(self._json("POST", "/v1/videos", files={"video": (name or shown, data)}))

    def video(self, key: str) -> VideoView:
        """A session as it stands."""
        return self._get(f"/v1/videos/{key}", VideoView)

    def frame(self, key: str, index: int) -> bytes:
        """A frame as a JPEG."""
        return self._request("GET", f"/v1/videos/{key}/frames/{index}").content

    def results(self, key: str, start: int = 0, count: int = 500) -> list[FrameObjects]:
        """Results of frames that were tracked."""
        found = self._json("GET", f"/v1/videos/{key}/results", params={"start": start, "count": count})
        return TypeAdapter(list[FrameObjects]).validate_python(found)

    def add_concept(self, key: str, body: VideoConceptBody) -> FrameObjects:
        """Follows every instance of a concept."""
        return self._post(f"/v1/videos/{key}/concept", body, FrameObjects)

    def click_video(self, key: str, body: VideoClickBody) -> FrameObjects:
        """Corrects an object of a video, or begins one."""
        return self._post(f"/v1/videos/{key}/click", body, FrameObjects)

    def add_mask(self, key: str, body: VideoMaskBody) -> FrameObjects:
        """A mask drawn by hand."""
        return self._post(f"/v1/videos/{key}/mask", body, FrameObjects)

    def forget_in_video(self, key: str, phrase: str) -> VideoView:
        """Ends a concept and its objects."""
        return self._post(f"/v1/videos/{key}/forget", ConceptBody(phrase=phrase), VideoView)

    def remove_object(self, key: str, number: int) -> VideoView:
        """Ends an object."""
        return VideoView.model_validate(self._json("DELETE", f"/v1/videos/{key}/objects/{number}"))

    def restore_version(self, key: str, place: int = 1) -> VideoView:
        """Brings earlier results back; 1 are the latest."""
        return self._post(f"/v1/videos/{key}/versions/{place}", None, VideoView)

    def track(self, key: str, body: TrackBody | None = None) -> JobView:
        """Begins a tracking job."""
        return self._post(f"/v1/videos/{key}/track", body or TrackBody(), JobView)

    def frames(self, job: str, after: int = -1) -> Iterator[StreamRow]:
        """Frames of a job as they come, from after number `after` of its stream; the last row is the job."""
        path = f"/v1/jobs/{job}/frames"
        with self.http.stream("GET", path, params={"after": after}, headers=self._headers) as answer:
            if answer.status_code >= 400:
                answer.read()
            _check(answer)
            for line in answer.iter_lines():
                if line.strip():
                    yield StreamRow.model_validate_json(line)

    def job(self, key: str) -> JobView:
        """How a job stands."""
        return self._get(f"/v1/jobs/{key}", JobView)

    def cancel(self, key: str) -> JobView:
        """Stops a job; its frames are kept."""
        return self._post(f"/v1/jobs/{key}/cancel", None, JobView)

    def export_video(self, key: str, formats: str = "json") -> bytes:
        """A zip of results in formats of the command line, separated by commas."""
        return self._request("GET", f"/v1/videos/{key}/export", params={"format": formats}).content

    # --- live streams ---------------------------------------------------------------------------------------------

    def open_live(self) -> str:
        """The id of a new live stream."""
        return str(self._json("POST", "/v1/live")["id"])

    def push(self, key: str, image: Source) -> FrameObjects | None:
        """The next frame, and the objects on it."""
        found = self._json("POST", f"/v1/live/{key}/frames", files={"image": _read(image)})
        return None if found is None else FrameObjects.model_validate(found)

    def click_live(self, key: str, body: VideoClickBody) -> FrameObjects:
        """Follows an object from one of the last frames on."""
        return self._post(f"/v1/live/{key}/click", body, FrameObjects)

    def add_live_concept(self, key: str, body: VideoConceptBody) -> FrameObjects:
        """Follows a concept from one of the last frames on."""
        return self._post(f"/v1/live/{key}/concept", body, FrameObjects)

    def close_live(self, key: str) -> None:
        """Ends a live stream."""
        self._request("DELETE", f"/v1/live/{key}")

    # --- reviews --------------------------------------------------------------------------------------------------

    def review(self, task: str = "masks", limit: int = 24, *, name: str = "") -> ReviewSheet:
        """The next questions of a task; on a server without tokens for the person of a `name`."""
        found = self._json("GET", "/v1/review", params={"task": task, "limit": limit, "name": name})
        return ReviewSheet.model_validate(found)

    def decide(self, body: VerdictsBody) -> VerdictCounts:
        """Sends answers in."""
        return self._post("/v1/review/verdicts", body, VerdictCounts)

    def hand_counts(self, *, name: str = "") -> HandCounts:
        """How many pairs wait for a correction, and are open in each slot of the gold set."""
        return HandCounts.model_validate(self._json("GET", "/v1/review/hand", params={"name": name}))

    def open_hand(self, body: HandTaskBody | None = None) -> PhotoView | None:
        """A session on the next pair to be corrected or labelled; None when nothing is open."""
        content = (body or HandTaskBody()).model_dump(mode="json", exclude_none=True)
        answer = self._request("POST", "/v1/review/hand", json=content)
        return None if answer.status_code == 204 else PhotoView.model_validate(answer.json())

    def finish_hand(self, key: str, body: HandDoneBody | None = None) -> VerdictCounts:
        """Sends the masks of such a session in, and ends it."""
        return self._post(f"/v1/review/hand/{key}", body or HandDoneBody(), VerdictCounts)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _get(self, path: str, view: type[View]) -> View:
        return view.model_validate(self._json("GET", path))

    def _post(self, path: str, body: BaseModel | None, view: type[View]) -> View:
        content = None if body is None else body.model_dump(mode="json", exclude_none=True)
        return view.model_validate(self._json("POST", path, json=content))

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return self._request(method, path, **options).json()

    def _request(self, method: str, path: str, **options: Any) -> Any:
        answer = self.http.request(method, path, headers=self._headers, **options)
        _check(answer)
        return answer


def _check(answer: Any) -> None:
    if answer.status_code < 400:
        return
    try:
        message = str(answer.json()["error"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        message = "the server answered with an error"
    raise ServerError(answer.status_code, message)


def _read(source: Source) -> tuple[str, bytes]:
    """The name and the bytes of a file."""
    if isinstance(source, bytes):
        return "upload", source
    path = Path(source)
    return path.name, path.read_bytes()
