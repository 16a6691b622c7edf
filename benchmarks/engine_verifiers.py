"""What scores, and a head that was trained elsewhere, know of masks: images of several kinds, each judged from others.

    python benchmarks/engine_verifiers.py DATA --beside annotations.json images --source desk --each 60

DATA is the folder that `runs/builtin_data.py` wrote; `--beside` names labels of photos that the model was not taught.
The model proposes masks for phrases whose labels are complete, as the engine does; one is right from an IoU of 0.75
with a label. A head is trained on the masks of all other kinds.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from masklet.data.labels.coco import CocoSource
from masklet.data.schema import Example
from masklet.data.sources import CocoConfig
from masklet.engine.stages.mask_rows import masks_by_phrase
from masklet.engine.stages.masks import KEEP_SCORE
from masklet.engine.verify.by_score import MASK_BANDS
from masklet.engine.verify.choices import MaskItem
from masklet.engine.verify.head import LiteHead, fit_head
from masklet.engine.verify.oracle import is_right
from masklet.scenes.cutouts import CutoutLibrary, compose_scene
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene
from masklet.train.recipes.schema import load_recipe
from masklet.workflows.engine.verifier import ModelFeatures
from masklet.workflows.model_choice import ModelChoice

FIRST_SEED = 6_000_000
MOST_FALSE = 0.1


@dataclass
class Judged:
    """Masks of a kind of images: features, scores, whether each is right, and the image it is of."""

    features: list[np.ndarray] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    truths: list[bool] = field(default_factory=list)
    images: list[str] = field(default_factory=list)


def kinds(data: Path, each: int, beside: Sequence[Path], source: str) -> Iterator[tuple[str, list[Example]]]:
    """Images by kind; the last are of photos that the model was not taught."""
    rng, seeds = np.random.default_rng(5), range(FIRST_SEED, FIRST_SEED + each)
    real = load_recipe("builtin-photos").data.sources["real"]
    masked = load_recipe("builtin-outlines").data.sources["masked"]
    photos = CocoSource(data / "real.json", data / "real", CocoConfig(scenes=real.scenes, origins=real.origins))
    config = CocoConfig(split="all", max_negatives=6, origins=masked.origins)
    everyday = CocoSource(data / "everyday.json", data / "everyday", config)
    library = CutoutLibrary.open(data / "cutouts", data / "backgrounds")
    yield "photos of taught kinds", [photos.sample(rng) for _ in seeds]
    yield "everyday photos", [everyday.sample(rng) for _ in range(2 * each)]
    yield "generated scenes", [render_scene(seed, SceneConfig()) for seed in seeds]
    yield "cut-outs", [compose_scene(seed, library, SceneConfig()) for seed in seeds]
    if beside:
        others = CocoSource(*beside, CocoConfig(split="all", max_negatives=4, origins=[source] if source else []))
        yield source or "others", [others.example(index, rng) for index in range(min(80, len(others)))]


def judged(maker: ModelFeatures, examples: Sequence[Example]) -> Judged:
    """The masks that the model proposes, and whether they are right."""
    found = Judged()
    for number, example in enumerate(examples):
        valid = {q.phrase: list(q.object_index) for q in example.queries if q.exhaustive}
        asked = {phrase: index for phrase, index in valid.items() if example.mask_valid[index].all()}
        if not asked:
            continue
        image = np.ascontiguousarray(example.image)
        session = maker.model.open(image)
        proposed = session.find(sorted(asked), threshold=KEEP_SCORE)
        rows = masks_by_phrase(proposed, (image.shape[0], image.shape[1]))
        session.close()
        for phrase, index in asked.items():
            for row in rows.get(phrase, []):
                presence = proposed.presence[phrase]
                item = MaskItem(read=lambda image=image: image, phrase=phrase, mask=row, presence=presence)  # type: ignore[misc]
                found.features.append(maker.of_mask(item))
                found.scores.append(row.score)
                found.truths.append(is_right(item, lambda _, __, index=index, e=example: list(e.masks[index])))  # type: ignore[misc]
                found.images.append(f"{id(examples)} {number}")
    return found


def ranked(values: Float[np.ndarray, " mask"], truths: Bool[np.ndarray, " mask"]) -> float:
    """How often a right mask has the higher value of the two (area under the curve)."""
    ones, zeros = int(truths.sum()), int((~truths).sum())
    return float((rankdata(values)[truths].sum() - ones * (ones + 1) / 2) / max(1, ones * zeros))


def head_of(others: Sequence[Judged]) -> LiteHead:
    """A head that has learnt from several kinds."""
    features = np.stack([each for kind in others for each in kind.features])
    truths = np.array([each for kind in others for each in kind.truths])
    return fit_head(features, truths, [each for kind in others for each in kind.images], most_false=MOST_FALSE)


def rows(found: Mapping[str, Judged]) -> Iterator[str]:
    """A row a kind."""
    for name, kind in found.items():
        scores, truths = np.array(kind.scores), np.array(kind.truths)
        sure = scores >= MASK_BANDS.accept
        head = head_of([each for other, each in found.items() if other != name])
        probabilities = head.probabilities(np.stack(kind.features))
        taken = probabilities >= head.overall.bands[0]
        right = f"{truths[sure].mean():.0%} of {sure.sum()}" if sure.any() else "none"
        by_head = f"{truths[taken].mean():.0%} of {taken.sum()}" if taken.any() else "none"
        yield (
            f"| {name} | {len(truths)} | {truths.mean():.0%} | {right} | {ranked(scores, truths):.2f} "
            f"| {ranked(probabilities, truths):.2f} | {by_head} |"
        )


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--beside", type=Path, nargs=2, default=(), metavar=("LABELS", "IMAGES"))
    parser.add_argument("--source", default="", help="of those photos")
    parser.add_argument("--each", type=int, default=60, help="images of a kind; twice as many everyday photos")
    parser.add_argument("--model", default="tiny")
    given = parser.parse_args()
    maker = ModelFeatures(ModelChoice(name=given.model))
    found = {name: judged(maker, some) for name, some in kinds(given.data, given.each, given.beside, given.source)}
    sys.stdout.write("\n".join(rows(found)) + "\n")


if __name__ == "__main__":
    main()
