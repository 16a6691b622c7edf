"""Whether the built-in model finds held-out things when they are called by other words than their labels use.

    python runs/other_words.py PACKAGES WORDNET WORDS DATA MODEL ...

PACKAGES, WORDNET and WORDS are those of runs/builtin_data.py, DATA the folder with one folder a source. A labelled
thing is asked for by the synonyms that WordNet has ("automobile" for a car), and by the narrower names that the
classifier is sure of (runs/finer_names.py: "convertible"); no person has checked those. A thing counts as found when
some detection scores above one half.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from builtin_data import Preparer
from builtin_words import WordNet
from finer_names import Namer, crop
from PIL import Image

from masklet.inference.model import load

SOURCES = "coco_full", "oi_animals", "oi_mixed", "oi_vehicles"


def questions(folder: Path, namer: Namer, net: WordNet) -> dict[str, dict[str, set[tuple[str, str]]]]:
    """For each held-out photo of a source, by kind of word, pairs of the label's word and another."""
    document = json.loads((folder / "holdout.json").read_text())
    names = {each["id"]: [each["name"], *each["synonyms"]] for each in document["categories"]}
    of_image = defaultdict(list)
    for each in document["annotations"]:
        of_image[each["image_id"]].append(each)
    asked = {}
    for image in document["images"]:
        pixels = np.asarray(Image.open(folder / "images" / image["file_name"]).convert("RGB"))
        pairs: dict[str, set[tuple[str, str]]] = {"synonyms": set(), "finer names": set()}
        for each in of_image[image["id"]]:
            said = names[each["category_id"]]
            first = net.synsets.get(said[0], [])[:1]
            alike = {word.lower() for synset in first for word in net.usual(synset)} - {*said} - namer.preparer.held
            pairs["synonyms"] |= {(said[0], word) for word in alike}
            if not each.get("iscrowd"):
                found = namer.finer(crop(pixels, each["bbox"]), said)
                pairs["finer names"] |= {(said[0], word) for word in found}
        asked[str(folder / "images" / image["file_name"])] = pairs
    return asked


def main(packages: Path, wordnet: Path, words: Path, data: Path, models: list[str]) -> None:
    """Prints a row a model and kind of word."""
    net = WordNet(wordnet)
    namer = Namer(Preparer(packages, wordnet, words), packages, net)
    asked = {file: pairs for name in SOURCES for file, pairs in questions(data / name, namer, net).items()}
    print(
        "| model | words | questions | label's own word found | the other word found |\n| --- | --- | --- | --- | --- |"
    )
    for model_name in models:
        model = load(model_name)
        found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
        for file, pairs in asked.items():
            phrases = sorted({word for kind in pairs.values() for pair in kind for word in pair})
            if not phrases:
                continue
            result = model.segment(file, phrases)
            is_found = {phrase: len(result.for_phrase(phrase)) > 0 for phrase in phrases}
            for kind, kind_pairs in pairs.items():
                found[kind] += [(is_found[own], is_found[other]) for own, other in sorted(kind_pairs)]
        for kind, rows in found.items():
            own, other = 100 * np.mean(rows, axis=0)
            print(f"| {Path(model_name).name} | {kind} | {len(rows)} | {own:.0f} % | {other:.0f} % |", flush=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]), sys.argv[5:])
