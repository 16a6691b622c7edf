"""A model's weights under our own names, and our own file format: safetensors with config, origin and hash inside.

Nothing loads in part: every missing, unknown or mis-shaped tensor is an error that lists it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from masklet.checkpoints.configs import from_dict, to_dict
from masklet.checkpoints.containers import Metadata, Tensors, content_hash, save_tensors
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.types import DetectionSettings

OWN_FORMAT = "masklet"
OPTIONAL_PARTS = {"click": ("click.", "vision.click_neck."), "memory": ("memory.",)}
_LISTED = 8

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A model's tensors under our names, and how its detections are meant to be used.

    `digest` is the `content_hash` that the file was written with, empty where its format has none.
    """

    config: Detector.Config
    state: Tensors
    origin: str
    settings: DetectionSettings = field(default_factory=DetectionSettings)
    digest: str = ""

    @property
    def parts(self) -> frozenset[str]:
        """The parts of `OPTIONAL_PARTS` that the file brought."""
        return frozenset(part for part in OPTIONAL_PARTS if any(belongs(name, part) for name in self.state))

    @property
    def identity(self) -> str:
        """A hash that tells these tensors from others."""
        return self.digest or content_hash(self.state)


class _WithoutValues(TorchFunctionMode):
    """Parameters are made on the device "meta", and what would write into them is left out.

    The device's own mode puts all arithmetic there: the first `torch.randn(n) * 0.02` imports the compiler, three
    seconds. So constants stay on the processor.
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            return func(*args, **kwargs | {"device": "meta"})
        written = args[0] if args else kwargs.get("tensor")  # torch.nn.init calls it `tensor`
        if isinstance(written, Tensor) and written.is_meta and _writes(func.__name__):
            return written
        return func(*args, **kwargs)


def _writes(name: str) -> bool:
    """Whether a function of this name changes its first argument."""
    return name == "__setitem__" or (name.endswith("_") and not name.endswith("__") and name != "requires_grad_")


def belongs(name: str, part: str) -> bool:
    """Whether a tensor of ours is of this optional part."""
    return name.startswith(OPTIONAL_PARTS[part])


def load_detector(weights: Weights) -> Detector:
    """The model with these weights, in float32, for inference. Optional parts that the file lacks are zeros."""
    detector = skeleton(weights.config)
    state = {name: tensor.float() for name, tensor in weights.state.items()}
    for name, tensor in detector.state_dict().items():
        if name not in state and any(belongs(name, part) for part in OPTIONAL_PARTS):
            state[name] = torch.zeros(tensor.shape)
    detector.load_state_dict(state, assign=True)
    return detector.eval().requires_grad_(requires_grad=False)


def parse_own(path: Path, metadata: Metadata, tensors: Tensors) -> Weights:
    """Weights of an opened file of our own format. Raises: InputError on an unreadable config or a tensor amiss."""
    try:
        config = from_dict(Detector.Config, json.loads(metadata["config"]))
        settings = DetectionSettings(
            even_score=float(metadata.get("even_score", 0.5)), max_overlap=float(metadata.get("max_overlap", 1.0))
        )
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} was written by masklet, but its config cannot be read: {error}") from error
    weights = Weights(
        config=config,
        state=tensors,
        origin=metadata.get("origin", "unknown"),
        settings=settings,
        digest=metadata.get("hash", ""),
    )
    lacking = OPTIONAL_PARTS.keys() - weights.parts
    expected = own_shapes(config)
    wanted = {name: shape for name, shape in expected.items() if not any(belongs(name, part) for part in lacking)}
    check_shapes(f"{path} (masklet layout)", wanted, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    return weights


def write(weights: Weights, path: Path) -> None:
    """Writes our own format, whole or not at all."""
    metadata = {
        "format": OWN_FORMAT,
        "config": json.dumps(to_dict(weights.config)),
        "origin": weights.origin,
        "even_score": str(weights.settings.even_score),
        "max_overlap": str(weights.settings.max_overlap),
        "hash": content_hash(weights.state),
    }
    save_tensors(weights.state, path, metadata)


def own_shapes(config: Detector.Config) -> Shapes:
    """Names and shapes of our tensors."""
    return {name: tuple(tensor.shape) for name, tensor in skeleton(config).state_dict().items()}


def skeleton(config: Detector.Config) -> Detector:
    """The model with shapes and no values, on the device "meta"."""
    with _WithoutValues():
        return Detector(config).to("meta")


def check_shapes(what: str, wanted: Shapes, given: Shapes) -> None:
    """Raises an InputError that lists every difference between the tensors wanted and given."""
    differing = [
        f"{n} {given[n]} for {wanted[n]}" for n in sorted(wanted.keys() & given.keys()) if wanted[n] != given[n]
    ]
    problems = [
        f"{len(names)} {word}: {', '.join(names[:_LISTED])}"
        + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
        for word, names in (
            ("missing", sorted(wanted.keys() - given.keys())),
            ("unknown", sorted(given.keys() - wanted.keys())),
            ("of the wrong shape", differing),
        )
        if names
    ]
    if problems:
        raise InputError(f"{what} is not this model ({len(wanted)} tensors expected): {'; '.join(problems)}")
