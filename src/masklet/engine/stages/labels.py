"""Labels that exist already, or predictions of another model: candidates beside the model's own finds, to be verified.

Nothing of them is taken as true, and nothing that people decided is touched. What the model finds is kept beside them,
so that what is wrong in them can be ranked without asking it again.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masklet.data.labels.layouts import LAYOUTS, LabelFiles, recognise
from masklet.data.schema import Example
from masklet.data.sources import CocoConfig, IndexedSource
from masklet.engine.digests import digest_of, digest_of_bytes
from masklet.engine.records import Author, Fact, MaskRow, Move, Outcome, Unit
from masklet.engine.review.corrections import to_row
from masklet.engine.stages.ingest import image_files
from masklet.engine.stages.mask_rows import masks_by_phrase, maskset_fact, overlap_table
from masklet.engine.stages.masks import KEEP_SCORE, MOST_MASKS
from masklet.engine.stages.phrases import normalise, pair_fact, pair_id_of, phrase_fact, phrase_id_of
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause
from masklet.errors import InputError
from masklet.protocols import ImageSegmenter, Segmenter

SAME = 0.5  # overlap of a label and a find that are the same thing
MOST_PHRASES = 40  # of the file, that are asked of an image beside those labelled in it


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """The labels of one image by phrase, as masks; boxes alone are filled."""

    masks: dict[str, list[MaskRow]]


@dataclass(frozen=True, kw_only=True)
class CheckLabels:
    """A unit an image that has labels. `places` gives the number of an image in the source by its file name."""

    source: IndexedSource
    places: dict[str, int]
    digest: str
    title: str
    segmenter: Segmenter
    name: str = "labels"
    version: int = 1

    @classmethod
    def read(cls, labels: Path, photos: Path, segmenter: Segmenter) -> "CheckLabels":
        """Labels in any layout that training reads. Raises: InputError naming file, record and field."""
        files = LabelFiles(labels=labels, images=photos)
        source = LAYOUTS[recognise(labels)].open(files, CocoConfig(split="all"))
        try:
            content = labels.read_bytes() if labels.is_file() else str(labels.stat().st_mtime_ns).encode()
        except OSError as error:
            raise InputError(f"{labels} cannot be read: {error.strerror}") from error
        places = _places(labels, [Path(source.name(index)).as_posix() for index in range(len(source))], photos)
        return cls(
            source=source, places=places, digest=digest_of_bytes(content), title=labels.name, segmenter=segmenter
        )

    @property
    def actor(self) -> Author:
        """The model that is asked beside."""
        return Author(kind="model", name=self.segmenter.identity)

    @property
    def author(self) -> Author:
        """Whoever made the labels."""
        return Author(kind="labels", name=f"{self.title} {self.digest[:12]}")

    def plan(self, project: Project) -> Sequence[Unit]:
        """The images that the labels speak of; a file of other content is asked anew."""
        found = []
        for row in project.view.media():
            if row["uri"] in self.places:
                inputs = [self.digest]
                found.append(Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=inputs))
        return found

    def run(self, project: Project, subject: str) -> Outcome:
        """For each phrase the model's finds and, as the masks to be verified, the labels, scored by what finds them.

        A phrase of the file without labels in this image is asked as well: its finds may have been overlooked.
        """
        media = project.view.one_media(subject)
        labelled = self.labelled(self.places[media["uri"]])
        there = {row["pair_id"] for row in project.view.pairs(media_id=subject, revoked=True)}
        phrases = [text for text in labelled.masks if pair_id_of(subject, phrase_id_of(text)) not in there]
        if not phrases:
            return Outcome()
        image = project.picture(subject)
        session = self.segmenter.open(image)
        try:
            found = session.find(phrases, threshold=KEEP_SCORE)
        finally:
            session.close()
        finds = masks_by_phrase(found, (image.shape[0], image.shape[1]))
        facts: list[Fact] = [self.author.fact()]
        moves: list[Move] = []
        for text in phrases:
            pair = pair_fact(subject, phrase_id_of(text), "labels" if labelled.masks[text] else "listed")
            row = {**pair.values, "text": text}
            mine = finds.get(text, [])[:MOST_MASKS]
            presence = found.presence[text]
            facts += [phrase_fact(text), pair, maskset_fact(project, row, mine, self.actor, presence)]
            if labelled.masks[text]:
                labels = with_support(labelled.masks[text], mine)
                facts.append(second_set(project, row, labels, self.author, presence))
            causes = (Cause.ACCEPTED_PHRASE, Cause.MASKS_FOUND)
            moves += [Move(pair_id=pair.values["pair_id"], cause=cause) for cause in causes]
        return Outcome(facts=facts, moves=moves)

    def speaks_of(self, uri: str) -> bool:
        """Whether the file has labels of a photo."""
        return uri in self.places

    def foretell(self, uri: str, session: ImageSegmenter) -> Sequence[str]:  # noqa: ARG002 - the file is enough
        """What the file names."""
        return list(self.labelled(self.places[uri]).masks)

    def labelled(self, place: int) -> LabelledImage:
        """The labels of an image. Raises: InputError naming file, record and field."""
        example = self.source.example(place, np.random.default_rng(place))
        masks: dict[str, list[MaskRow]] = {}
        for query in example.queries:
            rows = [example.masks[i] if example.mask_valid[i] else _filled(example, i) for i in query.object_index]
            masks[normalise(query.phrase)] = [to_row(mask, score=0.0) for mask in rows if mask.any()]
        for phrase in sorted(example.absent)[:MOST_PHRASES]:
            masks.setdefault(normalise(phrase), [])
        return LabelledImage(masks=masks)


def _places(labels: Path, names: Sequence[str], photos: Path) -> dict[str, int]:
    """The place of each photo among the images of the labels, by its path or, if it is the only one, by its name.

    Raises: InputError when the labels speak of none of the photos.
    """
    there = [path.relative_to(photos).as_posix() for path in image_files(photos)]
    bare = Counter(uri.rpartition("/")[2] for uri in there)
    whole = {uri.rpartition("/")[2]: uri for uri in there if bare[uri.rpartition("/")[2]] == 1}
    known, found = set(there), {}
    for index, name in enumerate(names):
        uri = name if name in known else whole.get(name.rpartition("/")[2])
        if uri is not None:
            found[uri] = index
    if not found and names and there:
        raise InputError(f"{labels} names no photo of {photos}: it has {names[0]}, the folder has {there[0]}")
    return found


def _filled(example: Example, index: int) -> np.ndarray:
    mask = np.zeros(example.image.shape[:2], bool)
    x0, y0, x1, y1 = (round(float(value)) for value in example.boxes_xyxy[index])
    mask[max(0, y0) : y1, max(0, x0) : x1] = True
    return mask


def with_support(labels: Sequence[MaskRow], finds: Sequence[MaskRow]) -> list[MaskRow]:
    """Labels scored by the best find that is the same thing; 0 where nothing is."""
    overlaps = overlap_table(labels, finds)
    scores = [
        max((find.score for find, overlap in zip(finds, row, strict=True) if overlap >= SAME), default=0.0)
        for row in overlaps
    ]
    return [
        MaskRow(counts=label.counts, size=label.size, box=label.box, score=score, group=label.group)
        for label, score in zip(labels, scores, strict=True)
    ]


def second_set(project: Project, pair: dict, masks: Sequence[MaskRow], author: Author, presence: float) -> Fact:
    """A set of masks that comes after one of the same outcome, and counts instead of it."""
    fact = maskset_fact(project, pair, masks, author, presence)
    values = {**fact.values, "position": fact.values["position"] + 1}
    values["maskset_id"] = digest_of("maskset", pair["pair_id"], author.actor_id, values["blob"], values["position"])
    return Fact(table="maskset", values=values)
