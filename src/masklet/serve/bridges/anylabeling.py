"""The server that X-AnyLabeling talks to, below `/anylabeling`. Errors come with status 200, as its client wants."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field

from masklet.errors import InputError
from masklet.inference.image.image_session import ImageSession
from masklet.serve.bridges.lenient import Lenient, written_phrases
from masklet.serve.bridges.shapes import outlines
from masklet.serve.encoding import box_of
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import Number, Share
from masklet.serve.state import Server
from masklet.serve.uploads import from_base64

router = APIRouter(prefix="/anylabeling", tags=["x-anylabeling"])
MODEL, VIDEO_MODEL = "masklet", "masklet-video"
WIDGETS = (
    *("edit_text", "button_send", "add_pos_rect", "add_neg_rect", "add_point", "button_run_rect", "button_clear"),
    *("button_finish_object", "input_conf", "edit_conf", "mask_fineness_slider"),
    "toggle_preserve_existing_annotations",
)

VIDEO_WIDGETS = ("button_add_point", "button_remove_point")


class AnyLabelingMark(Lenient):
    """A rectangle x1, y1, x2, y2 or a point x, y in pixels; label 1 is for, 0 against."""

    type: Literal["rectangle", "point"]
    label: Literal[0, 1] = 1
    data: Annotated[list[Number], Field(max_length=4)]


class AnyLabelingParams(Lenient):
    """What to find, and how masks come."""

    text_prompt: Annotated[str, Field(max_length=2000)] = ""
    marks: Annotated[list[AnyLabelingMark], Field(max_length=200)] = Field(default_factory=list)
    conf_threshold: Share = 0.5
    show_boxes: bool = False
    show_masks: bool = True
    epsilon_factor: Annotated[float, Field(ge=0, le=1)] = 0.001


class AnyLabelingPredict(Lenient):
    """One image and what is asked of it."""

    model: str = MODEL
    image: str
    params: AnyLabelingParams = AnyLabelingParams()


def described(key: str = MODEL) -> dict[str, Any]:
    """What the client builds its panel from."""
    is_video = key == VIDEO_MODEL
    return {
        "display_name": "masklet, videos" if is_video else "masklet",
        "widgets": [{"name": each, "value": None} for each in (*WIDGETS, *(VIDEO_WIDGETS if is_video else ()))],
        "params": {"conf_threshold": 0.5},
        "capabilities": {"text_prompt": True, "visual_prompt": True},
        "batch_processing_mode": "video" if is_video else "text_prompt",
    }


@router.get("/health")
async def health() -> dict[str, str]:
    """Whether the server is up."""
    return {"status": "healthy"}


@router.get("/v1/models")
async def models() -> dict[str, Any]:
    """The one model, for images and for videos."""
    return {"success": True, "data": {key: described(key) for key in (MODEL, VIDEO_MODEL)}}


@router.get("/v1/models/{key}/info")
async def info(key: str) -> dict[str, Any]:
    """One model."""
    if key not in (MODEL, VIDEO_MODEL):
        return failed("MODEL_NOT_FOUND", f"no model {key[:80]}")
    return {"success": True, "data": described(key)}


@router.post("/v1/predict")
def predict(body: AnyLabelingPredict, server: Server) -> dict[str, Any]:
    """Shapes; what the user has already is kept."""

    def answer() -> dict[str, Any]:
        with server.encoded.session(from_base64(body.image)) as session:
            return {"shapes": shapes_of(session, body.params), "description": "", "replace": False}

    return guarded(answer)


def shapes_of(session: ImageSession, params: AnyLabelingParams) -> list[dict[str, Any]]:
    """Instances of phrases, of examples, or the one object at points. Raises: InputError."""
    phrases = written_phrases(params.text_prompt)
    points = [each for each in params.marks if each.type == "point"]
    boxes = [each.data for each in params.marks if each.type == "rectangle" and each.label]
    others = [each.data for each in params.marks if each.type == "rectangle" and not each.label]
    if points:
        clicked = session.click(
            [each.data for each in points], [each.label for each in points], box=(boxes or [None])[0]
        )
        rows: Sequence[tuple[str, float, np.ndarray]] = [("object", float(clicked.iou_scores[0]), clicked.mask(0))]
    else:
        found = session.find(
            phrases or None, boxes=boxes or None, not_boxes=others or None, threshold=params.conf_threshold
        )
        names = [each if phrases else "object" for each in found.phrases]
        rows = [(names[place], float(found.scores[place]), found.mask(place)) for place in range(len(found))]
    return [shape for label, score, mask in rows for shape in shapes_of_mask(label, score, mask, params)]


def shapes_of_mask(label: str, score: float | int, mask: np.ndarray, params: AnyLabelingParams) -> list[dict[str, Any]]:
    """A mask as polygons, a rectangle, or both."""
    if not mask.any():
        return []
    made = []
    if params.show_masks:
        tolerance = max(0.5, params.epsilon_factor * max(mask.shape))
        made += [_shape(label, score, "polygon", [*part, part[0]]) for part in outlines(mask, tolerance)]
    if params.show_boxes or not params.show_masks:
        x0, y0, x1, y1 = box_of(mask)
        made.append(_shape(label, score, "rectangle", [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    return made


def _shape(label: str, score: float, kind: str, points: list[list[float]]) -> dict[str, Any]:
    fields = {"label": label, "shape_type": kind, "points": points, "score": round(score, 4), "attributes": {}}
    return fields | {
        "description": None,
        "difficult": False,
        "direction": 0,
        "flags": None,
        "group_id": None,
        "kie_linking": [],
    }


def guarded(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An answer as the client wants it, also where something is wrong. Raises: HttpProblem (499, 503)."""
    try:
        return {"success": True, "data": work()}
    except InputError as error:
        return failed("INVALID_REQUEST", str(error))
    except HttpProblem as error:
        if error.ends_request:
            raise
        return failed("INVALID_REQUEST", error.message)


def failed(code: str, message: str) -> dict[str, Any]:
    """The answer where something is wrong."""
    return {"success": False, "error": {"code": code, "message": message, "details": None}}
