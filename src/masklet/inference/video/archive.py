"""The file of a saved session: tensors under their places, and everything else as JSON, as one more tensor of bytes.

The header of the file would hold only 100 MB. Nothing in the file can run; what does not fit is an error.
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
from masklet.files import cannot_write, replacing
from masklet.inference.concepts import LARGEST

FORMAT = "masklet session 3"
DOCUMENT = "document"
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
    """Writes the file, whole or not at all. Raises: InputError when it cannot be written."""
    content = torch.frombuffer(bytearray(json.dumps(document).encode()), dtype=torch.uint8)
    with replacing(path) as beside:
        try:
            save_file({**store.tensors, DOCUMENT: content}, beside, {"format": FORMAT})
        except SafetensorError as error:
            raise cannot_write(path, error) from error


def read_archive(path: Path) -> tuple[Json, TensorStore]:
    """What `write_archive` wrote. Raises: InputError when the file is something else."""
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read the session {path}: {error}") from error
    if metadata.get("format", "").startswith("masklet session ") and metadata["format"] != FORMAT:
        raise InputError(f"{path} is a session of another version of masklet, which cannot be gone on with")
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} is not a session")
    try:
        document = dict(json.loads(tensors.pop(DOCUMENT).numpy().tobytes()))
        check_numbers(document)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is a damaged session: {error}") from error
    return document, TensorStore(tensors)


def check_numbers(value: object) -> None:
    """Raises: ValueError for a number somewhere in a document that cannot be one of a session."""
    if isinstance(value, dict):
        for each in value.values():
            check_numbers(each)
    elif isinstance(value, list):
        for each in value:
            check_numbers(each)
    elif isinstance(value, (int, float)) and not abs(value) <= LARGEST:  # nor NaN
        raise ValueError(
            f"a number of it is {value:.3g}" if isinstance(value, float) else "a number of it is too large"
        )
