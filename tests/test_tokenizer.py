"""Ids equal the official tokenizer's on 239 phrases, odd ones included, and the batch is padded and cut as promised."""

import json
from pathlib import Path

import pytest
import torch

from masklet.phrases import clean_text
from masklet.tokenizer import Tokenizer, split_words

GOLDEN = json.loads((Path(__file__).parent / "golden/official/5_tokenizer.json").read_text())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer()


@pytest.mark.parametrize("case", GOLDEN["phrases"], ids=lambda case: ascii(case["text"])[:40])
def test_ids_equal_the_official_ones(tokenizer: Tokenizer, case: dict) -> None:
    token_ids, valid = tokenizer.encode([case["text"]])
    official = torch.tensor(case["official_ids"])
    assert token_ids[0].tolist() == official[: token_ids.shape[1]].tolist()
    assert official[token_ids.shape[1] :].eq(0).all()
    assert valid[0].tolist() == [id_ != 0 for id_ in token_ids[0].tolist()]
    assert (len(tokenizer.ids(case["text"])) > 32) == case["truncated"]


def test_a_batch_is_padded_to_its_longest_phrase(tokenizer: Tokenizer) -> None:
    token_ids, valid = tokenizer.encode(["cat", "yellow school bus"])
    assert token_ids.shape == (2, 5)
    assert valid.sum(dim=1).tolist() == [3, 5]


def test_no_phrases_give_an_empty_batch(tokenizer: Tokenizer) -> None:
    token_ids, valid = tokenizer.encode([])
    assert token_ids.shape == (0, 0)
    assert valid.shape == (0, 0)


def test_a_short_vocabulary_is_a_prefix_of_the_long_one(tokenizer: Tokenizer) -> None:
    short = Tokenizer(vocab_size=8192)
    assert short.ids("cat")[1:-1] == tokenizer.ids("cat")[1:-1]
    assert short.ids("cat")[0] == 8190
    assert short.ids("cat")[-1] == 8191
    assert max(short.ids("antidisestablishmentarianism")) < 8192


def test_words_are_split_at_digits_and_signs() -> None:
    assert split_words("it's 25 red-cars!!") == ["it", "'s", "2", "5", "red", "-", "cars", "!!"]


def test_cleaning_keeps_meaning() -> None:
    assert clean_text("  “Red”\tCAR &amp;amp; van ") == '"red" car & van'
