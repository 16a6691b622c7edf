"""Errors in labelled images, found before training: broken files, wrong units, bad names, no negatives.

An error makes training fail or teaches something false, so a run does not start with one. A warning is for the user to
judge. Each finding says how often it was met and where first.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from masklet.data.schema import Example
from masklet.data.sources import IndexedSource, Remarking
from masklet.data.transforms import areas_of
from masklet.data.twins import Fingerprint, fingerprint, near_twins
from masklet.errors import InputError
from masklet.ops.masks import mask_to_box
from masklet.phrases import phrase_key
from masklet.tokenizer import Tokenizer

Severity = Literal["error", "warning"]
MOST_EXAMPLES = 5
TINY_AREA = 8 * 8  # pixels of the training size: smaller things are lost among patches of 14
_SLACK = 2  # pixels that a box may reach out of the image by rounding
_LEAST_AGREEMENT = 0.5  # IoU of a box and its mask

SENTENCES: dict[str, tuple[Severity, str]] = {
    "unusable": ("error", "images or labels cannot be used"),
    "nothing": ("error", "sources have no object in any image"),
    "outside": ("error", "objects lie outside their image: their labels may be of another one"),
    "fractions": ("error", "images have boxes in fractions where pixels are expected"),
    "pixels": ("error", "images have boxes far larger than they are: pixels where fractions are expected"),
    "nameless": ("error", "phrases are empty"),
    "empty": ("warning", "objects have neither a mask nor a box with an area, and are left out"),
    "beyond": ("warning", "boxes reach out of their image"),
    "disagree": ("warning", "boxes do not fit their masks: corners where a size is expected, or of another object"),
    "unmasked": ("warning", "objects have no mask, or an empty one: they teach where things are, not their outline"),
    "tiny": ("warning", "objects are smaller than 8 x 8 pixels at the size of training and likely to be lost"),
    "placeholder": ("warning", "phrases are no names of things; the text encoder knows words, so name what is seen"),
    "underscore": ("warning", "phrases have underscores; write them as one would say them"),
    "code": ("warning", "phrases are codes in capitals; write them as one would say them"),
    "no negatives": (
        "warning",
        "sources ask for nothing that is absent; a model trained on them alone soon detects everything everywhere "
        "(by one report, 95.8 % of absent phrases were refused before and 3.2 % after): say what is labelled in full, "
        "list hard_negatives, or mix in a source that has negatives",
    ),
    "long": ("warning", "phrases are longer than the text encoder reads, so their end would be cut off"),
    "two records": ("warning", "images are in several records, which are taken together"),
    "doubled": ("warning", "objects are labelled twice, with one phrase and the same mask or box"),
    "stray": ("warning", "files of labels belong to no image: the names of the two must be the same"),
    "unlabelled": (
        "warning",
        "images have no labels and teach that nothing of the kind is there; if they were never labelled, take them out",
    ),
    "crowd": (
        "warning",
        "objects are marked as crowds (iscrowd 1) and left out; some tools wrongly mark each painted mask so",
    ),
    "group": ("warning", "names head a group of others and have no labels themselves, so they are not asked"),
    "twice": ("warning", "images are twice in their source, under different names"),
    "leaked": ("warning", "held-out images are trained on under another name, so figures on them say too much"),
    "nearly leaked": ("warning", "held-out images look like ones trained on, so figures on them may say too much"),
}

_PLACEHOLDER = re.compile(
    r"(cls|class|label|category|cat|object|obj|item|thing|type|id)?[\s_-]*\d+|[\W\d_]+"
    r"|n\s*/?\s*a|none|null|nan|unknown|unnamed|unlabell?ed|background|other|others|misc|todo|test|objects?|class(es)?|labels?",
    re.IGNORECASE,
)
_CODE = re.compile(r"[A-Z0-9]*[A-Z][A-Z0-9]*([ _-][A-Z0-9]+)*")
_ACRONYM = re.compile("TV|CD|DVD|PC|CPU|GPU|USB|SUV|ATM|UFO|LED|LCD|DNA|RV|BBQ|VR|GPS|IC")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of thing that is wrong in one source; `examples` are the first places."""

    severity: Severity
    kind: str
    source: str
    sentence: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SourceTally:
    """What a source holds; all but `pictures` are of the `examined` images. A negative is a phrase asked in vain."""

    pictures: int
    examined: int
    phrases: int
    objects: int
    masks: int
    positives: int
    negatives: int


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found in all sources, errors first."""

    tallies: Mapping[str, SourceTally]
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether training must not begin."""
        return any(finding.severity == "error" for finding in self.findings)


