"""Snapshots in other layouts: COCO in one file a split, and YOLO as a folder with its data.yaml.

COCO keeps what training needs of negatives: phrases that were checked to be absent are `hard_negatives` of an image,
those of which every instance is labelled are its `exhaustive`.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import yaml

from masklet.data.labels.conversion import WRITERS, LabelExport
from masklet.engine.snapshots import SPLITS, Snapshot, check_there, export_saco
from masklet.engine.stages.stage import Project
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from masklet.formats.records import RunLengths
from masklet.formats.yolo import to_line
from masklet.ops.masks import mask_to_polygons, rle_area, rle_decode

OUTLINE_TOLERANCE = 0.5  # pixels that YOLO's outlines may be off


def export_coco(project: Project, snapshot: Snapshot, folder: Path) -> list[Path]:
    """One COCO file a split."""
    chosen = rows_by_split(project, snapshot)
    phrases = sorted({row["text"] for rows in chosen.values() for row in rows})
    return [
        write_atomically(
            folder / f"{split}.coco.json", json.dumps(coco_of(project, rows, phrases).to_json(), sort_keys=True)
        )
        for split, rows in chosen.items()
    ]


def coco_of(project: Project, rows: Sequence[Row], phrases: Sequence[str]) -> CocoFile:
    """Annotations as COCO records, images in the order of their names."""
    media = _media(project)
    numbers = {phrase: number for number, phrase in enumerate(phrases, 1)}
    document = CocoFile(images={}, categories={}, annotations=[])
    document.categories.update({n: CocoCategory(id=n, name=phrase) for phrase, n in numbers.items()})
    for media_id, mine in _by_image(rows, media).items():
        image, number = media[media_id], len(document.images) + 1
        document.images[number] = CocoImage(
            id=number,
            file_name=image["uri"],
            width=image["width"],
            height=image["height"],
            exhaustive=sorted(row["text"] for row in mine if row["polarity"] and row["instance_exhaustive"]),
            hard_negatives=sorted(row["text"] for row in mine if not row["polarity"]),
        )
        for row in mine:
            for mask in masks_of(project, row):
                x0, y0, x1, y1 = mask.box
                document.annotations.append(
                    CocoAnnotation(
                        id=len(document.annotations) + 1,
                        image_id=number,
                        category_id=numbers[row["text"]],
                        bbox=[x0, y0, x1 - x0, y1 - y0],
                        area=rle_area(mask.counts),
                        iscrowd=1 if mask.group else 0,
                        segmentation=RunLengths(size=list(mask.size), counts=mask.counts),
                    )
                )
    return document


def export_yolo(project: Project, snapshot: Snapshot, folder: Path) -> list[Path]:
    """A folder that Ultralytics trains from: data.yaml, lists of images, a text file of outlines for each image.

    Images are copied, as the layout finds labels by the place of the image. Raises: InputError when one is gone.
    """
    chosen = rows_by_split(project, snapshot)
    names = sorted({row["text"] for rows in chosen.values() for row in rows if row["polarity"]})
    media = _media(project)
    written, parts = [], {}
    for split, rows in chosen.items():
        parts[split] = f"images/{split}"
        for media_id, mine in _by_image(rows, media).items():
            image = media[media_id]
            source = project.originals / image["uri"]
            name = f"{Path(image['uri']).stem}-{media_id[:8]}"
            lines = [line for row in mine for line in _lines(project, row, names)]
            try:
                content = source.read_bytes()
            except OSError as error:
                raise InputError(f"{source} cannot be read: {error.strerror}") from error
            written.append(write_atomically(folder / "images" / split / f"{name}{source.suffix.lower()}", content))
            text = "".join(f"{line}\n" for line in lines)
            written.append(write_atomically(folder / "labels" / split / f"{name}.txt", text))
    document = {"path": ".", **parts, "names": dict(enumerate(names))}
    return [write_atomically(folder / "data.yaml", yaml.safe_dump(document, sort_keys=False)), *written]


def _lines(project: Project, row: Row, names: Sequence[str]) -> list[str]:
    found = []
    for mask in masks_of(project, row):
        outlines = mask_to_polygons(rle_decode(mask.counts, *mask.size), OUTLINE_TOLERANCE)
        height, width = mask.size
        found += [to_line(names.index(row["text"]), outline / [width, height]) for outline in outlines[:1]]
    return found


def rows_by_split(project: Project, snapshot: Snapshot) -> dict[str, list[Row]]:
    """The annotations of each split that has any. Raises: InputError when a photo has changed since."""
    splits = {entry["annotation"]: entry["split"] for entry in snapshot.manifest["annotations"]}
    found: dict[str, list[Row]] = {name: [] for name, _ in SPLITS}
    for row in project.view.all_annotations():
        if row["annotation_id"] in splits:
            found[splits[row["annotation_id"]]].append(row)
    check_there(project.view, [row for rows in found.values() for row in rows])
    return {name: rows for name, rows in found.items() if rows}


def masks_of(project: Project, row: Row) -> list:
    """The accepted masks of an annotation."""
    maskset = project.view.maskset_by_id(row["maskset_id"])
    masks = project.view.masks(maskset) if maskset else []
    return [masks[number] for number in json.loads(row["masks"])]


def _media(project: Project) -> dict[str, Row]:
    return {row["media_id"]: row for row in project.view.all_media()}


def _by_image(rows: Sequence[Row], media: Mapping[str, Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (media[row["media_id"]]["uri"], row["text"])):
        found[row["media_id"]].append(row)
    return found


def _saco(project: Project, snapshot: Snapshot, folder: Path) -> list[Path]:
    return export_saco(project.view, snapshot, folder, originals=project.originals)


def _of_tool(tool: str, project: Project, snapshot: Snapshot, folder: Path) -> list[Path]:
    """A folder a split in the layout of a labelling tool, whose masks stay masks."""
    written = []
    for split, rows in rows_by_split(project, snapshot).items():
        labels = coco_of(project, rows, sorted({row["text"] for row in rows}))
        export = LabelExport(labels=labels, folder=folder / split, find_image=lambda name: project.originals / name)
        written += WRITERS[tool](export)
    return written


EXPORTS: Mapping[str, Callable[[Project, Snapshot, Path], list[Path]]] = {
    "saco": _saco,
    "coco": export_coco,
    "yolo": export_yolo,
    **{tool: partial(_of_tool, tool) for tool in ("labelstudio", "cvat", "labelme")},
}
