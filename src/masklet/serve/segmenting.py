"""Answers to several prompts about one image: each by itself, so that one that cannot be used spoils no other."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from masklet.errors import InputError
from masklet.inference.concepts import Concept, read_concepts
from masklet.inference.image.image_result import ImageResult
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
    """Encodes the image once and answers every prompt; all phrases and examples are asked in one pass."""
    began = time.perf_counter()
    with model.open(pixels) as session:
        found = _find_all(session, body.prompts, body.threshold)
        answers = [_answer(session, index, prompt, found.get(index), body) for index, prompt in enumerate(body.prompts)]
    height, width = pixels.shape[:2]
    seconds = round(time.perf_counter() - began, 4)
    return SegmentAnswer(width=width, height=height, model=model.identity, seconds=seconds, prompts=answers)


def _find_all(
    session: ImageSession, prompts: Sequence[Asked], threshold: float | int
) -> dict[int, ImageResult | InputError]:
    """Results of the phrases and examples by the index of their prompt, or why there is none."""
    found: dict[int, ImageResult | InputError] = {}
    concepts: dict[int, Concept] = {}
    for index, prompt in enumerate(prompts):
        if isinstance(prompt, PhrasePrompt | ExemplarPrompt):
            words = prompt.text if isinstance(prompt, PhrasePrompt) else None
            given = words, prompt.boxes or None, prompt.not_boxes or None
            try:
                [concepts[index]] = read_concepts(*given, session.size, session.predictor.tokenizer)
            except InputError as error:
                found[index] = error
    if concepts:
        results = session.find_each(list(concepts.values()), threshold=threshold)
        found |= dict(zip(concepts, results, strict=True))
    return found


def answer_question(session: ImageSession, text: str, threshold: float | int) -> Answer:
    """The answer to a sentence about an image that is encoded. Raises: InputError naming a word not understood."""
    node = read_question(text)[0].node
    found: Callable[..., object] = lambda names, least: session.find(names, threshold=least)  # noqa: E731
    return ask(found, session.pixels, node, threshold=threshold, like=like_of(session))  # type: ignore[arg-type]


def _answer(
    session: ImageSession, index: int, prompt: Asked, found: ImageResult | InputError | None, body: SegmentBody
) -> PromptAnswer:
    try:
        if isinstance(prompt, ClickPrompt2D):
            instances = _clicked(session, prompt, body.format)
            return PromptAnswer(index=index, echo=prompt, found=bool(instances), instances=instances)
        explanation: list[str] = []
        if isinstance(prompt, QuestionPrompt):
            result = answer_question(session, prompt.text, body.threshold)
            explanation = result.explain().splitlines()
        elif isinstance(found, ImageResult):
            result = found
        else:
            raise found or InputError("the prompt cannot be used")
        views = instance_views(result, body.format)
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