@dataclass
class _Notes:
    """What was met in one source so far."""

    source: str
    pictures: int
    examined: int = 0
    objects: int = 0
    masks: int = 0
    positives: int = 0
    negatives: int = 0
    phrases: dict[str, str] = field(default_factory=dict)  # and where each was first met
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    prints: dict[str, Fingerprint] = field(default_factory=dict)

    def add(self, kind: str, place: str) -> None:
        self.counts[kind] += 1
        if len(self.places[kind]) < MOST_EXAMPLES:
            self.places[kind].append(place)


def examine(
    sources: Mapping[str, IndexedSource],
    image_size: int,
    *,
    held_out: Mapping[str, IndexedSource] | None = None,
    most: int | None = None,
    unasked: Collection[str] = (),
    advance: Callable[[], object] = lambda: None,
) -> Findings:
    """What is wrong with the images of named sources for training at `image_size` pixels.

    Args:
        sources: What is trained on.
        image_size: Side of the square that images are resized to.
        held_out: Images that must not be among them; they are examined for that alone.
        most: Images to look at in each source, at even distances; all by default.
        unasked: Sources of which only masks are learnt, so that names and negatives do not matter.
        advance: Called after each image.
    """
    notes = [_read_source(name, source, image_size, most, advance) for name, source in sources.items()]
    unseen = [_read_source(name, source, image_size, most, advance) for name, source in (held_out or {}).items()]
    for each in notes:
        _judge_source(each, Tokenizer(), has_phrases=each.source not in unasked)
    _compare(notes, unseen)
    for each in unseen:  # images that are not trained on: their other errors do not matter
        each.counts = defaultdict(int, {kind: each.counts[kind] for kind in ("leaked", "nearly leaked")})
    found = [
        Finding(
            severity=severity,
            kind=kind,
            source=each.source,
            sentence=sentence,
            count=each.counts[kind],
            examples=tuple(each.places[kind]),
        )
        for each in notes + unseen
        for kind, (severity, sentence) in SENTENCES.items()
        if each.counts[kind]
    ]
    return Findings(
        tallies={
            each.source: SourceTally(
                pictures=each.pictures,
                examined=each.examined,
                phrases=len(each.phrases),
                objects=each.objects,
                masks=each.masks,
                positives=each.positives,
                negatives=each.negatives,
            )
            for each in notes
        },
        findings=tuple(sorted(found, key=lambda finding: finding.severity)),
    )


def number_to_read(sources: Mapping[str, IndexedSource], most: int | None) -> int:
    """How many images `examine` looks at."""
    return sum(len(_chosen(source, most)) for source in sources.values())


def name_problem(phrase: str) -> str | None:
    """The kind of finding that a phrase is, if it is a bad one."""
    if not phrase_key(phrase):
        return "nameless"
    if _PLACEHOLDER.fullmatch(phrase.strip()):
        return "placeholder"
    if "_" in phrase:
        return "underscore"
    if len(phrase) > 1 and _CODE.fullmatch(phrase) and not all(map(_ACRONYM.fullmatch, phrase.split())):
        return "code"
    return None


