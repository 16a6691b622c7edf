"""The file of a saved session: tensors under their places, and everything else as JSON in the metadata.

Nothing in it can run; what does not fit is an error.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from masklet.errors import InputError
from masklet.files import replacing

FORMAT = "masklet session 1"
Json = dict[str, Any]


class TensorStore:
    """Tensors by place, to be written or as read."""

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        self.tensors = dict(tensors or {})

    def put(self, **tensors: Tensor | None) -> Json:
        """Takes tensors, and gives the places that stand for them in JSON."""
        places = {}
        for name, tensor in tensors.items():
            if tensor is not None:
                places[name] = f"{len(self.tensors)}/{name}"
                self.tensors[places[name]] = tensor.detach().cpu().contiguous()
        return places

    def get(self, places: Json, device: torch.device) -> dict[str, Tensor]:
        """The tensors again."""
        return {name: self.tensors[place].to(device) for name, place in places.items()}


def write_archive(path: Path, document: Json, store: TensorStore) -> None:
    """Writes the file, whole or not at all."""
    with replacing(path) as beside:
        save_file(store.tensors, beside, {"format": FORMAT, "session": json.dumps(document)})


def read_archive(path: Path) -> tuple[Json, TensorStore]:
    """What `write_archive` wrote. Raises: InputError when the file is something else."""
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the session {path}: {error}") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is not a session")
    try:
        return dict(json.loads(metadata["session"])), TensorStore(tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is a damaged session: {error}") from error
