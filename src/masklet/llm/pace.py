"""How many requests a server is sent at once: one more after each that went well, half as many when it says no.

Source: Chiu and Jain (1989), additive increase and multiplicative decrease.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MOST_AT_ONCE = 8


@dataclass(eq=False)
class Pace:
    """The limit of one server, shared by all threads that ask it."""

    most: int = MOST_AT_ONCE
    limit: float = 1.0
    at_once: int = 0
    _free: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until one more request may be sent."""
        with self._free:
            self._free.wait_for(lambda: self.at_once < int(self.limit))
            self.at_once += 1
        try:
            yield
        finally:
            with self._free:
                self.at_once -= 1
                self._free.notify_all()

    def went_well(self) -> None:
        """The server kept up: a whole round of answers lets in one more."""
        with self._free:
            self.limit = min(float(self.most), self.limit + 1 / self.limit)
            self._free.notify_all()

    def was_too_much(self) -> None:
        """The server was busy or slow: half as many at once, at least one."""
        with self._free:
            self.limit = max(1.0, self.limit / 2)
