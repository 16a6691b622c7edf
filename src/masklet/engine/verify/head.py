"""The lite head: a small network that says how likely an answer is yes, calibrated, with bands that keep a bound.

It is trained in seconds from what people said in a project; it looks at features that somebody else makes of a mask or
of a whole pair. Everything of it is in one file of numbers, without code.

Source: Zadrozny and Elkan (2002), isotonic regression for calibration.
"""

import io
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import nn

from masklet.engine.digests import digest_of_bytes
from masklet.engine.ontology.concepts import shipped
from masklet.engine.records import Author
from masklet.engine.verify.bands import MOST_FALSE, Bands, fit_bands
from masklet.engine.verify.choices import UNSURE, Choice, ExhaustivityItem, MaskItem
from masklet.engine.verify.watch import field_of
from masklet.errors import InputError
from masklet.files import write_atomically

HIDDEN, STEPS, RATE, DECAY = 64, 400, 3e-3, 1e-2
FOLDS = 4  # of the pairs; each is judged by a head that was trained on the others
LEAST_EXAMPLES = 40
LEAST_OF_FIELD, LEAST_OF_KIND = 60, 10  # answers of a field, and of each kind among them, that calibrate it by itself
MOST_BYTES = 2**27
WEIGHTS = ("mean", "spread", "first", "first_bias", "second", "second_bias")
CURVE = ("curve_x", "curve_y", "bands")
Item = TypeVar("Item", MaskItem, ExhaustivityItem)


