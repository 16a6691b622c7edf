"""Pascal VOC: an XML file for each image, with boxes in pixels that count from 1 and include their last one."""

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.tools.objects import (
    box_of,
    by_image,
    check_pixels,
    image_name,
    name_of_image,
    number,
    read_xml,
    size_of,
    stem_path,
    whole_number,
)


def read_voc(path: Path) -> CocoFile:
    """The labels of a file, or of all files below a folder. Raises: InputError naming the file and the field."""
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.rglob("*.xml")) if path.is_dir() else [path]
    builder = CocoBuilder()
    for file in files:
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        root = read_xml(file)
        if root.tag == "annotation":
            _read_file(root, file, file.parent.relative_to(folder).as_posix(), builder)
    if not builder.images:
        raise InputError(f"{path}: no Pascal VOC file (.xml with <annotation>)")
    return builder.build()


def _read_file(root: Element, file: Path, below: str, builder: CocoBuilder) -> None:
    name = root.findtext("filename")
    if not name:
        raise InputError(f"{file}: filename: is missing")
    sides = [whole_number(root.findtext(f"size/{side}", "0"), f"{file}: {side}") for side in ("height", "width")]
    builder.add_image(image_name(below, name), check_pixels(sides[0], sides[1], str(file)) if min(sides) > 0 else None)
    for place, each in enumerate(root.iterfind("object")):
        where = f"{file}: object {place}"
        x0, y0, x1, y1 = (
            number(each.findtext(f"bndbox/{side}"), f"{where}: {side}") for side in ("xmin", "ymin", "xmax", "ymax")
        )
        phrase = (each.findtext("name") or "").strip()
        builder.add_object(phrase, [max(x0 - 1, 0), max(y0 - 1, 0), x1 - max(x0 - 1, 0), y1 - max(y0 - 1, 0)])


def write_voc(labels: CocoFile, folder: Path) -> list[Path]:
    """Writes a file for each image, with the boxes of its objects alone, and returns them."""
    paths = []
    for image, records in by_image(labels):
        size, name = size_of(image), name_of_image(image)
        root = Element("annotation")
        SubElement(root, "filename").text = name.rsplit("/", 1)[-1]
        measures = SubElement(root, "size")
        for side, value in (("width", size[1]), ("height", size[0]), ("depth", 3)):
            SubElement(measures, side).text = str(value)
        for record in records:
            each = SubElement(root, "object")
            SubElement(each, "name").text = labels.categories[record.category_id].name
            x, y, width, height = box_of(record, size)
            box = SubElement(each, "bndbox")
            for side, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + width), ("ymax", y + height)):
                SubElement(box, side).text = f"{value:g}"
        content = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        paths.append(write_atomically(stem_path(folder, name, ".xml"), content))
    return paths
