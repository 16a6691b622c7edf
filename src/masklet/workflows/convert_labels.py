"""Labels from one layout into another, with their images where the new layout holds them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.formats.coco import CocoFile

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


def to_fiftyone(labels: CocoFile, find_image: Callable[[str], Path], field: str = "ground_truth") -> Iterator[Any]:
    """A `fiftyone.Sample` for each image, with its objects as detections under `field`; needs `masklet[fiftyone]`.

    Raises: ImportError without the package, InputError when an image is not found.
    """
    try:
        import fiftyone  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError('FiftyOne samples need a package: pip install "masklet[fiftyone]"') from error
    from masklet.formats.records import decode_mask
    from masklet.formats.tools.objects import box_of, by_image, name_of_image, size_of

    for image, records in by_image(labels):
        height, width = size_of(image)
        detections = []
        for record in records:
            x, y, w, h = box_of(record, (height, width))
            fields: dict[str, Any] = {} if record.score is None else {"confidence": record.score}
            if record.segmentation:
                mask = decode_mask(record.segmentation, (height, width))
                fields["mask"] = mask[round(y) : round(y + h), round(x) : round(x + w)]
            label = labels.categories[record.category_id].name
            relative = [x / width, y / height, w / width, h / height]
            detections.append(fiftyone.Detection(label=label, bounding_box=relative, **fields))
        sample = fiftyone.Sample(filepath=str(find_image(name_of_image(image)).absolute()))
        sample[field] = fiftyone.Detections(detections=detections)
        yield sample
