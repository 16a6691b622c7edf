"""What a run will cost, before it starts: units, minutes of this machine, and what is left for people."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from masklet.engine.digests import digest_of_bytes
from masklet.engine.ledger.units import Units
from masklet.engine.records import MaskRow
from masklet.engine.stages.ingest import image_files
from masklet.engine.stages.mask_rows import masks_by_phrase
from masklet.engine.stages.masks import KEEP_SCORE
from masklet.engine.stages.proposals import ToldPhrases
from masklet.engine.stages.stage import Foretelling, Project
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
BY_SCORE = ByScore()
ASSUMED_PHRASES = 8  # of a photo, each with one mask, where nobody knows yet what will be asked


@dataclass(frozen=True, kw_only=True)
class LanguageCost:
    """What a language model is asked: requests at most, tokens of them (0 where the server does not say), minutes.

    `money` is by the price that was named, if one was.
    """

    requests: int
    tokens: int
    minutes: float
    name: str
    money: float | None = None

    def __str__(self) -> str:
        tokens = f"about {self.tokens} tokens" if self.tokens else "tokens unknown, as the server counts none"
        price = "" if self.money is None else f", {self.money:.2f} by the price named"
        return (
            f"up to {self.requests} requests to {self.name} "
            f"({tokens}, {self.minutes:.1f} minutes at its speed now{price})"
        )


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


@dataclass
class _Tried:
    """What trying some photos gave, in sums."""

    seconds: list[float] = field(default_factory=list)
    pairs: int = 0
    masks: int = 0
    questions: int = 0


def estimate(
    project: Project,
    channels: Sequence[Foretelling],
    segmenter: Segmenter,
    language: LanguageTalk | None = None,
    negatives: int = 0,
    judge: ByScore = BY_SCORE,
) -> Cost:
    """Tries the first unfinished photos. Raises: InputError when the folder has none to read, or the model is wrong."""
    left = unfinished(project, channels)
    tried = _try(project, left, channels, segmenter, judge)
    if left and not tried.seconds and not project.view.media():
        raise InputError(f"none of the {len(left)} photos can be read: {left[0]} is one of them")
    if not tried.seconds:
        return NOTHING
    warm = tried.seconds[1:] or tried.seconds  # the first pays for warming up
    each = len(left) / len(tried.seconds)
    pairs = round(tried.pairs * each)
    requests = VOTES * (pairs + round(tried.masks * each)) + len(left) * _of_negatives(negatives)
    return Cost(
        photos=len(left),
        pairs=pairs,
        units=len(left) * 3 + 3 * pairs,
        minutes=sum(warm) / len(warm) * len(left) / 60,
        items_for_people=0 if language else round(tried.questions * each),
        measured=len(tried.seconds),
        language=None if language is None else _of_language(language, requests),
    )


def _try(
    project: Project, left: Sequence[Path], channels: Sequence[Foretelling], segmenter: Segmenter, judge: ByScore
) -> _Tried:
    start, tried = time.monotonic(), _Tried()
    for path in left:
        if len(tried.seconds) == MEASURED or time.monotonic() - start > MEASURED_SECONDS:
            break
        try:
            image = read_image(path)
        except InputError:  # a broken file is a row of the run
            continue
        begun, uri = time.monotonic(), path.relative_to(project.originals).as_posix()
        session = segmenter.open(image)
        try:
            told = [each.foretell(uri, session) for each in channels if each.speaks_of(uri)]
            phrases = list(dict.fromkeys(phrase for several in told for phrase in several))
            proposed = session.find(phrases, threshold=KEEP_SCORE) if phrases else None
        except InputError:  # so is a photo whose labels are wrong
            continue
        finally:
            session.close()
        if proposed is not None:
            masks = masks_by_phrase(proposed, (image.shape[0], image.shape[1]))
            tried.questions += sum(
                _questions(masks.get(phrase, []), proposed.presence[phrase], judge) for phrase in phrases
            )
            tried.masks += sum(map(len, masks.values()))
            tried.pairs += len(phrases)
        tried.seconds.append(time.monotonic() - begun)
    return tried


def estimate_blind(project: Project, told: Foretelling | ToldPhrases, language: LanguageTalk, negatives: int) -> Cost:
    """By assumption, where a language model tells what will be asked."""
    left = len(unfinished(project, [told]))
    if not left:
        return NOTHING
    pairs = left * ASSUMED_PHRASES
    asked = _of_language(language, 2 * VOTES * pairs + left * (1 + _of_negatives(negatives)))
    units = left * (3 + 3 * ASSUMED_PHRASES)
    return Cost(photos=left, pairs=pairs, units=units, minutes=0.0, items_for_people=0, measured=0, language=asked)


def _of_negatives(negatives: int) -> int:
    """Requests of a photo: one for look-alikes, and each of them judged, with one mask."""
    return 1 + 2 * VOTES * negatives if negatives else 0


def _of_language(language: LanguageTalk, requests: int) -> LanguageCost:
    begun = time.monotonic()
    usage = try_question(language)
    seconds = time.monotonic() - begun
    each = requests / max(1, usage.requests)
    price = language.allowance.price
    return LanguageCost(
        requests=requests,
        tokens=int((usage.prompt_tokens + usage.completion_tokens) * each),
        minutes=seconds * requests / 60,
        name=language.name,
        money=None if price is None else price.of(usage) * each,
    )


def unfinished(project: Project, channels: Sequence[Foretelling | ToldPhrases]) -> list[Path]:
    """Photos that are new, or of which a channel has something to ask; broken ones and copies are done once known.

    Raises: InputError when there are no photos.
    """
    files = image_files(project.originals)
    if not files:
        raise InputError(f"no photos in {project.originals}")
    view, units = project.view, Units(project.view.ledger)
    held, stamps, copies = view.held(), view.places(), view.clusters()
    broken = {row["media_id"] for row in view.all_media() if row["error"]}
    open_pairs = {row["media_id"] for row in view.pairs(State.PROPOSED, State.QUEUED)}
    waiting = units.unended(unit for each in channels for unit in each.plan(project)) | open_pairs - units.set_aside()
    left = []
    for path in files:
        uri, status = path.relative_to(project.originals).as_posix(), path.stat()
        stamp, media = stamps.get(uri, ""), held.get(uri)
        is_same = not stamp or stamp.endswith(f" {status.st_size} {status.st_mtime_ns}")
        if media is None or not (is_same or _holds(path, media)):
            is_left = any(isinstance(each, ToldPhrases) or each.speaks_of(uri) for each in channels)
        else:
            is_left = media in waiting and media not in broken and copies.get(media, media) == media
        if is_left:
            left.append(path)
    return left


def _holds(path: Path, media_id: str) -> bool:
    """Whether a file that was touched is still the same."""
    try:
        return digest_of_bytes(path.read_bytes()) == media_id
    except OSError:  # the run will say why
        return False


def _questions(masks: Sequence[MaskRow], presence: float, judge: ByScore) -> int:
    """How many of the verifier's answers about a pair would be left to people."""

    def no_image() -> None:
        raise AssertionError("the verifier by score looks at no image")

    items = [MaskItem(read=no_image, phrase="", mask=mask, presence=presence) for mask in masks]  # type: ignore[arg-type]
    choices = judge.judge_masks(items)
    unsure = sum(choice.label == UNSURE for choice in choices)
    kept = [mask for mask, choice in zip(masks, choices, strict=True) if choice.label == "accept"]
    whole = ExhaustivityItem(read=no_image, phrase="", masks=kept, presence=presence)  # type: ignore[arg-type]
    return unsure + (judge.judge_exhaustivity([whole])[0].label == UNSURE)
