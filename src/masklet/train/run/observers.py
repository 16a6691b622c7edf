"""Who is told how a run goes: a log of lines, TensorBoard, and whoever else watches."""

import json
from collections.abc import Mapping
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
    """Writes what is logged to `log.jsonl` in the folder of the run, a line for each step."""

    def __init__(self, out: Path) -> None:
        self.path = out / LOG

    def started(self, recipe: Recipe, step: int) -> None:
        """What a continued run makes again goes, and what was being written when it was killed."""
        del recipe
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            write_atomically(self.path, "".join(line for line in lines if _is_of(line, step)))

    def logged(self, line: Mapping[str, Any]) -> None:
        append_line(self.path, line)


def _is_of(line: str, last: int) -> bool:
    """Whether a line is whole, and of an update up to the last."""
    try:
        return json.loads(line)["step"] <= last
    except ValueError:
        return False


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


def duration(seconds: float | int) -> str:
    """As a person says it: "40 seconds", "35 minutes", "2.1 hours", "3.5 days"."""
    for unit, size, limit in (("second", 1, 90), ("minute", 60, 90 * 60), ("hour", 3600, 48 * 3600)):
        if seconds < limit:
            count = round(seconds / size, 1 if size == 3600 else None)
            return f"{count:g} {unit}{'' if count == 1 else 's'}"
    return f"{seconds / 86400:.3g} days"
