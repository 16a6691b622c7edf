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
    """Labels, a file or a folder in any layout that is known, the folder to write into, and the layout to write.

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
    from masklet.data.labels.conversion import WRITERS, LabelExport, find_image, read_any
    from masklet.data.labels.layouts import LabelFiles, recognise

    files = LabelFiles(labels=job.labels, images=job.images or Path())
    find = find_image(job.labels, job.images)
    labels = read_any(files, find)
    if job.folder.resolve() == (job.labels if job.labels.is_dir() else job.labels.parent).resolve():
        raise InputError(f"{job.folder} holds the labels themselves: choose another folder for the new ones")
    written = WRITERS[job.to](LabelExport(labels=labels, folder=job.folder, find_image=find))
    return ConvertedLabels(
        layout=recognise(job.labels),
        num_images=len(labels.images),
        num_objects=len(labels.annotations),
        num_masks=sum(bool(each.segmentation) for each in labels.annotations),
        files=tuple(written),
    )
