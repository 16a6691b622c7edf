"""Tallies that add up over the parts of a dataset: buckets, subsets, processes."""

from typing import TypeVar

Tally = TypeVar("Tally", bound="Summable")


class Summable:
    """A dataclass whose fields all add up."""

    def __add__(self: Tally, other: Tally) -> Tally:
        return type(self)(**{name: value + getattr(other, name) for name, value in vars(self).items()})
