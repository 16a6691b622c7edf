"""Files of tensors: safetensors, folders of them, and plain PyTorch checkpoints; read without running anything."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from masklet.errors import InputError
from masklet.files import replacing

Metadata = Mapping[str, str]
Tensors = dict[str, Tensor]


def open_tensors(path: Path) -> tuple[Metadata, Tensors]:
    """Metadata and tensors by name, whatever the container; pickles are opened with `weights_only=True` alone.

    Raises: InputError when the file is neither safetensors nor a PyTorch checkpoint of tensors.
    """
    if path.is_dir():
        shards = sorted(path.glob("*.safetensors"))
        if not shards:
            raise InputError(f"{path} is a folder without .safetensors files")
        return {}, {name: tensor for shard in shards for name, tensor in open_tensors(shard)[1].items()}
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if start.startswith(b"PK"):
            return {}, _open_pickle(path)
        if start[8:] != b"{":
            raise InputError(f"{path} is not a weight file: neither safetensors nor a PyTorch checkpoint")
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        raise InputError(f"cannot read weights from {path}: {error}") from error


def _open_pickle(path: Path) -> Tensors:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the unpickler raises anything on a foreign or hostile file
        raise InputError(f"{path} is not a plain checkpoint of tensors: {str(error).splitlines()[0]}") from error
    content = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} does not hold a table of tensors")
    return content


def read_metadata(path: Path) -> Metadata:
    """The metadata of a safetensors file; empty for any other file."""
    try:
        with safe_open(path, "pt") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError):
        return {}


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Metadata) -> None:
    """Writes a safetensors file, whole or not at all. Raises: InputError when the place cannot be written."""
    with replacing(path) as beside:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, beside, dict(metadata))
        except SafetensorError as error:  # it wraps the operating system's reason
            raise InputError(f"cannot write {path}: {error}") from error


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
