"""The progress of a workflow on a terminal: a bar, results as lines or JSON, warnings on stderr."""

import json
import signal
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import typer

from masklet.cli.app import complain
from masklet.workflows.observer import JobObserver, Product


class Display(JobObserver, AbstractContextManager):
    """Follows one workflow.

    With `json` each product is a line of JSON, and nothing but warnings is printed beside; with `lines` a product is
    printed as text. With `stoppable` the first Ctrl-C asks the workflow to stop after the item at hand, and the second
    one interrupts it.
    """

    def __init__(self, *, json: bool = False, lines: bool = False, stoppable: bool = False) -> None:
        self._json, self._lines, self._stoppable = json, lines, stoppable
        self._stopping = False
        self._bar: Any = None
        self._earlier: Any = None

    def __enter__(self) -> "Display":
        if self._stoppable:
            self._earlier = signal.signal(signal.SIGINT, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finished()
        if self._stoppable:
            signal.signal(signal.SIGINT, self._earlier)

    def _stop(self, *_: object) -> None:
        self._stopping = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def started(self, total: int | None, unit: str) -> None:
        if (total is None or total > 1) and sys.stderr.isatty():
            self._bar = _make_bar(total, unit)
            self._bar.start()

    def advanced(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def finished(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def produced(self, product: Product) -> None:
        if self._json:
            typer.echo(json.dumps(product.to_json()))
        elif self._lines:
            typer.echo(str(product))

    def noted(self, message: str) -> None:
        if not self._json:
            typer.echo(message, err=True)

    def warned(self, message: str) -> None:
        complain(message)

    def should_stop(self) -> bool:
        return self._stopping


def _make_bar(total: int | None, unit: str) -> Any:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.1f} {unit}/s")

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty())
    bar.add_task(unit, total=total)
    return bar
