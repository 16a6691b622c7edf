"""Weight files: the one place of the model that reads and writes them.

Own files are safetensors whose metadata hold the config, the origin and a hash of the tensors. `sam3.pt` and
transformers' safetensors are read and written through the tables of `names`. Nothing loads in part: every missing,
unknown or mis-shaped tensor is an error that lists it. Pickles are opened with `weights_only=True` alone. The file of
an adapter names its base and is read as that base, changed.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from masklet.checkpoints.configs import from_dict, to_dict
from masklet.checkpoints.names import Entry, Layout, names_of, official, transformers
from masklet.errors import InputError
from masklet.files import replacing
from masklet.models.detector import Detector
from masklet.models.vision import grid_positions
from masklet.nn.lora import Adapter, merge
from masklet.nn.rope import axial_rotation

OWN_FORMAT, ADAPTER_FORMAT = "masklet", "masklet-adapter"
BUILT_IN, PUBLISHED = "tiny", "sam3"
HUB_REPOSITORY, HUB_FILE = "facebook/sam3", "model.safetensors"
OPTIONAL_PARTS = {"click": ("click.", "vision.click_neck."), "memory": ("memory.",)}
_TEXT_PROJECTION_DIM = 512  # of the unread CLIP projection, whose width no config knows
_LISTED = 8

LAYOUTS: dict[str, Callable[[Detector.Config], Layout]] = {"official": official, "transformers": transformers}


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model's tensors under our names.

    `even_score` is the score at which a detection is as likely right as wrong (`ops.scores.recentre`). Of detections of
    one phrase in a picture whose masks' IoU exceeds `max_overlap`, the surest alone counts: for a model that learnt too
    briefly to find each object once. As published all count. `digest` is the `content_hash` that the file was written
    with, empty where its format has none.
    """

    config: Detector.Config
    state: dict[str, Tensor]
    origin: str
    even_score: float = 0.5
    max_overlap: float = 1.0
    digest: str = ""

    @property
    def parts(self) -> frozenset[str]:
        """The parts of `OPTIONAL_PARTS` that the file brought."""
        return frozenset(part for part in OPTIONAL_PARTS if any(belongs(name, part) for name in self.state))

    @property
    def identity(self) -> str:
        """A hash that tells these tensors from others."""
        return self.digest or content_hash(self.state)


def belongs(name: str, part: str) -> bool:
    """Whether a tensor of ours is of this optional part."""
    return name.startswith(OPTIONAL_PARTS[part])


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A line of `masklet models`."""

    name: str
    size_mb: float | None
    location: Path | None
    note: str


def load_detector(weights: Weights) -> Detector:
    """The model with these weights, in float32, for inference. Optional parts that the file lacks are zeros."""
    with torch.device("meta"):
        detector = Detector(weights.config)
    state = {name: tensor.float() for name, tensor in weights.state.items()}
    for name, tensor in detector.state_dict().items():
        if name not in state and any(belongs(name, part) for part in OPTIONAL_PARTS):
            state[name] = torch.zeros(tensor.shape)
    detector.load_state_dict(state, assign=True)
    return detector.eval().requires_grad_(requires_grad=False)


# --- reading ------------------------------------------------------------------------------------------------------


def find(name_or_path: str | os.PathLike) -> Path:
    """The file behind a model's name or a path; fetches the published weights when they are asked for by name."""
    if str(name_or_path) == BUILT_IN:
        return Path(str(files("masklet") / "assets" / "tiny.safetensors"))
    if str(name_or_path) == PUBLISHED:
        return fetch(PUBLISHED)
    path = Path(name_or_path)
    if not path.exists():
        raise InputError(f"no model {str(name_or_path)!r}: give tiny, sam3 or the path of a weight file")
    return path


def read(path: Path, config: Detector.Config | None = None) -> Weights:
    """Weights of a file in any of the three formats. `config` is the size of a foreign file, by default SAM 3's.

    An adapter's file gives its base with the adapter merged. Raises: InputError saying what the file is, and which
    tensors are missing, unknown or of the wrong shape.
    """
    metadata, tensors = _open(path)
    if metadata.get("format") == ADAPTER_FORMAT:
        return merge_adapters({path: 1.0})
    if metadata.get("format") == OWN_FORMAT:
        return _read_own(path, metadata, tensors)
    return read_tensors(tensors, config or Detector.Config(), what=str(path))


