"""A backend of Label Studio: phrases by TextArea, smart boxes and key points, masks as its interface draws them."""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
from fastapi import APIRouter
from pydantic import Field

from masklet.errors import InputError
from masklet.formats.tools.labelstudio import pack_brush
from masklet.inference.image.image_session import ImageSession
from masklet.serve.bridges.label_config import Control, LabelConfig, parse_config
from masklet.serve.bridges.label_studio_events import (
    CAPABILITIES,
    EVENTS,
    VideoEvents,
    drawn_regions,
    event_region,
)
from masklet.serve.bridges.label_studio_video import follow_labels
from masklet.serve.bridges.lenient import Lenient, Open, bounded_phrases
from masklet.serve.bridges.shapes import data_url, distinct, outlines
from masklet.serve.encoding import box_of
from masklet.serve.fetch import RefusedError, fetch
from masklet.serve.problems import HttpProblem
from masklet.serve.settings import Person
from masklet.serve.state import Asker, Server, ServerState
from masklet.serve.telemetry import LOG
from masklet.serve.uploads import from_base64

router = APIRouter(tags=["label studio"])
VERSION = "masklet"
MOST_PROJECTS = 256
TOKEN_HELP = "Label Studio refuses the token that it gave: turn on Organization, API Tokens Settings, Legacy Tokens"
Region = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LabelStudioServer:
    """Where a project's Label Studio is, and the token for its files."""

    hostname: str
    token: str


_servers: OrderedDict[str, LabelStudioServer] = OrderedDict()
_lock = threading.Lock()


class Setup(Lenient):
    """What Label Studio says when a backend is connected. `schema` is the labelling interface."""

    project: Annotated[str, Field(max_length=200)] = ""
    label_config: Annotated[str, Field(alias="schema")] = ""
    hostname: Annotated[str, Field(max_length=500)] | None = ""
    access_token: Annotated[str, Field(max_length=4000)] | None = ""


class PredictParams(Lenient):
    """`context` holds what the user has drawn just now."""

    context: Open | None = None


class LabelStudioTask(Lenient):
    """A task; `data` holds the address of its image or video."""

    id: int | str | None = None
    data: Open = Field(default_factory=dict)


class Predict(Lenient):
    """Tasks to be labelled."""

    tasks: Annotated[list[LabelStudioTask], Field(max_length=200)]
    project: Annotated[str, Field(max_length=200)] | None = ""
    label_config: str = ""
    params: PredictParams | None = None


@router.post("/setup")
async def setup(body: Setup) -> dict[str, str]:
    """Remembers where the images of a project are."""
    if body.hostname:
        with _lock:
            _servers[project_key(body.project)] = LabelStudioServer(
                hostname=body.hostname, token=body.access_token or ""
            )
            while len(_servers) > MOST_PROJECTS:
                _servers.popitem(last=False)
    return {"model_version": VERSION}


@router.get("/versions")
async def versions() -> dict[str, list[str]]:
    """The one version."""
    return {"versions": [VERSION]}


@router.post("/webhook", status_code=201)
@router.post("/train", status_code=201)
async def webhook(body: Open) -> dict[str, str]:
    """Nothing is learned from annotations here: train with `masklet train` on an export."""
    return {"result": "ignored", "action": str(body.get("action", ""))[:80]}


@router.post("/predict")
def predict(body: Predict, server: Server, person: Asker) -> dict[str, Any]:
    """A prediction for each task, in their order; the error in its place where something is wrong."""
    context = (body.params and body.params.context) or {}
    if context.get("event") == "capabilities":
        region = {"id": "capabilities", "type": "capabilities", "origin": "manual", "value": CAPABILITIES}
        return {"results": [{"model_version": VERSION, "score": 0.0, "result": [region]}], "model_version": VERSION}
    asking = Asking(config=parse_config(body.label_config), context=context, project=body.project or "", person=person)
    results = [_predict_one(task, asking, server) for task in body.tasks]
    return {"results": results, "model_version": VERSION}


