"""The images of a run over folders, where the results of each go, and which of them an earlier run has finished.

The manifest in the output folder holds the arguments of the run and, for each finished image, its files. A second run
with the same arguments skips images whose files all exist and whose source is unchanged.
"""

import glob
import json
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.media.suffixes import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, count_kinds, is_image, walk

MANIFEST = "manifest.json"
SAVE_SECONDS = 1.0


@dataclass(frozen=True)
class ImageFile:
    """An image, the path without suffix of its results inside the output folder, and what labels call it.

    The name is the path below the folder given or, where images of several folders share it, below all of them.
    """

    source: Path
    stem: str
    name: str


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
        if os.path.isdir(path):
            paths = [each for each in walk(path, IMAGE_SUFFIXES) if _is_input(each, own)]
            places = [each.relative_to(path) for each in paths]
        elif os.path.exists(path) or not glob.has_magic(argument):
            paths, places = [path], [Path(path.name)]
        else:
            matches = map(Path, glob.glob(argument, recursive=True))
            paths = sorted(each for each in matches if is_image(each) and _is_input(each, own))
            places = [Path(each.name) for each in paths]
        if not paths:
            raise InputError(f"no images in {argument}" + "".join(f"; {note}" for note in passed_over([argument])))
        for each, place in zip(paths, places, strict=True):
            found.setdefault(each, place)
    stems, names = _stems(list(found.values())), _names(found)
    return [ImageFile(*each) for each in zip(found, stems, names, strict=True)]


def passed_over(arguments: Sequence[str]) -> list[str]:
    """A sentence for each folder that holds images of kinds that nothing here reads."""
    notes = []
    for argument in arguments:
        foreign = list(walk(Path(argument), FOREIGN_SUFFIXES)) if os.path.isdir(argument) else []
        if foreign:
            notes.append(f"{argument} also holds images of kinds that are not read here: {count_kinds(foreign)}")
    return notes


def _names(found: Mapping[Path, Path]) -> list[str]:
    if len(set(found.values())) == len(found):
        return [place.as_posix() for place in found.values()]
    above = os.path.commonpath([path.absolute().parent for path in found])
    return [path.absolute().relative_to(above).as_posix() for path in found]


def _is_input(path: Path, results: Path | None) -> bool:
    return path.is_file() and (results is None or results not in path.resolve().parents)


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
    """Finished images of a run: `done` maps the stem of an image to its record.

    `earlier` are files of runs with other arguments, by stem, "" for those of all images together; they go as soon as
    this run has something to put in their place.
    """

    folder: Path
    arguments: Mapping[str, Any]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)
    earlier: dict[str, list[str]] = field(default_factory=dict)
    _saved_at: float = -math.inf

    @classmethod
    def open(cls, folder: Path, arguments: Mapping[str, Any], files: Sequence[ImageFile]) -> "Manifest":
        """Continues the run in `folder` if its arguments were the same.

        Raises: InputError unless it is writable, and where it holds results of other images made with other arguments.
        """
        manifest = cls(folder, arguments)
        try:
            found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            manifest._take_over(found, {file.stem for file in files})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            # missing, or not a manifest: begin a new one
        manifest.save()
        return manifest

    def _take_over(self, found: dict[str, Any], stems: set[str]) -> None:
        """From the manifest of an earlier run."""
        earlier = {stem: list(names) for stem, names in found.get("earlier", {}).items()}
        plain = json.loads(json.dumps(self.arguments))
        if found["arguments"] == plain:
            self.done, self.shared, self.earlier = dict(found["images"]), list(found.get("shared", [])), earlier
            return
        for stem, record in found["images"].items():
            earlier[stem] = [*earlier.get(stem, []), *record["outputs"]]
        earlier[""] = [*earlier.get("", []), *found.get("shared", [])]
        others = earlier.keys() - stems - {""}
        if others:
            changed = ", ".join(name for name in plain if found["arguments"].get(name) != plain[name])
            raise InputError(
                f"{self.folder} holds results of {len(others)} other images, made with other arguments ({changed}): "
                "choose another folder (--out), or remove that one"
            )
        self.earlier = earlier

    def make_room(self, file: ImageFile) -> None:
        """Removes what earlier runs have written of an image, and with other arguments of all images together."""
        from masklet.formats.records import inside  # with pydantic, which the help of commands does without

        record = self.done.pop(file.stem, None)
        stale = self.earlier.pop(file.stem, []) + self.earlier.pop("", []) + (record["outputs"] if record else [])
        for name in stale:
            path = inside(self.folder, name, str(self.folder / MANIFEST))
            with suppress(OSError):
                path.unlink(missing_ok=True)
                if path.parent != self.folder:
                    path.parent.rmdir()  # a folder of masks, if it is empty now

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
        content = {"arguments": self.arguments, "images": self.done, "shared": self.shared, "earlier": self.earlier}
        write_atomically(self.folder / MANIFEST, json.dumps(content, indent=1))
        self._saved_at = time.monotonic()


def _fingerprint(source: Path) -> list[Any]:
    try:
        status = source.stat()
    except OSError:
        return [str(source.absolute())]
    return [str(source.absolute()), status.st_size, status.st_mtime_ns]
