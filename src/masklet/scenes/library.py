"""A folder of named cut-outs and a folder of background photos, read lazily, and what may be said over each of them."""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.scenes.layout import KINDS
from masklet.scenes.paint import COLOURS
from masklet.scenes.phrases import ALSO_CALLED

MAX_SIDE = 192
HELD_OUT_ONE_IN = 10


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split(", "))


# Words so broad that two things may share one and still be certainly different.
BROAD = _words(
    "animal, bird, insect, vehicle, fruit, vegetable, food, drink, clothing, tool, musical instrument, ball, "
    "flower, person, dinosaur, shoe, hat, medal"
)
# Parts and marks that many pictures show: never denied of a cut-out.
_EVERYWHERE = _words(
    "wheel, window, door, wood, brick, hook, knot, feather, wing, eye, ear, nose, mouth, tooth, hand, arm, leg, foot, "
    "fist, leaf, label, ribbon, button, bolt, thread, circle, oval, square, rectangle, triangle, ring, diamond, cross, "
    "hexagon, pentagon, arrow, crescent, cell, letter, number, seat, horn, bell, chains, basket, bowl, rock, fire, "
    "water drop, mirror, battery, speaker, keyboard, package, film frames, heart organ"
) | frozenset(kind.nouns[0] for kind in KINDS if kind.nouns[-1] in ("letter", "number"))
# Different names, but a glance may not tell them apart.
_ALIKE = tuple(
    _words(listed)
    for listed in (
        "lotus, lotus flower, water lily, hibiscus, blossom, cherry blossom, flower",
        "cougar, lion, wild cat, leopard, tiger, cat, black cat",
        "mouse, rat, hamster, chipmunk, beaver, otter, badger",
        "crocodile, lizard, dragon, dinosaur, tyrannosaurus",
        "dove, pigeon, duck, goose, swan, blackbird, ibis",
        "goat, ram, sheep, llama",
        "ox, cow, water buffalo, bison",
        "deer, moose, gerenuk, okapi, kangaroo",
        "monkey, gorilla, orangutan, bear",
        "dog, wolf, fox, dalmatian, poodle",
        "lobster, crayfish, shrimp, scorpion, crab",
        "bug, beetle, cockroach, ladybug, cricket, tick, ant, spider",
        "fly, mosquito, mayfly, bee, dragonfly",
        "fish, tropical fish, blowfish, bass fish, shark, dolphin, whale",
        "bus, minibus, trolleybus, tram, train car, light rail train, subway train, train, locomotive",
        "car, taxi, suv, police car, pickup truck, ambulance",
        "mango, peach, tangerine, apple, tomato, orange, melon",
        "lime, lemon, pear",
        "notebook, spiral notepad, memo, calendar, clipboard, closed book, open book, newspaper, scroll, receipt",
        "guitar, electric guitar, banjo, mandolin, violin",
        "bottle, champagne bottle, sake, lotion bottle, baby bottle",
        "printer, fax machine, radio, pager, telephone, cell phone",
        "watch, wristwatch, stopwatch, alarm clock, timer, clock, compass",
        "cd, dvd, computer disk",
        "purse, handbag, clutch bag, backpack, briefcase, luggage, toolbox",
        "globe, sun, moon, saturn, ball, crystal ball",
        "pen, fountain pen, pencil, crayon, paintbrush, screwdriver",
    )
)
_SHOWS = {  # what the picture of a thing may show besides it
    "building": frozenset({"tree", "house", "flag", "clock", "star", "person", "pine tree", "cloud", "flower"}),
    "framed picture": frozenset({"mountain", "sun", "tree", "cloud", "person"}),
    "mountain": frozenset({"tree", "sun", "cloud", "snowflake"}),
    "vehicle": frozenset({"person", "lamp", "light bulb", "umbrella", "flag"}),
    "tree": frozenset({"apple", "flower", "potted plant", "vase", "bonsai tree"}),
    "flower": frozenset({"leaf", "vase", "bee", "butterfly", "herb"}),
    "potted plant": frozenset({"flower", "tree", "vase", "herb", "seedling"}),
    "bottle": frozenset({"cup", "wine glass"}),
    "party popper": frozenset({"star", "balloon"}),
}
# Backgrounds are not empty and barely labelled, so what is denied of them is drawn from what is unlikely in each sort.
# Over the assorted Caltech photos: rare animals, dishes, instruments. Over supermarket shelves: no food and no farm
# animals (those are printed on packages) but vehicles, buildings, instruments. Other words are not exhaustive there.
_COMMON_OUTDOORS = _words(
    "animal, bird, dog, cat, fish, horse, insect, bug, fly, ant, duck, pigeon, dove, dog face, cat face, cow, "
    "butterfly, spider web, seashell, paw prints, coral, flower, tree, food, drink, fruit, vegetable, cup, bowl, "
    "vase, jar, knife, spoon, fork and knife, chopsticks, wine glass, piano, grand piano, guitar, salt, bread"
)
_COMMON_IN_SHOPS = _words(
    "animal, bird, fish, cow, cow face, ox, pig, pig face, chicken, chick, rooster, sheep, goat, bee, shrimp, crab, "
    "lobster, squid, octopus, oyster, bear, rabbit, bug, fly, flower, tree, vehicle, car, truck, house, building, "
    "convenience store, department store, shopping cart, sun"
)
_RARE = _words(
    "yin yang symbol, menorah, nautilus shell, stapler, metronome, gramophone, ewer, buddha statue, trilobite fossil, "
    "cannon, revolver, inline skate, anchor, astronaut, mermaid, vampire, unicorn, ufo, saturn, microscope, telescope, "
    "boxing glove, trophy, yo-yo, crystal ball, treasure, crown, coffin, magic wand, parachute, dartboard"
)


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """One picture with alpha. `nouns[0]` is the usual name; `colour` is set where the name itself says it."""

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