def project_key(project: str) -> str:
    """Label Studio names a project by its number and the moment it was made; the number is enough."""
    return project.partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is the same for all tasks of a request."""

    config: LabelConfig
    context: dict[str, Any]
    project: str
    person: Person


def _predict_one(task: LabelStudioTask, asking: Asking, server: ServerState) -> dict[str, Any]:
    empty = {"model_version": VERSION, "score": 0.0, "result": []}
    config, event = asking.config, asking.context.get("event")
    try:
        control = config.output()
        key = config.keys.get(control.to_name, "image")
        fetch = partial(image_bytes, task, key, asking.project, server)
        if control.tag == "VideoRectangle" and event in EVENTS:
            about = f"{project_key(asking.project)} {task.id} {task.data.get(key)}"
            return empty | {
                "result": VideoEvents(server, asking.person, about, fetch).answer(event, asking.context, control)
            }
        if control.tag == "VideoRectangle":
            return empty | {"result": follow_labels(fetch(), config, control, server)}
        with server.encoded.session(fetch()) as session:
            if event == "prewarm":
                value = {"status": "ok", "cached": [0], "pending": []}
                return empty | {"result": [event_region("prewarm_ack", value, control)]}
            drawn = drawn_regions(asking.context)
            rows = list(_drawn(session, drawn, config, control) if drawn else _all(session, config, control))
            regions = [region for row in rows for region in regions_of(*row, control, session.size)]
    except (InputError, HttpProblem) as error:
        if isinstance(error, HttpProblem) and error.ends_request:
            raise
        LOG.warning(json.dumps({"label_studio_task": task.id, "error": str(error)[:500]}))  # its page does not show it
        failed = empty | {"error": str(error)}
        if not asking.context:  # an empty prediction would be kept as what the model found, and not be asked for again
            del failed["result"]
        return failed
    return empty | {"score": max((score for _, score, _ in rows), default=0.0), "result": regions}


# --- images -------------------------------------------------------------------------------------------------------


def image_bytes(task: LabelStudioTask, key: str, project: str, server: ServerState) -> bytes:
    """The image or video of a task, from its data or from the project's Label Studio. Raises: InputError."""
    address = task.data.get(key)
    if not isinstance(address, str) or not address:
        raise InputError(f"the task has no image under data.{key[:60]}")
    if address.startswith("data:"):
        return from_base64(address)
    known = _servers.get(project_key(project))
    if address.startswith("/"):
        if known is None:
            raise InputError("the image is on Label Studio, which has not told where it is: connect the backend anew")
        address = f"{known.hostname.rstrip('/')}{address}"
    headers = {}
    if known is not None and known.token and is_same_site(known.hostname, address):
        headers = {"Authorization": f"Token {known.token}"}  # it goes to Label Studio alone
    try:
        return fetch(address, server.settings, headers)
    except RefusedError as error:
        if headers and error.status == 401:
            raise InputError(f"{error}: {TOKEN_HELP}") from error
        raise


def is_same_site(one: str, other: str) -> bool:
    """Whether two addresses are of the same host and port, read in the same way."""
    try:
        first, second = urlsplit(one), urlsplit(other)
    except ValueError:
        return False
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


# --- what the user drew, and what is found ------------------------------------------------------------------------

Found = tuple[str, float, np.ndarray]


def _all(session: ImageSession, config: LabelConfig, control: Control) -> Iterator[Found]:
    """Every instance of the phrases of all labels."""
    phrases = config.all_phrases(control.labels)
    return _find(session, list(phrases), lambda phrase: phrases.get(phrase, phrase), control)


def _find(
    session: ImageSession, phrases: list[str], label_of: Callable[[str], str], control: Control
) -> Iterator[Found]:
    if not phrases:
        return
    found = session.find(phrases, threshold=0.5 if control.least is None else control.least)
    for place, phrase in enumerate(found.phrases):
        yield label_of(phrase), float(found.scores[place]), found.mask(place)


