"""Segmentation of many images: each result is written in the chosen formats, and finished images are not repeated."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.calibration import Calibration
from masklet.inference.output.registry import SHARED_FILES, ImageOutput, write_image_formats
from masklet.phrases import phrase_key
from masklet.workflows.manifest import ImageFile, Manifest, find_images, passed_over
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, stage

if TYPE_CHECKING:
    from numpy import ndarray

    from masklet.engine.verify.choices import Verifier
    from masklet.inference.image.image_result import ImageResult
    from masklet.inference.model import Model

# Written when the run ends, for all images, each into a folder of its name
JOINED_FORMATS = ("lvis", "saco", "masks", "labelme", "cvat", "labelstudio", "voc", "imagefolder")

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


@dataclass(frozen=True, kw_only=True)
class SegmentJob:
    """Images to segment, a concept given by phrases or by boxes, and the formats to write into `folder`.

    `images` are files, folders and glob patterns. Without a folder nothing is written. Raises: InputError when there is
    nothing to look for, or the threshold lies outside [0, 1].
    """

    images: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    not_boxes: tuple[Box, ...] = ()
    threshold: float | None = None
    calibration: Calibration | None = None
    exclusive: bool = False
    verifier: Path | None = None  # of a project of the data engine, trained for the model
    model: ModelChoice = field(default_factory=ModelChoice)
    formats: tuple[str, ...] = ("overlay",)
    folder: Path | None = None
    skip_finished: bool = True

    def __post_init__(self) -> None:
        if not all(map(phrase_key, self.phrases)):
            raise InputError("a phrase is empty")
        if not self.phrases and not self.boxes:
            raise InputError("nothing to look for: give a phrase or an example box")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError(f"the threshold must lie between 0 and 1, not {self.threshold:g}")
        if self.verifier is not None and not self.phrases:
            raise InputError("a verifier judges phrases, not examples: give a phrase")
        if self.verifier is not None and self.calibration is not None:
            raise InputError("a calibration is of the model alone: leave out either it or the verifier")

    @property
    def arguments(self) -> dict[str, Any]:
        """Everything that a run must share with an earlier one to reuse its results."""
        return {
            "phrases": self.phrases or None,
            "boxes": self.boxes or None,
            "not_boxes": self.not_boxes or None,
            "threshold": self.threshold,
            "name_or_path": self.model.name,
            "device": self.model.device,
            "dtype": self.model.dtype,
            "formats": self.formats,
            "calibration": self.calibration and self.calibration.digest,
            **({"exclusive": True} if self.exclusive else {}),
            **({"verifier": _digest(self.verifier)} if self.verifier else {}),
        }


@dataclass(frozen=True)
class SegmentedImage:
    """The result of one image and the files written, the overlay first."""

    name: str
    result: "ImageResult"
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.name}: {self.result.summary()}{f' -> {self.files[0]}' if self.files else ''}"

    def to_json(self) -> dict[str, Any]:
        """The result for programs."""
        return self.result.to_json()


@dataclass(frozen=True, kw_only=True)
class SegmentedFolder:
    """Numbers of images given and skipped, and a message for each image that could not be segmented."""

    num_images: int
    num_skipped: int
    failures: tuple[str, ...]


def segment_folder(job: SegmentJob, observer: JobObserver = SILENT) -> SegmentedFolder:
    """Segments all images of a job; the model is loaded when the first image needs it.

    Raises: InputError when there is no image, the model cannot be loaded, results cannot be written, or the only image
    cannot be segmented.
    """
    files = find_images(job.images, job.folder)
    manifest = Manifest.open(job.folder, job.arguments, files) if job.folder else None

    load = cache(partial(_load, job))

    for note in passed_over(job.images):
        observer.warned(note)
    num_skipped, failures = 0, []
    with _recorded(manifest, job.formats), stage(observer, len(files), "images") as advance:
        for file in files:
            if job.skip_finished and manifest and manifest.is_done(file):
                num_skipped += 1
                advance()
                continue
            result = _segment(file, job, load)
            if manifest:
                manifest.make_room(file)
            if not isinstance(result, InputError):
                result = _write(result, file, job, manifest)
            if isinstance(result, InputError):
                message = str(result) if file.source.name in str(result) else f"{file.source.name}: {result}"
                if len(files) == 1:
                    raise InputError(message) from result
                failures.append(message)
                observer.warned(message)
            else:
                observer.produced(result)
            advance()
    return SegmentedFolder(num_images=len(files), num_skipped=num_skipped, failures=tuple(failures))


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read as a verifier: {error.strerror}") from error


def _load(job: SegmentJob) -> "tuple[Model, Verifier | None]":
    if job.verifier is not None:
        from masklet.workflows.engine.verified import with_verifier

        return with_verifier(job.model, job.verifier)
    model = job.model.load()
    if job.calibration is not None:
        job.calibration.check_model(model.identity)
    return model, None


def _write(
    result: "ImageResult", file: ImageFile, job: SegmentJob, manifest: Manifest | None
) -> "SegmentedImage | InputError":
    """The image with its files on disk and on record, or why they cannot be written."""
    outputs: list[Path] = []
    if job.folder and manifest:
        try:
            output = ImageOutput(folder=job.folder, stem=file.stem, name=file.name)
            parts = {"coco"} if any(name in JOINED_FORMATS for name in job.formats) else set()
            outputs = write_image_formats(result, [*job.formats, *parts], output)
        except InputError as error:
            return error
        manifest.add(file, outputs, result.summary())
    return SegmentedImage(file.source.name, result, tuple(outputs))


@contextmanager
def _recorded(manifest: Manifest | None, formats: Sequence[str]) -> Iterator[None]:
    """Finished images are on record even when the run is stopped."""
    try:
        yield
    finally:
        if manifest:
            manifest.shared = [SHARED_FILES[name] for name in formats if name in SHARED_FILES]
            if manifest.done and any(name == "coco" or name in JOINED_FORMATS for name in formats):
                manifest.shared += _write_joined(manifest, formats)
            manifest.save()


def _segment(
    file: ImageFile, job: SegmentJob, load: "Callable[[], tuple[Model, Verifier | None]]"
) -> "ImageResult | InputError":
    """The result of one image, or what is wrong with the image. Raises: InputError when the model is wrong."""
    try:
        image = _read(file.source, job)
    except InputError as error:
        return error
    model, verifier = load()
    try:
        result: Any = model.segment(  # one image gives one result
            image,
            list(job.phrases) or None,
            boxes=list(job.boxes) or None,
            not_boxes=list(job.not_boxes) or None,
            threshold=job.threshold,
            calibration=job.calibration,
        )
    except InputError as error:
        return error
    if verifier is not None:
        from masklet.workflows.engine.verified import judged_result

        result = judged_result(result, verifier, 0.5 if job.threshold is None else job.threshold)
    return replace(result.exclusive() if job.exclusive else result, path=file.source)


def _read(source: Path, job: SegmentJob) -> "ndarray":
    from masklet.media.images import read_image

    if not os.path.exists(source):
        raise InputError(f"no such file: {source}")
    image = read_image(source)
    height, width = image.shape[:2]
    for box in (*job.boxes, *job.not_boxes):
        if min(box[:2]) < 0 or box[2] > width or box[3] > height:
            raise InputError(f"the box {','.join(f'{v:g}' for v in box)} lies outside the image of {width} x {height}")
    return image


def _write_joined(manifest: Manifest, formats: Sequence[str]) -> list[str]:
    """Writes labels of all finished images, those of earlier runs included; returns the names of the files."""
    from masklet.data.labels.conversion import WRITERS, LabelExport
    from masklet.formats.coco import read_coco
    from masklet.inference.output.export import CocoWriter

    writer, sources = CocoWriter(), {}
    for stem, record in sorted(manifest.done.items()):
        path = manifest.folder / f"{stem}.coco.json"
        if path.exists():
            part = read_coco(path)
            sources |= {image.file_name: Path(record["source"][0]) for image in part.images.values()}
            writer.extend(part)
    if "coco" in formats:
        write_atomically(manifest.folder / "coco.json", json.dumps(writer.to_dict()))
    written = []
    for name in (name for name in JOINED_FORMATS if name in formats):
        export = LabelExport(labels=writer.build(), folder=manifest.folder / name, find_image=sources.__getitem__)
        written += WRITERS[name](export)
    return [path.relative_to(manifest.folder).as_posix() for path in written]
