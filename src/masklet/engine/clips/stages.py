"""Clips come in as folders of frames, and phrases are tracked through them; people judge what was tracked."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from masklet.engine.clips.masklets import STEP, ClipMasklet, FrameRange, clean, find_ranges, to_mask_row
from masklet.engine.digests import digest_of, digest_of_bytes
from masklet.engine.ledger.ledger import RULES
from masklet.engine.ontology.concepts import Ontology
from masklet.engine.records import Author, Fact, Move, Outcome, Unit
from masklet.engine.stages.ingest import perceptual_hash
from masklet.engine.stages.mask_rows import maskset_fact
from masklet.engine.stages.proposals import MOST_PHRASES, pairs_outcome, walk
from masklet.engine.stages.stage import Project, frames_of
from masklet.engine.states import Cause, State
from masklet.errors import InputError
from masklet.media.images import read_image
from masklet.media.suffixes import list_images
from masklet.ops.masks import rle_encode
from masklet.protocols import FrameInstances, Segmenter

MARKER = "clip.json"  # lies beside the frames of a clip that was cut whole


@dataclass(frozen=True, kw_only=True)
class IngestClips:
    """Reads the folders of frames below the originals as clips of one source."""

    source_id: str
    name: str = "ingest-clips"
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit a folder."""
        folders = sorted(path.parent for path in project.originals.rglob(MARKER))
        names = [folder.relative_to(project.originals).as_posix() for folder in folders]
        return [
            Unit(stage=self.name, version=self.version, subject=name, inputs=[self.source_id], priority=-float(place))
            for place, name in enumerate(names)
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """The row of one clip, named by the bytes of its frames."""
        frames = list_images(project.originals / subject)
        try:
            digests = [digest_of_bytes(path.read_bytes()) for path in frames]
        except OSError as error:
            raise InputError(f"a frame of {subject} cannot be read: {error.strerror}") from error
        values = {
            "media_id": digest_of("clip", digests),
            "source_id": self.source_id,
            "uri": subject,
            "width": 0,
            "height": 0,
            "hash64": "",
            "error": None,
            "profile": json.dumps({"frames": [path.name for path in frames]}),
        }
        try:
            if not frames:
                raise InputError(f"{subject} has no frames")
            image = read_image(frames[len(frames) // 2])
        except InputError as error:
            return Outcome(facts=[Fact(table="media", values=values | {"error": str(error)})])
        sizes = {"height": image.shape[0], "width": image.shape[1], "hash64": perceptual_hash(image)}
        return Outcome(facts=[Fact(table="media", values=values | sizes)])


@dataclass(frozen=True, kw_only=True)
class TrackPhrases:
    """A unit a pair: its phrase is tracked through the clip, and where it is present is found out.

    Phrases with fewer than `least_objects` masklets are left for balance, as such clips teach little about tracking.
    """

    segmenter: Segmenter
    least_objects: int = 0
    name: str = "masklets"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The model."""
        return Author(kind="model", name=self.segmenter.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """Queued pairs; asked again when a pair was reopened."""
        queued = project.view.pairs(State.QUEUED)
        settings = f"{self.segmenter.identity} {self.least_objects}" if queued else ""
        return [
            Unit(stage=self.name, version=self.version, subject=row["pair_id"], inputs=[settings, str(row["version"])])
            for row in queued
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """The masklets of a pair and its ranges. Raises: InputError when a frame is gone."""
        pair = project.view.one_pair(subject)
        media = project.view.one_media(pair["media_id"])
        paths = [project.originals / uri for uri in frames_of(media)]
        size = media["height"], media["width"]
        ranges = find_ranges(lambda frame: self._presence(paths[frame], pair["text"]), len(paths))
        found = list(self._track(paths, pair["text"], size)) if any(r.kind != "absent" for r in ranges) else []
        masklets = clean(found)
        cause = Cause.BALANCE if 0 < len(masklets) < self.least_objects else Cause.MASKS_FOUND
        rows = [to_mask_row(each, project.blobs) for each in masklets]
        present = float(any(each.kind == "present" for each in ranges))
        facts = [maskset_fact(project, pair, rows, self.actor, present)]
        facts += [range_fact(subject, each, self.actor) for each in ranges]
        return Outcome(facts=facts, moves=[Move(pair_id=subject, cause=cause)])

    def _presence(self, path: Path, phrase: str) -> float:
        session = self.segmenter.open(path)
        try:
            return float(session.find(phrase, threshold=1.0).presence[phrase])
        finally:
            session.close()

    def _track(self, paths: Sequence[Path], phrase: str, size: tuple[int, int]) -> Iterator[ClipMasklet]:
        session = self.segmenter.open_video(paths)
        try:
            session.add_concept(phrase)
            frames: dict[int, dict[int, str]] = {}
            scores: dict[int, float] = {}
            for result in session.track():
                for object_id, counts, score in _seen(result):
                    frames.setdefault(object_id, {})[result.index] = counts
                    scores[object_id] = max(score, scores.get(object_id, 0.0))
        finally:
            session.close()
        for object_id in sorted(frames):
            yield ClipMasklet(frames=frames[object_id], size=size, score=round(scores[object_id], 5))


@dataclass(frozen=True, kw_only=True)
class WalkClips:
    """A unit a clip: what is in every thirtieth of its frames, by walking down the ontology."""

    segmenter: Segmenter
    ontology: Ontology
    name: str = "walk-clips"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The model."""
        return Author(kind="model", name=self.segmenter.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit a clip."""
        media = project.view.media()
        inputs = [self.segmenter.identity, str(STEP)] if media else []
        return [Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=inputs) for row in media]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs of what was found, what is in most frames first. Raises: InputError when a frame is gone."""
        uris = frames_of(project.view.one_media(subject))
        found: Counter[str] = Counter()
        for uri in uris[::STEP]:
            session = self.segmenter.open(project.originals / uri)
            try:
                found.update(walk(session.find, self.ontology))
            finally:
                session.close()
        phrases = [text for text, _ in found.most_common(MOST_PHRASES)]
        return pairs_outcome(project, subject, dict.fromkeys(phrases, True), "ontology")


def _seen(result: FrameInstances) -> Iterator[tuple[int, str, float]]:
    for place, object_id in enumerate(result.ids.tolist()):
        mask = result.mask(place)
        if mask.any():
            yield object_id, rle_encode(mask), float(result.scores[place])


def range_fact(pair_id: str, each: FrameRange, actor: Author) -> Fact:
    """A range as a row."""
    values = {"pair_id": pair_id, "actor_id": actor.actor_id, "first": each.first, "last": each.last, "kind": each.kind}
    return Fact(table="frame_range", values={"range_id": digest_of("range", values), **values})