def _drawn(session: ImageSession, drawn: Sequence[Region], config: LabelConfig, control: Control) -> Iterator[Found]:
    """The objects that key points, a rectangle or a phrase ask for."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    boxes: list[list[float]] = []
    label = ""
    written = bounded_phrases(distinct([_written(each) for each in drawn]))
    yield from _find(session, written, lambda phrase: config.label_of(phrase, control), control)
    for region in drawn:
        kind, value = str(region.get("type", "")), region.get("value")
        if not isinstance(value, Mapping):
            continue
        if kind.startswith(("keypoint", "rectangle")):
            label = _first_label(value, kind) or label or "object"
            x, y = _pixels(value, session.size, "x", "y")
            if kind.startswith("keypoint"):
                points.append((x, y))
                labels.append(int(value.get("positive", region.get("is_positive", True)) is not False))
            else:
                width, height = _pixels(value, session.size, "width", "height")
                boxes.append([x, y, min(x + width, session.size[1]), min(y + height, session.size[0])])
    if points or boxes:
        result = session.click(points, labels, box=boxes[-1] if boxes else None)
        yield label, float(result.iou_scores[0]), result.mask(0)


def _written(region: Region) -> str:
    """What was written last into a text area; nothing of other regions."""
    value = region.get("value")
    if not str(region.get("type", "")).startswith("textarea") or not isinstance(value, Mapping):
        return ""
    text = value.get("text")
    texts = [text] if isinstance(text, str) else text if isinstance(text, list) else []
    words = [each for each in texts if isinstance(each, str) and each.strip()]
    return words[-1] if words else ""


def _first_label(value: Mapping[str, Any], kind: str) -> str:
    """The label that a region was drawn with; nothing where it has none."""
    names = value.get(kind) or value.get("labels")
    return str(names[0]) if isinstance(names, list) and names else ""


def _pixels(value: Mapping[str, Any], size: tuple[int, int], across: str, down: str) -> tuple[float, float]:
    """Percent of the image as pixels. Raises: InputError for what is no number."""
    numbers = value.get(across), value.get(down)
    if not all(isinstance(each, (int, float)) for each in numbers):
        raise InputError(f"{across} and {down} are percent of the image, from 0 to 100")
    return float(numbers[0]) / 100 * size[1], float(numbers[1]) / 100 * size[0]  # type: ignore[arg-type]


def regions_of(label: str, score: float, mask: np.ndarray, control: Control, size: tuple[int, int]) -> list[Region]:
    """A mask as regions of a control; of polygons one for each part. None of an empty mask."""
    if not mask.any():
        return []
    kind = control.tag.lower()
    values: list[dict[str, Any]]
    if kind == "brushlabels":
        values = [{"format": "rle", "rle": pack_brush(mask)}]
    elif kind == "bitmasklabels":
        values = [{"imageDataURL": data_url(mask)}]
    elif kind == "polygonlabels":
        scale = np.array([size[1], size[0]]) / 100
        values = [{"points": (np.array(part) / scale).round(4).tolist(), "closed": True} for part in outlines(mask)]
    else:
        x0, y0, x1, y1 = box_of(mask)
        across, down = 100 / size[1], 100 / size[0]
        box = {"x": x0 * across, "y": y0 * down, "width": (x1 - x0) * across, "height": (y1 - y0) * down}
        values, kind = [box | {"rotation": 0}], "rectanglelabels"
    common = {
        "from_name": control.name,
        "to_name": control.to_name,
        "type": kind,
        "image_rotation": 0,
        "origin": "prediction",
    }
    common |= {"original_width": size[1], "original_height": size[0], "score": round(score, 4), "readonly": False}
    made = []
    for value in values:
        key = hashlib.sha256(repr(value).encode()).hexdigest()[:10]
        made.append({"id": key, **common, "value": value | {kind: [label]}})
    return made
