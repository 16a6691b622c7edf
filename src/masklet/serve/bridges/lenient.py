"""Requests of other programs: what is not known here is passed over, what is no JSON at all is refused."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from masklet.errors import InputError
from masklet.serve.bridges.shapes import distinct
from masklet.serve.schemas import MOST_PHRASE, MOST_PROMPTS

LARGEST = 2**53  # up to here whole numbers are exact in JSON everywhere


class Lenient(BaseModel):
    """Requests of other programs: what is not known here is passed over."""

    model_config = ConfigDict(extra="ignore")


def plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """The same. Raises: ValueError for what Python's reader lets in and JSON has not: NaN, halves of letters."""
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str) and not each.isascii():
            each.encode()
        elif isinstance(each, int | float) and not abs(each) <= LARGEST:
            raise ValueError("a number is finite, and at most 2**53")
    return value


def written_phrases(text: str) -> list[str]:
    """The phrases of a text, which commas and full stops separate. Raises: InputError when there are too many."""
    return bounded_phrases(distinct(re.split(r"[,.]", text)))


def bounded_phrases(phrases: list[str], most: int = MOST_PROMPTS) -> list[str]:
    """The same. Raises: InputError for more phrases than one request may ask, or longer ones than `/v1/segment` reads.

    All of them go through the model in one pass, whose memory grows with their number.
    """
    if len(phrases) > most:
        raise InputError(f"{len(phrases)} phrases are asked, at most {most} at a time: ask for fewer")
    longest = max(map(len, phrases), default=0)
    if longest > MOST_PHRASE:
        raise InputError(f"a phrase has {longest} letters, at most {MOST_PHRASE} are read: say it shorter")
    return phrases


Open = Annotated[dict[str, Any], AfterValidator(plain_json)]
