"""Values that are computed once, at their first use, and kept with their object."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    cached = property  # so that what is computed may fulfil a protocol's property
else:

    class cached:
        """A method as a value that is kept. Threads that come at once each compute it, and one of them is kept.

        `functools.cached_property` holds a lock up to Python 3.11, one for all objects of a class: of several people's
        images one at a time was answered.
        """

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self.compute, self.__doc__ = compute, compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            return instance.__dict__.setdefault(self.name, self.compute(instance))
