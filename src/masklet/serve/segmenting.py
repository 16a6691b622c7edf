"""Answers to several prompts about one image: each by itself, so that one that cannot be used spoils no other."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from masklet.errors import InputError
from masklet.inference.image.image_session import ImageSession
from masklet.inference.model import Model
from masklet.query.answer import Answer
from masklet.query.english import read_question
from masklet.query.evaluate import ask, like_of
from masklet.serve.encoding import box_of, instance_views, mask_view
from masklet.serve.schemas import (
    ClickPrompt2D,
    ExemplarPrompt,
    InstanceView,
    MaskForm,
    PhrasePrompt,
    PromptAnswer,
    QuestionPrompt,
    SegmentAnswer,
    SegmentBody,
)

Made = TypeVar("Made")
Asked = PhrasePrompt | ExemplarPrompt | ClickPrompt2D | QuestionPrompt


def segment_image(model: Model, pixels: np.ndarray, body: SegmentBody) -> SegmentAnswer:
    """Encodes the image once and answers every prompt."""
    began = time.perf_counter()
    with model.open(pixels) as session:
        answers = [
            _answer(session, index, prompt, body.threshold, body.format) for index, prompt in enumerate(body.prompts)
        ]
    height, width = pixels.shape[:2]
    seconds = round(time.perf_counter() - began, 4)
    return SegmentAnswer(width=width, height=height, model=model.identity, seconds=seconds, prompts=answers)


def answer_question(session: ImageSession, text: str, threshold: float | int) -> Answer:
    """The answer to a sentence about an image that is encoded. Raises: InputError naming a word not understood."""
    node = read_question(text)[0].node
    found: Callable[..., object] = lambda names, least: session.find(names, threshold=least)  # noqa: E731
    return ask(found, session.pixels, node, threshold=threshold, like=like_of(session))  # type: ignore[arg-type]


def _answer(session: ImageSession, index: int, prompt: Asked, threshold: float, form: MaskForm) -> PromptAnswer:
    try:
        if isinstance(prompt, ClickPrompt2D):
            instances = _clicked(session, prompt, form)
            return PromptAnswer(index=index, echo=prompt, found=bool(instances), instances=instances)
        explanation: list[str] = []
        if isinstance(prompt, QuestionPrompt):
            result = answer_question(session, prompt.text, threshold)
            explanation = result.explain().splitlines()
        else:
            words = prompt.text if isinstance(prompt, PhrasePrompt) else None
            boxes, others = prompt.boxes or None, prompt.not_boxes or None
            result = session.find(words, boxes=boxes, not_boxes=others, threshold=threshold)
        views = instance_views(result, form)
    except InputError as error:
        return PromptAnswer(index=index, echo=prompt, error=str(error))
    presence = {phrase: round(float(value), 5) for phrase, value in result.presence.items()}
    return PromptAnswer(
        index=index,
        echo=prompt,
        found=bool(views),
        presence=presence,
        instances=views,
        explanation=explanation,
    )


def _clicked(session: ImageSession, prompt: ClickPrompt2D, form: MaskForm) -> list[InstanceView]:
    result = session.click(prompt.points, prompt.labels, box=prompt.box)
    mask = result.masks[0]
    if not mask.any():
        return []
    score = round(float(result.iou_scores[0]), 5)
    view = mask_view(mask, form)
    return [InstanceView(id=1, phrase="", score=score, box=box_of(mask), area=int(mask.sum()), mask=view)]
