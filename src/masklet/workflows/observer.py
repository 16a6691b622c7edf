"""How a workflow reports its progress: one observer for all of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Product(Protocol):
    """A result that is final while its workflow goes on, such as that of one image or frame."""

    def to_json(self) -> dict[str, Any]:
        """The result for programs."""
        ...


@runtime_checkable
class JobObserver(Protocol):
    """Callbacks of a workflow; every method is optional."""

    def started(self, total: int | None, unit: str) -> None:
        """A stage of `total` items begins (None: unknown); `unit` names them, such as "images"."""

    def advanced(self) -> None:
        """One item of the stage is done."""

    def finished(self) -> None:
        """The stage is over, completed or not."""

    def produced(self, product: Product) -> None:
        """The result of one item is final."""

    def noted(self, message: str) -> None:
        """Something worth knowing, such as an intermediate figure."""

    def warned(self, message: str) -> None:
        """Something is wrong, and the workflow goes on."""

    def should_stop(self) -> bool:
        """Asked after each item by workflows that can be resumed; True ends the workflow there."""
        return False


class Silent(JobObserver):
    """Ignores everything."""


SILENT = Silent()


@contextmanager
def stage(observer: JobObserver, total: int | None, unit: str) -> Iterator[Callable[[], None]]:
    """A stage of `total` items; yields the callback for each item that is done."""
    observer.started(total, unit)
    try:
        yield observer.advanced
    finally:
        observer.finished()
