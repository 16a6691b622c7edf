"""Requests shaped as those of Roboflow's inference server: `/sam3/concept_segment`."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from masklet.errors import InputError
from masklet.inference.image.image_session import ImageSession
from masklet.ops.masks import rle_encode
from masklet.serve.bridges.lenient import Lenient
from masklet.serve.bridges.shapes import outlines
from masklet.serve.fetch import fetch
from masklet.serve.schemas import Number, Share
from masklet.serve.state import Server, ServerState
from masklet.serve.uploads import from_base64

router = APIRouter(prefix="/sam3", tags=["roboflow"])


class RoboflowImage(Lenient):
    """An image in base64, or the address of one on a host that the operator has allowed."""

    type: Literal["base64", "url"] = "base64"
    value: str


class RoboflowBox(Lenient):
    """A corner with width and height, or two corners."""

    x: Number | None = None
    y: Number | None = None
    width: Number | None = None
    height: Number | None = None
    x0: Number | None = None
    y0: Number | None = None
    x1: Number | None = None
    y1: Number | None = None

    def corners(self) -> list[float]:
        """x0, y0, x1, y1. Raises: InputError when it is neither."""
        x0, y0 = (self.x, self.y) if self.x0 is None else (self.x0, self.y0)
        if x0 is None or y0 is None:
            raise InputError("a box is x, y, width, height or x0, y0, x1, y1")
        x1 = self.x1 if self.x1 is not None else x0 + (self.width or 0)
        y1 = self.y1 if self.y1 is not None else y0 + (self.height or 0)
        return [x0, y0, x1, y1]


class RoboflowPrompt(Lenient):
    """A phrase, example boxes, or both; a label 0 is "not like this"."""

    type: Literal["text", "visual"] = "text"
    text: Annotated[str, Field(max_length=300)] = ""
    boxes: Annotated[list[RoboflowBox], Field(max_length=100)] = Field(default_factory=list)
    box_labels: Annotated[list[int | bool], Field(max_length=100)] = Field(default_factory=list)
    output_prob_thresh: Share | None = None


class ConceptSegment(Lenient):
    """Several prompts about one image."""

    image: RoboflowImage
    format: Literal["polygon", "rle"] = "polygon"
    output_prob_thresh: Share = 0.5
    prompts: Annotated[list[RoboflowPrompt], Field(min_length=1, max_length=16)]


@router.post("/concept_segment")
def concept_segment(body: ConceptSegment, server: Server) -> dict[str, Any]:
    """Answers each prompt by itself; `error` stands where one cannot be used."""
    began = time.perf_counter()
    with server.encoded.session(_bytes(body.image, server)) as session:
        results = [_answer(session, index, prompt, body) for index, prompt in enumerate(body.prompts)]
    return {"prompt_results": results, "time": round(time.perf_counter() - began, 4)}


def _bytes(image: RoboflowImage, server: ServerState) -> bytes:
    return from_base64(image.value) if image.type == "base64" else fetch(image.value, server.settings)


def _answer(session: ImageSession, index: int, prompt: RoboflowPrompt, body: ConceptSegment) -> dict[str, Any]:
    echo = {"prompt_index": index, "type": prompt.type, "text": prompt.text or None, "num_boxes": len(prompt.boxes)}
    row: dict[str, Any] = {"prompt_index": index, "echo": echo, "predictions": []}
    try:
        boxes = [each.corners() for each in prompt.boxes]
        signs = [bool(each) for each in prompt.box_labels] or [True] * len(boxes)
        if len(signs) != len(boxes):
            raise InputError(f"{len(boxes)} boxes have {len(signs)} labels: each needs one, or none has any")
        like = [box for box, sign in zip(boxes, signs, strict=True) if sign]
        unlike = [box for box, sign in zip(boxes, signs, strict=True) if not sign]
        words = prompt.text.strip() or None
        threshold = body.output_prob_thresh if prompt.output_prob_thresh is None else prompt.output_prob_thresh
        found = session.find(words, boxes=like or None, not_boxes=unlike or None, threshold=threshold)
    except InputError as error:
        return row | {"error": str(error)}
    for place in range(len(found)):
        mask = found.mask(place)
        if mask.any():
            size = [mask.shape[0], mask.shape[1]]
            masks = outlines(mask) if body.format == "polygon" else {"size": size, "counts": rle_encode(mask)}
            confidence = round(float(found.scores[place]), 5)
            row["predictions"].append({"masks": masks, "confidence": confidence, "format": body.format})
    return row
