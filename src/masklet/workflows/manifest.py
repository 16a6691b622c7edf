"""The images of a run over folders, where the results of each go, and which of them an earlier run has finished.

The manifest in the output folder holds the arguments of the run and, for each finished image, its files. A second run
with the same arguments skips images whose files all exist and whose source is unchanged.
"""

import glob
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.media.suffixes import is_image

MANIFEST = "manifest.json"
SAVE_SECONDS = 1.0


@dataclass(frozen=True)
class ImageFile:
    """An image, and the path without suffix of its results inside the output folder."""

    source: Path
    stem: str


def find_images(arguments: Sequence[str], results: Path | None = None) -> list[ImageFile]:
    """Images of files, folders (with subfolders) and glob patterns, sorted within each argument, without duplicates.

    Results keep the relative path of an image in its folder. Files in the folder `results` are no input. A file that
    does not exist stays in the list, so that the run can report it and continue.

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
    return [ImageFile(source, stem) for source, stem in zip(found, _stems(list(found.values())), strict=True)]


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
    """Finished images of a run: `done` maps the stem of an image to its record."""

    folder: Path
    arguments: Mapping[str, Any]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    _saved_at: float = -math.inf

    @classmethod
    def open(cls, folder: Path, arguments: Mapping[str, Any]) -> "Manifest":
        """Continues the run in `folder` if its arguments were the same. Raises: InputError unless it is writable."""
        manifest = cls(folder, arguments)
        try:
            earlier = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if earlier["arguments"] == json.loads(json.dumps(arguments)):
                manifest.done = dict(earlier["images"])
        except (OSError, ValueError, KeyError, TypeError):  # missing, or not a manifest: begin a new one
            manifest.done = {}
        manifest.save()
        return manifest

    def is_done(self, file: ImageFile) -> bool:
        """Whether all results of this very file exist."""
        record = self.done.get(file.stem)
        if record is None or record["source"] != _fingerprint(file.source):
            return False
        return all((self.folder / name).exists() for name in record["outputs"])

    def add(self, file: ImageFile, outputs: Sequence[Path], summary: str) -> None:
        """Records a finished image; the manifest is written within `SAVE_SECONDS` or at the next `save`."""
        names = [path.relative_to(self.folder).as_posix() for path in outputs]
        self.done[file.stem] = {"source": _fingerprint(file.source), "outputs": names, "summary": summary}
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
