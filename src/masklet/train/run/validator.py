"""When a run is validated, on which images, the results, and which weights were best.

Each validation is a line of `validation.jsonl`. Lines are kept: a run that is resumed from an earlier checkpoint does
not repeat them.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from masklet.checkpoints.weights import Weights
from masklet.data.sources import ExampleSource, IndexedSource
from masklet.errors import InputError
from masklet.train.recipes.schema import Recipe
from masklet.train.recipes.source_specs import DavisSpec, FileSpec, open_images
from masklet.train.run.exporter import Exporter
from masklet.train.run.observers import Validated, append_line

FILE = "validation.jsonl"
MOST_VALIDATIONS = 20  # of a run, unless the recipe says how often
LEARNT_FOR_EACH = 2  # training images for each validation image, which costs a third of one: a sixth of the time


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Metrics of some weights on the validation images, as fractions; None where no image gives a value.

    `metrics` holds cgF1, IL_MCC and pmF1 among others. `phrases` has a row for each phrase, with `positives` and
    `negatives`, the numbers of images that show it and do not. `images` are the files of the drawn predictions.
    """

    metrics: Mapping[str, float | None]
    phrases: tuple[Mapping[str, Any], ...]
    images: tuple[Path, ...] = ()


@runtime_checkable
class Validate(Protocol):
    """Evaluates weights, as they would be loaded, on the phrases of the same labelled images each time."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def __call__(self, weights: Weights, step: int) -> Figures:
        """The metrics of the weights after `step` updates."""
        ...


def validation_images(recipe: Recipe) -> tuple[IndexedSource, list[int]] | None:
    """The source that a recipe is validated on, and the indices of its images; None where there is none.

    Without a source in the recipe it is what the first source of files that is learnt from holds out, if anything. Each
    phrase is asked by one name, without synonyms.

    Raises: InputError when the source that the recipe names cannot be opened.
    """
    if recipe.validation is None:
        return None
    spec, root = recipe.validation.source or _first_files(recipe), Path(recipe.data.root)
    if spec is None:
        return None
    if "synonym_probability" in type(spec).model_fields:
        spec = spec.model_copy(update={"synonym_probability": 0.0})
    try:
        source = open_images(spec, root)
    except InputError:
        if recipe.validation.source is not None:
            raise
        return None  # too few images to hold any out
    count = min(len(source), recipe.validation.pictures)
    return source, [index * len(source) // count for index in range(count)]


def _first_files(recipe: Recipe) -> FileSpec | None:
    for name in (name for phase in recipe.phases for name in phase.drawn):
        spec = recipe.data.sources[name]
        if isinstance(spec, FileSpec) and not isinstance(spec, DavisSpec):
            return spec.model_copy(update={"split": "heldout", "limit": None}) if spec.split == "train" else None
    return None


def updates_of_epoch(recipe: Recipe, sources: Sequence[ExampleSource]) -> float | None:
    """Updates in which as many images are learnt from as the files hold; None where all images are generated."""
    images = sum(len(source) for source in sources if isinstance(source, IndexedSource))
    return images / recipe.images_per_update if images else None


def read_validations(out: Path) -> list[dict[str, Any]]:
    """The lines of `validation.jsonl`, in their order; none where there is no file.

    Raises: InputError when it is damaged.
    """
    path = out / FILE
    if not path.is_file():
        return []
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines:
            _merit(line)
            int(line["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a list of validations: {error}") from error
    return lines


def best_validation(lines: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The best of those after the first update: by cgF1, then by pmF1, then the earlier, which forgot less."""
    return max((line for line in lines if line["step"] > 0), key=_merit, default=None)


def _merit(line: Mapping[str, Any]) -> tuple[float, float]:
    return float(line["metrics"]["cgF1"]), float(line["metrics"]["pmF1"])


class Validator:
    """Validates when it is due, appends the line, and writes the weights for use when they are the best so far."""

    def __init__(self, validate: Validate, exporter: Exporter, recipe: Recipe, epoch: float | None) -> None:
        """`epoch` is the number of updates in one (see `updates_of_epoch`)."""
        assert recipe.validation is not None, "a recipe without validation is not validated"
        self.validate, self.exporter, self.recipe, self.epoch = validate, exporter, recipe, epoch
        self.lines = read_validations(exporter.out)
        total, bound = recipe.total_steps, LEARNT_FOR_EACH * len(validate) / recipe.images_per_update
        interval = max(epoch or 0, bound, total / MOST_VALIDATIONS)
        # Evenly spaced, the last one at the end
        self.every = recipe.validation.every or math.ceil(total / max(1, round(total / interval)))

    @property
    def is_best_known(self) -> bool:
        """Whether the file for use was written, with the best weights of this run so far."""
        return best_validation(self.lines) is not None

    def is_due(self, step: int) -> bool:
        """Every `every` updates, after the last one, and before the first one where there is a base to compare with."""
        if any(line["step"] == step for line in self.lines):
            return False
        if step == 0:
            return self.recipe.initial_weights is not None
        return step % self.every == 0 or step == self.recipe.total_steps

    def __call__(self, step: int, learnt: Mapping[str, Tensor]) -> Validated:
        """Validates the weights after `step` updates; before the first one, those of the base."""
        began = time.monotonic()
        figures = self.validate(self.exporter.weights(learnt) if step else self.exporter.base, step)
        line = {
            "step": step,
            "epoch": None if self.epoch is None else round(step / self.epoch, 2),
            "seconds": round(time.monotonic() - began, 2),
            "metrics": dict(figures.metrics),
            "phrases": [dict(row) for row in figures.phrases],
        }
        is_best = best_validation([*self.lines, line]) is line
        line["best"] = is_best
        if is_best:  # before the line, which would otherwise name weights that are not written yet
            self.exporter.write(learnt, self.exporter.best)
        append_line(self.exporter.out / FILE, line)
        self.lines.append(line)
        return Validated(line=line, images=figures.images)
