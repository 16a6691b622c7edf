"""What a question gives: the instances that answer it, drawn and exported like any result, and how they were found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64
from PIL import Image

from masklet.cached import cached
from masklet.protocols import Pixels, absence
from masklet.query.nodes import Named, Node, phrases
from masklet.query.relations import Extent


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """An instance of a concept on its way through a question; `number` is its place among all that were found."""

    number: int
    concept: Named
    score: float
    box: Float32[np.ndarray, "4"]
    mask: Bool[np.ndarray, "height width"]
    shape: Extent

    @property
    def phrase(self) -> str:
        """The phrase of its concept."""
        return self.concept.phrase


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node of the question: what it kept and what it left out, each with its probability and why."""

    question: str
    kept: Mapping[int, float]
    left_out: Mapping[int, str]
    is_guess: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The instances that answer a question, best first; `looked_for` has the presence of each of its concepts.

    It can be drawn and exported like the result of phrases; its queries are the concepts of the question.
    """

    question: Node
    image: Pixels
    instances: tuple[Candidate, ...]
    found: tuple[Candidate, ...]
    looked_for: Mapping[str, float]
    steps: tuple[Step, ...] = ()
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.instances)

    @property
    def queries(self) -> tuple[str, ...]:
        """The concepts of the question."""
        return phrases(self.question)

    @property
    def presence(self) -> Mapping[str, float]:
        """The probability of each concept to be in the image at all."""
        return self.looked_for

    @property
    def phrases(self) -> tuple[str, ...]:
        """The concept of each instance."""
        return tuple(each.phrase for each in self.instances)

    @cached
    def scores(self) -> Float32[np.ndarray, " detection"]:
        """The probability that each instance answers the question."""
        return np.array([each.score for each in self.instances], np.float32)

    @cached
    def boxes(self) -> Float32[np.ndarray, "detection 4"]:
        """Boxes xyxy in pixels."""
        return np.array([each.box for each in self.instances], np.float32).reshape(-1, 4)

    @property
    def ids(self) -> Int64[np.ndarray, " detection"]:
        """1, 2, ... in the order of the instances."""
        return np.arange(1, len(self) + 1)

    @cached
    def masks(self) -> Bool[np.ndarray, "detection height width"]:
        """All masks at the size of the image."""
        shape = (0, *self.image.shape[:2])
        return np.stack([each.mask for each in self.instances]) if self.instances else np.zeros(shape, bool)

    @cached
    def areas(self) -> Int64[np.ndarray, " detection"]:
        """Pixels of each mask."""
        return self.masks.sum(axis=(1, 2))

    @property
    def small_areas(self) -> Int64[np.ndarray, " detection"]:
        """The same: masks of an answer are pixels already."""
        return self.areas

    def mask(
        self,
        index: int,
        size: tuple[int, int] | None = None,
        *,
        cut: float = 0.5,  # noqa: ARG002 - bools have one
    ) -> Bool[np.ndarray, "height width"]:
        """One mask, at the size of the image or at `size` (height, width)."""
        mask = self.instances[index].mask
        if size is None or size == mask.shape:
            return mask
        small = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST)
        return np.asarray(small, bool)

    def counts(self) -> dict[str, int]:
        """How many instances of each concept answer the question."""
        return {phrase: self.phrases.count(phrase) for phrase in self.queries}

    def absence(self, phrase: str) -> str:
        """Why no instance of a concept answers: it was found and only helps, or was not found."""
        found = sum(each.phrase == phrase for each in self.found)
        return f"{found} found, none answers" if found else absence(self.looked_for[phrase])

    def explain(self) -> str:
        """What was looked for, found, left out and why, a line each."""
        looked = ", ".join(f"{phrase} ({value:.2f})" for phrase, value in self.looked_for.items())
        names = {each.number: f"{each.phrase} {each.number + 1}" for each in self.found}
        return told(f"looked for: {looked}", self.steps, names)


def told(first: str, steps: Sequence[Step], names: Mapping[int, str]) -> str:
    """An explanation: its first line, then each step with what it kept and left out."""
    lines = [first]
    for step in steps:
        kept = ", ".join(f"{names[number]} {score:.2f}" for number, score in step.kept.items()) or "nothing"
        guess = " (a guess from one image)" if step.is_guess else ""
        lines.append(f"{step.question}{guess}: {kept}")
        lines += [f"  without {names[number]}: {why}" for number, why in step.left_out.items()]
    return "\n".join(lines)
