"""The three routes by which CVAT uses serverless functions: their list, one of them, and a call."""

import json
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header
from pydantic import Field

from masklet.inference.image.image_session import ImageSession
from masklet.serve.bridges.lenient import Lenient
from masklet.serve.bridges.shapes import cvat_bitmap, largest_outline
from masklet.serve.problems import not_found
from masklet.serve.schemas import Number, Share
from masklet.serve.state import Server, ServerState
from masklet.serve.uploads import from_base64

router = APIRouter(prefix="/api", tags=["cvat"])
DETECTOR, INTERACTOR = "masklet-detector", "masklet-interactor"
Pairs = Annotated[list[list[Number]], Field(max_length=200)]


class CvatCall(Lenient):
    """What CVAT sends to a detector or an interactor; the image is base64."""

    image: str
    threshold: Share | None = None
    pos_points: Pairs = Field(default_factory=list)
    neg_points: Pairs = Field(default_factory=list)
    obj_bbox: Pairs | None = None


@router.get("/functions")
async def functions(server: Server) -> dict[str, Any]:
    """All functions by id."""
    return {key: _described(key, server) for key in _keys(server)}


@router.get("/functions/{key}")
async def function(key: str, server: Server) -> dict[str, Any]:
    """One function."""
    if key not in _keys(server):
        raise not_found("function")
    return _described(key, server)


@router.post("/function_invocations")
def invoke(body: CvatCall, server: Server, x_nuclio_function_name: Annotated[str, Header()] = "") -> Any:
    """Calls the function that the header names."""
    if x_nuclio_function_name not in _keys(server):
        raise not_found("function")
    with server.encoded.session(from_base64(body.image)) as session:
        if x_nuclio_function_name == INTERACTOR:
            return {"mask": _interact(session, body).astype(int).tolist()}
        return _detect(session, list(server.settings.labels), 0.5 if body.threshold is None else body.threshold)


def _keys(server: ServerState) -> list[str]:
    """A detector needs to know what it detects, so it is there when labels were given."""
    return [DETECTOR, INTERACTOR] if server.settings.labels else [INTERACTOR]


def _described(key: str, server: ServerState) -> dict[str, Any]:
    is_detector = key == DETECTOR
    labels = server.settings.labels if is_detector else ()
    spec = [{"id": number, "name": label, "type": "mask", "attributes": []} for number, label in enumerate(labels)]
    annotations = {
        "name": "masklet: every instance of the labels" if is_detector else "masklet: clicks and boxes",
        "type": "detector" if is_detector else "interactor",
        "spec": json.dumps(spec),
        "version": "1",
        "framework": "pytorch",
        "help_message": "Masks of every instance of each label" if is_detector else "Click on an object, or draw a box",
    }
    if not is_detector:
        annotations |= {"min_pos_points": "1", "min_neg_points": "0", "startswith_box_optional": "true"}
    return {
        "metadata": {"name": key, "namespace": "nuclio", "annotations": annotations},
        "spec": {"description": annotations["help_message"]},
        "status": {"state": "ready", "httpPort": server.settings.port},
    }


def _interact(session: ImageSession, body: CvatCall) -> np.ndarray:
    points = [*body.pos_points, *body.neg_points]
    labels = [1] * len(body.pos_points) + [0] * len(body.neg_points)
    box = [value for point in body.obj_bbox for value in point] if body.obj_bbox else None
    return session.click(points, labels, box=box).mask(0)


def _detect(session: ImageSession, labels: list[str], threshold: float) -> list[dict[str, Any]]:
    found, rows = session.find(labels, threshold=threshold), []
    for place, phrase in enumerate(found.phrases):
        mask = found.mask(place)
        outline = [value for point in largest_outline(mask) for value in point]
        if len(outline) >= 6:
            row = {"label": phrase, "confidence": f"{float(found.scores[place]):.4f}", "type": "mask", "attributes": []}
            rows.append(row | {"points": outline, "mask": cvat_bitmap(mask)})
    return rows
