"""A photo session as clients see it, and as exports see it."""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from masklet.cached import cached
from masklet.errors import InputError
from masklet.inference.output.registry import IMAGE_FORMATS, ImageOutput, write_image_formats
from masklet.ops.masks import rle_decode
from masklet.protocols import absence
from masklet.serve.schemas import ConceptView, HandTask, ObjectView, PhotoView, RleMask
from masklet.serve.sessions.about import About
from masklet.serve.sessions.photo_state import PhotoHistory, PhotoObject
from masklet.workflows.segment_folder import JOINED_FORMATS

PHOTO_FORMATS = (*IMAGE_FORMATS, *JOINED_FORMATS)


def view_of(
    about: About, key: str, history: PhotoHistory, masks: Mapping[str, str], task: HandTask | None
) -> PhotoView:
    """What clients are shown."""
    size = about.size
    objects = [
        ObjectView(
            id=each.id,
            phrase=each.phrase,
            score=each.score,
            box=each.box,
            area=each.area,
            mask=RleMask(size=size, counts=masks[each.mask]),
            source=each.source,  # type: ignore[arg-type] - checked by the model
            hidden=each.hidden,
            locked=each.locked,
            points=list(each.points),
            labels=list(each.labels),  # type: ignore[arg-type]
        )
        for each in history.now.objects
    ]
    concepts = [
        ConceptView(
            phrase=each.phrase,
            presence=each.presence,
            kept=each.kept,
            boxes=list(each.boxes),
            not_boxes=list(each.not_boxes),
            explanation=list(each.explanation),
        )
        for each in history.now.concepts
    ]
    return PhotoView(
        id=key,
        name=about.name,
        version=history.version,
        width=size[1],
        height=size[0],
        threshold=history.threshold,
        concepts=concepts,
        objects=objects,
        can_undo=bool(history.past),
        can_redo=bool(history.future),
        task=task,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoInstances:
    """The objects of a session that count, as exports and drawing take results."""

    image: np.ndarray
    objects: tuple[PhotoObject, ...]
    counts_of: Mapping[str, str]
    presence: Mapping[str, float]
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.objects)

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrase of each."""
        return tuple(each.phrase or "object" for each in self.objects)

    @property
    def queries(self) -> tuple[str, ...]:
        """All phrases, also those of which there is nothing."""
        return tuple(self.presence)

    @cached
    def scores(self) -> np.ndarray:
        """The score of each."""
        return np.array([each.score for each in self.objects], np.float32)

    @cached
    def boxes(self) -> np.ndarray:
        """Boxes xyxy in pixels."""
        return np.array([each.box for each in self.objects], np.float32).reshape(-1, 4)

    @property
    def ids(self) -> np.ndarray:
        """1, 2, ... in the order of the objects."""
        return np.arange(1, len(self) + 1)

    @cached
    def small_areas(self) -> np.ndarray:
        """Pixels of each."""
        return np.array([each.area for each in self.objects], np.int64)

    @cached
    def masks(self) -> np.ndarray:
        """All masks."""
        return np.array([self.mask(place) for place in range(len(self))], bool).reshape(-1, *self.image.shape[:2])

    def mask(self, index: int, size: tuple[int, int] | None = None, *, cut: float = 0.5) -> np.ndarray:  # noqa: ARG002
        """One mask, at the size of the image or at `size` (height, width)."""
        mask = rle_decode(self.counts_of[self.objects[index].mask], *self.image.shape[:2])
        if size is None or size == mask.shape:
            return mask
        return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST), bool)

    def counts(self) -> dict[str, int]:
        """How many of each phrase there are."""
        return {phrase: self.phrases.count(phrase) for phrase in self.queries}

    def absence(self, phrase: str) -> str:
        """Why there is no instance of a phrase, in words."""
        return absence(self.presence[phrase])


def is_counted(each: PhotoObject, threshold: float | int) -> bool:
    """Whether an object counts: found above the threshold, clicked or drawn, and not hidden."""
    return not each.hidden and (each.score >= threshold or each.source in ("click", "hand"))


def instances_of(name: str, history: PhotoHistory, masks: Mapping[str, str], pixels: np.ndarray) -> PhotoInstances:
    """The objects that count, as a result."""
    chosen = tuple(each for each in history.now.objects if is_counted(each, history.threshold))
    presence = {each.phrase or "object": 1.0 for each in chosen}
    presence |= {each.phrase or "object": float(each.presence) for each in history.now.concepts}
    return PhotoInstances(image=pixels, objects=chosen, counts_of=masks, presence=presence, path=Path(name))


def export_photo(result: PhotoInstances, formats: list[str]) -> bytes:
    """A zip of files in each of the formats that the command line has. Raises: InputError for one that it has not."""
    unknown = [each for each in formats if each not in PHOTO_FORMATS]
    if unknown or not formats:
        raise InputError(f"unknown format {', '.join(unknown) or 'none'}: choose from {', '.join(PHOTO_FORMATS)}")
    name = result.path.name if result.path else "photo.png"
    stem = Path(name).stem
    with TemporaryDirectory(prefix="masklet-export-") as place:
        folder = Path(place)
        plain = [each for each in formats if each in IMAGE_FORMATS]
        write_image_formats(result, plain, ImageOutput(folder=folder / "out", stem=stem, name=name))
        joined = [each for each in formats if each in JOINED_FORMATS]
        if joined:
            _write_joined(result, name, joined, folder)
        return zipped(folder / "out")


def _write_joined(result: PhotoInstances, name: str, formats: list[str], folder: Path) -> None:
    from masklet.data.labels.conversion import WRITERS, LabelExport
    from masklet.inference.output.export import CocoWriter

    original = folder / name
    Image.fromarray(result.image).save(original, "PNG")
    for each in formats:
        writer = CocoWriter()
        writer.add(result, name)
        labels = LabelExport(labels=writer.build(), folder=folder / "out" / each, find_image=lambda _: original)
        WRITERS[each](labels)


def zipped(folder: Path) -> bytes:
    """All files below a folder as an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder).as_posix())
    return file.getvalue()
