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
class Rename:
    """One tensor under two names; theirs may have axes of length one in front, or behind its first axis."""

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
class Split:
    """Several of our tensors are the equal parts, along the first axis, of one of theirs."""

    ours: tuple[str, ...]
    theirs: str

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return dict(zip(self.ours, theirs[self.theirs].chunk(len(self.ours)), strict=True))

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        return {self.theirs: torch.cat([ours[name] for name in self.ours])}


@dataclass(frozen=True)
class Join:
    """One of our tensors is the concatenation, along the first axis, of several of theirs."""

    ours: str
    theirs: tuple[str, ...]

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return {self.ours: torch.cat([theirs[name] for name in self.theirs])}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        return dict(zip(self.theirs, ours[self.ours].chunk(len(self.theirs)), strict=True))


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


Entry = Rename | Split | Join | PositionTable | Unread


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


WEIGHT_AND_BIAS = ("weight", "bias")


def both(ours: str, theirs: str) -> list[Entry]:
    """Weight and bias of one layer."""
    return [Rename(f"{ours}.{part}", f"{theirs}.{part}") for part in WEIGHT_AND_BIAS]


def layers(ours: str, theirs: str, pairs: Mapping[str, str]) -> list[Entry]:
    """Weight and bias of several layers, each name behind a prefix."""
    return [entry for a, b in pairs.items() for entry in both(ours + a, theirs + b)]


def each(ours: str, count: int, theirs: str, layer: Callable[[str, str], list[Entry]]) -> list[Entry]:
    """The entries of a numbered stack of equal layers."""
    return [entry for i in range(count) for entry in layer(f"{ours}.{i}.", f"{theirs}.{i}.")]


def with_bias(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def neck_convs(project: str, smooth: str) -> dict[str, str]:
    """The two convolutions that every level of a neck ends in."""
    names = {}
    for number, level in enumerate(("fine", "medium", "coarse")):
        names[f"{level}.project"] = project.format(number)
        names[f"{level}.smooth"] = smooth.format(number)
    return names


def click_tokens(theirs: str) -> list[Entry]:
    """The learned tokens of the click head."""
    return [
        Rename("click.decoder.object_token", f"{theirs}obj_score_token.weight"),
        Rename("click.decoder.iou_token", f"{theirs}iou_token.weight"),
        Rename("click.decoder.mask_tokens", f"{theirs}mask_tokens.weight"),
    ]


def click_attention(ours: str, theirs: str, out: str) -> list[Entry]:
    """Four projections of the same name in both."""
    return layers(f"{ours}.", f"{theirs}.", {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": out})


def click_block(ours: str, theirs: str, out: str, plain: Mapping[str, str]) -> list[Entry]:
    """Attentions and plain layers of a two-way block."""
    attentions = {"self_attention": "self_attn", "token_to_image": "cross_attn_token_to_image"}
    attentions["image_to_token"] = "cross_attn_image_to_token"
    entries = [entry for a, b in attentions.items() for entry in click_attention(ours + a, theirs + b, out)]
    return entries + layers(ours, theirs, plain)
