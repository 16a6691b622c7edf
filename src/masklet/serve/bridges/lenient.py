"""Requests of other programs: what is not known here is passed over, what is no JSON at all is refused."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

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


Open = Annotated[dict[str, Any], AfterValidator(plain_json)]
