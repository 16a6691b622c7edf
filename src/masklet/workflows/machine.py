"""Versions, devices, kernels and memory of this machine, and how long an image takes on it."""

import os
import platform
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch

from masklet.errors import InputError
from masklet.workflows.model_choice import ModelChoice

PACKAGES = ("masklet", "torch", "numpy", "pillow", "scipy", "av", "safetensors", "huggingface-hub")
PACKAGES += ("supervision", "triton")
RUNS = 3  # of which the median is reported


@dataclass(frozen=True, kw_only=True)
class ModelSpeed:
    """Where the model runs, as which number type, and the time to load it and of one 640 x 480 image."""

    device: str
    dtype: str
    load_seconds: float
    image_seconds: float


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is installed, what masklet can run on, and how fast it is; `problem` says why there is no speed."""

    python: str
    system: str
    packages: Mapping[str, str | None]
    devices: tuple[str, ...]
    kernels: Mapping[str, bool]
    memory_gb: Mapping[str, float]
    model: str
    speed: ModelSpeed | None
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        """The same for programs; `problem` in place of the speed."""
        values = {name: value for name, value in asdict(self).items() if name not in ("speed", "problem")}
        return values | ({"problem": self.problem} if self.speed is None else asdict(self.speed))

    def lines(self) -> list[str]:
        """The same as lines of text."""
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items() if version)
        missing = ", ".join(name for name, version in self.packages.items() if not version)
        lines = [
            f"python    {self.python} on {self.system}",
            f"packages  {packages}" + (f" (not installed: {missing})" if missing else ""),
            *(f"device    {line}" for line in self.devices),
            *(f"kernels   {name}: {'yes' if present else 'no'}" for name, present in self.kernels.items()),
            *(f"memory    {name}: {size} GB" for name, size in self.memory_gb.items()),
        ]
        if self.speed is None:
            return [*lines, f"problem   {self.problem}"]
        speed = self.speed
        return [
            *lines,
            f"model     {self.model} loaded in {speed.load_seconds} s, on {speed.device} as {speed.dtype}",
            f"speed     {speed.image_seconds} s an image (median of {RUNS})",
        ]


def examine_machine(choice: ModelChoice) -> Machine:
    """Examines this machine, and measures the model on it."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    devices = [f"cpu, {torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    devices += [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    speed, problem = None, None
    try:
        speed = _measure(choice)
    except (InputError, ImportError, RuntimeError, OSError) as error:
        problem = " ".join(str(error).split())
    return Machine(
        python=platform.python_version(),
        system=platform.platform(),
        packages=versions,
        devices=tuple(devices),
        kernels=_kernels(),
        memory_gb=_memory(),
        model=choice.name,
        speed=speed,
        problem=problem,
    )


def _kernels() -> dict[str, bool]:
    kernels = {
        "oneDNN": torch.backends.mkldnn.is_available(),
        "AMX bf16 (cpu)": "amx_bf16" in _cpu_flags(),
        "AVX-512 bf16 (cpu)": "avx512_bf16" in _cpu_flags(),
    }
    if torch.cuda.is_available():
        kernels |= {
            "flash attention (cuda)": torch.backends.cuda.flash_sdp_enabled(),
            "memory-efficient attention (cuda)": torch.backends.cuda.mem_efficient_sdp_enabled(),
            "cuDNN attention (cuda)": torch.backends.cuda.cudnn_sdp_enabled(),
            "bf16 (cuda)": torch.cuda.is_bf16_supported(),
        }
    return kernels


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((set(line.split()) for line in file if line.startswith(("flags", "Features"))), set())
    except OSError:  # not Linux
        return set()


def _memory() -> dict[str, float]:
    memory = {}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory["system"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        memory |= {f"cuda:{index}": round(total / 1e9, 1), f"cuda:{index} free": round(free / 1e9, 1)}
    return memory


def _measure(choice: ModelChoice) -> ModelSpeed:
    start = time.perf_counter()
    model = choice.load()
    loaded = time.perf_counter() - start
    model.segment(_test_image(), "disc")
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        model.segment(_test_image(), "disc")
        times.append(time.perf_counter() - start)
    return ModelSpeed(
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        load_seconds=round(loaded, 3),
        image_seconds=round(statistics.median(times), 4),
    )


def _test_image() -> np.ndarray:
    """A bright disc on a grey gradient; a new array each time, so that no run finds its image in a cache."""
    y, x = np.mgrid[:480, :640]
    grey = (x // 8 + 40).astype(np.uint8)
    grey[(x - 320) ** 2 + (y - 240) ** 2 < 120**2] = 230
    return np.repeat(grey[..., None], 3, axis=-1)
