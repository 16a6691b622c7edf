"""Labels from one layout into another, with their images where the new layout holds them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masklet.errors import InputError

LABEL_FORMATS = (
    *("coco", "lvis", "saco", "yolo", "masks", "labelme", "cvat", "labelstudio", "voc", "mot", "imagefolder"),
)


@dataclass(frozen=True, kw_only=True)
class ConvertLabelsJob:
    """Labels of a known layout, a file or a folder of or around one, the folder to write into, and the layout to write.

    `images` is the folder that the labels call their images below; by default it is looked for beside the labels.
    Raises: InputError for an unknown layout.
    """

    labels: Path
    folder: Path
    to: str
    images: Path | None = None

    def __post_init__(self) -> None:
        if self.to not in LABEL_FORMATS:
            raise InputError(f"unknown format {self.to!r}: choose from {', '.join(LABEL_FORMATS)}")


@dataclass(frozen=True, kw_only=True)
class ConvertedLabels:
    """What was read, and the files written, the labels before the images."""

    layout: str
    num_images: int
    num_objects: int
    num_masks: int
    files: tuple[Path, ...]

    def __str__(self) -> str:
        what = f"{self.num_images} images, {self.num_objects} objects ({self.num_masks} with masks)"
        return f"{self.layout}: {what} -> {self.files[0]}"

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {**vars(self), "files": [str(each) for each in self.files]}


def convert_labels(job: ConvertLabelsJob) -> ConvertedLabels:
    """Converts. Raises: InputError naming what cannot be read or written, or that the new layout cannot hold."""
    from masklet.data.labels.conversion import IMAGES, WRITERS, LabelExport, find_image, read_any
    from masklet.data.labels.layouts import LabelFiles, labels_at, recognise

    place = labels_at(job.labels)
    find = find_image(place, job.images)
    labels = read_any(LabelFiles(labels=place, images=job.images or Path()), find)
    if job.folder.resolve() == (place if place.is_dir() else place.parent).resolve():
        raise InputError(f"{job.folder} holds the labels themselves: choose another folder for the new ones")
    written = WRITERS[job.to](export := LabelExport(labels=labels, folder=job.folder, find_image=find))
    if job.to in IMAGES and export.has_images():
        written += export.copy_images(IMAGES[job.to])
    return ConvertedLabels(
        layout=recognise(place),
        num_images=len(labels.images),
        num_objects=len(labels.annotations),
        num_masks=sum(bool(each.segmentation) for each in labels.annotations),
        files=tuple(written),
    )
