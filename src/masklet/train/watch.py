"""Who is told how a run goes: a log of lines, TensorBoard, and the person who waits for it."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from masklet.errors import InputError
from masklet.files import REASONS
from masklet.train.recipes import Recipe

LOG, BOARD = "log.jsonl", "tensorboard"
MOST_PARTS = 3  # of the loss that a person is shown
BOARD_SIDE = 640  # pixels of the longer side of pictures for TensorBoard


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A line of `validation.jsonl`, and the files of the answers drawn."""

    line: Mapping[str, Any]
    pictures: tuple[Path, ...] = ()

    @property
    def summary(self) -> str:
        """One line for people."""
        metrics, step = self.line["metrics"], self.line["step"]
        when = f"validation after {step} updates" if step else "validation of the base"
        figures = f"cgF1 {100 * metrics['cgF1']:.1f}, IL_MCC {metrics['IL_MCC']:.2f}, pmF1 {100 * metrics['pmF1']:.1f}"
        return f"{when}: {figures}{', the best of this run so far' if self.line['best'] else ''}"


@runtime_checkable
class Observer(Protocol):
    """Somebody who is told; what one does not want to know it leaves as it is here."""

    def started(self, recipe: Recipe, step: int) -> None:
        """The run begins, or goes on, after `step` updates."""

    def stepped(self, step: int) -> None:
        """An update was made; nothing is known of it yet."""

    def logged(self, line: Mapping[str, Any]) -> None:
        """Means since the line before: `step`, `loss`, its parts `loss_...`, `lr` and others."""

    def validating(self, pictures: int) -> None:
        """The weights are about to be tried on so many validation pictures."""

    def validated(self, validation: Validated) -> None:
        """They were."""

    def ended(self) -> None:
        """The run is complete, or it stops here."""


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds a JSON object to a file of lines. Raises: InputError when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {REASONS.get(error.errno or 0, error.strerror)}") from error


class JsonLog(Observer):
    """Writes what is logged to `log.jsonl` in the folder of the run."""

    def __init__(self, out: Path) -> None:
        self.path = out / LOG

    def logged(self, line: Mapping[str, Any]) -> None:
        append_line(self.path, line)


def boards(out: Path) -> list[Observer]:
    """TensorBoard where it is installed (it comes with `masklet[train]`)."""
    return [TensorBoard(out / BOARD)] if find_spec("tensorboard") else []


class TensorBoard(Observer):
    """Writes what is logged and validated for TensorBoard; what a continued run repeats takes the older's place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def started(self, recipe: Recipe, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        del recipe
        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def logged(self, line: Mapping[str, Any]) -> None:
        for name, value in line.items():
            if name != "step":
                self.writer.add_scalar(_tag(name), value, line["step"])

    def validated(self, validation: Validated) -> None:
        step = validation.line["step"]
        for name, value in validation.line["metrics"].items():
            if value is not None:
                self.writer.add_scalar(f"validation/{name}", value, step)
        for path in validation.pictures:
            with Image.open(path) as picture:
                picture.thumbnail((BOARD_SIDE, BOARD_SIDE))
                self.writer.add_image(path.stem, np.array(picture.convert("RGB")), step, dataformats="HWC")
        self.writer.flush()

    def ended(self) -> None:
        self.writer.close()


def _tag(name: str) -> str:
    """Charts of one kind side by side."""
    if name == "loss":
        return "loss/total"
    return name.replace("_", "/", 1) if name.startswith("loss_") else f"run/{name}"


class Display(Observer):
    """Shows a person how far the run is: a bar that moves on a terminal, else a line each time something is logged."""

    def __init__(self) -> None:
        """Onto stderr."""
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
            self.bar.say_below(self.means)
        else:
            where = f"update {step} of {self.recipe.total_steps} ({self._place(step)})"
            self._print(f"{where}: {self.means}, {self._left(step)}")

    def validating(self, pictures: int) -> None:
        if self.bar is not None:
            self.bar.say_below(f"validating on {pictures} pictures")

    def validated(self, validation: Validated) -> None:
        if self.bar is not None:
            self.bar.say_above(validation.summary)
            self.bar.say_below(self.means)
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
        """As long as what is to be done took so far in this call, by pixels, validations included."""
        done = self.recipe.work_of(step) - self.recipe.work_of(self.first)
        left = self.recipe.work_of(self.recipe.total_steps) - self.recipe.work_of(step)
        return f"{duration((time.monotonic() - self.began) * left / done)} left" if done else ""


class _Bar:
    """A bar with a line below, drawn again and again in the same place of a terminal."""

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

    def say_below(self, text: str) -> None:
        self._below.plain = text
        self._live.refresh()

    def say_above(self, text: str) -> None:
        self._live.console.print(text, highlight=False)

    def close(self) -> None:
        self._live.stop()


def describe(line: Mapping[str, Any]) -> str:
    """Loss with its largest parts, learning rate and speed of a line of the log."""
    parts = {name.removeprefix("loss_"): value for name, value in line.items() if name.startswith("loss_")}
    largest = sorted(parts, key=lambda name: -parts[name])[:MOST_PARTS]
    listed = ", ".join(f"{name.replace('_', ' ')} {parts[name]:.3g}" for name in largest)
    words = [f"loss {line['loss']:.4g}" + (f" ({listed})" if listed else ""), f"lr {line['lr']:.2g}"]
    words += [f"{line[name]:.3g} {name.removesuffix('_per_second')}/s" for name in line if name.endswith("_per_second")]
    return ", ".join(words)


def duration(seconds: float | int) -> str:
    """As a person says it: "40 seconds", "35 minutes", "2.1 hours", "3.5 days"."""
    for unit, size, limit in (("second", 1, 90), ("minute", 60, 90 * 60), ("hour", 3600, 48 * 3600)):
        if seconds < limit:
            count = round(seconds / size, 1 if size == 3600 else None)
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds / 86400:.3g} days"
