"""The progress of a training run: a bar on a terminal, otherwise lines."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from masklet.train.recipes.schema import Recipe
from masklet.train.run.observers import Observer, Validated, duration

MOST_PARTS = 3  # of the loss that are shown


class TrainDisplay(Observer):
    """Shows the progress of a run on stderr: a bar on a terminal, otherwise a line for each line of the log."""

    def __init__(self) -> None:
        self.stream = sys.stderr
        self.bar: _Bar | None = None
        self.means = ""

    def started(self, recipe: Recipe, step: int) -> None:
        self.recipe, self.first, self.began = recipe, step, time.monotonic()
        if self.stream.isatty():
            self.bar = _Bar(self.stream, recipe.total_steps)
            self.bar.move(step, self._place(step), "")

    def stepped(self, step: int) -> None:
        if self.bar is not None:
            self.bar.move(step, self._place(step), self._left(step))

    def logged(self, line: Mapping[str, Any]) -> None:
        self.means, step = describe(line), line["step"]
        if self.bar is not None:
            self.bar.show_below(self.means)
        else:
            where = f"update {step} of {self.recipe.total_steps} ({self._place(step)})"
            self._print(f"{where}: {self.means}, {self._left(step)}")

    def validating(self, images: int) -> None:
        if self.bar is not None:
            self.bar.show_below(f"validating on {images} images")

    def validated(self, validation: Validated) -> None:
        if self.bar is not None:
            self.bar.print_above(validation.summary)
            self.bar.show_below(self.means)
        else:
            self._print(validation.summary)

    def ended(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def _place(self, step: int) -> str:
        phases = self.recipe.phases
        ends = np.cumsum([phase.steps for phase in phases])
        number = min(int(np.searchsorted(ends, step, side="right")), len(phases) - 1)
        return f"phase {number + 1} of {len(phases)}, {phases[number].image_size} px"

    def _left(self, step: int) -> str:
        """The time left, extrapolated from this call by the pixels processed, validations included."""
        done = self.recipe.work_of(step) - self.recipe.work_of(self.first)
        left = self.recipe.work_of(self.recipe.total_steps) - self.recipe.work_of(step)
        return f"{duration((time.monotonic() - self.began) * left / done)} left" if done else ""


class _Bar:
    """A bar with a line of text below it."""

    def __init__(self, stream: Any, total: int) -> None:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.text import Text

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        console = Console(file=stream)
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=total, left="")
        self._below = Text("", style="dim")
        self._live = Live(Group(self._progress, self._below), console=console, refresh_per_second=2)
        self._live.start()

    def move(self, step: int, place: str, left: str) -> None:
        self._progress.update(self._task, completed=step, description=place, left=left)

    def show_below(self, text: str) -> None:
        self._below.plain = text
        self._live.refresh()

    def print_above(self, text: str) -> None:
        self._live.console.print(text, highlight=False)

    def close(self) -> None:
        self._live.stop()


def describe(line: Mapping[str, Any]) -> str:
    """Loss with its largest parts, learning rate and speed of a log line."""
    parts = {name.removeprefix("loss_"): value for name, value in line.items() if name.startswith("loss_")}
    largest = sorted(parts, key=lambda name: -parts[name])[:MOST_PARTS]
    listed = ", ".join(f"{name.replace('_', ' ')} {parts[name]:.3g}" for name in largest)
    words = [f"loss {line['loss']:.4g}" + (f" ({listed})" if listed else ""), f"lr {line['lr']:.2g}"]
    words += [f"{line[name]:.3g} {name.removesuffix('_per_second')}/s" for name in line if name.endswith("_per_second")]
    return ", ".join(words)
