import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.query.nodes import (
    HOW,
    ORDERS,
    QUANTIFIERS,
    RELATIONS,
    SIDES,
    Between,
    Both,
    ButNot,
    Counted,
    Cut,
    Either,
    Located,
    Named,
    Nearest,
    Ranked,
    Related,
    phrases,
)
from masklet.query.relations import RELATION
from masklet.query.text import from_json, from_text, to_json, to_text

WORDS = st.text(alphabet='ab "\\é', min_size=1, max_size=8).map(lambda text: " ".join(text.split())).filter(bool)


def _longer(inner: st.SearchStrategy) -> st.SearchStrategy:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    small = st.integers(1, 9)
    return st.one_of(
        st.builds(
            Related,
            subject=inner,
            relation=st.sampled_from(RELATIONS),
            object=inner,
            quantifier=st.sampled_from(QUANTIFIERS),
        ),
        st.builds(
            Related,
            subject=inner,
            relation=st.sampled_from(RELATIONS),
            object=inner,
            least=small,
            most=st.none() | small,
        ),
        st.builds(Between, subject=inner, first=inner, second=inner),
        st.builds(Ranked, of=inner, order=st.sampled_from(ORDERS), place=small, count=small),
        st.builds(Nearest, of=inner, to=inner, far=st.booleans(), place=small, count=small),
        st.builds(Located, of=inner, side=st.sampled_from(SIDES)),
        st.builds(Either, parts=several),
        st.builds(Both, parts=several),
        st.builds(ButNot, of=inner, without=inner),
        st.builds(Counted, of=inner, least=small, most=st.none() | small),
        st.builds(Cut, of=inner, by=inner, how=st.sampled_from(HOW)),
    )


QUESTIONS = st.recursive(st.builds(Named, phrase=WORDS), _longer, max_leaves=6)


@given(QUESTIONS)
def test_both_forms_give_the_question_back(question) -> None:
    assert from_text(to_text(question)) == question
    assert from_json(to_json(question)) == question


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got its end, expected more"),
        ('"cup" "table"', "got 'table', expected the end"),
        ('related("cup", over, "table")', "expected one of on, in, under"),
        ('ranked("cup", left, 0, 1)', "places and counts begin with 1"),
        ('ranked("cup", left, 1)', r"expected ','"),
        ('"a" or "b" and "c"', "put brackets around"),
        ('""', "a phrase is empty"),
        ("exec(1)", "got 'exec', expected a phrase in quotes"),
        ("(" * 40 + '"a"' + ")" * 40, "nested more than 20 deep"),
        ('"a" ; "b"', "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_text(text)


@pytest.mark.parametrize("values", [None, 3, {"kind": "Exec"}, {"kind": "Named"}, {"kind": "Named", "x": 1}, []])
def test_json_that_is_no_question_is_refused(values) -> None:
    with pytest.raises(InputError):
        from_json(values)


def test_each_phrase_is_asked_once() -> None:
    question = from_text('related("cup", on, ("table" or related("cup", in, "box")))')
    assert phrases(question) == ("cup", "table", "box")


def test_every_relation_of_the_grammar_can_be_measured() -> None:
    assert set(RELATION) == set(RELATIONS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('like("cup")', "four numbers of an example box"),
        ('like("cup", 1, 2, 3)', "expected ','"),
        ('like("cup", 5, 2, 3, 4)', "the box 5, 2, 3, 4 is empty"),
        ("like(cup, 1, 2, 3, 4)", "expected a phrase in quotes"),
        ('like("cup", 1, 2, 3, 99999999)', "a number up to 1048576"),
    ],
)
def test_example_boxes_that_cannot_be_read_are_named(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_text(text)


def test_example_boxes_are_written_and_read_in_both_forms() -> None:
    node = Named(phrase="cup", boxes=((1, 2, 30, 40), (5, 6, 7, 8)), not_boxes=((9, 9, 11, 12),))
    assert to_text(node) == 'like("cup", 1, 2, 30, 40, 5, 6, 7, 8, not, 9, 9, 11, 12)'
    assert from_text(to_text(node)) == node
    assert from_json(to_json(node)) == node
