"""The verifier of a project: features from the model's own maps, trained from what people said in the project."""

import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from jaxtyping import Float
from PIL import Image
from pydantic import Field, TypeAdapter, ValidationError

from masklet.cached import cached
from masklet.engine.records import MaskRow
from masklet.engine.verify.bands import Bands
from masklet.engine.verify.by_score import ByScore, fit_by_score
from masklet.engine.verify.choices import ExhaustivityItem, MaskItem, Verifier
from masklet.engine.verify.head import load_verifier, save_heads
from masklet.engine.verify.lessons import lessons_of
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.ops.masks import rle_decode
from masklet.protocols import Pixels
from masklet.workflows.engine.folder import open_project, read_settings
from masklet.workflows.model_choice import ModelChoice

if TYPE_CHECKING:
    from masklet import Model

VERIFIER, BANDS = "verifier.npz", "bands.json"
_NUMBERS = TypeAdapter(Annotated[list[Annotated[float, Field(ge=0, le=1)] | None], Field(min_length=4, max_length=4)])
IMAGES_KEPT = 2
DIRECTIONS = 12


@dataclass(eq=False)
class ModelFeatures:
    """Means of the model's fine-grained map over a mask, around it and over the image, with scores, sizes and words.

    Of the words it is the mean of their tokens, on a few directions drawn once: with the few answers of a project, more
    would be learnt by heart.
    """

    choice: ModelChoice
    _words: dict[str, np.ndarray] = field(default_factory=dict)
    _maps: "OrderedDict[int, tuple[Pixels, np.ndarray]]" = field(default_factory=OrderedDict)

    @cached
    def model(self) -> "Model":
        """Loaded when the first question comes."""
        return self.choice.load()

    @cached
    def identity(self) -> str:
        """That of the model."""
        return f"mask means 2 {self.model.identity}"

    def of_mask(self, item: MaskItem) -> Float[np.ndarray, " feature"]:
        """Of one mask."""
        maps = self._map(item.read())
        inside = _shares([item.mask], maps.shape[1:])
        around = np.clip(_grown(inside) - inside, 0, 1)
        figures = _figures([item.mask], item.presence)
        return np.concatenate([_mean(maps, inside), _mean(maps, around), self._of_words(item.phrase), figures])

    def of_whole(self, item: ExhaustivityItem) -> Float[np.ndarray, " feature"]:
        """Of all accepted masks, and what was rejected."""
        maps = self._map(item.read())
        inside = _shares(item.masks, maps.shape[1:])
        rejected = max((mask.score for mask in item.rejected), default=0.0)
        figures = [*_figures(item.masks, item.presence), len(item.masks), len(item.rejected), rejected]
        return np.concatenate([_mean(maps, inside), _mean(maps, 1 - inside), self._of_words(item.phrase), figures])

    def _of_words(self, phrase: str) -> Float[np.ndarray, " direction"]:
        if phrase not in self._words:
            import torch

            from masklet.inference.concepts import Concept

            with torch.inference_mode():
                words, _ = self.model.prompts([Concept(phrase=phrase)], (1, 1))
            tokens = words.tokens[0][words.valid[0]].float().mean(0).cpu().numpy()
            directions = np.random.default_rng(0).normal(size=(len(tokens), DIRECTIONS)) / np.sqrt(len(tokens))
            self._words[phrase] = tokens @ directions
        return self._words[phrase]

    def _map(self, image: Pixels) -> Float[np.ndarray, "dim rows columns"]:
        key = id(image)
        if key not in self._maps or self._maps[key][0] is not image:
            self._maps[key] = image, self.model.neck_maps(image).medium[0].float().cpu().numpy()
            while len(self._maps) > IMAGES_KEPT:
                self._maps.popitem(last=False)
        return self._maps[key][1]


