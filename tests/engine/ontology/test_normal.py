"""Phrases in one form: a table of what people and captions write, checked row by row."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.ontology.concepts import shipped
from masklet.engine.ontology.normal import LONGEST, MOST_WORDS, normal_phrase

TABLE = [line.split("\t") for line in (Path(__file__).parent / "phrases.tsv").read_text("utf-8").splitlines()]


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(TABLE) >= 300
    assert sum(row[1].startswith("-") for row in TABLE) > 70


@pytest.mark.parametrize("part", range(10))
def test_each_row(part: int) -> None:
    found = {raw: normal_phrase(raw, shipped()) for raw, _ in TABLE[part::10]}
    wrong = {
        raw: each for raw, wanted in TABLE[part::10] if (each := found[raw].text or f"-{found[raw].reason}") != wanted
    }
    assert not wrong


def test_a_normal_phrase_stays_as_it_is() -> None:
    normal = {wanted for _, wanted in TABLE if not wanted.startswith("-")}
    changed = {text: each.text for text in normal if (each := normal_phrase(text, shipped())).text != text}
    assert not changed


@given(st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    found = normal_phrase(text, shipped())
    assert bool(found.text) != bool(found.reason)
    assert len(found.text) <= LONGEST
    assert len(found.text.split()) <= MOST_WORDS
    assert found.text == found.text.strip()
