"""A folder of named cut-outs and a folder of background photos, read lazily, and what may be said over each of them."""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.cached import cached
from masklet.scenes.layout import KINDS
from masklet.scenes.objects.paint import COLOURS, alpha_tiles
from masklet.scenes.objects.shapes import CHARACTERS
from masklet.scenes.words import words

MAX_SIDE = 192
HELD_OUT_ONE_IN = 10


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One image with alpha. `nouns[0]` is the usual name; `colour` is set where the name itself says it."""

    path: Path
    nouns: tuple[str, ...]
    colour: str | None
    group: str


@dataclass(frozen=True, kw_only=True)
class Background:
    """One photo, its sort (the publisher's set) and the little that is known to be in it."""

    path: Path
    sort: str
    present: frozenset[str]


def parse_cutout(folder: Path, record: dict) -> Cutout:
    """A record of the index; "red apple", also an "apple", becomes an apple whose colour is red."""
    phrases = [phrase.lower() for phrase in record["phrases"]]
    colour, nouns = None, []
    for phrase in phrases:
        first, _, rest = phrase.partition(" ")
        if first in COLOURS and rest in phrases:
            colour = first
        else:
            nouns.append(phrase)
    return Cutout(path=folder / record["file"], nouns=tuple(nouns), colour=colour, group=record["group"])


class CutoutLibrary:
    """The cut-outs and backgrounds of one split; images are decoded when first used and kept, at most 192 px long."""

    def __init__(self, cutouts: tuple[Cutout, ...], backgrounds: tuple[Background, ...]) -> None:
        if not cutouts:
            raise ValueError("a library needs at least one cut-out")
        self.cutouts = cutouts
        self.backgrounds = backgrounds
        self._everywhere = words().everywhere | {kind.nouns[0] for kind in CHARACTERS}
        self._tiles: dict[Path, tuple[Image.Image, ...]] = {}
        self._photos: dict[Path, np.ndarray] = {}
        self._unclear: dict[tuple[str, ...], frozenset[str]] = {}

    @classmethod
    def open(
        cls, cutouts_dir: Path, backgrounds_dir: Path | None = None, split: Literal["train", "heldout"] = "train"
    ) -> "CutoutLibrary":
        """Read the two `index.json`; a stable tenth of the files of each is the held-out split."""

        def records(folder: Path) -> list[dict]:
            listed = json.loads((folder / "index.json").read_text())
            held_out = [zlib.crc32(record["file"].encode()) % HELD_OUT_ONE_IN == 0 for record in listed]
            return [record for record, out in zip(listed, held_out, strict=True) if out == (split == "heldout")]

        cutouts = tuple(parse_cutout(cutouts_dir, record) for record in records(cutouts_dir))
        if backgrounds_dir is None:
            return cls(cutouts, ())
        backgrounds = tuple(
            Background(
                path=backgrounds_dir / record["file"],
                sort=record["source"],
                present=frozenset(phrase.lower() for phrase in record["present_phrases"]),
            )
            for record in records(backgrounds_dir)
        )
        return cls(cutouts, backgrounds)

    @cached
    def by_noun(self) -> dict[str, tuple[Cutout, ...]]:
        """Cut-outs by their usual name."""
        found: dict[str, list[Cutout]] = {}
        for cutout in self.cutouts:
            found.setdefault(cutout.nouns[0], []).append(cutout)
        return {noun: tuple(members) for noun, members in found.items()}

    @cached
    def names(self) -> tuple[str, ...]:
        """The usual names, each once."""
        return tuple(self.by_noun)

    @cached
    def siblings(self) -> dict[str, tuple[str, ...]]:
        """Usual names under each broader or equal name."""
        found: dict[str, dict[str, None]] = {}
        for cutout in self.cutouts:
            for noun in cutout.nouns:
                found.setdefault(noun, {})[cutout.nouns[0]] = None
        return {noun: tuple(names) for noun, names in found.items()}

    @cached
    def _vocabulary(self) -> dict[str, frozenset[str]]:
        """Every noun that can be asked, with all nouns said of the things it names first."""
        found: dict[str, set[str]] = {noun: {noun} for kind in KINDS for noun in kind.nouns}
        for cutout in self.cutouts:
            for noun in cutout.nouns:
                found.setdefault(noun, {noun})
            found[cutout.nouns[0]].update(cutout.nouns)
        return {noun: frozenset(nouns) for noun, nouns in found.items()}

    @cached
    def _groups(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for cutout in self.cutouts:
            for noun in cutout.nouns:
                found.setdefault(noun, set()).add(cutout.group)
        return {noun: frozenset(groups) for noun, groups in found.items()}

    def unclear_nouns(self, cutout: Cutout) -> frozenset[str]:
        """Nouns that may be true of the image though they are not among its own; the rest are certainly false."""
        if cutout.nouns not in self._unclear:
            found = {noun for noun in self._vocabulary if self._may_be(noun, cutout)} - set(cutout.nouns)
            self._unclear[cutout.nouns] = frozenset(found)
        return self._unclear[cutout.nouns]

    def _may_be(self, noun: str, cutout: Cutout) -> bool:
        own, other, lists = set(cutout.nouns), self._vocabulary[noun], words()
        own_words = {word for name in own for word in name.split()}
        if noun in self._everywhere or own_words & set(noun.split()) or (own & other) - lists.broad:
            return True
        if any(noun in alike and own & alike for alike in lists.alike):
            return True
        if cutout.nouns[0] in other:  # a plain "bird" may be the "duck" that is asked for
            return True
        if own & lists.also_called.get(noun, frozenset()):
            return True
        if any(noun in lists.shown_with.get(name, ()) or noun in lists.also_called.get(name, ()) for name in own):
            return True
        # People wear and hold almost anything, and one of them may also be a farmer, a woman, a singer.
        people = "person" in own or cutout.group == "People & Body"
        return people and not self._groups.get(noun, frozenset()) & {"Animals & Nature", "Food & Drink"}

    @cached
    def _clear(self) -> tuple[frozenset[str], frozenset[str]]:
        """What is rare outdoors, and what is rare in shops."""
        anywhere = "animal", "musical instrument", "dinosaur"
        outdoors = self._nouns_under(*anywhere, group="Food & Drink") - words().common_outdoors
        return outdoors, self._nouns_under(*anywhere, "vehicle", "building") - words().common_in_shops

    def _nouns_under(self, *broad: str, group: str = "") -> frozenset[str]:
        named = {noun for noun, others in self._vocabulary.items() if others & set(broad)}
        return frozenset(named | {noun for noun, groups in self._groups.items() if group in groups}) | words().rare

    def clear_of(self, background: Background) -> frozenset[str]:
        """Nouns that the photo very likely does not show."""
        if background.sort.startswith("texture"):
            return frozenset(self._vocabulary) - {"brick", "rock", "building", "herb", "leaf", "wood"}
        return self._clear[background.sort == "grocery"] - background.present

    def tiles(self, cutout: Cutout) -> tuple[Image.Image, ...]:
        """The image at full, half and quarter scale, colours multiplied by alpha."""
        if cutout.path not in self._tiles:
            image = Image.open(cutout.path).convert("RGBA")
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
            self._tiles[cutout.path] = alpha_tiles(np.asarray(image.crop(image.getchannel("A").getbbox())))
        return self._tiles[cutout.path]

    def photo(self, background: Background) -> UInt8[np.ndarray, "photo_height photo_width 3"]:
        """The background's pixels."""
        if background.path not in self._photos:
            self._photos[background.path] = np.asarray(Image.open(background.path).convert("RGB"))
        return self._photos[background.path]
