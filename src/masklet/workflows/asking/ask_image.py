"""Asks a compound question of images: one model, one answer an image, written like the results of `segment`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference.output.registry import ImageOutput, write_image_formats
from masklet.query.answer import Answer
from masklet.query.english import Reading, read_question
from masklet.query.nodes import Corners, Node, phrases, with_examples
from masklet.query.text import to_text
from masklet.workflows.model_choice import ModelChoice


@dataclass(frozen=True, kw_only=True)
class AskJob:
    """A question of images. `examples` are boxes xyxy in pixels, each with the phrase that it shows ("": the only one).

    `formats` are those of `masklet segment`; without a `folder` nothing is written. With `explain` how each answer came
    about is drawn as well."""

    images: tuple[Path, ...]
    question: str
    threshold: float = 0.5
    examples: tuple[tuple[str, Corners], ...] = ()
    model: ModelChoice
    formats: tuple[str, ...] = ("overlay",)
    folder: Path | None = None
    explain: bool = False


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
    examples = _by_phrase(job.examples, readings[0].node)
    model = job.model.load()
    for path in job.images:
        answer = model.ask(path, with_examples(readings[0].node, examples), threshold=job.threshold)
        files: list[Path] = []
        if job.folder is not None:
            output = ImageOutput(folder=job.folder, stem=path.stem)
            files = write_image_formats(answer, job.formats, output)
            if job.explain:
                files.append(_write_explanation(answer, output.file("explained.png")))
        texts = tuple(to_text(reading.node) for reading in readings)
        yield Asked(path=path, answer=answer, readings=texts, files=tuple(files))


def _write_explanation(answer: Answer, path: Path) -> Path:
    from masklet.inference.output.explained import draw_explanation

    path.parent.mkdir(parents=True, exist_ok=True)
    return write_atomically(path, lambda file: draw_explanation(answer).save(file, "PNG"))


def _by_phrase(examples: Sequence[tuple[str, Corners]], node: Node) -> dict[str, list[Corners]]:
    names = phrases(node)
    first, *others = names
    found: dict[str, list[Corners]] = {}
    for phrase, box in examples:
        if phrase and phrase not in names:
            raise InputError(f"the question has no concept {phrase!r}: it has {', '.join(names)}")
        if not phrase and others:
            raise InputError(f"the question has several concepts: say which one a box shows, as in '{first}=0,0,9,9'")
        found.setdefault(phrase or first, []).append(box)
    return found
