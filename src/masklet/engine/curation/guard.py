"""Evaluation images are kept out of what is learnt from, also when they were resized, encoded anew or cropped a little.

The images of a registered set leave their perceptual hashes, of the whole and of parts of it, and a small grey copy. An
image of the project whose hash is near one of them is compared by its pixels: the whole of it against parts of the
evaluation image of any place and size that a crop of a tenth could have left, and the other way round.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from masklet.cached import cached
from masklet.engine.digests import digest_of
from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Author, Fact, Outcome, Unit
from masklet.engine.stages.ingest import image_files, perceptual_hash
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.media.images import read_image

SHARES = (1.0, 0.95, 0.9)  # of a side, that a crop leaves
PLACES = (0.0, 0.5, 1.0)  # of what a crop leaves out, that lies before it
NEAR_BITS = 14  # of 64; then pixels are compared
ALIKE = 0.92  # correlation of grey values
NEARLY = 0.75  # from which on the part that fits best is searched for between those of the grid
STEP, LEAST_SHARE, FINEST = 0.025, 0.875, 0.003  # of a side, of parts that are compared
COPY, LOOK = 64, 24  # sides of the grey copies, and of what is compared
Window = tuple[float, float, float, float]  # left, top, right and bottom as shares of the sides


@dataclass(frozen=True, kw_only=True)
class Registered:
    """How many images a set has that are guarded now, and which files could not be read."""

    images: int
    broken: Sequence[str]


def register_set(project: Project, name: str, folder: Path) -> Registered:
    """Guards the images of a folder under the name of a set. Raises: InputError when there are none."""
    if not name.strip():
        raise InputError("an evaluation set has a name: got blanks, expected one such as gold")
    facts, broken = [], []
    for path in image_files(folder):
        uri = path.relative_to(folder).as_posix()
        try:
            image = read_image(path)
        except InputError:
            broken.append(uri)
            continue
        grey = grey_copy(image)
        values = {
            "name": name,
            "uri": uri,
            "hashes": json.dumps(sorted({perceptual_hash(_cut(image, window)) for window in windows()})),
            "blob": project.blobs.put(grey.tobytes()),
        }
        facts.append(Fact(table="guard", values={"guard_id": digest_of("guard", values)} | values))
    if not facts:
        raise InputError(f"{folder} holds no images to guard")
    project.view.ledger.add(facts)
    return Registered(images=len(facts), broken=broken)


@dataclass(frozen=True)
class LeakGuard:
    """A unit an image of the project, and again when sets are registered."""

    name: str = "leak-guard"
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """Nothing while no set is registered."""
        guards = project.view.guards()
        if not guards:
            return []
        key = digest_of([row["guard_id"] for row in guards])
        media = project.view.media()
        return [Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=[key]) for row in media]

    def run(self, project: Project, subject: str) -> Outcome:
        """A row for the evaluation image that this image shows, if any."""
        known = self._known(project)
        image = project.picture(subject)
        own = np.array([int(perceptual_hash(_cut(image, window)), 16) for window in windows()], np.uint64)
        distance = np.bitwise_count(known.hashes[:, None] ^ own[None]).min(axis=1)
        grey = grey_copy(image)
        for place in sorted({int(known.owner[row]) for row in np.flatnonzero(distance <= NEAR_BITS)}):
            row = known.rows[place]
            other = np.frombuffer(project.blobs.get(row["blob"]), np.uint8).reshape(COPY, COPY)
            if likeness(grey, other) >= ALIKE:
                values = {"media_id": subject, "name": row["name"], "uri": row["uri"]}
                return Outcome(facts=[Fact(table="leak", values={"leak_id": digest_of("leak", values)} | values)])
        return Outcome()

    def _known(self, project: Project) -> "_Known":
        rows = project.view.guards()
        kept = self.__dict__.get("kept")
        if kept is None or len(kept.rows) != len(rows):
            kept = _Known(rows)
            object.__setattr__(self, "kept", kept)
        return kept


@dataclass(frozen=True)
class _Known:
    """The hashes of all guarded images, and which image each is of."""

    rows: Sequence

    @cached
    def _all(self) -> list[tuple[int, int]]:
        return [(int(text, 16), place) for place, row in enumerate(self.rows) for text in json.loads(row["hashes"])]

    @cached
    def hashes(self) -> np.ndarray:
        return np.array([value for value, _ in self._all], np.uint64)

    @cached
    def owner(self) -> np.ndarray:
        return np.array([place for _, place in self._all], np.int64)


def windows() -> Iterator[Window]:
    """The whole, and parts of it that a crop may have left."""
    for wide, high in product(SHARES, SHARES):
        lefts = PLACES if wide < 1 else (0.0,)
        tops = PLACES if high < 1 else (0.0,)
        for left, top in product(lefts, tops):
            x, y = left * (1 - wide), top * (1 - high)
            yield x, y, x + wide, y + high


def _cut(image: UInt8[np.ndarray, "height width 3"], window: Window) -> UInt8[np.ndarray, "rows columns 3"]:
    height, width = image.shape[:2]
    x0, y0, x1, y1 = window
    left, top = int(x0 * width), int(y0 * height)
    return image[top : max(top + 1, round(y1 * height)), left : max(left + 1, round(x1 * width))]


def grey_copy(image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "64 64"]:
    """A small copy, each side of the same length whatever the image's."""
    return np.asarray(Image.fromarray(image).convert("L").resize((COPY, COPY), Image.Resampling.BOX))


