"""How much a language model may be asked: limits and prices as they are written, and when they are reached."""

import pytest

from masklet.errors import InputError
from masklet.llm.allowance import Allowance, Price
from masklet.llm.messages import Usage

SPENT = Usage(requests=10, prompt_tokens=2_000_000, completion_tokens=500_000)


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("requests=10", "10 requests"),
        ("requests=11", ""),
        ("tokens=2500000", "2500000 tokens"),
        ("tokens=2500001", ""),
        ("seconds=2.5", "2.5 seconds"),
        ("seconds=3.5", ""),
        ("money=0.6", "0.6 of money"),
        ("money=0.61", ""),
        ("requests=99,money=0.5", "0.5 of money"),
        (None, ""),
    ],
)
def test_the_limit_that_is_reached_is_named(text: str | None, reached: str) -> None:
    assert Allowance.read(text, "0.15,0.6").used_up(SPENT, 3.0) == reached


def test_money_is_counted_by_the_price() -> None:
    assert Price.read("0.15,0.6").of(SPENT) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("text", "price", "sentence"),
    [
        ("money=3", None, "needs the price"),
        ("rounds=3", None, "'rounds=3' is no limit: expected NAME=N above 0, of requests, tokens, seconds, money"),
        ("requests=2.5", None, "'requests=2.5' is no limit"),
        ("requests=-1", None, "'requests=-1' is no limit"),
        ("tokens=nan", None, "no limit"),
        ("seconds=inf", None, "'seconds=inf' is no limit"),
        ("money=3", "0.15", "'0.15' is no price"),
        ("money=3", "-1,2", "'-1,2' is no price"),
        ("money=3", "nan,2", "'nan,2' is no price"),
    ],
)
def test_what_is_no_limit_or_price_is_refused(text: str, price: str | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Allowance.read(text, price)
