"""What a run will cost, before it starts: units, minutes of this machine, and what is left for people."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masklet.engine.records import MaskRow
from masklet.engine.stages.ingest import image_files
from masklet.engine.stages.mask_rows import masks_by_phrase
from masklet.engine.stages.masks import KEEP_SCORE
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.verify.by_language import VOTES, LanguageTalk, try_question
from masklet.engine.verify.by_score import ByScore
from masklet.engine.verify.choices import UNSURE, ExhaustivityItem, MaskItem
from masklet.errors import InputError
from masklet.media.images import read_image
from masklet.protocols import Segmenter

MEASURED = 10  # photos, or
MEASURED_SECONDS = 20.0
PERSON_SECONDS = 2.0  # an answer on a sheet
ASSUMED_PHRASES = 8  # of a photo, each with one mask, where nobody knows yet what will be asked


@dataclass(frozen=True, kw_only=True)
class LanguageCost:
    """What a language model is asked: requests at most, tokens of them (0 where the server does not say), minutes."""

    requests: int
    tokens: int
    minutes: float
    name: str

    def __str__(self) -> str:
        tokens = f"about {self.tokens} tokens" if self.tokens else "tokens unknown, as the server counts none"
        return f"up to {self.requests} requests to {self.name} ({tokens}, {self.minutes:.1f} minutes at its speed now)"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """An estimate: what is left to do, from some photos that were tried. `photos` are those not finished yet."""

    photos: int
    pairs: int
    units: int
    minutes: float
    items_for_people: int
    measured: int
    language: LanguageCost | None = None

    def __str__(self) -> str:
        if not self.photos:
            return "nothing is left to do"
        todo = f"{self.photos} photos, {self.pairs} pairs, {self.units} units"
        if not self.measured:
            assumed = f"if {ASSUMED_PHRASES} phrases a photo are asked"
            return f"{todo}, {assumed}; {self.language}; the model's time comes on top"
        tried = f"measured on {self.measured} photo{'s' * (self.measured > 1)}"
        here = f"{todo}: about {self.minutes:.1f} minutes here ({tried})"
        if self.language is not None:
            return f"{here}; {self.language}; people are asked what it is unsure of"
        people = self.items_for_people * PERSON_SECONDS / 60
        return (
            f"{here}, no calls to a language model; "
            f"about {self.items_for_people} questions for people ({people:.0f} minutes)"
        )


NOTHING = Cost(photos=0, pairs=0, units=0, minutes=0.0, items_for_people=0, measured=0)


def estimate(
    project: Project,
    phrases: Sequence[str],
    segmenter: Segmenter,
    language: LanguageTalk | None = None,
    negatives: int = 0,
) -> Cost:
    """Tries the first unfinished photos. Raises: InputError when the folder has no photos, or the model is wrong."""
    left = unfinished(project, phrases)
    if not left:
        return NOTHING
    start, questions, found, seconds = time.monotonic(), 0, 0, []
    for path in left[:MEASURED]:
        try:
            image = read_image(path)
        except InputError:  # a broken file is a row of the run
            continue
        begun = time.monotonic()
        session = segmenter.open(image)
        proposed = session.find(list(phrases), threshold=KEEP_SCORE)
        masks = masks_by_phrase(proposed, (image.shape[0], image.shape[1]))
        session.close()
        questions += sum(_questions(masks.get(phrase, []), proposed.presence[phrase]) for phrase in phrases)
        found += sum(map(len, masks.values()))
        seconds.append(time.monotonic() - begun)
        if time.monotonic() - start > MEASURED_SECONDS:
            break
    if not seconds:
        raise InputError(f"none of the first {min(MEASURED, len(left))} photos can be read: {left[0]} is one of them")
    warm = seconds[1:] or seconds  # the first pays for warming up
    pairs, each = len(left) * len(phrases), len(left) / len(seconds)
    requests = VOTES * (pairs + round(found * each)) + len(left) * _of_negatives(negatives)
    return Cost(
        photos=len(left),
        pairs=pairs,
        units=len(left) * (3 + 3 * len(phrases)),
        minutes=sum(warm) / len(warm) * len(left) / 60,
        items_for_people=0 if language else round(questions * each),
        measured=len(seconds),
        language=None if language is None else _of_language(language, requests),
    )


def estimate_blind(project: Project, language: LanguageTalk, *, is_told: bool, negatives: int = 0) -> Cost:
    """By assumption, where what will be asked is not known yet: told by the language model, from captions or labels."""
    left = len(unfinished(project, ()))
    if not left:
        return NOTHING
    pairs = left * ASSUMED_PHRASES
    asked = _of_language(language, 2 * VOTES * pairs + left * (is_told + _of_negatives(negatives)))
    units = left * (3 + 3 * ASSUMED_PHRASES)
    return Cost(photos=left, pairs=pairs, units=units, minutes=0.0, items_for_people=0, measured=0, language=asked)


def _of_negatives(negatives: int) -> int:
    """Requests of a photo: one for look-alikes, and each of them judged, with one mask."""
    return 1 + 2 * VOTES * negatives if negatives else 0


def _of_language(language: LanguageTalk, requests: int) -> LanguageCost:
    begun = time.monotonic()
    usage = try_question(language)
    seconds = time.monotonic() - begun
    tokens = (usage.prompt_tokens + usage.completion_tokens) * requests // max(1, usage.requests)
    return LanguageCost(requests=requests, tokens=tokens, minutes=seconds * requests / 60, name=language.name)


def unfinished(project: Project, phrases: Sequence[str]) -> list[Path]:
    """Photos that are new, or of which a phrase was not asked yet (any, where none is given).

    Raises: InputError when there are no photos.
    """
    files = image_files(project.originals)
    if not files:
        raise InputError(f"no photos in {project.originals}")
    stands_for = project.view.clusters()
    known = {row["uri"]: row["media_id"] for row in project.view.all_media()}
    asked: dict[str, set[str]] = {}
    for pair in project.view.pairs(revoked=True):
        if pair["state"] not in (State.PROPOSED, State.QUEUED):
            asked.setdefault(pair["media_id"], set()).add(pair["text"])
    left = []
    for path in files:
        uri = path.relative_to(project.originals).as_posix()
        media = known.get(uri)
        is_copy = media is not None and stands_for.get(media, media) != media
        if media is None or not (is_copy or (media in asked and set(phrases) <= asked[media])):
            left.append(path)
    return left


def _questions(masks: Sequence[MaskRow], presence: float) -> int:
    """How many of the verifier's answers about a pair would be left to people."""
    judge = ByScore()

    def no_image() -> None:
        raise AssertionError("the verifier by score looks at no image")

    items = [MaskItem(read=no_image, phrase="", mask=mask, presence=presence) for mask in masks]  # type: ignore[arg-type]
    choices = judge.judge_masks(items)
    unsure = sum(choice.label == UNSURE for choice in choices)
    kept = [mask for mask, choice in zip(masks, choices, strict=True) if choice.label == "accept"]
    whole = ExhaustivityItem(read=no_image, phrase="", masks=kept, presence=presence)  # type: ignore[arg-type]
    return unsure + (judge.judge_exhaustivity([whole])[0].label == UNSURE)
