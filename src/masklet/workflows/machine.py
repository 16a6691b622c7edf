"""What masklet finds on this machine, and how long an image takes on it."""

import os
import platform
import statistics
import time
from importlib import metadata
from typing import Any

import numpy as np
import torch

from masklet.errors import InputError

PACKAGES = (
    "masklet",
    "torch",
    "numpy",
    "pillow",
    "scipy",
    "av",
    "safetensors",
    "huggingface-hub",
    "supervision",
    "triton",
)
RUNS = 3


def examine(model_name: str, device: str = "auto", dtype: str = "auto") -> dict[str, Any]:
    """Versions, devices, kernels, memory, and the median time of one 640 x 480 image; `problem` says what failed."""
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "kernels": _kernels(),
        "memory_gb": _memory(),
        "model": model_name,
    }
    try:
        report |= _measure(model_name, device, dtype)
    except (InputError, ImportError, RuntimeError, OSError) as error:
        report["problem"] = " ".join(str(error).split())
    return report


def describe(report: dict[str, Any]) -> list[str]:
    """The report as lines for people."""
    packages = ", ".join(f"{name} {version}" for name, version in report["packages"].items() if version)
    missing = ", ".join(name for name, version in report["packages"].items() if not version)
    lines = [
        f"python    {report['python']} on {report['system']}",
        f"packages  {packages}" + (f" (not installed: {missing})" if missing else ""),
        *(f"device    {line}" for line in report["devices"]),
        *(f"kernels   {name}: {'yes' if present else 'no'}" for name, present in report["kernels"].items()),
        *(f"memory    {name}: {size} GB" for name, size in report["memory_gb"].items()),
    ]
    if "problem" in report:
        return [*lines, f"problem   {report['problem']}"]
    return [
        *lines,
        f"model     {report['model']} loaded in {report['load_seconds']} s, on {report['device']} as {report['dtype']}",
        f"speed     {report['image_seconds']} s an image (median of {RUNS})",
    ]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    devices = [f"cpu, {torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    devices += [f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return devices


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
    except OSError:  # not Linux: nothing to read them from
        return set()


def _memory() -> dict[str, float]:
    memory = {}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory["system"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        memory |= {f"cuda:{index}": round(total / 1e9, 1), f"cuda:{index} free": round(free / 1e9, 1)}
    return memory


def _measure(model_name: str, device: str, dtype: str) -> dict[str, Any]:
    import masklet

    start = time.perf_counter()
    model = masklet.load(model_name, device=device, dtype=dtype)
    loaded = time.perf_counter() - start
    model.segment(_picture(), "disc")
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        model.segment(_picture(), "disc")
        times.append(time.perf_counter() - start)
    return {
        "device": str(model.device),
        "dtype": str(model.dtype).removeprefix("torch."),
        "load_seconds": round(loaded, 3),
        "image_seconds": round(statistics.median(times), 4),
    }


def _picture() -> np.ndarray:
    """A bright disc on a slope of grey; a new array each time, so that nothing is remembered between runs."""
    y, x = np.mgrid[:480, :640]
    grey = (x // 8 + 40).astype(np.uint8)
    grey[(x - 320) ** 2 + (y - 240) ** 2 < 120**2] = 230
    return np.repeat(grey[..., None], 3, axis=-1)
