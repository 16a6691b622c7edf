"""Stopping a run by hand: the first Ctrl-C is a wish that is granted after the update, a second one ends at once."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, TracebackType
from typing import Any


class Interrupt(AbstractContextManager):
    """While it is open, `wished` says whether Ctrl-C was pressed or the process was asked to end.

    Other threads than the main one are not told of signals, so there it never is.
    """

    def __init__(self) -> None:
        self.wished = False
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What stands within changes nothing that is kept, so it is left at the first wish."""
        self._at_once = True
        try:
            yield
        except KeyboardInterrupt:
            self.wished = True
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        again, self.wished = self.wished and number == signal.SIGINT, True
        if again or self._at_once:
            raise KeyboardInterrupt
        logging.getLogger(__name__).warning("stopping after this update; Ctrl-C once more to stop at once")
