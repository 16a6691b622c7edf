"""Questions answered over drawn squares by a segmenter that knows them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.protocols import ImageInstances
from masklet.query.answer import Answer
from masklet.query.english import parse
from masklet.query.evaluate import ask
from masklet.query.nodes import Named, check_plain, with_examples
from masklet.query.text import from_text, to_text

SIZE = 200


@dataclass(frozen=True)
class Found:
    """What the segmenter says."""

    phrases: tuple[str, ...]
    scores: np.ndarray
    boxes: np.ndarray
    presence: dict[str, float]

    def __len__(self) -> int:
        return len(self.phrases)

    def mask(self, index: int, *, cut: float = 0.5) -> np.ndarray:  # noqa: ARG002
        mask = np.zeros((SIZE, SIZE), bool)
        x0, y0, x1, y1 = self.boxes[index].astype(int)
        mask[y0:y1, x0:x1] = True
        return mask


class Oracle:
    """Knows the boxes of each phrase; counts how often it was asked."""

    def __init__(self, **boxes: list[tuple[int, int, int, int]]) -> None:
        self.boxes = {name.replace("_", " "): rows for name, rows in boxes.items()}
        self.asked: list[tuple[str, ...]] = []

    def find(self, phrases: Sequence[str], threshold: float) -> Found:  # noqa: ARG002
        self.asked.append(tuple(phrases))
        rows = [(phrase, box) for phrase in phrases for box in self.boxes.get(phrase, [])]
        return Found(
            phrases=tuple(phrase for phrase, _ in rows),
            scores=np.full(len(rows), 0.95, np.float32),
            boxes=np.array([box for _, box in rows], np.float32).reshape(-1, 4),
            presence={phrase: 1.0 if self.boxes.get(phrase) else 0.0 for phrase in phrases},
        )


TABLE = (40, 100, 160, 150)
CUPS = [(50, 80, 70, 102), (120, 82, 138, 102), (10, 170, 28, 190)]  # two on the table, one on the floor
PLATE = (85, 92, 112, 102)
WORLD = {
    "cup": CUPS,
    "table": [TABLE],
    "plate": [PLATE],
    "dog": [(170, 150, 195, 190)],
    "hat": [],
    "object": [*CUPS, TABLE, PLATE],
}


def found(sentence: str) -> list[tuple[int, ...]]:
    return sorted(tuple(map(int, each.box)) for each in answer(sentence).instances)


def answer(sentence: str) -> Answer:
    return ask(Oracle(**WORLD).find, np.zeros((SIZE, SIZE, 3), np.uint8), parse(sentence)[0].node)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("cups", CUPS),
        ("the cup on the table", CUPS[:2]),
        ("the cups that are not on the table", CUPS[2:]),
        ("the leftmost cup on the table", CUPS[:1]),
        ("the cup on the left", CUPS[2:]),
        ("the second cup from the left", CUPS[:1]),
        ("the two largest cups", [CUPS[0], CUPS[1]]),
        ("exactly three cups", CUPS),
        ("exactly two cups", []),
        ("cups and the dog", [*CUPS, WORLD["dog"][0]]),
        ("the cup to the left of the plate", [CUPS[0], CUPS[2]]),
        ("the plate between the two cups", [PLATE]),
        ("the cup nearest to the dog", [CUPS[1]]),
        ("tables with no cup on them", []),
        ("the table with two cups on it", [TABLE]),
        ("the cup next to the plate", CUPS[:2]),
        ("the cups but not the leftmost cup", CUPS[:2]),
        ("hats", []),
        ("everything except the table", [*CUPS, PLATE]),
        ("the tallest cup", CUPS[:1]),
        ("the narrowest cup", [CUPS[1]]),
        ("the widest object", [TABLE]),
        ("the second longest object", CUPS[:1]),
        ("the last cup from the left", [CUPS[1]]),
        ("the cups on the left", [CUPS[0], CUPS[2]]),
        ("cups not on the left", [CUPS[1]]),
        ("the cups in the bottom left corner", [CUPS[2]]),
        ("the cup in the middle", CUPS[:1]),
        ("the two cups closest to the dog", CUPS[:2]),
        ("the second closest cup to the dog", CUPS[:1]),
        ("all the cups except the two on the right", [CUPS[2]]),
        ("the table with at least two cups on it", [TABLE]),
        ("tables with more than two cups on them", []),
        ("tables with at most two cups on them", [TABLE]),
        ("objects larger than the plate", [TABLE, *CUPS]),
        ("cups shorter than the dog", CUPS),
        ("cups taller than the dog", []),
        ("the cup at the top of the table", CUPS[:2]),
        ("the cup at the bottom of the table", []),
    ],
)
def test_an_answer_holds_exactly_what_a_person_would_name(sentence: str, expected: list) -> None:
    assert found(sentence) == sorted(expected)


def test_a_concept_that_only_helps_is_not_called_absent() -> None:
    given = answer("the cups on the table but not the hat")
    assert given.absence("table") == "1 found, none answers"
    assert given.absence("hat") == "absent"


def test_all_concepts_are_asked_at_once() -> None:
    oracle = Oracle(**WORLD)
    question = parse("the cup on the table next to the plate, not the one under the dog")[0].node
    ask(oracle.find, np.zeros((SIZE, SIZE, 3), np.uint8), question)
    assert oracle.asked == [("cup", "table", "plate", "dog")]


def test_a_thing_that_two_phrases_find_is_not_near_itself_nor_between_itself() -> None:
    oracle = Oracle(car=[(10, 10, 60, 60)], person=[(10, 10, 60, 60)], dog=[(90, 10, 120, 60)])
    for sentence in ("the car nearest to the person", "the car between the person and the dog"):
        assert len(ask(oracle.find, np.zeros((SIZE, SIZE, 3), np.uint8), parse(sentence)[0].node)) == 0


def test_masks_can_be_cut_by_others() -> None:
    question = from_text('cut("table", difference, "cup")')
    (table,) = ask(Oracle(**WORLD).find, np.zeros((SIZE, SIZE, 3), np.uint8), question).instances
    assert table.mask.sum() == 120 * 50 - 2 * 20 - 2 * 18


def test_an_answer_explains_what_was_left_out() -> None:
    text = answer("the cup on the table").explain()
    assert text.splitlines()[0] == "looked for: cup (1.00), table (1.00)"
    assert "a guess from one image" in text
    assert 'without cup 3: on some "table" has probability 0.0' in text


def test_an_answer_is_a_result_that_can_be_drawn_and_exported() -> None:
    result = answer("the two largest cups")
    assert isinstance(result, ImageInstances)
    assert result.counts() == {"cup": 2}
    assert result.masks.shape == (2, SIZE, SIZE)
    assert result.areas.tolist() == [mask.sum() for mask in result.masks]
    assert result.mask(0, (SIZE // 2, SIZE // 2)).sum() == pytest.approx(result.areas[0] / 4, rel=0.1)
    nothing = answer("hats")
    assert (len(nothing), nothing.masks.shape, dict(nothing.presence)) == (0, (0, SIZE, SIZE), {"hat": 0.0})


def test_a_fragment_of_an_instance_is_not_counted() -> None:
    world = {"cup": [CUPS[0], (52, 82, 68, 95), CUPS[1]]}
    counted = ask(Oracle(**world).find, np.zeros((SIZE, SIZE, 3), np.uint8), parse("exactly two cups")[0].node)
    assert len(counted) == 2


def test_a_question_without_a_concept_is_no_question() -> None:
    with pytest.raises(InputError, match="got its end"):
        from_text(" ")


def test_example_boxes_show_what_a_concept_means_and_the_rest_is_one_batch() -> None:
    oracle, shown = Oracle(**WORLD), []

    def like(concept: Named, least: float) -> Found:
        shown.append((concept.phrase, concept.boxes, concept.not_boxes, least))
        return Oracle(cup=CUPS[:2]).find(["cup"], least)

    question = from_text('ranked(related(like("cup", 50, 80, 70, 102, not, 1, 2, 3, 4), on, "table"), right, 1, 1)')
    found = ask(oracle.find, np.zeros((SIZE, SIZE, 3), np.uint8), question, like=like)
    assert oracle.asked == [("table",)]
    assert shown == [("cup", ((50, 80, 70, 102),), ((1, 2, 3, 4),), 0.25)]
    assert [tuple(map(int, each.box)) for each in found.instances] == [CUPS[1]]
    assert set(found.presence) == {"table", 'like("cup", 50, 80, 70, 102, not, 1, 2, 3, 4)'}


def test_the_same_phrase_with_and_without_examples_is_two_concepts() -> None:
    question = from_text('("cup" but not like("cup", 50, 80, 70, 102))')
    found = ask(
        Oracle(**WORLD).find,
        np.zeros((SIZE, SIZE, 3), np.uint8),
        question,
        like=lambda _, least: Oracle(cup=CUPS[:1]).find(["cup"], least),
    )
    assert sorted(tuple(map(int, each.box)) for each in found.instances) == sorted(CUPS[1:])


def test_examples_are_refused_where_they_cannot_be_asked() -> None:
    with pytest.raises(InputError, match="example boxes cannot be asked for here"):
        ask(Oracle(**WORLD).find, np.zeros((SIZE, SIZE, 3), np.uint8), from_text('like("cup", 1, 2, 3, 4)'))
    with pytest.raises(InputError, match="a video is asked by phrases alone"):
        check_plain(from_text('related("cup", on, like("table", 1, 2, 3, 4))'))


def test_examples_are_given_to_the_concepts_of_a_sentence() -> None:
    node = with_examples(
        parse("the leftmost cup on the table, but not the cup on the box")[0].node, {"cup": [(1, 2, 3, 4)]}
    )
    assert to_text(node).count('like("cup", 1, 2, 3, 4)') == 2
    assert to_text(node).count('"table"') == 1
