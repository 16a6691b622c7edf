"""Sentences and what they mean: a table read by hand, and templates filled in."""

from itertools import product
from pathlib import Path
from time import process_time

import pytest

from masklet.errors import InputError
from masklet.query.english import parse
from masklet.query.text import to_text
from masklet.query.vocabulary import ORDERS, SIDE_WORDS, singular

TABLE = [line.split("\t") for line in Path(__file__).with_name("sentences.tsv").read_text().splitlines()]
HELD_OUT = [line.split("\t") for line in Path(__file__).with_name("held_out.tsv").read_text().splitlines()]
REFUSED = "!"  # where a person would refuse, too
THINGS = {"the cup": "cup", "a red mug": "red mug", "dogs": "dog", "the people": "person", "school buses": "school bus"}
PLACES = {"the table": "table", "a wooden box": "wooden box", "the two cars": None}
RELATIONS = {
    "on": "on",
    "inside": "in",
    "under": "under",
    "above": "above",
    "to the left of": "left of",
    "right of": "right of",
    "next to": "next to",
    "touching": "touching",
    "in front of": "in front of",
    "behind": "behind",
    "near": "near",
}


def meaning(sentence: str) -> str:
    return to_text(parse(sentence)[0].node)


@pytest.mark.parametrize(("sentence", "expected"), TABLE)
def test_a_sentence_means_what_a_person_reads(sentence: str, expected: str) -> None:
    assert meaning(sentence) == expected


def test_sentences_that_the_grammar_was_not_written_for_are_read_right() -> None:
    """Written down with their meaning before they were tried: 39 of the first 40 were read right, 32 of the second.

    What was wrong was mended as a kind since; the next forty are to be written anew.
    """
    wrong = []
    for sentence, expected in HELD_OUT:
        try:
            found = meaning(sentence)
        except InputError:
            found = REFUSED
        wrong += [(sentence, found)] if found != expected else []
    assert len(HELD_OUT) == 80
    assert wrong == []


@pytest.mark.parametrize(
    ("thing", "relation", "place"), list(product(THINGS, RELATIONS, ["the table", "a wooden box"]))
)
def test_every_relation_joins_any_two_noun_phrases(thing: str, relation: str, place: str) -> None:
    expected = f'related("{THINGS[thing]}", {RELATIONS[relation]}, "{PLACES[place]}")'
    assert meaning(f"{thing} {relation} {place}") == expected
    assert meaning(f"{thing} that is {relation} {place}") == expected
    assert meaning(f"{thing} which are not {relation} {place}") == expected.replace(")", ", no)")


@pytest.mark.parametrize(("number", "word"), [(2, "two"), (3, "three"), (7, "7")])
@pytest.mark.parametrize(("order", "name"), [("leftmost", "left"), ("largest", "large"), ("smallest", "small")])
def test_numbers_and_orders_go_together(number: int, word: str, order: str, name: str) -> None:
    assert meaning(f"the {word} {order} cups") == f'ranked("cup", {name}, 1, {number})'
    assert meaning(f"the {order} {word} cups") == f'ranked("cup", {name}, 1, {number})'
    assert meaning(f"exactly {word} cups") == f'counted("cup", {number}, {number})'
    assert meaning(f"more than {word} cups") == f'counted("cup", {number + 1}, any)'


def test_all_readings_are_given_and_the_nearest_attachment_comes_first() -> None:
    readings = [to_text(reading.node) for reading in parse("the cup on the table next to the laptop")]
    assert readings == [
        'related("cup", on, related("table", next to, "laptop"))',
        'related(related("cup", on, "table"), next to, "laptop")',
    ]


@pytest.mark.parametrize(
    ("sentence", "word"),
    [("the dog that wants a ball", "wants"), ("the cup on", "on"), ("and the cup", "and"), ("a cup with", "with")],
)
def test_a_word_that_cannot_be_placed_is_named(sentence: str, word: str) -> None:
    with pytest.raises(InputError, match=f"the word '{word}' cannot be placed"):
        parse(sentence)


@pytest.mark.parametrize("sentence", ["", "  ", "?!", " , "])
def test_nothing_is_no_question(sentence: str) -> None:
    with pytest.raises(InputError):
        parse(sentence)


def test_a_long_sentence_is_refused_and_a_nested_one_ends_soon() -> None:
    with pytest.raises(InputError, match="at most 40 can be read"):
        parse("the cup " * 30)
    parse("the cup on the " + "box on the " * 3 + "table")


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("cups", "cup"),
        ("buses", "bus"),
        ("boxes", "box"),
        ("cherries", "cherry"),
        ("shoes", "shoe"),
        ("glass", "glass"),
    ],
)
def test_nouns_are_asked_in_the_singular(noun: str, expected: str) -> None:
    assert singular(noun) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "cup on the table on the rug on the floor on the mat on the tray on the box on the bag on the shelf on a desk",
        "cup nearest the " * 12 + "x",
    ],
)
def test_readings_that_multiply_are_refused_before_they_take_long(sentence: str) -> None:
    begin = process_time()
    with pytest.raises(InputError, match="can be read in too many ways: say it with fewer nested parts"):
        parse(sentence)
    assert process_time() - begin < 1  # minutes otherwise


def test_a_sentence_that_breaks_off_after_many_parts_is_refused_soon() -> None:
    begin = process_time()
    with pytest.raises(InputError, match="the word 'with' cannot be placed"):
        parse("cup with a lid" + " and a box with a hat" * 4 + " and a bag with")
    assert process_time() - begin < 1


def test_owners_of_owners_end_somewhere() -> None:
    assert meaning("the man's dog's collar") == 'related("collar", part of, related("dog", part of, "man"))'
    with pytest.raises(InputError, match="cannot be placed"):
        parse("cup 's " * 18 + "a")


@pytest.mark.parametrize("word", [word for words, _ in ORDERS for word in [" ".join(words)]])
def test_every_order_takes_an_ordinal_and_a_number_and_needs_a_noun(word: str) -> None:
    order = meaning(f"the {word} cup").split(", ")[1]
    assert meaning(f"the second {word} cup") == f'ranked("cup", {order}, 2, 1)'
    assert meaning(f"the two {word} cups") == f'ranked("cup", {order}, 1, 2)'
    if tuple(word.split()) not in SIDE_WORDS:  # "the middle of the cups" is no cup
        assert (
            meaning(f"the third {word} of the cups on the table")
            == f'ranked(related("cup", on, "table"), {order}, 3, 1)'
        )
    for bare in (f"the {word}", f"the second {word}", f"cups on the second {word}"):
        with pytest.raises(InputError, match=r"the word '\S+' cannot be placed"):
            parse(bare)


@pytest.mark.parametrize("word", ["oldest", "nicest", "most expensive"])
def test_an_order_that_cannot_be_measured_is_refused_by_name_where_it_is_counted(word: str) -> None:
    with pytest.raises(InputError, match=f"the word '{word.split(maxsplit=1)[0]}' cannot be placed"):
        parse(f"the second {word} car")
    assert meaning(f"the {word} car") == f'"{word} car"'  # a phrase, which a segmenter may know
    assert meaning("the second forest from the left") == 'ranked("forest", left, 2, 1)'


def test_digits_of_other_kinds_are_words() -> None:
    assert to_text(parse("² cups")[0].node) == '"² cup"'