def _is_held_out(file: str) -> bool:
    return zlib.crc32(file.encode()) % HELD_OUT_ONE_IN == 0


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
    """The cut-outs and backgrounds of one split; pictures are decoded when first used and kept, at most 192 px long."""

    def __init__(self, cutouts: tuple[Cutout, ...], backgrounds: tuple[Background, ...]) -> None:
        if not cutouts:
            raise ValueError("a library needs at least one cut-out")
        self.cutouts = cutouts
        self.backgrounds = backgrounds
        self._tiles: dict[Path, tuple[Image.Image, ...]] = {}
        self._photos: dict[Path, np.ndarray] = {}
        self._unclear: dict[tuple[str, ...], frozenset[str]] = {}

    @classmethod
    def open(
        cls, cutouts_dir: Path, backgrounds_dir: Path | None = None, split: Literal["train", "heldout"] = "train"
    ) -> "CutoutLibrary":
        """Read the two `index.json`; a stable tenth of the files of each is the held-out split."""
        wanted = split == "heldout"
        cutouts = tuple(
            parse_cutout(cutouts_dir, record)
            for record in json.loads((cutouts_dir / "index.json").read_text())
            if _is_held_out(record["file"]) == wanted
        )
        if backgrounds_dir is None:
            return cls(cutouts, ())
        backgrounds = tuple(
            Background(
                path=backgrounds_dir / record["file"],
                sort=record["source"],
                present=frozenset(phrase.lower() for phrase in record["present_phrases"]),
            )
            for record in json.loads((backgrounds_dir / "index.json").read_text())
            if _is_held_out(record["file"]) == wanted
        )
        return cls(cutouts, backgrounds)

    @cached_property
    def by_noun(self) -> dict[str, tuple[Cutout, ...]]:
        """Cut-outs by their usual name."""
        found: dict[str, list[Cutout]] = {}
        for cutout in self.cutouts:
            found.setdefault(cutout.nouns[0], []).append(cutout)
        return {noun: tuple(members) for noun, members in found.items()}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The usual names, each once."""
        return tuple(self.by_noun)

    @cached_property
    def siblings(self) -> dict[str, tuple[str, ...]]:
        """Usual names under each broader or equal name."""
        found: dict[str, dict[str, None]] = {}
        for cutout in self.cutouts:
            for noun in cutout.nouns:
                found.setdefault(noun, {})[cutout.nouns[0]] = None
        return {noun: tuple(names) for noun, names in found.items()}

    @cached_property
    def _vocabulary(self) -> dict[str, frozenset[str]]:
        """Every noun that can be asked, with all nouns said of the things it names first."""
        found: dict[str, set[str]] = {noun: {noun} for kind in KINDS for noun in kind.nouns}
        for cutout in self.cutouts:
            for noun in cutout.nouns:
                found.setdefault(noun, {noun})
            found[cutout.nouns[0]].update(cutout.nouns)
        return {noun: frozenset(nouns) for noun, nouns in found.items()}

    @cached_property
    def _groups(self) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for cutout in self.cutouts:
            for noun in cutout.nouns:
                found.setdefault(noun, set()).add(cutout.group)
        return {noun: frozenset(groups) for noun, groups in found.items()}

    def unclear_nouns(self, cutout: Cutout) -> frozenset[str]:
        """Nouns that may be true of the picture though they are not among its own; the rest are certainly false."""
        if cutout.nouns not in self._unclear:
            found = {noun for noun in self._vocabulary if self._may_be(noun, cutout)} - set(cutout.nouns)
            self._unclear[cutout.nouns] = frozenset(found)
        return self._unclear[cutout.nouns]

    def _may_be(self, noun: str, cutout: Cutout) -> bool:
        own, other = set(cutout.nouns), self._vocabulary[noun]
        words = {word for name in own for word in name.split()}
        if noun in _EVERYWHERE or words & set(noun.split()) or (own & other) - BROAD:
            return True
        if any(noun in alike and own & alike for alike in _ALIKE):
            return True
        if cutout.nouns[0] in other:  # a plain "bird" may be the "duck" that is asked for
            return True
        if any(noun in _SHOWS.get(name, ()) or noun in ALSO_CALLED.get(name, ()) for name in own):
            return True
        if any(name in ALSO_CALLED.get(noun, ()) for name in own):
            return True
        # People wear and hold almost anything, and one of them may also be a farmer, a woman, a singer.
        people = "person" in own or cutout.group == "People & Body"
        return people and not self._groups.get(noun, frozenset()) & {"Animals & Nature", "Food & Drink"}

    @cached_property
    def _clear_outdoors(self) -> frozenset[str]:
        return self._nouns_under("animal", "musical instrument", "dinosaur", group="Food & Drink") - _COMMON_OUTDOORS

    @cached_property
    def _clear_in_shops(self) -> frozenset[str]:
        return self._nouns_under("animal", "musical instrument", "dinosaur", "vehicle", "building") - _COMMON_IN_SHOPS

    def _nouns_under(self, *broad: str, group: str = "") -> frozenset[str]:
        named = {noun for noun, others in self._vocabulary.items() if others & set(broad)}
        return frozenset(named | {noun for noun, groups in self._groups.items() if group in groups}) | _RARE

    def clear_of(self, background: Background) -> frozenset[str]:
        """Nouns that the photo very likely does not show."""
        if background.sort.startswith("texture"):
            return frozenset(self._vocabulary) - {"brick", "rock", "building", "herb", "leaf", "wood"}
        clear = self._clear_in_shops if background.sort == "grocery" else self._clear_outdoors
        return clear - background.present

    def tiles(self, cutout: Cutout) -> tuple[Image.Image, ...]:
        """The picture at full, half and quarter scale, colours multiplied by alpha.

        CMYK only serves to resample four channels at once; Pillow would convert RGBA to and fro at every transform.
        """
        if cutout.path not in self._tiles:
            image = Image.open(cutout.path).convert("RGBA")
            image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
            image = image.crop(image.getchannel("A").getbbox())
            pixels = np.asarray(image).astype(np.uint16)
            pixels[..., :3] = pixels[..., :3] * pixels[..., 3:] // 255
            full = Image.frombytes("CMYK", image.size, pixels.astype(np.uint8).tobytes())
            self._tiles[cutout.path] = (full, full.reduce(2), full.reduce(4))
        return self._tiles[cutout.path]

    def photo(self, background: Background) -> UInt8[np.ndarray, "photo_height photo_width 3"]:
        """The background's pixels."""
        if background.path not in self._photos:
            self._photos[background.path] = np.asarray(Image.open(background.path).convert("RGB"))
        return self._photos[background.path]