def likeness(first: UInt8[np.ndarray, "64 64"], second: UInt8[np.ndarray, "64 64"]) -> float:
    """The best correlation of one image with a part of the other, whichever of them was cropped."""
    return max(_best(first, second), _best(second, first))


def _best(part: UInt8[np.ndarray, "64 64"], whole: UInt8[np.ndarray, "64 64"]) -> float:
    """The best correlation over a grid of parts; where it is nearly enough, the best part is moved to fit."""
    looked = _normal(np.asarray(Image.fromarray(part).resize((LOOK, LOOK), Image.Resampling.BOX), float))
    picture = Image.fromarray(whole)

    def compared(box: Window) -> float:
        left, top, right, bottom = (COPY * side for side in box)
        other = picture.resize((LOOK, LOOK), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
        return float((looked * _normal(np.asarray(other, float))).mean())

    best, place = max((compared(box), box) for box in _grid())
    step = STEP / 2
    while NEARLY <= best < ALIKE and step >= FINEST:
        moved, there = max((compared(box), box) for box in _beside(place, step))
        if moved > best:
            best, place = moved, there
        else:
            step /= 2
    return best


def _grid() -> Iterator[Window]:
    """Parts whose sides are at least `LEAST_SHARE` of the whole."""
    shares = np.arange(1.0, LEAST_SHARE - 1e-9, -STEP).tolist()
    for wide, high in product(shares, shares):
        for left, top in product(*(_starts(share) for share in (wide, high))):
            yield left, top, left + wide, top + high


def _beside(box: Window, step: float) -> Iterator[Window]:
    """The part with one edge moved, or two that are opposite, within the whole."""
    left, top, right, bottom = box
    for by in (-step, step):
        moves = ((by, 0, 0, 0), (0, by, 0, 0), (0, 0, by, 0), (0, 0, 0, by), (by, 0, by, 0), (0, by, 0, by))
        for x0, y0, x1, y1 in moves:
            found = left + x0, top + y0, right + x1, bottom + y1
            if min(found) >= 0 and max(found) <= 1:
                yield found


def _starts(share: float) -> Sequence[float]:
    return (0.0,) if share == 1 else tuple(np.linspace(0, 1 - share, 5).tolist())


def _normal(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-6 else np.zeros_like(values)