def merge_adapters(shares: Mapping[Path, float], base: Path | None = None) -> Weights:
    """The base of the adapters in these files, with the given share of what each of them changes.

    Without `base` it is looked for where the first adapter says: by name, beside that file, or where it was.

    Raises: InputError when a file is no adapter, the base is not found, or an adapter was made for another one.
    """
    read_files = {path: _open(path) for path in shares}
    for path, (metadata, _) in read_files.items():
        if metadata.get("format") != ADAPTER_FORMAT:
            raise InputError(f"{path} is not an adapter")
    first = next(iter(read_files))
    weights = _read_whole(base or _base_of(first, read_files[first][0]), first)
    digest, adapters = hashlib.sha256(weights.identity.encode()), []
    for path, (metadata, tensors) in read_files.items():
        if metadata.get("base_hash") != weights.identity:
            raise InputError(f"{path} is an adapter of another model than this one ({metadata.get('base')})")
        try:
            adapters.append((Adapter(tensors=tensors, scale=float(metadata["scale"])), shares[path]))
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is an adapter whose scale cannot be read: {error}") from error
        digest.update(f"{metadata.get('hash') or content_hash(tensors)} {metadata['scale']} {shares[path]}".encode())
    try:
        state = merge(weights.state, adapters)
    except ValueError as error:
        raise InputError(f"{', '.join(map(str, shares))}: {error}") from error
    origin = f"{weights.origin}, with {len(adapters)} adapter{'s' * (len(adapters) > 1)}"
    return replace(weights, state=state, origin=origin, digest=digest.hexdigest())


def _base_of(path: Path, metadata: Mapping[str, str]) -> Path:
    name = metadata.get("base", "")
    if name in (BUILT_IN, PUBLISHED):
        return find(name)
    places = [path.parent / Path(name).name, Path(name)]
    found = next((place for place in places if name and place.exists()), None)
    if found is None:
        raise InputError(f"{path} is an adapter of {name!r}, which is neither beside it nor where it was")
    return found


def _read_whole(base: Path, adapter: Path) -> Weights:
    """Weights that do not depend on other files in turn."""
    if is_adapter_file(base):
        raise InputError(f"the base of {adapter} is itself an adapter, {base}: give the model that both were made for")
    return read(base)


def is_adapter_file(path: Path) -> bool:
    """Whether a file holds an adapter rather than a model; what is neither is told by `read`."""
    try:
        with safe_open(path, "pt") as opened:
            return (opened.metadata() or {}).get("format") == ADAPTER_FORMAT
    except (OSError, SafetensorError):
        return False


def read_tensors(tensors: dict[str, Tensor], config: Detector.Config, what: str = "the table") -> Weights:
    """Weights of a table of tensors under the names of either foreign format.

    Raises: InputError listing what is missing, unknown or of the wrong shape; `what` names the table.
    """
    kind = "official" if any(name.startswith(("detector.", "tracker.")) for name in tensors) else "transformers"
    if kind == "transformers":
        tensors = _with_prefix(tensors)
    return _read_foreign(f"{what} ({kind} layout)", LAYOUTS[kind](config), config, tensors, origin=kind)