def _chosen(source: IndexedSource, most: int | None) -> list[int]:
    count = len(source) if most is None else min(most, len(source))
    return [index * len(source) // count for index in range(count)]


def _read_source(
    name: str, source: IndexedSource, image_size: int, most: int | None, advance: Callable[[], object]
) -> _Notes:
    notes = _Notes(name, len(source))
    for kind, place in source.remarks() if isinstance(source, Remarking) else ():
        notes.add(kind, place)
    for index in _chosen(source, most):
        try:
            example = source.example(index, np.random.default_rng(index))
        except InputError as error:
            notes.add("unusable", str(error))
        else:
            _read_example(notes, source.name(index), example, image_size)
        advance()
    return notes


def _read_example(notes: _Notes, name: str, example: Example, image_size: int) -> None:
    notes.examined += 1
    notes.objects += len(example.boxes_xyxy)
    notes.masks += int(example.mask_valid.sum())
    for query in example.queries:
        notes.phrases.setdefault(query.phrase, name)
        notes.positives += bool(query.object_index)
        notes.negatives += not query.object_index
    for phrase in example.absent:
        notes.phrases.setdefault(phrase, name)
    called = {index: query.phrase for query in example.queries for index in query.object_index}
    for kind, row in [*find_in_example(example, image_size), *_find_doubled(example)]:
        notes.add(kind, name if row is None else f"{name}, object {row + 1} ({called.get(row, 'not asked for')})")
    notes.prints[name] = fingerprint(example.image)


def find_in_example(example: Example, image_size: int) -> Iterator[tuple[str, int | None]]:
    """Kinds of findings in one image, each with the row of its object, or None for the image as a whole."""
    height, width = example.image.shape[:2]
    boxes = example.boxes_xyxy.astype(np.float64)
    reach = np.abs(boxes).max(initial=0)
    if len(boxes) and 0 < reach <= 1 < max(height, width) / 16:
        yield "fractions", None
        return
    if reach > 4 * max(height, width):
        yield "pixels", None
        return
    clipped = np.clip(boxes, 0, [width, height, width, height])
    areas, visible = areas_of(boxes), areas_of(clipped)
    for row in range(len(boxes)):
        if example.mask_valid[row]:
            box = np.array(mask_to_box(example.masks[row]), np.float64)
            both = np.concatenate([np.maximum(box, boxes[row])[:2], np.minimum(box, boxes[row])[2:]])
            own, shared = areas_of(np.stack([box, both]))
            if shared < _LEAST_AGREEMENT * (areas[row] + own - shared):
                yield "disagree", row
        elif areas[row] == 0:
            yield "empty", row
            continue
        elif visible[row] == 0:
            yield "outside", row
            continue
        if np.abs(boxes[row] - clipped[row]).max() > _SLACK:
            yield "beyond", row
        if not example.mask_valid[row]:
            yield "unmasked", row
        area = example.masks[row].sum() if example.mask_valid[row] else visible[row]
        if area * image_size**2 < TINY_AREA * height * width:
            yield "tiny", row


def _find_doubled(example: Example) -> Iterator[tuple[str, int]]:
    """Rows of objects that another one before them equals in phrase, box and mask."""
    for query in example.queries:
        seen: set[bytes] = set()
        for row in query.object_index:
            content = example.masks[row] if example.mask_valid[row] else example.boxes_xyxy[row]
            digest = hashlib.sha1(np.ascontiguousarray(content).tobytes()).digest()
            if digest in seen:
                yield "doubled", row
            seen.add(digest)


def _judge_source(notes: _Notes, tokenizer: Tokenizer, *, has_phrases: bool) -> None:
    if notes.examined and not notes.objects:
        notes.add("nothing", notes.source)
    if not has_phrases:
        return
    for phrase, place in sorted(notes.phrases.items()):
        problem = name_problem(phrase)
        if problem is not None:
            notes.add(problem, f"{phrase!r} ({place})")
        length = len(tokenizer.ids(phrase))
        if length > tokenizer.context:
            notes.add("long", f"'{phrase[:40]}...' ({length} of at most {tokenizer.context} tokens; {place})")
    if notes.examined and notes.positives and not notes.negatives:
        notes.add("no negatives", notes.source)


def _compare(notes: list[_Notes], unseen: list[_Notes]) -> None:
    """Images that are there more than once. The same image in two sources that are trained on does no harm."""
    trained: dict[bytes, str] = {}
    for each in notes:
        own: dict[bytes, str] = {}
        for name, found in each.prints.items():
            if found.content in own:
                each.add("twice", f"{name} is {own[found.content]}")
            own.setdefault(found.content, name)
        trained |= {content: f"{each.source}: {name}" for content, name in own.items()}
    known = {f"{each.source}: {name}": found for each in notes for name, found in each.prints.items()}
    for each in unseen:
        rest = {}
        for name, found in each.prints.items():
            if found.content in trained:
                each.add("leaked", f"{name} is {trained[found.content]}")
            else:
                rest[name] = found
        for name, other in near_twins(rest, known):
            each.add("nearly leaked", f"{name} looks like {other}")
