"""Weights in the layouts of other programs, read and written through their tables of names (`names.FORMATS`)."""

import re
from pathlib import Path

import torch

from masklet.checkpoints.containers import Tensors, save_tensors
from masklet.checkpoints.names import FORMATS, names_of
from masklet.checkpoints.weights import Weights, check_shapes, skeleton
from masklet.files import replacing
from masklet.models.detector import Detector

_TEXT_PROJECTION_DIM = 512  # of the unread CLIP projection, whose width no config knows


def parse_foreign(tensors: Tensors, config: Detector.Config, what: str = "the table") -> Weights:
    """Weights of a table of tensors under the names of a foreign format.

    Raises: InputError listing what is missing, unknown or of the wrong shape; `what` names the table.
    """
    kind = next(kind for kind, each in FORMATS.items() if each.recognise(tensors))
    tensors = FORMATS[kind].complete(tensors)
    layout = FORMATS[kind].layout(config)
    # An optional part is expected as soon as one of its tensors is there
    entries = list(layout.concept)
    for group in layout.optional.values():
        if any(name in tensors for entry in group for name in names_of(entry.theirs)):
            entries += group
    ignored = [re.compile(re.escape(pattern).replace(r"\#", r"(\d+)")) for pattern in layout.ignored]
    given = {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if name not in layout.dead and not any(pattern.fullmatch(name) for pattern in ignored)
    }
    model = skeleton(config).state_dict()
    wanted = {name: tensor for entry in entries for name, tensor in entry.write(model).items()}
    check_shapes(f"{what} ({kind} layout)", {name: tuple(tensor.shape) for name, tensor in wanted.items()}, given)
    # Translate the names; what the format does not know becomes zeros
    state = {name: tensor for entry in entries for name, tensor in entry.read(tensors).items()}
    state |= {name: torch.zeros(model[name].shape) for name in layout.absent}
    return Weights(config=config, state=state, origin=kind)


def write_foreign(weights: Weights, path: Path, kind: str) -> None:
    """Writes another program's format: `official` as a PyTorch checkpoint, `transformers` as safetensors.

    Tensors that those files hold and no image model reads come back as zeros.
    """
    target = FORMATS[kind]
    layout = target.layout(weights.config)
    entries = [*layout.concept, *(entry for part in weights.parts for entry in layout.optional[part])]
    tensors = {name: tensor for entry in entries for name, tensor in entry.write(weights.state).items()}
    for name, shape in layout.dead.items():
        tensors[name] = torch.zeros([_TEXT_PROJECTION_DIM if size < 0 else size for size in shape])
    tensors |= target.buffers(weights.config)
    if target.is_checkpoint:
        with replacing(path) as beside:
            torch.save(tensors, beside)
    else:
        save_tensors(tensors, path, {"format": "pt"})
