"""What a table of names is made of: entries that read our tensors from theirs and write theirs from ours.

A table is made for a config, so every entry is a plain pair of names and can be checked, counted and searched for.
Nothing here touches a file: `foreign.py` does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from masklet.models.detector import Detector

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Parts:
    """Tensors of both sides that are the same when joined along the first axis; one side is a single tensor."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return _divide(self.theirs, self.ours, theirs)

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        return _divide(self.ours, self.theirs, ours)


def _divide(given: tuple[str, ...], wanted: tuple[str, ...], state: State) -> dict[str, Tensor]:
    whole = state[given[0]] if len(given) == 1 else torch.cat([state[name] for name in given])
    return dict(zip(wanted, whole.chunk(len(wanted)), strict=True))


@dataclass(frozen=True)
class Spread:
    """One tensor; theirs has axes of length one in front, or behind its first axis."""

    ours: str
    theirs: str
    leading: int = 0
    inner: int = 0

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        tensor = theirs[self.theirs]
        shape = tuple(tensor.shape[self.leading :])
        return {self.ours: tensor.reshape(shape[:1] + shape[1 + self.inner :])}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        tensor = ours[self.ours]
        shape = tuple(tensor.shape)
        return {self.theirs: tensor.reshape((1,) * self.leading + shape[:1] + (1,) * self.inner + shape[1:])}


@dataclass(frozen=True)
class PositionTable:
    """Our table of window positions is theirs behind a class-token row that no part of the model reads."""

    ours: str
    theirs: str

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return {self.ours: theirs[self.theirs][0, 1:]}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours, with zeros for the unread row."""
        table = ours[self.ours]
        return {self.theirs: torch.cat([torch.zeros_like(table[:1]), table])[None]}


@dataclass(frozen=True)
class Unread:
    """A tensor of theirs that no model reads, and that their loader still asks for."""

    theirs: str
    shape: tuple[int, ...]
    ours: tuple[str, ...] = ()

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Nothing."""
        del theirs
        return {}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Zeros."""
        del ours
        return {self.theirs: torch.zeros(self.shape)}


Entry = Parts | Spread | PositionTable | Unread


def names_of(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names on one side of an entry."""
    return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One foreign naming of the whole model.

    `concept`, `click` and `memory` cover our parameters; a file has each of the last two whole or not at all. `dead`
    are tensors that the published files hold and the model never reads, with their shapes. `absent` are ours that the
    format does not know: they become zeros. `ignored` are patterns of names (`#` stands for a number) that may be there
    and are recomputed or copies.
    """

    concept: tuple[Entry, ...]
    click: tuple[Entry, ...]
    memory: tuple[Entry, ...]
    dead: Mapping[str, tuple[int, ...]]
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them."""
        return (*self.concept, *self.click, *self.memory)

    @property
    def optional(self) -> dict[str, tuple[Entry, ...]]:
        """The groups that a file may lack, by the name that `Weights.parts` has for them."""
        return {"click": self.click, "memory": self.memory}


@dataclass(frozen=True, kw_only=True)
class ForeignFormat:
    """A weight format of another program: its names, how a file of it is recognised, and how it is kept.

    `complete` gives the tensors of a partial file the names of a whole one; `buffers` are tensors that its files hold
    and that we compute on the fly. `is_checkpoint` files are PyTorch's, others are safetensors.
    """

    layout: Callable[[Detector.Config], Layout]
    recognise: Callable[[State], bool]
    complete: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict
    buffers: Callable[[Detector.Config], dict[str, Tensor]] = lambda _: {}
    is_checkpoint: bool = False
