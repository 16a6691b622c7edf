"""Many images in one run: what to read, where each result goes, and what a run cut short need not do again.

The manifest in the output folder holds the arguments of the run and, for each finished image, its files. A second run
with the same arguments skips images whose files are all there and whose source is unchanged; others start anew.
"""

import glob
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.media.suffixes import is_image

FORMATS = ("overlay", "coco", "json", "png", "yolo")
MANIFEST = "manifest.json"
SAVE_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """One image and the path, without suffix, of its results inside the output folder."""

    source: Path
    stem: str


def find_jobs(arguments: Sequence[str], results: Path | None = None) -> list[Job]:
    """Images named by files, folders (with their subfolders) and patterns, sorted within each, none of them twice.

    Results keep the place of an image inside the folder given; what lies in the folder `results` is no input. A file
    that does not exist stays in the list, so that the run can report it and go on.

    Raises: InputError when a folder or a pattern holds no image.
    """
    found: dict[Path, Path] = {}
    own = results.resolve() if results else None
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            paths = sorted(each for each in path.rglob("*") if _is_image(each, own))
            places = [each.relative_to(path) for each in paths]
        elif path.exists() or not glob.has_magic(argument):
            paths, places = [path], [Path(path.name)]
        else:
            paths = sorted(each for each in map(Path, glob.glob(argument, recursive=True)) if _is_image(each, own))
            places = [Path(each.name) for each in paths]
        if not paths:
            raise InputError(f"no images in {argument}")
        for each, place in zip(paths, places, strict=True):
            found.setdefault(each, place)
    return [Job(source, stem) for source, stem in zip(found, _stems(list(found.values())), strict=True)]


def _is_image(path: Path, results: Path | None) -> bool:
    if not is_image(path) or not path.is_file():
        return False
    return results is None or results not in path.resolve().parents


def _stems(places: list[Path]) -> list[str]:
    """`a` for a.jpg; with an a.png beside it `a.jpg` and `a.png`; with a second a.jpg from elsewhere `a.jpg-2`."""
    times = Counter(place.with_suffix("") for place in places)
    stems = []
    seen: Counter[str] = Counter()
    for place in places:
        bare = place.with_suffix("")
        stem = (bare if times[bare] == 1 else place).as_posix()
        seen[stem] += 1
        stems.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return stems


@dataclass
class Manifest:
    """What a run has done. `done` maps the stem of an image to its record."""

    folder: Path
    arguments: dict[str, Any]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    _saved_at: float = -math.inf

    @classmethod
    def open(cls, folder: Path, arguments: dict[str, Any]) -> "Manifest":
        """Continues the run in `folder` if it had the same arguments; at once finds out whether one can write there."""
        manifest = cls(folder, arguments)
        try:
            earlier = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if earlier["arguments"] == json.loads(json.dumps(arguments)):
                manifest.done = dict(earlier["images"])
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: begin a new one
            manifest.done = {}
        manifest.save()
        return manifest

    def is_done(self, job: Job) -> bool:
        """Whether all results of this very file are there."""
        record = self.done.get(job.stem)
        if record is None or record["source"] != _fingerprint(job.source):
            return False
        return all((self.folder / name).exists() for name in record["outputs"])

    def add(self, job: Job, outputs: Sequence[Path], summary: str) -> None:
        """Records a finished image; the file follows within `SAVE_SECONDS` or at the next `save`."""
        names = [path.relative_to(self.folder).as_posix() for path in outputs]
        self.done[job.stem] = {"source": _fingerprint(job.source), "outputs": names, "summary": summary}
        if time.monotonic() - self._saved_at > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Writes the manifest."""
        content = {"arguments": self.arguments, "images": self.done}
        write_atomically(self.folder / MANIFEST, json.dumps(content, indent=1))
        self._saved_at = time.monotonic()


def _fingerprint(source: Path) -> list[Any]:
    try:
        status = source.stat()
    except OSError:
        return [str(source.absolute())]
    return [str(source.absolute()), status.st_size, status.st_mtime_ns]


def parse_boxes(texts: Sequence[str]) -> list[tuple[float, float, float, float]]:
    """Boxes written as x0,y0,x1,y1 in pixels. Raises: InputError for anything else, inverted boxes included."""
    boxes = []
    for text in texts:
        try:
            x0, y0, x1, y1 = (float(part) for part in text.split(","))
        except ValueError as error:
            raise InputError(f"a box is four numbers x0,y0,x1,y1, not {text!r}") from error
        if not all(map(math.isfinite, (x0, y0, x1, y1))):
            raise InputError(f"the box {text} holds a coordinate that is not a finite number")
        if x0 >= x1 or y0 >= y1:
            raise InputError(f"the box {text} is empty or inverted: x0 must be less than x1, and y0 less than y1")
        boxes.append((x0, y0, x1, y1))
    return boxes


def check_boxes_inside(boxes: Sequence[tuple[float, float, float, float]], height: int, width: int) -> None:
    """Raises: InputError for a box that reaches outside the image."""
    for box in boxes:
        if min(box[:2]) < 0 or box[2] > width or box[3] > height:
            raise InputError(f"the box {','.join(f'{v:g}' for v in box)} lies outside the image of {width} x {height}")


def parse_formats(text: str) -> list[str]:
    """Formats written as a comma-separated list. Raises: InputError for an unknown one."""
    formats = [part.strip() for part in text.split(",") if part.strip()]
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"unknown format {name!r}: choose from {', '.join(FORMATS)}")
    return formats


def write_coco(manifest: Manifest) -> Path:
    """Writes `coco.json` from the files of all finished images, those of earlier runs included."""
    from masklet.inference.output.export import CocoWriter

    writer = CocoWriter()
    for stem in sorted(manifest.done):
        path = manifest.folder / f"{stem}.coco.json"
        if path.exists():
            writer.extend(json.loads(path.read_text(encoding="utf-8")))
    return write_atomically(manifest.folder / "coco.json", json.dumps(writer.to_dict()))
