"""Memory and time of a run, measured by one update that is undone; and what to lower when memory runs out."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from masklet.errors import InputError
from masklet.train.recipes.schema import Phase, Recipe
from masklet.train.run.means import Means
from masklet.train.run.observers import duration
from masklet.train.run.trainer import Trainer

GIGABYTE = 1e9
WARM_WITHIN = 10.0  # seconds; a first update that is faster is repeated, without its one-time costs
EXHAUSTED = ("out of memory", "can't allocate memory")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory in bytes (of a GPU where there is one, and how much of it is free; None where unknown), and seconds."""

    recipe: Recipe
    device: str
    memory: int | None
    free: int | None
    seconds: float

    def __str__(self) -> str:
        memory = "" if self.memory is None else f"{self.memory / GIGABYTE:.1f} GB"
        if self.free is not None:
            memory += f" of {self.free / GIGABYTE:.1f} GB that are free"
        items = "clips" if self.recipe.task == "tracking" else "images"
        size = f"{self.recipe.total_steps} updates of {self.recipe.images_per_update:.3g} {items}"
        needs = " and ".join(filter(None, (memory, duration(self.seconds))))
        return f"about {needs} on {self.device} ({size}{', validation not counted' * bool(self.recipe.validation)})"

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain values."""
        values = {name: value for name, value in vars(self).items() if name != "recipe"}
        return {**values, "updates": self.recipe.total_steps, "images_per_update": self.recipe.images_per_update}


def estimate(trainer: Trainer) -> Estimate:
    """Makes an update of the phase that needs most memory, of a run that has not begun, and undoes it.

    Learning rates are zero meanwhile, so weights and averages stay the same, bit for bit; moments become zero again.
    The time is that of the update and of making its batches, scaled to all phases by their pixels.
    """
    assert trainer.step == 0, "the run has begun"
    phase = max(trainer.recipe.phases, key=lambda each: each.batch_size * each.image_size**2)
    gpu = trainer.device if trainer.device.type == "cuda" else None
    free = None if gpu is None else torch.cuda.mem_get_info(gpu)[0] + torch.cuda.memory_reserved(gpu)
    if gpu is not None:
        torch.cuda.reset_peak_memory_stats(gpu)
    peaks = [group["peak_lr"] for group in trainer.optimizer.param_groups]
    try:
        for group in trainer.optimizer.param_groups:
            group["peak_lr"] = 0.0
        seconds = _time_update(trainer, phase)
        if seconds < WARM_WITHIN:
            seconds = _time_update(trainer, phase)
    finally:
        for group, peak in zip(trainer.optimizer.param_groups, peaks, strict=True):
            group["peak_lr"] = peak
        trainer.step, trainer.means = 0, Means()
        trainer.optimizer.zero_grad(set_to_none=True)
        for tensor in (tensor for state in trainer.optimizer.state.values() for tensor in state.values()):
            tensor.zero_()
    work = phase.batch_size * phase.accumulate * phase.image_size**2
    recipe = trainer.recipe
    return Estimate(
        recipe=recipe,
        device=trainer.device.type,
        memory=_resident() if gpu is None else torch.cuda.max_memory_allocated(gpu),
        free=free,
        seconds=seconds * recipe.work_of(recipe.total_steps) / work,
    )


def _time_update(trainer: Trainer, phase: Phase) -> float:
    """Seconds of an update. Workers make batches at the same time, so the slower of both counts."""
    dataset, began = trainer.task.dataset(phase), time.monotonic()
    batches = [dataset[index] for index in range(trainer.rank, phase.accumulate, trainer.world)]
    made = time.monotonic()
    trainer.update(batches, phase)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize(trainer.device)
    making, moving, workers = made - began, time.monotonic() - made, trainer.recipe.data.workers
    return max(making / workers, moving) if workers else making + moving


def _resident() -> int | None:
    """Peak memory of this process in bytes; None on systems that do not tell."""
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def memory_explained(recipe: Recipe) -> Iterator[None]:
    """Raises: InputError that says what to lower, in place of an out-of-memory error."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch raises RuntimeError, on GPU and CPU
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in EXHAUSTED):
            raise
        raise InputError(f"out of memory: {'; '.join(_remedies(recipe))}") from error


def _remedies(recipe: Recipe) -> list[str]:
    """What can still be lowered in this recipe, the least harmful first."""
    largest = max(recipe.phases, key=lambda each: each.batch_size * each.image_size**2)
    place = f"phases.{recipe.phases.index(largest)}"
    remedies = []
    if not recipe.checkpoint_activations:
        remedies.append("set checkpoint_activations=true")
    if largest.batch_size > 1:
        half, twice = largest.batch_size // 2, largest.accumulate * 2
        remedies.append(f"lower the batch: {place}.batch_size={half} {place}.accumulate={twice}")
    if recipe.lora is None and recipe.initial_weights is not None and recipe.task == "concept":
        remedies.append("learn adapters alone: the recipe finetune-lora")
    return [*remedies, f"take smaller images: {place}.image_size below {largest.image_size}"]
