"""The progress of a workflow on a terminal: a bar, results as lines or JSON, warnings on stderr."""

import json
import logging
import sys
import time
from contextlib import AbstractContextManager
from typing import Any

import typer

from masklet.cli.app import log
from masklet.interrupt import Interrupt
from masklet.workflows.observer import JobObserver, Product

EVERY_SECONDS = 30  # between lines of progress where no bar can be shown


class Display(JobObserver, AbstractContextManager):
    """Follows one workflow.

    With `json` each product is a line of JSON, and nothing but warnings is printed beside; with `lines` a product is
    printed as text. With `stoppable` a first Ctrl-C, or SIGTERM, asks the workflow to stop after the item at hand, and
    a second Ctrl-C interrupts it.
    """

    def __init__(self, *, json: bool = False, lines: bool = False, stoppable: bool = False) -> None:
        self._json, self._lines = json, lines
        self._interrupt = Interrupt() if stoppable else None
        self._bar: Any = None
        self._total: int | None = None
        self._unit, self._done, self._told = "", 0, 0.0

    def __enter__(self) -> "Display":
        if self._interrupt is not None:
            self._interrupt.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.finished()
        if self._interrupt is not None:
            self._interrupt.__exit__(*error)

    def started(self, total: int | None, unit: str) -> None:
        self._total, self._unit, self._done, self._told = total, unit, 0, time.monotonic()
        if (total is None or total > 1) and sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
            self._bar = _make_bar(total, unit)
            self._bar.start()

    def advanced(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])
            return
        self._done += 1
        if time.monotonic() - self._told >= EVERY_SECONDS:
            self._told = time.monotonic()
            log.info("%d%s %s done", self._done, "" if self._total is None else f" of {self._total}", self._unit)

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
            log.info("%s", message)

    def warned(self, message: str) -> None:
        log.warning("%s", message)

    def should_stop(self) -> bool:
        return self._interrupt is not None and self._interrupt.requested


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