def _open(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors by name, whatever the container."""
    if path.is_dir():
        shards = sorted(path.glob("*.safetensors"))
        if not shards:
            raise InputError(f"{path} is a folder without .safetensors files")
        return {}, {name: tensor for shard in shards for name, tensor in _open(shard)[1].items()}
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


def _open_pickle(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the unpickler raises anything on a foreign or hostile file
        raise InputError(f"{path} is not a plain checkpoint of tensors: {str(error).splitlines()[0]}") from error
    content = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} does not hold a table of tensors")
    return content


def _with_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files of a plain `Sam3Model` lack the prefix that files of the whole system have."""
    if any(name.startswith("detector_model.") for name in tensors):
        return tensors
    return {f"detector_model.{name}": tensor for name, tensor in tensors.items()}


def _read_own(path: Path, metadata: Mapping[str, str], tensors: dict[str, Tensor]) -> Weights:
    try:
        config = from_dict(Detector.Config, json.loads(metadata["config"]))
        even_score, max_overlap = float(metadata.get("even_score", 0.5)), float(metadata.get("max_overlap", 1.0))
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} was written by masklet, but its config cannot be read: {error}") from error
    weights = Weights(
        config=config,
        state=tensors,
        origin=metadata.get("origin", "unknown"),
        even_score=even_score,
        max_overlap=max_overlap,
        digest=metadata.get("hash", ""),
    )
    lacking = OPTIONAL_PARTS.keys() - weights.parts
    wanted = {
        name: shape for name, shape in _shapes(config).items() if not any(belongs(name, part) for part in lacking)
    }
    _check(f"{path} (masklet layout)", wanted, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    return weights


def _read_foreign(
    what: str, layout: Layout, config: Detector.Config, tensors: dict[str, Tensor], *, origin: str
) -> Weights:
    entries = list(layout.concept)
    for group in layout.optional.values():
        if any(name in tensors for entry in group for name in names_of(entry.theirs)):
            entries += group
    given = {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if name not in layout.dead and not _matches(name, layout.ignored)
    }
    _check(what, _foreign_shapes(entries, config), given)
    state = {name: tensor for entry in entries for name, tensor in entry.read(tensors).items()}
    ours = _shapes(config)
    state |= {name: torch.zeros(ours[name]) for name in layout.absent}
    return Weights(config=config, state=state, origin=origin)


def _shapes(config: Detector.Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of our tensors."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Detector(config).state_dict().items()}


def _foreign_shapes(entries: Iterable[Entry], config: Detector.Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes that a foreign file with these entries must have."""
    with torch.device("meta"):
        ours = Detector(config).state_dict()
        theirs = {name: tensor for entry in entries for name, tensor in entry.write(ours).items()}
    return {name: tuple(tensor.shape) for name, tensor in theirs.items()}


def _check(what: str, wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    """Raises an InputError that lists every difference between the tensors wanted and given."""
    missing, unknown = wanted.keys() - given.keys(), given.keys() - wanted.keys()
    differing = [
        f"{n} {given[n]} for {wanted[n]}" for n in sorted(wanted.keys() & given.keys()) if wanted[n] != given[n]
    ]
    problems = [
        _listing(f"{len(names)} {word}", names)
        for word, names in (
            ("missing", sorted(missing)),
            ("unknown", sorted(unknown)),
            ("of the wrong shape", differing),
        )
        if names
    ]
    if problems:
        raise InputError(f"{what} is not this model ({len(wanted)} tensors expected): {'; '.join(problems)}")


def _listing(title: str, names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{title}: {', '.join(names[:_LISTED])}{more}"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(_regex(pattern), name) for pattern in patterns)


def _regex(pattern: str) -> str:
    return re.escape(pattern).replace(r"\#", r"(\d+)")


# --- writing ------------------------------------------------------------------------------------------------------


def write(weights: Weights, path: Path) -> None:
    """Writes our own format, beside the target first."""
    tensors = {name: tensor.contiguous() for name, tensor in weights.state.items()}
    metadata = {
        "format": OWN_FORMAT,
        "config": json.dumps(to_dict(weights.config)),
        "origin": weights.origin,
        "even_score": str(weights.even_score),
        "max_overlap": str(weights.max_overlap),
        "hash": content_hash(tensors),
    }
    _save(tensors, path, metadata)


def write_adapter(adapter: Adapter, base: Weights, base_name: str, path: Path) -> None:
    """Writes an adapter, with what is needed to find and to recognise its base: a name or a path, and a hash."""
    tensors = {name: tensor.contiguous() for name, tensor in adapter.tensors.items()}
    metadata = {
        "format": ADAPTER_FORMAT,
        "base": base_name if base_name in (BUILT_IN, PUBLISHED) else str(Path(base_name).resolve()),
        "base_hash": base.identity,
        "scale": str(adapter.scale),
        "hash": content_hash(tensors),
    }
    _save(tensors, path, metadata)


def write_foreign(weights: Weights, path: Path, kind: str) -> None:
    """Writes another program's format: `official` as a PyTorch checkpoint, `transformers` as safetensors.

    Tensors that those files hold and no image model reads come back as zeros.
    """
    layout = LAYOUTS[kind](weights.config)
    entries = [*layout.concept, *(entry for part in weights.parts for entry in layout.optional[part])]
    tensors = {name: tensor for entry in entries for name, tensor in entry.write(weights.state).items()}
    for name, shape in layout.dead.items():
        tensors[name] = torch.zeros([_TEXT_PROJECTION_DIM if size < 0 else size for size in shape])
    if kind == "official":
        tensors |= _rotary_buffers(weights.config)
        with replacing(path) as beside:
            torch.save(tensors, beside)
    else:
        _save({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"format": "pt"})


def _rotary_buffers(config: Detector.Config) -> dict[str, Tensor]:
    """The tables that official files hold for every block; ours are made on the fly."""
    trunk, device = config.vision.trunk, torch.device("cpu")
    side, head_dim = config.image_size // trunk.patch_size, trunk.dim // trunk.num_heads
    tables = {
        is_global: axial_rotation(grid_positions(reach, reach, trunk.window, device), head_dim, trunk.rope_theta)
        for is_global, reach in ((False, trunk.window), (True, side))
    }
    return {
        f"detector.backbone.vision_backbone.trunk.blocks.{index}.attn.freqs_cis": tables[
            index in trunk.global_blocks
        ].clone()
        for index in range(trunk.depth)
    }


def convert(path_in: Path | str, path_out: Path | str, to: str = OWN_FORMAT) -> None:
    """Rewrites weights in another format. Nothing is written when the input is not whole.

    Raises: InputError when the input does not fit or `to` is unknown.
    """
    if to not in (OWN_FORMAT, *LAYOUTS):
        raise InputError(f"unknown format {to!r}: give {', '.join((OWN_FORMAT, *LAYOUTS))}")
    weights = read(find(path_in))
    if to == OWN_FORMAT:
        write(weights, Path(path_out))
    else:
        write_foreign(weights, Path(path_out), to)


def content_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _save(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    with replacing(path) as beside:
        try:
            save_file(tensors, beside, metadata)
        except SafetensorError as error:  # it wraps the operating system's reason
            raise InputError(f"cannot write {path}: {error}") from error


# --- where models are ---------------------------------------------------------------------------------------------


def describe_models() -> list[ModelInfo]:
    """The models that can be asked for by name, and where their files are."""
    from huggingface_hub import try_to_load_from_cache

    tiny = find(BUILT_IN)
    cached = try_to_load_from_cache(HUB_REPOSITORY, HUB_FILE)
    published = Path(cached) if isinstance(cached, str) else None
    return [
        ModelInfo(name=BUILT_IN, size_mb=_megabytes(tiny), location=tiny, note="built in, trained by this project"),
        ModelInfo(
            name=PUBLISHED,
            size_mb=_megabytes(published) if published else None,
            location=published,
            note="published by Meta under the SAM License; `masklet models fetch sam3`",
        ),
    ]


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 1)


def fetch(name: str) -> Path:
    """The file of a model by name, downloaded when it is not here yet.

    Raises: InputError that says exactly what to do when access is refused or there is no network.
    """
    if name == BUILT_IN:
        return find(BUILT_IN)
    if name != PUBLISHED:
        raise InputError(f"no model {name!r} to fetch: there are {BUILT_IN} and sam3")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    page = f"https://huggingface.co/{HUB_REPOSITORY}"
    try:
        return Path(hf_hub_download(HUB_REPOSITORY, HUB_FILE))
    except GatedRepoError as error:
        raise InputError(
            f"the SAM 3 weights need Meta's permission: ask for it at {page}, then run `hf auth login` and try again; "
            "if it is refused, the built-in model (tiny) and any copy you may use (masklet.load(PATH)) still work"
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"cannot reach {page} ({type(error).__name__}): with the file on another machine, copy it and give its path"
        ) from error