@runtime_checkable
class FeatureMaker(Protocol):
    """Turns questions into numbers; the same question gives the same numbers."""

    @property
    def identity(self) -> str:
        """Changes whenever numbers would."""
        ...

    def of_mask(self, item: MaskItem) -> Float[np.ndarray, " feature"]:
        """Of one mask."""
        ...

    def of_whole(self, item: ExhaustivityItem) -> Float[np.ndarray, " feature"]:
        """Of all accepted masks of a pair."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadCalibration:
    """The isotonic curve from scores to probabilities, and the bands of those: accept, reject."""

    curve_x: Float[np.ndarray, " knot"]
    curve_y: Float[np.ndarray, " knot"]
    bands: Float[np.ndarray, " two"]

    def probabilities(self, scores: Float[np.ndarray, " item"]) -> Float[np.ndarray, " item"]:
        """Of yes."""
        return np.interp(scores, self.curve_x, self.curve_y)

    def side(self, probability: float) -> bool | None:
        """Whether it is taken as yes or as no; None for people."""
        return Bands(accept=float(self.bands[0]), reject=float(self.bands[1])).side(probability)


UNTRIED = HeadCalibration(
    curve_x=np.array([0.0, 1.0]), curve_y=np.array([0.0, 1.0]), bands=np.array([math.inf, -math.inf])
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LiteHead:
    """Weights of two layers, and their calibrations: one for all, and one for each field with enough answers."""

    mean: Float[np.ndarray, " feature"]
    spread: Float[np.ndarray, " feature"]
    first: Float[np.ndarray, "hidden feature"]
    first_bias: Float[np.ndarray, " hidden"]
    second: Float[np.ndarray, " hidden"]
    second_bias: Float[np.ndarray, " one"]
    overall: HeadCalibration = UNTRIED
    fields: Mapping[str, HeadCalibration] = field(default_factory=dict)

    def calibration(self, name: str) -> HeadCalibration:
        """That of a field, or of all."""
        return self.fields.get(name, self.overall)

    def probabilities(self, features: Float[np.ndarray, "item feature"]) -> Float[np.ndarray, " item"]:
        """Probability of yes, calibrated over all fields."""
        return self.overall.probabilities(self.scores(features))

    def scores(self, features: Float[np.ndarray, "item feature"]) -> Float[np.ndarray, " item"]:
        """Scores before calibration. Raises: InputError when the features are of another maker."""
        if features.shape[1] != len(self.mean):
            raise InputError(f"the verifier reads {len(self.mean)} features, got {features.shape[1]}: train it anew")
        hidden = np.maximum(((features - self.mean) / self.spread) @ self.first.T + self.first_bias, 0)
        return hidden @ self.second + self.second_bias[0]


def fit_head(
    features: Float[np.ndarray, "item feature"],
    truths: Bool[np.ndarray, " item"],
    groups: Sequence[str],
    fields: Sequence[str] = (),
    *,
    most_false: float = MOST_FALSE,
) -> LiteHead:
    """Trains on all answers; the curves and the bands come from answers of pairs that a head of their own had not seen.

    `fields` are those of the answers: one with enough of them has a curve and bands of its own, for where a head is
    surer or more often wrong than elsewhere, bounds over all fields would not hold in it.

    Raises: InputError when there are too few answers, or all are the same.
    """
    fold = np.array([int(digest_of_bytes(group.encode())[:8], 16) % FOLDS for group in groups])
    seen = [truths[fold != number] for number in range(FOLDS)]
    if len(truths) < LEAST_EXAMPLES or min(min(part.sum(), (~part).sum()) for part in seen) < 2:
        raise InputError(
            f"{len(truths)} answers of people, {int(truths.sum())} of them yes, are too few to train a verifier: "
            f"at least {LEAST_EXAMPLES} are needed, with some of each kind"
        )
    scores = np.zeros(len(truths))
    for number in range(FOLDS):
        held = fold == number
        scores[held] = _train(features[~held], truths[~held]).scores(features[held])
    of_field = {
        name: np.array([each == name for each in fields])
        for name, count in Counter(fields).items()
        if count >= LEAST_OF_FIELD
    }
    own = {
        name: _calibrated(scores[places], truths[places], most_false)
        for name, places in sorted(of_field.items())
        if LEAST_OF_KIND <= truths[places].sum() <= places.sum() - LEAST_OF_KIND
    }
    return replace(_train(features, truths), overall=_calibrated(scores, truths, most_false), fields=own)


def _calibrated(
    scores: Float[np.ndarray, " item"], truths: Bool[np.ndarray, " item"], most_false: float
) -> HeadCalibration:
    x, y = isotonic(scores, truths)
    bands = fit_bands(np.interp(scores, x, y).tolist(), truths.tolist(), most_false=most_false)
    return HeadCalibration(curve_x=x, curve_y=y, bands=np.array([bands.accept, bands.reject]))


def _train(features: Float[np.ndarray, "item feature"], truths: Bool[np.ndarray, " item"]) -> LiteHead:
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = torch.from_numpy((features - mean) / spread).float()
    y = torch.from_numpy(truths).float()
    generator = torch.Generator().manual_seed(0)
    shapes = ((HIDDEN, x.shape[1]), (HIDDEN,), (HIDDEN,), (1,))
    scales = (math.sqrt(2 / x.shape[1]), 0.0, math.sqrt(1 / HIDDEN), 0.0)
    parts = [
        (torch.randn(shape, generator=generator) * scale).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    ]
    optimiser = torch.optim.AdamW(parts, lr=RATE, weight_decay=DECAY)
    weight = torch.where(y > 0, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum()))
    for _ in range(STEPS):
        logits = torch.relu(x @ parts[0].T + parts[1]) @ parts[2] + parts[3]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    first, first_bias, second, second_bias = (part.detach().numpy().astype(float) for part in parts)
    return LiteHead(
        mean=mean.astype(float),
        spread=spread.astype(float),
        first=first,
        first_bias=first_bias,
        second=second,
        second_bias=second_bias,
    )


def isotonic(
    scores: Float[np.ndarray, " item"], truths: Bool[np.ndarray, " item"]
) -> tuple[Float[np.ndarray, " knot"], Float[np.ndarray, " knot"]]:
    """Knots of the rising curve that fits the truths best in squares (pool adjacent violators)."""
    order = np.argsort(scores, kind="stable")
    blocks: list[list[float]] = []  # sum of truths, number, lowest and highest score
    for score, truth in zip(scores[order].tolist(), truths[order].tolist(), strict=True):
        blocks.append([float(truth), 1.0, score, score])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            total, count, _, high = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + count, blocks[-1][2], high]
    x = [edge for block in blocks for edge in (block[2], block[3])]
    y = [block[0] / block[1] for block in blocks for _ in range(2)]
    return np.array(x), np.array(y)


@dataclass(frozen=True, kw_only=True)
class LiteVerifier:
    """Both questions answered by heads; one without a head is left to people."""

    features: FeatureMaker
    masks: LiteHead | None
    whole: LiteHead | None
    digest: str

    @property
    def actor(self) -> Author:
        """A model, by its numbers."""
        return Author(kind="model", name=f"lite head {self.digest[:12]}")

    @property
    def identity(self) -> str:
        """The digest of its file."""
        return self.digest

    def judge_masks(self, items: Sequence[MaskItem]) -> Sequence[Choice]:
        """Accept, reject or unsure."""
        return _answers(self.masks, items, self.features.of_mask)

    def judge_exhaustivity(self, items: Sequence[ExhaustivityItem]) -> Sequence[Choice]:
        """Accept, reject or unsure."""
        return _answers(self.whole, items, self.features.of_whole)


def _answers(head: LiteHead | None, items: Sequence[Item], features: Callable[[Item], np.ndarray]) -> list[Choice]:
    if head is None or not items:
        return [Choice(label=UNSURE, probabilities={}) for _ in items]
    found = []
    scores = head.scores(np.stack([features(item) for item in items]))
    for item, score in zip(items, scores, strict=True):
        calibration = head.calibration(field_of(item.phrase, shipped()))
        [value] = calibration.probabilities(np.array([score])).tolist()
        side = calibration.side(value)
        label = UNSURE if side is None else "accept" if side else "reject"
        found.append(Choice(label=label, probabilities={"accept": value, "reject": 1 - value}))
    return found


def save_heads(path: Path, heads: Mapping[str, LiteHead], maker: str) -> str:
    """Writes heads by task, with the name of what makes their features; the digest of the file."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {f"{task}.{name}": each for task, head in heads.items() for name, each in _arrays(head)}
    np.savez(file, maker=np.array(maker), **arrays)
    write_atomically(path, file.getvalue())
    return digest_of_bytes(file.getvalue())


