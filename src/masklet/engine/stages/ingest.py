"""Images come in: read once, upright, named by their bytes. One that cannot be read is a row that says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.engine.digests import digest_of, digest_of_bytes
from masklet.engine.ledger.ledger import RULES
from masklet.engine.ledger.units import Units
from masklet.engine.records import Author, Fact, Outcome, Place, Unit
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.media.images import read_image
from masklet.media.suffixes import is_image

INGEST = "ingest"
GONE = "gone"
HASH_SIDE = 8
THUMBNAIL = 32


@dataclass(frozen=True, kw_only=True)
class Ingest:
    """Reads the images of a folder as one source; what lies in a folder below it may be one of its own."""

    source_id: str
    by_folder: Mapping[str, str] = field(default_factory=dict)  # sources of folders, by their paths below
    name: str = INGEST
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit a file, again when its size, its time or its source changes, and when it is gone or back.

        Raises: InputError when all are gone, which tells of the folder and not of the photos.
        """
        # Counted before places are read: what another worker ends in between is known then, or planned as it was
        seen = Units(project.view.ledger).times_done(self.name)
        files = {path.relative_to(project.originals).as_posix(): path for path in image_files(project.originals)}
        known = project.view.places()
        if known and not files:
            raise InputError(f"no photos are left in {project.originals}: put them back, or name their folder")
        stamps = {where: self._stamp(path, where) for where, path in files.items()}
        news = {where: stamp for where, stamp in stamps.items() if known.get(where) != " ".join(stamp)}
        news |= {where: [GONE] for where in known.keys() - files.keys()}  # last, as renamed photos are found before
        # What a file was like before it may be again: that is another unit than the one that is done
        return [
            Unit(
                stage=self.name,
                version=self.version,
                subject=where,
                inputs=[*inputs, str(seen[where])] if where in seen else inputs,
                priority=-float(position),
            )
            for position, (where, inputs) in enumerate(news.items())
        ]

    def _stamp(self, path: Path, where: str) -> list[str]:
        status = path.stat()
        return [self._source_of(where), str(status.st_size), str(status.st_mtime_ns)]

    def run(self, project: Project, subject: str) -> Outcome:
        """The row of one file, and what it holds, if it is there; equal bytes of another name are the same image."""
        path = project.originals / subject
        try:
            stamp, content = self._stamp(path, subject), path.read_bytes()
        except FileNotFoundError:
            return Outcome(places=[Place(uri=subject, media_id=None)])
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        media_id, source_id = digest_of_bytes(content), self._source_of(subject)
        earlier = [uri for uri in project.view.files_of(media_id) if not (project.originals / uri).is_file()]
        here = Place(uri=subject, media_id=media_id, source_id=source_id, stamp=" ".join(stamp))
        places = [here, *(Place(uri=uri, media_id=None) for uri in earlier)]
        values = {
            "media_id": media_id,
            "source_id": source_id,
            "uri": subject,
            "width": 0,
            "height": 0,
            "hash64": "",
            "error": None,
            "profile": None,
        }
        try:
            image = read_image(path)
        except InputError as error:
            values |= {"error": str(error).replace(str(path), subject)}
            return Outcome(facts=[Fact(table="media", values=values)], places=places)
        sizes = {"height": image.shape[0], "width": image.shape[1], "hash64": perceptual_hash(image)}
        return Outcome(facts=[Fact(table="media", values=values | sizes)], places=places)

    def _source_of(self, where: str) -> str:
        folders = [folder for folder in self.by_folder if where.startswith(f"{folder}/")]
        return self.by_folder[max(folders, key=len)] if folders else self.source_id


def image_files(folder: Path) -> list[Path]:
    """The images of a folder and those below, by name. Raises: InputError when it is not a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of images")
    return sorted(path for path in folder.rglob("*") if is_image(path) and path.is_file())


def perceptual_hash(image: UInt8[np.ndarray, "height width 3"]) -> str:
    """64 bits as hex that survive resizing and re-encoding: signs of the lowest frequencies of a small grey image.

    Source: Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (DCT hash).
    """
    grey = np.asarray(Image.fromarray(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), float)
    steps = np.arange(THUMBNAIL)
    cosines = np.cos(np.pi * (2 * steps[None] + 1) * np.arange(HASH_SIDE)[:, None] / (2 * THUMBNAIL))
    low = (cosines @ grey @ cosines.T).flatten()
    bits = low > np.median(low[1:])
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def source_fact(name: str, licence: str, attribution: str = "") -> Fact:
    """A source as a row. Raises: InputError without a licence, for labels cannot be passed on without knowing it."""
    if not licence.strip():
        raise InputError(f"source {name!r} has no licence: name one, such as CC-BY-4.0, or say `unknown`")
    values = {"source_id": digest_of("source", name, licence), "name": name, "licence": licence}
    return Fact(table="source", values=values | {"attribution": attribution, "revoked": 0})