def _shares(masks: Sequence[MaskRow], size: tuple[int, ...]) -> Float[np.ndarray, "height width"]:
    """How much of each place of a map lies on the masks."""
    found = np.zeros(size)
    for mask in masks:
        pixels = Image.fromarray(rle_decode(mask.counts, *mask.size).astype(np.uint8) * 255)
        found = np.maximum(found, np.asarray(pixels.resize((size[1], size[0]), Image.Resampling.BOX)) / 255)
    return found


def _grown(shares: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    padded = np.pad(shares, 2)
    height, width = shares.shape
    shifted = [padded[row : row + height, column : column + width] for row in range(5) for column in range(5)]
    return np.max(shifted, axis=0)


def _mean(maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (maps * weights).sum(axis=(1, 2)) / (weights.sum() + 1e-6)


def _figures(masks: Sequence[MaskRow], presence: float) -> list[float]:
    areas = [
        (mask.box[2] - mask.box[0]) * (mask.box[3] - mask.box[1]) / (mask.size[0] * mask.size[1]) for mask in masks
    ]
    scores = [mask.score for mask in masks] or [0.0]
    return [presence, min(scores), max(scores), float(np.log(max(areas, default=0.0) + 1e-6))]


def train_project_verifier(folder: Path, *, most_false: float, device: str = "auto") -> list[str]:
    """Trains from all answers of people, and keeps it in the project; what came of it, in sentences.

    Raises: InputError when there are too few answers for either question.
    """
    project, settings = open_project(folder), read_settings(folder)
    maker = ModelFeatures(ModelChoice(name=settings.model, device=device))
    heads, told, refused = {}, [], []
    for task, lessons in lessons_of(project, maker).items():
        try:
            heads[task] = lessons.fit(most_false)
        except InputError as error:
            refused.append(f"{task}: {error}")
            continue
        for name, calibration in {"": heads[task].overall, **heads[task].fields}.items():
            accept, reject = calibration.bands.tolist()
            which = f"{lessons.fields.count(name)} of {name}" if name else f"{len(lessons.truths)} answers"
            told.append(f"{task}: {which}; yes from {accept:.2f}, no up to {reject:.2f}, people between")
    try:
        by_score = fit_by_score(project, most_false)
    except InputError as error:
        refused.append(f"bands of scores: {error}")
    else:
        numbers = [by_score.masks.accept, by_score.masks.reject, by_score.present.accept, by_score.present.reject]
        write_atomically(folder / BANDS, json.dumps([value if math.isfinite(value) else None for value in numbers]))
        told.append(f"bands of scores: masks {_told(by_score.masks)}; presence {_told(by_score.present)}")
    if heads:
        save_heads(folder / VERIFIER, heads, maker.identity)
    elif not told:
        raise InputError("; ".join(refused))
    return [*told, *refused]


def _told(bands: Bands) -> str:
    yes = f"yes from {bands.accept:.2f}" if math.isfinite(bands.accept) else "yes by people alone"
    no = f"no up to {bands.reject:.2f}" if math.isfinite(bands.reject) else "no by people alone"
    return f"{yes}, {no}"


def project_verifier(folder: Path, model: str) -> Verifier | None:
    """The verifier of a project, if it was trained. Raises: InputError when its file cannot be used."""
    path = folder / VERIFIER
    if not path.is_file():
        return _bands_of(folder / BANDS)
    return load_verifier(path, lambda: ModelFeatures(ModelChoice(name=model)))


def _bands_of(path: Path) -> ByScore | None:
    """The verifier by score with a project's own bands, if there are any. Raises: InputError when they are damaged."""
    if not path.is_file():
        return None
    try:
        values = _NUMBERS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} cannot be used: train anew with `masklet engine train-verifier`") from error
    ends = [end if value is None else value for value, end in zip(values, (math.inf, -math.inf) * 2, strict=True)]
    return ByScore(masks=Bands(accept=ends[0], reject=ends[1]), present=Bands(accept=ends[2], reject=ends[3]))
