"""A small world whose truth is known: photos of coloured squares, and a segmenter that finds them by their colour.

The segmenter can be told to overlook instances and to draw bad masks, each by chance from the pixels alone, so that the
same photo gives the same answer in every process.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from masklet.engine.blobs import Blobs
from masklet.engine.ledger.ledger import Ledger
from masklet.engine.records import Fact
from masklet.engine.runner import Runner
from masklet.engine.stages.duplicates import Duplicates
from masklet.engine.stages.finalise import Finalise
from masklet.engine.stages.ingest import Ingest, source_fact
from masklet.engine.stages.masks import ProposeMasks
from masklet.engine.stages.phrases import ListedPhrases
from masklet.engine.stages.stage import Project, Stage
from masklet.engine.stages.verification import VerifyExhaustivity, VerifyMasks
from masklet.engine.verify.by_score import ByScore
from masklet.engine.view import LedgerView
from masklet.ops.masks import mask_to_box
from masklet.protocols import VideoSegmenter

COLOURS = {"red square": (220, 30, 30), "green square": (30, 200, 40), "blue square": (30, 60, 230)}
PHRASES = tuple(COLOURS)
SIDE = 96


def write_photos(folder: Path, count: int, *, seed: int = 0, most: int = 3) -> Path:
    """`count` photos with up to `most` squares of each colour, apart from each other, on a ground of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(paint(np.random.default_rng([seed, index]), most=most)).save(folder / f"{index:04d}.png")
    return folder


def paint(rng: np.random.Generator, *, most: int = 3) -> np.ndarray:
    """One photo."""
    small = rng.integers(60, 150, (4, 4, 3)).astype(np.uint8)
    picture = np.array(Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.NEAREST))
    cells = [(row, column) for row in range(4) for column in range(4)]
    rng.shuffle(cells)
    for colour in COLOURS.values():
        for _ in range(int(rng.integers(0, most + 1))):
            row, column = cells.pop()
            side = int(rng.integers(8, 18))
            y, x = row * 24 + int(rng.integers(1, 5)), column * 24 + int(rng.integers(1, 5))
            picture[y : y + side, x : x + side] = colour
    return picture


def true_masks(image: np.ndarray, phrase: str) -> list[np.ndarray]:
    """The squares of a phrase."""
    if phrase not in COLOURS:
        return []
    labels, count = ndimage.label((image == COLOURS[phrase]).all(-1))  # type: ignore[misc]
    return [labels == number + 1 for number in range(count)]


@dataclass(frozen=True)
class Found:
    """What the segmenter gives."""

    presence: Mapping[str, float]
    phrases: Sequence[str]
    scores: np.ndarray
    boxes: np.ndarray
    all_masks: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.phrases)

    def mask(self, index: int, *, cut: float = 0.5) -> np.ndarray:
        del cut
        return self.all_masks[index]


@dataclass
class ColourSegmenter:
    """Finds squares by colour; `drop` and `bad` are the probabilities to overlook one and to draw it badly.

    Scores say nothing of truth, unless it `tells`: then they are between 0.41 and 0.69, and bad masks mostly lower.
    """

    drop: float = 0.0
    bad: float = 0.0
    score: float = 0.9
    tells: bool = False
    calls: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def identity(self) -> str:
        return f"colours-{self.drop}-{self.bad}-{self.score}{'-tells' * self.tells}"

    def open(self, image: Path | np.ndarray) -> "ColourSession":
        assert isinstance(image, np.ndarray)
        return ColourSession(self, image)

    def open_video(self, source: Sequence[Path]) -> VideoSegmenter:
        raise NotImplementedError(source)


@dataclass
class ColourSession:
    segmenter: ColourSegmenter
    image: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[0], self.image.shape[1]

    def find(self, phrases: str | Sequence[str] | None = None, **options: object) -> Found:
        del options
        asked = [phrases] if isinstance(phrases, str) else list(phrases or ())
        self.segmenter.calls.append(tuple(asked))
        names, masks, scores, presence = [], [], [], {}
        for phrase in asked:
            key = hashlib.sha256(self.image.tobytes() + phrase.encode()).digest()
            rng = np.random.default_rng(list(key))
            truth = true_masks(self.image, phrase)
            presence[phrase] = 0.95 if truth else 0.02
            for mask in truth:
                chance = rng.random()
                if chance < self.segmenter.drop:
                    continue
                is_bad = chance < self.segmenter.drop + self.segmenter.bad
                names.append(phrase)
                telling = 0.41 + 0.28 * (0.6 * rng.random() + 0.4 * (not is_bad)) if self.segmenter.tells else 0.0
                scores.append(telling or self.segmenter.score)
                masks.append(ndimage.binary_erosion(mask, iterations=2) if is_bad else mask)
        kept = [index for index, mask in enumerate(masks) if mask.any()]
        boxes = np.array([mask_to_box(masks[index]) for index in kept], np.float32).reshape(-1, 4)
        return Found(
            presence=presence,
            phrases=[names[index] for index in kept],
            scores=np.array([scores[index] for index in kept], np.float32),
            boxes=boxes,
            all_masks=[masks[index] for index in kept],
        )

    def click(self, points: object = (), labels: object = (), *, mask: object = None) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def open_world(folder: Path, photos: Path, *, place: str | None = None) -> Project:
    """A project in a folder, or with its ledger at the address `place`."""
    blobs = Blobs(folder / "blobs")
    return Project(
        view=LedgerView(Ledger.open(place or folder / "ledger.sqlite"), blobs), blobs=blobs, originals=photos
    )


def stages(
    project: Project, segmenter: ColourSegmenter, verifier: object = None, guard: Stage | None = None
) -> list[Stage]:
    """From photos to annotations."""
    source = source_fact("squares", "CC0-1.0")
    project.view.ledger.add([source])
    judge = ByScore() if verifier is None else verifier
    return [
        Ingest(source_id=source.values["source_id"]),
        Duplicates(),
        *([guard] if guard else []),
        ListedPhrases(phrases=PHRASES),
        ProposeMasks(segmenter=segmenter),  # type: ignore[arg-type]
        VerifyMasks(verifier=judge),  # type: ignore[arg-type]
        VerifyExhaustivity(verifier=judge),  # type: ignore[arg-type]
        Finalise(),
    ]


def run_world(
    project: Project,
    segmenter: ColourSegmenter | None = None,
    *,
    verifier: object = None,
    run_id: str = "first",
    owner: str | None = None,
    guard: Stage | None = None,
) -> bool:
    """One run over everything."""
    project.view.ledger.add([Fact(table="run", values={"run_id": run_id, "started_at": 0, "code": "", "config": ""})])
    return Runner(project, stages(project, segmenter or ColourSegmenter(), verifier, guard), run_id, owner=owner).run()
