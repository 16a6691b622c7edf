"""Whether the built-in model finds held-out things when they are called by other words than their labels use.

    python runs/other_words.py WORDNET DATA MODEL ...

WORDNET is the folder `usr/share/wordnet` of Debian's `wordnet-base`, DATA the folder with one folder a source. A thing
is asked for by its label ("car") and by each synonym that WordNet has in the label's first sense ("automobile"). It
counts as found when some detection scores above one half.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from builtin_words import WordNet

from masklet.inference.model import load

SOURCES = "coco_full", "oi_animals", "oi_mixed", "oi_vehicles"
NEVER_SEGMENTED = frozenset(Path(__file__).with_name("never_segmented.txt").read_text().split("\n"))


def synonyms(net: WordNet, label: str) -> set[str]:
    """Other words for the first sense of a label."""
    return {word.lower() for sense in net.synsets.get(label, [])[:1] for word in net.usual(sense)} - {label}


def questions(folder: Path, net: WordNet) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """The held-out photos of a source, with pairs of a label and another word for it."""
    document = json.loads((folder / "holdout.json").read_text())
    names = {each["id"]: each["name"] for each in document["categories"]}
    labels = defaultdict(set)
    for each in document["annotations"]:
        labels[each["image_id"]].add(names[each["category_id"]])
    for image in document["images"]:
        said = sorted(labels[image["id"]] - NEVER_SEGMENTED)
        yield folder / "images" / image["file_name"], [(label, word) for label in said for word in synonyms(net, label)]


def main(wordnet: Path, data: Path, models: list[str]) -> None:
    """Prints a row a model."""
    net = WordNet(wordnet)
    asked = [pair for source in SOURCES for pair in questions(data / source, net)]
    print(f"| model | questions | found by the label, % | found by the other word, % |\n{'| --- ' * 4}|")
    for name in models:
        model, found = load(name), []
        for file, pairs in asked:
            phrases = sorted({word for pair in pairs for word in pair})
            if phrases:
                result = model.segment(file, phrases)
                found += [[len(result.for_phrase(word)) > 0 for word in pair] for pair in pairs]
        by_label, by_other = 100 * np.mean(found, axis=0)
        print(f"| {name} | {len(found)} | {by_label:.0f} | {by_other:.0f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
