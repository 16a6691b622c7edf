"""The kinds of sources that a recipe may name, each with its settings and how it is opened.

A new kind is a class here and its name in `FileSpec` or `GeneratedSpec`. Files are opened by their layout of the same
name (`data.labels.layouts`). Generated kinds have a renderer of images, from a seed and a `config`, and one of clips,
which also takes `num_frames` (`open_renderers`).

Every kind that is read from files has `split` and `limit`: a tenth of the images (of videos: of the videos) is held
out by a hash of their names unless `split` is "all", and `limit` keeps that many, always the same ones. Where labels of
other classes may serve as negatives and are fewer than `everyday_negatives`, everyday things that hardly any image
shows fill up.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from masklet.data.everyday import WithEverydayNegatives
from masklet.data.labels.layouts import LAYOUTS, LabelFiles, find_labels
from masklet.data.schema import Clip, Example
from masklet.data.sources import CocoConfig, IndexedSource, Split
from masklet.data.videos import LabelledVideos
from masklet.scenes.cutouts import CutoutLibrary, compose_scene
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import compose_clip, render_clip
from masklet.scenes.scene import render_scene

DEFAULT_LABELS = "annotations.json"  # as the shipped recipes for fine-tuning have it


class Strict(BaseModel, extra="forbid", frozen=True):
    """A table of a recipe; unknown keys are errors, in the dataclasses within it, too."""


class _Files(Strict, frozen=True):
    split: Split = "train"
    limit: Annotated[int, Field(ge=1)] | None = None


class _Asked(_Files, frozen=True):
    max_negatives: Annotated[int, Field(ge=0)] = 8
    everyday_negatives: Annotated[int, Field(ge=0)] = 0
    complete: bool = True


class CocoSpec(_Asked, frozen=True):
    """A COCO json and its images."""

    kind: Literal["coco"]
    annotations: str
    images: str
    scenes: tuple[tuple[str, ...], ...] = ()
    origins: tuple[str, ...] = ()
    synonym_probability: Annotated[float, Field(ge=0, le=1)] = 0.3


class LvisSpec(_Files, frozen=True):
    """An LVIS json, which says of each image what is labelled in full and what is absent, and its images."""

    kind: Literal["lvis"]
    annotations: str
    images: str
    max_negatives: Annotated[int, Field(ge=0)] = 8
    synonym_probability: Annotated[float, Field(ge=0, le=1)] = 0.3


class SacoSpec(_Files, frozen=True):
    """A SA-Co json and its images."""

    kind: Literal["saco"]
    annotations: str
    images: str


class YoloSpec(_Asked, frozen=True):
    """A data.yaml of Ultralytics with its images/ and labels/; `part` is the list of images to use."""

    kind: Literal["yolo"]
    data: str
    part: Literal["train", "val", "test"] = "train"


class MasksSpec(_Asked, frozen=True):
    """A folder with images/NAME.jpg and masks/PHRASE/NAME.png, where a pixel's value is the number of its instance."""

    kind: Literal["masks"]
    folder: str


class YtvisSpec(_Asked, frozen=True):
    """A YouTube-VIS json and the folder of its frames: clips for tracking, images with phrases for concepts."""

    kind: Literal["ytvis"]
    annotations: str
    images: str


class DavisSpec(_Files, frozen=True):
    """Folders in the DAVIS layout, one for each video: clips without phrases, for tracking alone."""

    kind: Literal["davis"]
    annotations: str
    images: str


class ToolSpec(_Asked, frozen=True):
    """Labels as an annotation tool exports them, a file or a folder, and the folder of their images."""

    kind: Literal["labelme", "cvat", "voc", "labelstudio", "imagefolder", "mot", "objects"]
    annotations: str
    images: str


class ScenesSpec(Strict, frozen=True):
    """Generated scenes; a phase may override any of `options`."""

    kind: Literal["scenes"]
    options: SceneConfig = SceneConfig()


class CutoutsSpec(Strict, frozen=True):
    """Scenes composed from cut-outs on backgrounds; a phase may override any of `options`."""

    kind: Literal["cutouts"]
    cutouts: str
    backgrounds: str
    options: SceneConfig = SceneConfig()


VideoSpec = YtvisSpec | DavisSpec
FileSpec = CocoSpec | LvisSpec | SacoSpec | YoloSpec | MasksSpec | ToolSpec | VideoSpec
GeneratedSpec = ScenesSpec | CutoutsSpec
SourceSpec = Annotated[FileSpec | GeneratedSpec, Field(discriminator="kind")]


def open_images(spec: FileSpec, root: Path) -> IndexedSource:
    """The labelled images of a source; of videos, their frames. Raises: InputError naming what cannot be used."""
    layout, files = _place(spec, root)
    images = LAYOUTS[layout].open(files, _query_config(spec))
    few = spec.everyday_negatives if isinstance(spec, _Asked) else 0
    return WithEverydayNegatives(images, few) if few else images


def _place(spec: FileSpec, root: Path) -> tuple[str, LabelFiles]:
    """Layout and place of a source. Where the file that recipes name is not there, labels are looked for."""
    files = _files(spec, root)
    is_default = isinstance(spec, CocoSpec) and spec.annotations == DEFAULT_LABELS
    if is_default and root.is_dir() and not files.labels.exists():
        return find_labels(root)
    return spec.kind, files


def open_videos(spec: VideoSpec, root: Path) -> LabelledVideos:
    """The labelled videos of a source. Raises: InputError naming what cannot be used."""
    opener = LAYOUTS[spec.kind].open_videos
    assert opener is not None, "the layouts of videos"
    return opener(_files(spec, root), _query_config(spec))


def open_renderers(spec: GeneratedSpec, root: Path) -> tuple[Callable[..., Example], Callable[..., Clip]]:
    """What renders the images and the clips of a source."""
    if isinstance(spec, ScenesSpec):
        return render_scene, render_clip
    library = CutoutLibrary.open(root / spec.cutouts, root / spec.backgrounds, split="train")
    return partial(compose_scene, library=library), partial(compose_clip, library=library)


def _files(spec: FileSpec, root: Path) -> LabelFiles:
    if isinstance(spec, YoloSpec):
        return LabelFiles(labels=root / spec.data, part=spec.part)
    if isinstance(spec, MasksSpec):
        return LabelFiles(labels=root / spec.folder)
    return LabelFiles(labels=root / spec.annotations, images=root / spec.images)


def _query_config(spec: FileSpec) -> CocoConfig:
    return CocoConfig(**spec.model_dump(include={field.name for field in fields(CocoConfig)}))
