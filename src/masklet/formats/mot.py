"""The MOTChallenge layout: a line of text for each object on each frame."""

import configparser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.stream import iterate_items

MOT_FRAMES = "mot_frames.json"  # beside the boxes, as `masklet track` leaves it: the file of each frame, by its number
CLASSES = (  # of MOT16 and later, from 1
    "pedestrian",
    "person on vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non motorized vehicle",
    "static person",
    "distractor",
    "occluder",
    "occluder on the ground",
    "occluder full",
    "reflection",
)


@dataclass(frozen=True, kw_only=True)
class MotBox:
    """An object on a frame. Frames and ids count from 0 here; the box is xywh in pixels, on pixel edges."""

    frame: int
    object_id: int
    box_xywh: Sequence[float | int]
    confidence: float

    def line(self) -> str:
        """frame, id, left, top, width, height, confidence, -1, -1, -1; frames, ids and pixels count from 1 there."""
        left, top, width, height = self.box_xywh
        place = f"{left + 1:g},{top + 1:g},{width:g},{height:g}"
        return f"{self.frame + 1},{self.object_id + 1},{place},{self.confidence:.4f},-1,-1,-1"


def read_mot(path: Path) -> CocoFile:
    """The boxes of a file as an image for each frame, called by mot_frames.json, seqinfo.ini or `img1/000001.jpg`.

    The file is given, or the folder of a sequence, which holds it as gt/gt.txt, det/det.txt or mot.txt. Boxes of
    confidence 0 are not judged and become crowds. Raises: InputError naming the file and the line.
    """
    found = [path / name for name in ("gt/gt.txt", "det/det.txt", "mot.txt")] if path.is_dir() else [path]
    file = next((each for each in found if each.is_file()), None)
    if file is None:
        raise InputError(f"{path}: has none of {', '.join(str(each.relative_to(path)) for each in found)}")
    root = file.parent.parent if file.parent.name in ("gt", "det") else file.parent
    frames: dict[int, list[tuple[list[float], float, str]]] = {}
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            frame, box, confidence, phrase = _read_line(line, f"{file}: line {number}")
            frames.setdefault(frame, []).append((box, confidence, phrase))
    info = _sequence(root / "seqinfo.ini")
    sides = [info.get(side, "") for side in ("imheight", "imwidth")]
    size = (int(sides[0]), int(sides[1])) if all(side.isdecimal() and int(side) for side in sides) else None
    names = _frame_names(root / MOT_FRAMES)
    builder = CocoBuilder()
    for frame, boxes in sorted(frames.items()):
        name = f"{info.get('imdir', 'img1')}/{frame:06d}{info.get('imext', '.jpg')}"
        builder.add_image(names.get(str(frame), name), size)
        for (object_id, *box), confidence, phrase in boxes:
            builder.add_object(phrase, box, track_id=int(object_id), iscrowd=0 if confidence else 1)
    if not frames:
        raise InputError(f"{file}: has no lines")
    return builder.build()


def _read_line(line: str, where: str) -> tuple[int, list[float], float, str]:
    """Frame, id and box (xywh from 0), confidence, and class."""
    try:
        values = [float(word) for word in line.replace(" ", ",").split(",") if word]
    except ValueError as error:
        raise InputError(f"{where}: is not made of numbers") from error
    if len(values) < 6 or not np.isfinite(values).all() or not 1 <= values[0] < 2**31:
        raise InputError(f"{where}: frame (from 1), id, left, top, width, height are expected")
    frame, object_id, left, top, width, height = values[:6]
    kind = int(values[7]) if len(values) > 7 else -1
    phrase = CLASSES[kind - 1] if 1 <= kind <= len(CLASSES) else "object"
    return int(frame), [object_id, left - 1, top - 1, width, height], values[6] if len(values) > 6 else 1.0, phrase


def _frame_names(path: Path) -> dict[str, str]:
    names = {key: value for key, value, _ in iterate_items(path)} if path.is_file() else {}
    for key, name in names.items():
        if not isinstance(name, str):
            raise InputError(f"{path}: {key}: is {name!r}; the name of a file is expected")
    return names


def _sequence(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return dict(parser["Sequence"]) if parser.has_section("Sequence") else {}


def write_mot(labels: CocoFile, path: Path) -> Path:
    """Writes the boxes; images are frames in the order of the labels, an object without a `track_id` is a new one."""
    lines, fresh = [], max((each.track_id or 0 for each in labels.annotations), default=0)
    found = labels.by_image()
    for frame, key in enumerate(labels.images):
        for record in found.get(key, ()):
            fresh += record.track_id is None
            if record.bbox is None:
                raise InputError(f"annotation {record.id}: bbox: is missing")
            identity = fresh if record.track_id is None else record.track_id
            score = 1.0 if record.score is None else float(record.score)
            lines.append(MotBox(frame=frame, object_id=identity - 1, box_xywh=record.bbox, confidence=score).line())
    return write_atomically(path, "\n".join([*lines, ""]))
