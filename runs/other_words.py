"""Whether the built-in model finds held-out things when they are called by other words than their labels use.

    python runs/other_words.py WORDNET DATA MODEL ...

WORDNET is the folder `usr/share/wordnet` of Debian's `wordnet-base`, DATA the folder with one folder a source. A thing
is asked for by its label ("car") and by each synonym that WordNet has in the label's first sense ("automobile"). It
counts as found when some detection scores above one half.
"""

import sys
from pathlib import Path

import numpy as np
from builtin_words import WordNet
from everyday import NEVER_SEGMENTED, held_out

from masklet.data.schema import Example
from masklet.inference.model import load

SOURCES = "coco_full", "oi_animals", "oi_mixed", "oi_vehicles"


def synonyms(net: WordNet, label: str) -> set[str]:
    """Other words for the first sense of a label."""
    return {word.lower() for sense in net.synsets.get(label, [])[:1] for word in net.usual(sense)} - {label}


def questions(example: Example, net: WordNet, never: frozenset[str]) -> list[tuple[str, str]]:
    """Pairs of a label of the photo and another word for it; labels of `never` are left out."""
    said = sorted({query.phrase for query in example.queries if query.object_index} - never)
    return [(label, word) for label in said for word in sorted(synonyms(net, label))]


def main(wordnet: Path, data: Path, models: list[str]) -> None:
    """Prints a row a model."""
    net, never = WordNet(wordnet), frozenset(NEVER_SEGMENTED.read_text().split("\n"))
    examples = [example for source in SOURCES for example in held_out(data / source)]
    asked = [(example.image, questions(example, net, never)) for example in examples]
    print(f"| model | questions | found by the label, % | found by the other word, % |\n{'| --- ' * 4}|")
    for name in models:
        model, found = load(name), []
        for image, pairs in asked:
            if pairs:
                result = model.segment(image, sorted({word for pair in pairs for word in pair}))
                found += [[len(result.for_phrase(word)) > 0 for word in pair] for pair in pairs]
        by_label, by_other = 100 * np.mean(found, axis=0)
        print(f"| {name} | {len(found)} | {by_label:.0f} | {by_other:.0f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
