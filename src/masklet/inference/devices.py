"""Where to compute, and in which numbers."""

import os
from collections.abc import Callable

import torch

from masklet.errors import InputError
from masklet.nn.precision import multiplies_bfloat16

MOST_THREADS = 8  # beyond them an image of 1008 pixels is no faster


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


def limit_threads() -> None:
    """Leaves cores to others: with as many threads as a busy machine has cores, each operation waits for the last one.

    Half of the cores and eight at most, unless OMP_NUM_THREADS says otherwise or somebody has already chosen.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > 1:
        torch.set_num_threads(min(torch.get_num_threads(), MOST_THREADS, max(1, cores // 2)))


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type to compute in. Raises: InputError on an unknown name."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if name not in known:
        raise InputError(f"unknown dtype {name!r}: give auto, {', '.join(known)}")
    return known[name]
