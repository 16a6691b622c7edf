"""Words of captions, relatives of concepts, and tables of users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.ontology.captions import noun_phrases, singular
from masklet.engine.ontology.concepts import Noun, Ontology, concepts_of, shipped

CAPTIONS = {
    "A red mug and two silver coins on a wooden table": ["red mug", "silver coin", "wooden table"],
    "Three dogs run across the green grass next to a man's bicycle.": ["dog", "green grass", "man", "bicycle"],
    "a woman wearing sunglasses holds an umbrella in the rain": ["woman", "sunglasses", "umbrella"],
    "orange cat sleeping on a couch": ["orange cat", "couch"],
    "Children play with toys near the sheep": ["child", "toy", "sheep"],
    "close-up of knives, loaves of bread and leaves": ["knife", "loaf", "bread", "leaf"],
    "a group of mice eat cheese": ["mouse", "cheese"],
    "a bowl of strawberries and a glass of orange juice": ["bowl", "strawberry", "glass", "orange juice"],
    "": [],
    "42 !!": [],
}


@pytest.mark.parametrize("caption", CAPTIONS)
def test_captions_give_their_things_in_singular(caption: str) -> None:
    assert noun_phrases(caption, shipped()) == CAPTIONS[caption]


@given(st.text(max_size=80))
def test_no_caption_breaks_it(caption: str) -> None:
    for phrase in noun_phrases(caption, shipped()):
        assert phrase == " ".join(phrase.lower().split())
        assert 0 < len(phrase.split()) <= 5


@pytest.mark.parametrize(
    ("plural", "one"),
    [("boxes", "box"), ("wolves", "wolf"), ("scissors", "scissors"), ("bus", "bus"), ("glass", "glass"),
     ("fish", "fish"), ("traffic cones", "traffic cone"), ("fire engines", "fire engine"), ("geese", "goose")],
)  # fmt: skip
def test_plurals_that_are_known_are_turned_back(plural: str, one: str) -> None:
    assert singular(plural, shipped()) == one


def test_the_shipped_table_has_no_circles_and_all_its_parents() -> None:
    ontology = shipped()
    assert len(ontology.concepts) > 20_000
    for noun in ontology.concepts.values():
        assert set(noun.parents) <= ontology.concepts.keys()
        assert noun.concept_id not in ontology.ancestors(noun.concept_id)
        assert noun.names
    assert len({noun.category for noun in ontology.concepts.values()}) == 17


def test_relatives_are_neither_broader_nor_narrower() -> None:
    ontology = shipped()
    for word in ("cat", "apple", "mug", "bicycle"):
        noun = ontology.find(word)
        assert noun is not None
        own = {noun.concept_id, *ontology.ancestors(noun.concept_id), *ontology.descendants(noun.concept_id)}
        assert not own & ontology.relatives(noun.concept_id).keys()
    cat = ontology.find("cat")
    assert cat is not None
    near = {ontology.concepts[each].names[0]: relation for each, relation in ontology.relatives(cat.concept_id).items()}
    assert near["dog"] == "cousin"
    assert near["big cat"] == "sibling"


def test_a_phrase_is_mapped_by_its_last_words() -> None:
    found = concepts_of(shipped(), ["small red mug", "fire hydrant", "zzz"])
    assert {phrase: noun.names[0] for phrase, noun in found.items()} == {
        "small red mug": "mug",
        "fire hydrant": "fireplug",
    }


def test_a_circle_ends_where_it_began() -> None:
    def noun(name: str, parent: str) -> Noun:
        return Noun(concept_id=name, names=(name,), parents=(parent,), count=1, category="own")

    ontology = Ontology(concepts={"a": noun("a", "b"), "b": noun("b", "a")}, meanings={"a": "a", "b": "b"})
    assert ontology.ancestors("a") == ["b"]
    assert ontology.descendants("a") == ["b"]
    assert ontology.relatives("a") == {}
