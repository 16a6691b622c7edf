"""Stopping a long run by hand: the first Ctrl-C is granted when the step at work is done, a second one ends at once."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Any


class Interrupt(AbstractContextManager):
    """While it is open, `requested` says whether Ctrl-C was pressed or the process was asked to end (SIGTERM).

    `notice` is logged as a warning at the first request. Signals reach the main thread only: in any other thread
    `requested` stays False.
    """

    def __init__(self, notice: str | None = None) -> None:
        self.requested = False
        self._notice = notice
        self._is_immediate = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """A block that changes nothing that is kept: the first request already leaves it."""
        self._is_immediate = True
        try:
            yield
        except KeyboardInterrupt:
            self.requested = True
        finally:
            self._is_immediate = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        is_repeated, self.requested = self.requested and number == signal.SIGINT, True
        if is_repeated or self._is_immediate:
            raise KeyboardInterrupt
        if self._notice is not None:
            logging.getLogger(__name__).warning(self._notice)
