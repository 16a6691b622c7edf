"""Answers to several prompts about one image: each by itself, so that one that cannot be used spoils no other."""

import time
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from masklet.errors import InputError
from masklet.inference.concepts import Concept, read_concepts
from masklet.inference.image.image_result import ImageResult
from masklet.inference.image.image_session import ImageSession
from masklet.inference.model import Model
from masklet.query.answer import Answer
from masklet.query.english import read_question
from masklet.query.evaluate import ask, like_of, plain_phrases
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
    """Encodes the image once and answers every prompt; all phrases, examples and words of questions go in one pass."""
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
    """What was found for each prompt but clicks, by its index, or why nothing was."""
    found: dict[int, ImageResult | InputError] = {}
    groups: dict[int, list[Concept]] = {}
    for index, prompt in enumerate(prompts):
        try:
            groups[index] = _concepts_of(prompt, session)
        except InputError as error:
            found[index] = error
    groups = {index: group for index, group in groups.items() if group}
    if groups:
        # of a question's things also the unsure ones count: it weighs them itself
        least = [threshold / 2 if isinstance(prompts[index], QuestionPrompt) else threshold for index in groups]
        found |= dict(zip(groups, session.find_each(list(groups.values()), thresholds=least), strict=True))
    return found


def _concepts_of(prompt: Asked, session: ImageSession) -> list[Concept]:
    """What a prompt looks for; nothing for clicks. Raises: InputError when it cannot be used."""
    words: str | list[str] | None = None
    boxes = not_boxes = None
    if isinstance(prompt, ClickPrompt2D):
        return []
    if isinstance(prompt, QuestionPrompt):
        words = list(plain_phrases(read_question(prompt.text)[0].node))
        if not words:
            return []
    else:
        words = prompt.text if isinstance(prompt, PhrasePrompt) else None
        boxes, not_boxes = prompt.boxes or None, prompt.not_boxes or None
    return list(read_concepts(words, boxes, not_boxes, session.size, session.predictor.tokenizer))


def answer_question(
    session: ImageSession, text: str, threshold: float | int, found: ImageResult | None = None
) -> Answer:
    """The answer to a sentence about an image that is encoded; `found` is of its phrases, where they were asked before.

    Raises: InputError naming a word not understood.
    """
    node = read_question(text)[0].node

    def look(phrases: Sequence[str], least: float) -> ImageResult:
        return session.find(phrases, threshold=least) if found is None else found

    return ask(look, session.pixels, node, threshold=threshold, like=like_of(session))  # type: ignore[arg-type]


def _answer(
    session: ImageSession, index: int, prompt: Asked, found: ImageResult | InputError | None, body: SegmentBody
) -> PromptAnswer:
    try:
        if isinstance(prompt, ClickPrompt2D):
            instances = _clicked(session, prompt, body.format)
            return PromptAnswer(index=index, echo=prompt, found=bool(instances), instances=instances)
        explanation: list[str] = []
        if isinstance(found, InputError):
            raise found
        if isinstance(prompt, QuestionPrompt):
            result = answer_question(session, prompt.text, body.threshold, found)
            explanation = result.explain().splitlines()
        else:
            assert found is not None
            result = found
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
    mask = result.mask(0)
    if not mask.any():
        return []
    score = round(float(result.iou_scores[0]), 5)
    view = mask_view(mask, form)
    return [InstanceView(id=1, phrase="", score=score, box=box_of(mask), area=int(mask.sum()), mask=view)]
