"""Figures of the built-in model on everyday photos that nothing was learnt from or tuned on.

    python runs/everyday.py DATA MODEL

DATA is the folder with one folder a source, each with `holdout.json`. Phrases: all that are labelled, and absent ones
from the lists of what is labelled in full.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from masklet.data.everyday import PROBES
from masklet.data.labels.coco import CocoSource
from masklet.data.schema import Example
from masklet.data.sources import CocoConfig
from masklet.eval.concepts.cgf1 import PairScore, score_overlaps, total
from masklet.inference.model import Model, load
from masklet.ops.masks import mask_iou

WITH_MASKS = ("coco_full", "oi_animals", "tools")
LABELLED_AS_A_WHOLE = ("flowers", "oxford_cats", "clothing")
NEVER_SEGMENTED = Path(__file__).with_name("never_segmented.txt")
NEGATIVES, PROBES_EACH = 6, 6
SCORES = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)


def held_out(source: Path, rng_seed: int = 0) -> Iterator[Example]:
    """The held-out photos of a source, with every labelled phrase and some absent ones."""
    document = json.loads((source / "holdout.json").read_text())
    sets = document.get("info", {}).get("exhaustive_sets", {})
    for image in document["images"]:
        image["exhaustive"] = sets.get(image.get("exhaustive"), [])
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "holdout.json"
        labels.write_text(json.dumps(document))
        config = CocoConfig(split="all", max_negatives=NEGATIVES, synonym_probability=0.0)
        opened = CocoSource(labels, source / "images", config)
        for index in range(len(opened)):
            example = opened.example(index, np.random.default_rng([rng_seed, index]))
            yield replace(example, source=source.name)


@dataclass
class Tally:
    """What was found, at each score that may count as even odds."""

    pairs: dict[float, list[PairScore]] = field(default_factory=lambda: {score: [] for score in SCORES})
    never: dict[float, list[PairScore]] = field(default_factory=lambda: {score: [] for score in SCORES})
    somewhere: list[float] = field(default_factory=list)
    refused: dict[float, list[bool]] = field(default_factory=lambda: {score: [] for score in SCORES})


def probes_of(example: Example, rng: np.random.Generator) -> list[str]:
    """Everyday nouns that the photo surely does not show: none whose kind its own phrases speak of."""
    spoken = {word for query in example.queries for word in query.phrase.split()}
    listed = [noun for kind, nouns in PROBES.items() if not spoken & set(kind.split()) for noun in nouns]
    listed = [noun for noun in listed if not spoken & set(noun.split())]
    return [listed[index] for index in rng.permutation(len(listed))[:PROBES_EACH]]


def score(model: Model, examples: Sequence[Example], never: frozenset[str], tally: Tally) -> None:
    """Adds what the model says of these photos. Its scores are those before any choice of even odds: 0.5 is even."""
    for number, example in enumerate(examples):
        probes = probes_of(example, np.random.default_rng(number))
        asked = list(dict.fromkeys([query.phrase for query in example.queries] + probes))
        result = model.segment(example.image, asked, threshold=min(SCORES))
        for query in example.queries:
            own = result.for_phrase(query.phrase)
            if not query.located:
                tally.somewhere.append(result.presence[query.phrase])
                continue
            objects = list(query.object_index)
            if not query.exhaustive or not example.mask_valid[objects].all():
                continue
            iou = mask_iou(example.masks[objects], own.masks)
            for even in SCORES:
                pair = score_overlaps(iou[:, own.scores >= even])
                tally.pairs[even].append(pair)
                if query.phrase in never:
                    tally.never[even].append(pair)
        for probe in probes:
            scores = result.for_phrase(probe).scores
            for even in SCORES:
                tally.refused[even].append(not (scores >= even).any())


def figures(tally: Tally, even: float) -> Mapping[str, float]:
    """The named figures, in percent but for IL_MCC."""
    whole = total(tally.pairs[even]).metrics()
    never = total(tally.never[even]).metrics() if tally.never[even] else {}
    somewhere = np.array(tally.somewhere) > 0.5
    return {
        "cgF1": 100 * whole["cgF1"],
        "IL_MCC": whole["IL_MCC"],
        "pmF1": 100 * whole["positive_micro_F1"],
        "never segmented: pmF1": 100 * never.get("positive_micro_F1", np.nan),
        "whole-image words present": 100 * float(somewhere.mean()) if len(somewhere) else np.nan,
        "absent everyday nouns refused": 100 * float(np.mean(tally.refused[even])) if tally.refused[even] else np.nan,
    }


def main() -> None:
    """Prints the figures at each score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=1000, help="photos of each source")
    parser.add_argument("--image-size", type=int)
    given = parser.parse_args()
    never = frozenset(NEVER_SEGMENTED.read_text().split("\n")) - {""}
    model, tally = load(given.model, image_size=given.image_size), Tally()
    for name in (*WITH_MASKS, *LABELLED_AS_A_WHOLE):
        score(model, list(held_out(given.data / name))[: given.limit], never, tally)
    for even in SCORES:
        shown = "  ".join(f"{name} {value:.2f}" for name, value in figures(tally, even).items())
        print(f"{even:.2f}  {shown}")
    counts = (len(tally.pairs[0.5]), len(tally.never[0.5]), len(tally.somewhere))
    print("{} pairs, {} of words never segmented, {} of whole images".format(*counts))


if __name__ == "__main__":
    main()
