"""Adapters on disk: a low-rank correction of a base, which the file names and recognises by its hash."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from masklet.checkpoints.containers import Metadata, content_hash, open_tensors, read_metadata, save_tensors
from masklet.checkpoints.foreign import parse_foreign
from masklet.checkpoints.hub import BUILT_IN, PUBLISHED, find
from masklet.checkpoints.weights import OWN_FORMAT, Weights, parse_own
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.nn.lora import Adapter, merge

ADAPTER_FORMAT = "masklet-adapter"


def read(path: Path, config: Detector.Config | None = None) -> Weights:
    """Weights of a file in any known format. `config` is the size of a foreign file, by default SAM 3's.

    An adapter's file gives its base with the adapter merged. Raises: InputError saying what the file is, and which
    tensors are missing, unknown or of the wrong shape.
    """
    metadata, tensors = open_tensors(path)
    if metadata.get("format") == ADAPTER_FORMAT:
        return merge_adapters({path: 1.0})
    if metadata.get("format") == OWN_FORMAT:
        return parse_own(path, metadata, tensors)
    return parse_foreign(tensors, config or Detector.Config(), what=str(path))


def merge_adapters(shares: Mapping[Path, float], base: Path | None = None) -> Weights:
    """The base of the adapters in these files, with the given share of what each of them changes.

    Without `base` it is looked for where the first adapter says: by name, beside that file, or where it was.

    Raises: InputError when a file is no adapter, the base is not found, or an adapter was made for another one.
    """
    # Open all adapters, and the base that the first of them names
    opened = {path: open_tensors(path) for path in shares}
    for path, (metadata, _) in opened.items():
        if metadata.get("format") != ADAPTER_FORMAT:
            raise InputError(f"{path} is not an adapter")
    first = next(iter(opened))
    base = base or _base_of(first, opened[first][0])
    if is_adapter_file(base):
        raise InputError(f"the base of {first} is itself an adapter, {base}: give the model that both were made for")
    weights = read(base)
    # Check that each was made for this base
    digest, adapters = hashlib.sha256(weights.identity.encode()), []
    for path, (metadata, tensors) in opened.items():
        if metadata.get("base_hash") != weights.identity:
            raise InputError(f"{path} is an adapter of another model than this one ({metadata.get('base')})")
        try:
            adapters.append((Adapter(tensors=tensors, scale=float(metadata["scale"])), shares[path]))
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is an adapter whose scale cannot be read: {error}") from error
        digest.update(f"{metadata.get('hash') or content_hash(tensors)} {metadata['scale']} {shares[path]}".encode())
    # Add their corrections
    try:
        state = merge(weights.state, adapters)
    except ValueError as error:
        raise InputError(f"{', '.join(map(str, shares))}: {error}") from error
    origin = f"{weights.origin}, with {len(adapters)} adapter{'s' * (len(adapters) > 1)}"
    return replace(weights, state=state, origin=origin, digest=digest.hexdigest())


def _base_of(path: Path, metadata: Metadata) -> Path:
    name = metadata.get("base", "")
    if name in (BUILT_IN, PUBLISHED):
        return find(name)
    places = [path.parent / Path(name).name, Path(name)]
    base = next((place for place in places if name and place.exists()), None)
    if base is None:
        raise InputError(f"{path} is an adapter of {name!r}, which is neither beside it nor where it was")
    return base


def is_adapter_file(path: Path) -> bool:
    """Whether a file holds an adapter rather than a model; what is neither is told by `read`."""
    return read_metadata(path).get("format") == ADAPTER_FORMAT


def write_adapter(adapter: Adapter, base: Weights, base_name: str, path: Path) -> None:
    """Writes an adapter, with what is needed to find and to recognise its base: a name or a path, and a hash."""
    metadata = {
        "format": ADAPTER_FORMAT,
        "base": base_name if base_name in (BUILT_IN, PUBLISHED) else str(Path(base_name).resolve()),
        "base_hash": base.identity,
        "scale": str(adapter.scale),
        "hash": content_hash(adapter.tensors),
    }
    save_tensors(adapter.tensors, path, metadata)
