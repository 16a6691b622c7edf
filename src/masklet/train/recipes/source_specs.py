"""The kinds of sources that a recipe may name, and how those that are files are opened.

Every kind that is read from files has `split` and `limit`: a tenth of the pictures (of videos: of the videos) is held
out by a hash of their names unless `split` is "all", and `limit` keeps so many, always the same ones. Where labels of
other things may serve as negatives and are fewer than `everyday_negatives`, things that few pictures show fill up.
"""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from masklet.data.everyday import WithEverydayNegatives
from masklet.data.labels.layouts import LAYOUTS, LabelFiles
from masklet.data.sources import CocoConfig, IndexedSource, Split
from masklet.data.videos import LabelledVideos


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Files(_Strict):
    split: Split = "train"
    limit: Annotated[int, Field(ge=1)] | None = None


class _Asked(_Files):
    max_negatives: Annotated[int, Field(ge=0)] = 8
    everyday_negatives: Annotated[int, Field(ge=0)] = 0
    complete: bool = True


class CocoSpec(_Asked):
    """A COCO json and its pictures."""

    kind: Literal["coco"]
    annotations: str
    images: str
    scenes: tuple[tuple[str, ...], ...] = ()
    origins: tuple[str, ...] = ()
    synonym_probability: Annotated[float, Field(ge=0, le=1)] = 0.3


class LvisSpec(_Files):
    """A LVIS json, which says of each picture what is labelled in full and what is absent, and its pictures."""

    kind: Literal["lvis"]
    annotations: str
    images: str
    max_negatives: Annotated[int, Field(ge=0)] = 8
    synonym_probability: Annotated[float, Field(ge=0, le=1)] = 0.3


class SacoSpec(_Files):
    """A SA-Co json and its pictures."""

    kind: Literal["saco"]
    annotations: str
    images: str


class YoloSpec(_Asked):
    """A data.yaml of Ultralytics with its images/ and labels/; `part` is the list of pictures to use."""

    kind: Literal["yolo"]
    data: str
    part: Literal["train", "val", "test"] = "train"


class MasksSpec(_Asked):
    """A folder with images/NAME.jpg and masks/PHRASE/NAME.png, where a pixel's value is the number of its instance."""

    kind: Literal["masks"]
    folder: str


class YtvisSpec(_Asked):
    """A YouTube-VIS json and the folder of its frames: clips for tracking, pictures with phrases for concepts."""

    kind: Literal["ytvis"]
    annotations: str
    images: str


class DavisSpec(_Files):
    """Folders in the DAVIS layout, one for each video: clips without phrases, for tracking alone."""

    kind: Literal["davis"]
    annotations: str
    images: str


class ScenesSpec(_Strict):
    """Generated scenes; a phase may override any of `options`."""

    kind: Literal["scenes"]
    options: dict[str, Any] = {}


class CutoutsSpec(_Strict):
    """Scenes composed from cut-outs on backgrounds; a phase may override any of `options`."""

    kind: Literal["cutouts"]
    cutouts: str
    backgrounds: str
    options: dict[str, Any] = {}


VideoSpec = YtvisSpec | DavisSpec
FileSpec = CocoSpec | LvisSpec | SacoSpec | YoloSpec | MasksSpec | VideoSpec
SourceSpec = Annotated[FileSpec | ScenesSpec | CutoutsSpec, Field(discriminator="kind")]


def open_pictures(spec: FileSpec, root: Path) -> IndexedSource:
    """The labelled images of a source; of videos, their frames. Raises: InputError naming what cannot be used."""
    images = LAYOUTS[spec.kind].open(_files(spec, root), _query_config(spec))
    few = spec.everyday_negatives if isinstance(spec, _Asked) else 0
    return WithEverydayNegatives(images, few) if few else images


def open_videos(spec: VideoSpec, root: Path) -> LabelledVideos:
    """The labelled videos of a source. Raises: InputError naming what cannot be used."""
    opened = LAYOUTS[spec.kind].open_videos
    assert opened is not None, "the layouts of videos"
    return opened(_files(spec, root), _query_config(spec))


def _files(spec: FileSpec, root: Path) -> LabelFiles:
    if isinstance(spec, YoloSpec):
        return LabelFiles(labels=root / spec.data, part=spec.part)
    if isinstance(spec, MasksSpec):
        return LabelFiles(labels=root / spec.folder)
    return LabelFiles(labels=root / spec.annotations, images=root / spec.images)


def _query_config(spec: FileSpec) -> CocoConfig:
    return CocoConfig(**spec.model_dump(include={field.name for field in fields(CocoConfig)}))
