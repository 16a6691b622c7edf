"""Does what tools ask for. Clients hold handles, never paths; what they cannot have is said with what to do instead."""

import base64
import binascii
import secrets
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from masklet.agent import facts
from masklet.agent.drawings import marked
from masklet.agent.hands import finds_of
from masklet.agent.pool import FoundMask, Mark, Pool, box_of
from masklet.errors import InputError
from masklet.files import natural_order
from masklet.inference.image.image_session import ImageSession
from masklet.inference.model import Model
from masklet.mcp.requests import (
    REQUESTS,
    REVIEWING,
    AddExemplar,
    Ask,
    ClickObject,
    Close,
    Export,
    FindPhrases,
    ListFiles,
    OpenImage,
    ReadFacts,
    ReviewAnswer,
    ReviewNext,
    Show,
    ToolRequest,
    TrackCancel,
    TrackStart,
    TrackStatus,
)
from masklet.mcp.reviewing import ReviewQueues
from masklet.media.suffixes import IMAGE_SUFFIXES
from masklet.ops.masks import mask_to_box, mask_to_polygons, rle_encode
from masklet.protocols import Instances, Pixels
from masklet.query.english import read_question
from masklet.query.evaluate import ask, like_of

MOST_IMAGES, MOST_JOBS = 8, 4
MOST_BYTES = 32 * 2**20
MOST_FILES = 500
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"})

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a tool gives: plain values, and an image if there is one."""

    values: Json
    png: bytes | None = None


@dataclass(kw_only=True)
class OpenedImage:
    """An image that is open: its session, and what was found in it so far."""

    session: ImageSession
    pixels: Pixels
    pool: Pool = field(default_factory=Pool)


@dataclass(kw_only=True)
class BackgroundTrack:
    """A video that is being followed. `seen` has the frames of each object."""

    phrase: str
    seen: dict[int, list[int]] = field(default_factory=dict)
    frames: int = 0
    state: str = "working"
    reason: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(kw_only=True)
class Toolbox:
    """Tools over one model. `folder` holds the files that clients may name; without one they send data. With `reviews`
    the open questions of a project may be answered."""

    model: Model
    folder: Path | None = None
    reviews: ReviewQueues | None = None
    images: dict[str, OpenedImage] = field(default_factory=dict)
    jobs: dict[str, BackgroundTrack] = field(default_factory=dict)
    lock: AbstractContextManager[bool] = field(default_factory=threading.RLock)

    def run(self, request: ToolRequest) -> Given:
        """Does one thing at a time. Raises: InputError with a sentence for the client."""
        with self.lock:
            return self._act(request)

    def _act(self, request: ToolRequest) -> Given:
        match request:
            case ListFiles() | OpenImage() | Close():
                return self._files(request)
            case FindPhrases() | AddExemplar() | ClickObject() | Ask():
                return self._look(request)
            case ReadFacts() | Show() | Export():
                return self._tell(request)
            case ReviewNext() | ReviewAnswer():
                return self._review(request)
            case TrackStart() | TrackStatus() | TrackCancel():
                return self._tracking(request)
            case _:
                raise InputError(f"there is no tool for {type(request).__name__}")

    def _tracking(self, request: TrackStart | TrackStatus | TrackCancel) -> Given:
        match request:
            case TrackStart():
                return self._track(request)
            case TrackStatus():
                return self._status(request)
            case TrackCancel():
                return self._cancel(request)

    def _files(self, request: ListFiles | OpenImage | Close) -> Given:
        match request:
            case ListFiles():
                return Given(values={"files": self._shared()[:MOST_FILES]})
            case OpenImage():
                return self._open(request)
            case Close():
                return self._close(request)

    def _look(self, request: FindPhrases | AddExemplar | ClickObject | Ask) -> Given:
        opened = self._image(request.image)
        match request:
            case FindPhrases():
                return self._find(opened, request)
            case AddExemplar():
                x0, y0, x1, y1 = request.box
                found = opened.session.add_exemplar((x0, y0, x1, y1), positive=request.is_positive)
                return self._given(opened, finds_of(found))
            case ClickObject():
                return self._click(opened, request)
            case Ask():
                return self._ask(opened, request)

    def _tell(self, request: ReadFacts | Show | Export) -> Given:
        opened = self._image(request.image)
        match request:
            case ReadFacts():
                return Given(values={"table": facts.table(list(opened.pool.marks.values()), opened.pixels)})
            case Show():
                marks = self._marks(opened, request.ids)
                return Given(values={"shown": [mark.id for mark in marks]}, png=marked(opened.pixels, marks).data)
            case Export():
                entries = [_exported(mark, request.format) for mark in self._marks(opened, request.ids)]
                return Given(values={"format": request.format, "objects": entries})

    def _review(self, request: ReviewNext | ReviewAnswer) -> Given:
        if self.reviews is None:
            raise InputError("no project is open here: masklet mcp needs --project for reviews")
        if isinstance(request, ReviewAnswer):
            return Given(values=self.reviews.answer(request.question, request.answer))
        values, png = self.reviews.next(request.task)
        return Given(values=values, png=png)

    @property
    def offered(self) -> list[str]:
        """Names of the tools that can be used."""
        return [name for name in REQUESTS if self.reviews is not None or name not in REVIEWING]

    # --- files and handles ----------------------------------------------------------------------------------------

    def _shared(self) -> list[str]:
        if self.folder is None:
            return []
        kinds = IMAGE_SUFFIXES | VIDEO_SUFFIXES
        paths = (path for path in self.folder.iterdir() if path.is_file() and path.suffix.lower() in kinds)
        return [path.name for path in sorted(paths, key=natural_order) if not path.name.startswith(".")]

    def _file(self, name: str) -> Path:
        if self.folder is None:
            raise InputError("no folder is shared: send the image as base64 data")
        if name not in self._shared():
            raise InputError(f"there is no {name[:80]!r} in the shared folder; call list_files for what there is")
        return self.folder / name

    def _open(self, request: OpenImage) -> Given:
        if (request.name is None) == (request.data is None):
            raise InputError("open_image takes either a name or data")
        source: Path | bytes = self._file(request.name) if request.name is not None else _decoded(request.data or "")
        session = self.model.open(source)
        handle = f"image_{secrets.token_hex(4)}"
        self.images[handle] = OpenedImage(session=session, pixels=session.pixels)
        while len(self.images) > MOST_IMAGES:
            self.images.pop(next(iter(self.images))).session.close()
        height, width = session.size
        return Given(values={"image": handle, "width": width, "height": height})

    def _image(self, handle: str) -> OpenedImage:
        if handle not in self.images:
            raise InputError(f"there is no open image {handle[:40]!r}; call open_image to get a handle")
        return self.images[handle]

    def _close(self, request: Close) -> Given:
        self._image(request.image).session.close()
        del self.images[request.image]
        return Given(values={"closed": request.image})

    # --- finding --------------------------------------------------------------------------------------------------

    def _find(self, opened: OpenedImage, request: FindPhrases) -> Given:
        found = opened.session.find(request.phrases, threshold=request.min_score)
        presence = {phrase: round(value, 3) for phrase, value in found.presence.items()}
        return self._given(opened, finds_of(found), presence=presence)

    def _click(self, opened: OpenedImage, request: ClickObject) -> Given:
        mask = opened.session.click(request.points, request.labels).masks[0]
        box = mask_to_box(mask)
        finds = [] if box is None else [FoundMask(phrase="clicked", score=1.0, box=box_of(box), mask=mask)]
        return self._given(opened, finds)

    def _ask(self, opened: OpenedImage, request: Ask) -> Given:
        def find(phrases: Sequence[str], least: float) -> Instances:
            return opened.session.find(phrases, threshold=least)

        node = read_question(request.question)[0].node
        answer = ask(find, opened.pixels, node, like=like_of(opened.session))
        finds = [
            FoundMask(phrase=each.phrase, score=each.score, box=box_of(each.box), mask=each.mask)
            for each in answer.instances
        ]
        return self._given(opened, finds, explanation=answer.explain())

    def _given(self, opened: OpenedImage, finds: Sequence[FoundMask], **more: Any) -> Given:
        opened.pool, ids, _ = opened.pool.add(finds)
        return Given(values={"found": [_plain(opened.pool.marks[key]) for key in ids], **more})

    # --- showing --------------------------------------------------------------------------------------------------

    def _marks(self, opened: OpenedImage, ids: Sequence[str]) -> list[Mark]:
        if unknown := opened.pool.unknown(ids):
            raise InputError(unknown)
        return [mark for key, mark in opened.pool.marks.items() if not ids or key in ids]

    # --- tracking -------------------------------------------------------------------------------------------------

    def _track(self, request: TrackStart) -> Given:
        path = self._file(request.name)
        if sum(job.state == "working" for job in self.jobs.values()) >= MOST_JOBS:
            raise InputError(f"{MOST_JOBS} jobs are running; wait for one, or cancel it")
        handle, job = f"job_{secrets.token_hex(4)}", BackgroundTrack(phrase=request.phrase)
        self.jobs[handle] = job
        while len(self.jobs) > 4 * MOST_JOBS:
            done = next((key for key, each in self.jobs.items() if each.state != "working"), None)
            if done is None:
                break
            del self.jobs[done]
        threading.Thread(target=self._follow, args=(path, job), daemon=True).start()
        return Given(values={"job": handle})

    def _follow(self, path: Path, job: BackgroundTrack) -> None:
        try:
            with self.model.open_video(path) as session:
                session.add_concept(job.phrase)
                for frame in session.track():
                    for object_id in frame.ids.tolist():
                        job.seen.setdefault(object_id, []).append(frame.index)
                    job.frames = frame.index + 1
                    if job.stop.is_set():
                        break
            job.state = "cancelled" if job.stop.is_set() else "completed"
        except InputError as error:
            job.state, job.reason = "failed", str(error)

    def _status(self, request: TrackStatus) -> Given:
        job = self._job(request.job)
        objects = [
            {"id": key, "first": frames[0], "last": frames[-1], "frames": len(frames)}
            for key, frames in sorted(dict(job.seen).items())
        ]
        return Given(values={"state": job.state, "frames": job.frames, "objects": objects, "reason": job.reason})

    def _cancel(self, request: TrackCancel) -> Given:
        self._job(request.job).stop.set()
        return Given(values={"job": request.job, "state": "cancelling"})

    def _job(self, handle: str) -> BackgroundTrack:
        if handle not in self.jobs:
            raise InputError(f"there is no job {handle[:40]!r}; call track_start to begin one")
        return self.jobs[handle]


def _decoded(data: str) -> bytes:
    if len(data) > MOST_BYTES * 4 // 3:
        raise InputError(f"the image is larger than {MOST_BYTES // 2**20} MB; send a smaller one")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("data is not base64; send the bytes of a PNG or JPEG file in base64") from error


def _plain(mark: Mark) -> Json:
    return {
        "id": mark.id,
        "phrase": "/".join(mark.phrases),
        "score": round(mark.score, 3),
        "box": [round(float(value), 1) for value in mark.box],
    }


def _exported(mark: Mark, layout: str) -> Json:
    height, width = mark.mask.shape
    if layout == "polygons":
        polygons = [np.asarray(each).ravel().round(1).tolist() for each in mask_to_polygons(mark.mask, 1.0)]
        return {"id": mark.id, "polygons": polygons}
    rle = {"size": [height, width], "counts": rle_encode(mark.mask)}
    if layout == "rle":
        return {"id": mark.id, "rle": rle}
    x0, y0, x1, y1 = (float(value) for value in mark.box)
    box = [round(value, 1) for value in (x0, y0, x1 - x0, y1 - y0)]
    area = int(mark.mask.sum())
    return {"id": mark.id, "category": mark.phrases[0], "bbox": box, "area": area, "iscrowd": 0, "segmentation": rle}
