"""The words of scenes, read from `words.yaml`: which names two things could share, and what a photo may show."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

_ON_COINS = (
    *(f"letter {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
    *(f"number {digit}" for digit in range(10)),
)


@dataclass(frozen=True, kw_only=True)
class Words:
    """See the comments of `words.yaml` for what each list means."""

    also_called: dict[str, frozenset[str]]
    broad: frozenset[str]
    everywhere: frozenset[str]
    alike: tuple[frozenset[str], ...]
    shown_with: dict[str, frozenset[str]]
    common_outdoors: frozenset[str]
    common_in_shops: frozenset[str]
    rare: frozenset[str]


@cache
def words() -> Words:
    """The lists, read once a process."""
    listed = yaml.safe_load((files("masklet.scenes") / "words.yaml").read_text(encoding="utf-8"))
    also_called = {noun: _split(others) for noun, others in listed["also_called"].items()}
    return Words(
        also_called=also_called | {"coin": also_called["coin"] | frozenset(_ON_COINS)},
        broad=_split(listed["broad"]),
        everywhere=_split(listed["everywhere"]),
        alike=tuple(_split(each) for each in listed["alike"]),
        shown_with={noun: _split(others) for noun, others in listed["shown_with"].items()},
        common_outdoors=_split(listed["common_outdoors"]),
        common_in_shops=_split(listed["common_in_shops"]),
        rare=_split(listed["rare"]),
    )


def _split(listed: str) -> frozenset[str]:
    return frozenset(word.strip() for word in listed.split(","))