def _arrays(head: LiteHead) -> Iterator[tuple[str, np.ndarray]]:
    yield from ((name, getattr(head, name)) for name in WEIGHTS)
    for where, calibration in {"": head.overall, **{f".{name}": each for name, each in head.fields.items()}}.items():
        yield from ((f"{name}{where}", getattr(calibration, name)) for name in CURVE)


def _head_of(arrays: Mapping[str, np.ndarray], task: str) -> LiteHead:
    names = {key.removeprefix(f"{task}.bands") for key in arrays if key.startswith(f"{task}.bands")}
    found = {
        name.removeprefix("."): HeadCalibration(**{part: arrays[f"{task}.{part}{name}"] for part in CURVE})
        for name in names
    }
    return LiteHead(**{name: arrays[f"{task}.{name}"] for name in WEIGHTS}, overall=found.pop(""), fields=found)


def load_verifier(path: Path, maker: Callable[[], FeatureMaker]) -> LiteVerifier:
    """A verifier from its file. Raises: InputError when it is damaged, or its features are made otherwise now."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for a verifier")
        content = path.read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            made_for = str(arrays["maker"])
            heads = {task: _head_of(arrays, task) for task in ("masks", "whole") if f"{task}.mean" in arrays}
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path} is no verifier that can be read: {error}") from error
    features = maker()
    if features.identity != made_for:
        raise InputError(f"{path} was trained for another model: train it anew with `masklet engine train-verifier`")
    return LiteVerifier(
        features=features, masks=heads.get("masks"), whole=heads.get("whole"), digest=digest_of_bytes(content)
    )
