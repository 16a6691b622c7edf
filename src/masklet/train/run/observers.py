"""Callbacks of a training run: the log file, TensorBoard, and the protocol for others."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from masklet.errors import InputError
from masklet.files import REASONS, write_atomically
from masklet.train.recipes.schema import Recipe

LOG, BOARD = "log.jsonl", "tensorboard"
BOARD_SIDE = 640  # pixels of the longer side of images in TensorBoard


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A line of `validation.jsonl`, and the files of the drawn predictions."""

    line: Mapping[str, Any]
    images: tuple[Path, ...] = ()

    @property
    def summary(self) -> str:
        """One line of text."""
        metrics, step = self.line["metrics"], self.line["step"]
        when = f"validation after {step} updates" if step else "validation of the base"
        figures = f"cgF1 {100 * metrics['cgF1']:.1f}, IL_MCC {metrics['IL_MCC']:.2f}, pmF1 {100 * metrics['pmF1']:.1f}"
        return f"{when}: {figures}{', the best of this run so far' if self.line['best'] else ''}"


@runtime_checkable
class Observer(Protocol):
    """Callbacks of a training run; every method is optional."""

    def started(self, recipe: Recipe, step: int) -> None:
        """The run begins, or is resumed, after `step` updates."""

    def stepped(self, step: int) -> None:
        """Update number `step` was made; its losses are still on the device."""

    def logged(self, line: Mapping[str, Any]) -> None:
        """A line of the log: means since the line before (`loss`, its parts `loss_...`), `step`, `lr` and others."""

    def validating(self, images: int) -> None:
        """Validation begins, on this number of images."""

    def validated(self, validation: Validated) -> None:
        """Validation has ended."""

    def ended(self) -> None:
        """The run is complete, or it was stopped."""


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds a JSON object to a file of lines. Raises: InputError when the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {REASONS.get(error.errno or 0, error.strerror)}") from error


class JsonLog(Observer):
    """Appends the lines of the log to `log.jsonl` in the folder of the run."""

    def __init__(self, out: Path) -> None:
        self.path = out / LOG

    def started(self, recipe: Recipe, step: int) -> None:
        """Drops lines after `step`, which a resumed run writes again, and a half-written last line."""
        del recipe
        if self.path.is_file():
            kept = []
            for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
                with suppress(ValueError):  # of a half-written line
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
            write_atomically(self.path, "".join(kept))

    def logged(self, line: Mapping[str, Any]) -> None:
        append_line(self.path, line)


def boards(out: Path) -> list[Observer]:
    """The TensorBoard callback, where TensorBoard is installed (it comes with `masklet[train]`)."""
    return [TensorBoard(out / BOARD)] if find_spec("tensorboard") else []


class TensorBoard(Observer):
    """Writes log lines and validations for TensorBoard; a resumed run replaces the steps that it repeats."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def started(self, recipe: Recipe, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        del recipe
        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1)

    def logged(self, line: Mapping[str, Any]) -> None:
        for name, value in line.items():
            if name != "step":  # charts of one kind stand in one group
                tag = name.replace("_", "/", 1) if name.startswith("loss_") else f"run/{name}"
                self.writer.add_scalar("loss/total" if name == "loss" else tag, value, line["step"])

    def validated(self, validation: Validated) -> None:
        step = validation.line["step"]
        for name, value in validation.line["metrics"].items():
            if value is not None:
                self.writer.add_scalar(f"validation/{name}", value, step)
        for path in validation.images:
            with Image.open(path) as image:
                image.thumbnail((BOARD_SIDE, BOARD_SIDE))
                self.writer.add_image(path.stem, np.array(image.convert("RGB")), step, dataformats="HWC")
        self.writer.flush()

    def ended(self) -> None:
        self.writer.close()


def duration(seconds: float | int) -> str:
    """Seconds in words: "40 seconds", "35 minutes", "2.1 hours", "3.5 days"."""
    for unit, size, limit in (("second", 1, 90), ("minute", 60, 90 * 60), ("hour", 3600, 48 * 3600)):
        if seconds < limit:
            count = round(seconds / size, 1 if size == 3600 else None)
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds / 86400:.3g} days"
