"""The data doctor: every kind of finding is met where it is, and sound data has none."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from masklet.data.doctor import SENTENCES, Findings, examine, name_problem, number_to_read
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import IndexedSource
from masklet.errors import InputError


def example(seed: int, **changes: Any) -> Example:
    """A picture of noise with one object, which has a mask, and one phrase that is absent."""
    masks = np.zeros((1, 60, 80), bool)
    masks[0, 10:40, 20:60] = True
    queries = (PhraseQuery(phrase="coffee mug", object_index=(0,)), PhraseQuery(phrase="dog", object_index=()))
    sound = Example(
        image=np.random.default_rng(seed).integers(0, 255, (60, 80, 3)).astype(np.uint8),
        boxes_xyxy=np.array([[20, 10, 60, 40]], np.float32),
        masks=masks,
        mask_valid=np.array([True]),
        queries=queries,
        source="test",
    )
    return replace(sound, **changes)


class Pictures:
    """`changes(index)` says how picture `index` differs from a sound one."""

    def __init__(self, changes: Callable[[int], dict[str, Any]] = lambda _: {}, count: int = 4, first: int = 0) -> None:
        self.changes, self.count, self.first = changes, count, first
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.first + index}.jpg"

    def sample(self, rng: np.random.Generator) -> Example:
        return self.example(int(rng.integers(self.count)), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        del rng
        self.read.append(index)
        return example(self.first + index, **self.changes(index))


def at_one(**changes: Any) -> Callable[[int], dict[str, Any]]:
    return lambda index: changes if index == 1 else {}


def box(*corners: float) -> np.ndarray:
    return np.array([corners], np.float32)


NO_MASK = {"masks": np.zeros((1, 60, 80), bool), "mask_valid": np.array([False])}
NOTHING = {
    "boxes_xyxy": np.zeros((0, 4), np.float32),
    "masks": np.zeros((0, 60, 80), bool),
    "mask_valid": np.zeros(0, bool),
    "queries": (PhraseQuery(phrase="dog", object_index=()),),
}
SPECK = np.zeros((1, 60, 80), bool)
SPECK[0, 10:13, 20:23] = True


def named(phrase: str) -> Callable[[int], dict[str, Any]]:
    return at_one(queries=(PhraseQuery(phrase=phrase, object_index=(0,)), PhraseQuery(phrase="dog", object_index=())))


def look(source: IndexedSource, **changes: Any) -> Findings:
    assert isinstance(source, IndexedSource)
    return examine({"mine": source}, 112, **changes)


def test_sound_pictures_are_counted_and_have_no_findings() -> None:
    findings = look(Pictures())
    assert findings.findings == ()
    assert not findings.has_errors
    tally = findings.tallies["mine"]
    assert (tally.pictures, tally.examined, tally.phrases, tally.objects, tally.masks) == (4, 4, 2, 4, 4)
    assert (tally.positives, tally.negatives) == (4, 4)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("empty", at_one(boxes_xyxy=box(20, 10, 20, 10), **NO_MASK)),
        ("outside", at_one(boxes_xyxy=box(90, 10, 99, 20), **NO_MASK)),
        ("fractions", at_one(boxes_xyxy=box(0.25, 0.2, 0.75, 0.7))),
        ("pixels", at_one(boxes_xyxy=box(1600, 600, 4800, 2400))),
        ("beyond", at_one(boxes_xyxy=box(20, 10, 90, 40))),
        ("disagree", at_one(boxes_xyxy=box(20, 10, 79, 59))),
        ("unmasked", at_one(**NO_MASK)),
        ("tiny", at_one(boxes_xyxy=box(20, 10, 23, 13), masks=SPECK)),
        ("nameless", named(" ")),
        ("placeholder", named("cls_3")),
        ("underscore", named("coffee_mug")),
        ("code", named("PWR-20")),
    ],
)
def test_each_kind_of_finding_is_met_where_it_is(kind, changes) -> None:
    findings = look(Pictures(changes))
    (finding,) = findings.findings
    assert (finding.kind, finding.source, finding.count) == (kind, "mine", 1)
    assert "1.jpg" in finding.examples[0]
    assert (finding.severity, finding.sentence) == SENTENCES[kind]
    assert findings.has_errors == (finding.severity == "error")


def test_tiny_is_a_matter_of_the_size_of_training() -> None:
    small = Pictures(at_one(boxes_xyxy=box(20, 10, 23, 13), masks=SPECK))
    assert [finding.kind for finding in examine({"mine": small}, 224).findings] == []
    assert [finding.kind for finding in examine({"mine": small}, 160).findings] == ["tiny"]


def test_pictures_that_cannot_be_used_are_counted_with_the_reason() -> None:
    class Broken(Pictures):
        def example(self, index: int, rng: np.random.Generator) -> Example:
            if index < 7:
                raise InputError(f"labels.json: annotation {index} is broken")
            return super().example(index, rng)

    findings = look(Broken(count=10))
    (finding,) = findings.findings
    assert (finding.kind, finding.count, len(finding.examples)) == ("unusable", 7, 5)
    assert finding.examples[0] == "labels.json: annotation 0 is broken"
    assert findings.has_errors
    assert findings.tallies["mine"].examined == 3


def test_a_source_without_an_object_is_an_error() -> None:
    findings = look(Pictures(lambda _: NOTHING))
    assert [(finding.kind, finding.count) for finding in findings.findings] == [("nothing", 1)]
    assert findings.has_errors
    assert look(Pictures(at_one(**NOTHING))).findings == ()


def test_a_source_without_negatives_is_warned_of() -> None:
    alone = (PhraseQuery(phrase="coffee mug", object_index=(0,)),)
    findings = look(Pictures(lambda _: {"queries": alone}))
    assert [(finding.kind, finding.severity) for finding in findings.findings] == [("no negatives", "warning")]
    assert look(Pictures(at_one(queries=alone))).findings == ()


def test_where_words_do_not_matter_neither_names_nor_negatives_are_looked_at() -> None:
    alone = (PhraseQuery(phrase="cls_3", object_index=(0,)),)
    assert look(Pictures(lambda _: {"queries": alone}), unasked={"mine"}).findings == ()


def test_the_same_picture_twice_in_a_source_is_warned_of() -> None:
    twice = Pictures(lambda index: {"image": example(0).image} if index == 2 else {})
    (finding,) = look(twice).findings
    assert (finding.kind, finding.count, finding.examples) == ("twice", 1, ("2.jpg is 0.jpg",))
    both = examine({"one": Pictures(), "other": Pictures()}, 112)
    assert both.findings == ()  # two sets of labels for the same pictures do no harm


def test_held_out_pictures_that_are_trained_on_are_met() -> None:
    smooth = np.kron(np.random.default_rng(9).integers(0, 255, (6, 8, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    brighter = np.clip(smooth.astype(int) + np.random.default_rng(0).integers(5, 15, smooth.shape), 0, 255)
    trained = Pictures(at_one(image=smooth))
    held_out = Pictures(at_one(image=brighter.astype(np.uint8)), first=100)
    findings = examine({"mine": trained}, 112, held_out={"mine": held_out}).findings
    assert [(finding.kind, finding.examples) for finding in findings] == [
        ("nearly leaked", ("101.jpg looks like mine: 1.jpg",))
    ]
    same = Pictures(at_one(image=smooth, boxes_xyxy=box(90, 10, 99, 20), **NO_MASK), first=100)
    findings = examine({"mine": trained}, 112, held_out={"mine": same}).findings
    assert [(finding.kind, finding.examples) for finding in findings] == [("leaked", ("101.jpg is mine: 1.jpg",))]


def test_a_sample_is_spread_over_the_source() -> None:
    source = Pictures(count=100)
    calls: list[int] = []
    findings = look(source, most=4, advance=lambda: calls.append(1))
    assert source.read == [0, 25, 50, 75]
    assert len(calls) == number_to_read({"mine": source}, 4) == 4
    assert (findings.tallies["mine"].pictures, findings.tallies["mine"].examined) == (100, 4)
    assert number_to_read({"mine": source}, None) == 100


def test_errors_come_first() -> None:
    mixed = Pictures(lambda index: [named("a_b")(1), at_one(boxes_xyxy=box(90, 1, 99, 9), **NO_MASK)(1), {}, {}][index])
    assert [finding.severity for finding in look(mixed).findings] == ["error", "warning"]


@pytest.mark.parametrize(
    ("phrase", "kind"),
    [
        ("", "nameless"),
        ("0", "placeholder"),
        ("cls_3", "placeholder"),
        ("class 12", "placeholder"),
        ("N/A", "placeholder"),
        ("unknown", "placeholder"),
        ("--", "placeholder"),
        ("traffic_light", "underscore"),
        ("PWRSW", "code"),
        ("ABC-123", "code"),
        ("TV", None),
        ("coffee mug", None),
        ("number 7", None),
        ("letter G", None),
        ("I", None),
        ("Boeing 747", None),
        ("café", None),
        ("狗", None),
    ],
)
def test_bad_names_are_known(phrase, kind) -> None:
    assert name_problem(phrase) == kind
