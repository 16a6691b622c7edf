"""Where to compute, and in which numbers."""

from collections.abc import Callable

import torch

from masklet.errors import InputError


def choose_device(name: str) -> torch.device:
    """The best device there is, or the named one. Raises: InputError when it is not there."""
    present: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_there in present.items() if is_there()))
    kind = name.partition(":")[0]
    if kind not in present:
        raise InputError(f"unknown device {name!r}: give auto, cpu, cuda or mps")
    if not present[kind]():
        raise InputError(f"device {name!r} is not available here: give auto or cpu")
    return torch.device(name)


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type to compute in. Raises: InputError on an unknown name."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if name not in known:
        raise InputError(f"unknown dtype {name!r}: give auto, {', '.join(known)}")
    return known[name]


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Without matrix instructions for it, bfloat16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_amx_tile_supported()  # there is no public name for it
