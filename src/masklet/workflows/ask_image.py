"""Asks a compound question of images: one model, one answer an image, written like the results of `segment`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from masklet.inference.output.registry import ImageOutput, write_image_formats
from masklet.query.answer import Answer
from masklet.query.english import Reading, read_question
from masklet.query.text import to_text
from masklet.workflows.model_choice import ModelChoice


@dataclass(frozen=True, kw_only=True)
class AskJob:
    """A question of images. `formats` are those of `masklet segment`; without a `folder` nothing is written."""

    images: tuple[Path, ...]
    question: str
    threshold: float = 0.5
    model: ModelChoice
    formats: tuple[str, ...] = ("overlay",)
    folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The answer for one image, how the question was read, and what was written."""

    path: Path
    answer: Answer
    readings: tuple[str, ...]
    files: tuple[Path, ...]


def ask_images(job: AskJob) -> Iterator[Asked]:
    """Answers image after image. Raises: InputError before a model is loaded when the question cannot be read."""
    readings: list[Reading] = read_question(job.question)
    model = job.model.load()
    for path in job.images:
        answer = model.ask(path, readings[0].node, threshold=job.threshold)
        files: list[Path] = []
        if job.folder is not None:
            files = write_image_formats(answer, job.formats, ImageOutput(folder=job.folder, stem=path.stem))
        texts = tuple(to_text(reading.node) for reading in readings)
        yield Asked(path=path, answer=answer, readings=texts, files=tuple(files))
