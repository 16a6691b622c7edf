"""The state of a run and the steps that move it: phases one after another, stoppable and resumable at any step.

Started by `torchrun`, each process takes its share of the micro-batches of an update and gradients are summed; the
result is that of one process with the same `accumulate`. Only what is learnt is in optimiser, average and checkpoint.

No random state needs to be saved: example i of step s, its augmentation, and the dropout of step s are functions of
(seed, s). A resumed run therefore equals an uninterrupted one, bit for bit on a CPU.
"""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from masklet.errors import InputError
from masklet.interrupt import Interrupt
from masklet.models.detector import Detector
from masklet.train.losses.criterion import LossReport
from masklet.train.recipes.schema import Phase, Recipe
from masklet.train.run.distributed import (
    any_process,
    clip_gradients,
    rank_and_world,
    shard_encoders,
    sum_gradients,
    whole,
)
from masklet.train.run.means import Means
from masklet.train.run.observers import Observer
from masklet.train.run.optim import WeightAverage, factor_of_update, make_optimizer, named_state
from masklet.train.run.parts import prepare_parts, recompute_layers
from masklet.train.run.run_state import Checkpoints, read_state, restore
from masklet.train.run.validator import Validator

MOST_PARTS = 4096  # micro-batches of one update, over all processes
GIBIBYTE = 2**30
STOPPING = "stopping after this update; Ctrl-C once more to stop at once"


@runtime_checkable
class Task(Protocol):
    """What is learnt: which parameters, from which batches, by which losses.

    Only the task knows the types of its phases and batches.
    """

    def trains(self, name: str) -> bool:
        """Whether a parameter of the model is learnt."""
        ...

    def dataset(self, phase: Any) -> Dataset:
        """The micro-batches of a phase by index."""
        ...

    def losses(self, model: Detector, batches: Sequence[Any], phase: Any, seeds: Sequence[int]) -> Iterator[LossReport]:
        """The loss of each micro-batch in turn, normalised as if they were one batch of all processes."""
        ...


class Trainer:
    """Model, optimiser, average and step counter, and the step that moves them.

    Only the first process calls its observers.
    """

    def __init__(
        self, model: Detector, task: Task, recipe: Recipe, out: Path, observers: Sequence[Observer] = ()
    ) -> None:
        self.recipe, self.task, self.out = recipe, task, out
        usual = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(usual if recipe.device == "auto" else recipe.device)
        self.rank, self.world = rank_and_world()
        self.observers = () if self.rank else tuple(observers)
        self.model: Detector = model.to(self.device)
        prepare_parts(self.model, recipe, task.trains)
        if recipe.checkpoint_activations:
            recompute_layers(self.model)
        if recipe.parallel == "fsdp" and self.world > 1:
            shard_encoders(self.model, self.device)
        self.learnt = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        buffers = {name for name, _ in self.model.named_buffers() if task.trains(name)}
        self.kept = buffers | self.learnt.keys()  # entries of the model's state that the base may lack
        self.optimizer = make_optimizer(self.model, recipe.optim)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None
        self.step = 0
        self.means = Means()
        self.checkpoints = Checkpoints(out)

    def train(
        self, *, minutes: float | None = None, max_steps: int | None = None, validator: Validator | None = None
    ) -> bool:
        """Trains to the end, or until the minutes or steps of this call are used up; True when the run is complete.

        Ctrl-C stops it after the current update. However it stops, it leaves a checkpoint.
        """
        self._tell(lambda observer: observer.started(self.recipe, self.step))
        try:
            with Interrupt(STOPPING) as interrupt:
                self._train(minutes, max_steps, validator, interrupt)
                self.save()
                self.checkpoints.wait()
        finally:
            self._tell(lambda observer: observer.ended())
        return self.step == self.recipe.total_steps

    def _tell(self, call: Callable[[Observer], object]) -> None:
        for observer in self.observers:
            call(observer)

    def _train(
        self, minutes: float | None, max_steps: int | None, validator: Validator | None, interrupt: Interrupt
    ) -> None:
        started = saved = time.monotonic()
        last = self.recipe.total_steps if max_steps is None else min(self.recipe.total_steps, self.step + max_steps)
        self._validate(validator, interrupt)
        self._clock = (time.monotonic(), self.step)
        stopped = any_process(flag=interrupt.requested)
        end = 0
        for phase in self.recipe.phases:
            end += phase.steps
            if stopped or self.step >= min(last, end):
                continue
            for batches in self._micro_batches(phase, min(last, end)):
                self.update(batches, phase)
                self._tell(lambda observer: observer.stepped(self.step))
                if self.step % self.recipe.log_every == 0 or self.step == last:
                    self._log(phase)
                self._validate(validator, interrupt)
                if any_process(flag=time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes):
                    self.save()
                    saved = time.monotonic()
                out_of_time = minutes is not None and time.monotonic() - started > 60 * minutes
                stopped = any_process(flag=interrupt.requested or out_of_time)
                if stopped:
                    break

    def _validate(self, validator: Validator | None, interrupt: Interrupt) -> None:
        """Validates when it is due: in the first process, with weights that all processes gather."""
        if validator is None or not any_process(flag=self.rank == 0 and validator.is_due(self.step)):
            return
        began, learnt = time.monotonic(), self.weights()
        if self.rank == 0:
            with interrupt.immediate():
                self._tell(lambda observer: observer.validating(len(validator.validate)))
                validated = validator(self.step, learnt)
                self._tell(lambda observer: observer.validated(validated))
        any_process(flag=False)  # the other processes wait here
        if self.step:  # the speed in the log is that of training alone
            self._clock = (self._clock[0] + time.monotonic() - began, self._clock[1])

    def _micro_batches(self, phase: Phase, stop: int) -> Iterator[list[Any]]:
        """The micro-batches of each update from the current step to `stop`."""
        if phase.accumulate % self.world:
            raise InputError(
                f"accumulate={phase.accumulate} is not a multiple of the {self.world} processes that share an update"
            )
        loader = DataLoader(
            self.task.dataset(phase),
            batch_size=None,
            sampler=range(self.step * phase.accumulate + self.rank, stop * phase.accumulate, self.world),
            num_workers=self.recipe.data.workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if self.recipe.data.workers else None,
            generator=torch.Generator(),  # otherwise the loader draws from the generator of dropout
        )
        parts: list[Any] = []
        for batch in loader:
            parts.append(batch)
            if len(parts) == phase.accumulate // self.world:
                yield parts
                parts = []

    def update(self, batches: Sequence[Any], phase: Phase) -> None:
        """One optimiser update over all micro-batches, normalised as if they were one batch."""
        begun, total, rate = self.recipe.schedule_at(self.step)
        factor = rate * factor_of_update(self.step - begun, total, self.recipe.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        # The seed depends on the micro-batch alone, whichever process runs it
        first = (self.recipe.seed * 1_000_003 + self.step) * MOST_PARTS + self.rank
        seeds = [first + row * self.world for row in range(len(batches))]
        on_device = [batch.to(self.device) for batch in batches]
        for report in self.task.losses(self.model, on_device, phase, seeds):
            report.total.backward()
            self.means.add({"loss": report.total.detach(), **report.parts})
        sum_gradients(self.learnt.values())
        norm = clip_gradients(list(self.learnt.values()), self.recipe.optim.clip_norm)
        self.means.add({"gradient_norm": norm / self.world})  # equal on all processes, and summed by `take`
        self.means.end_update()
        self.step += 1
        if not torch.isfinite(norm):  # one bad batch must not end a run of days; the log shows the norm
            return
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, self.step)

    def _log(self, phase: Phase) -> None:
        """Logs the means since the last line; the only place where numbers leave the device."""
        began, at = self._clock
        now, steps = time.monotonic(), max(1, self.step - at)
        self._clock, means = (now, self.step), self.means.take()
        if self.rank:
            return
        seconds = (now - began) / steps
        items = "clips" if self.recipe.task == "tracking" else "images"
        line = {
            "step": self.step,
            "image_size": phase.image_size,
            "lr": max(group["lr"] for group in self.optimizer.param_groups),
            "seconds_per_step": round(seconds, 4),
            f"{items}_per_second": round(phase.batch_size * phase.accumulate / seconds, 3),
        }
        if self.device.type == "cuda":  # since the run began
            line["peak_memory_gib"] = round(torch.cuda.max_memory_allocated(self.device) / GIBIBYTE, 2)
        line |= {name: round(value, 5) for name, value in means.items()}
        self._tell(lambda observer: observer.logged(line))

    def save(self) -> None:
        """Writes the state of the run in the background; the checkpoint before stands until that is done."""
        self.checkpoints.save(self.step, self._tensors(), {"recipe": self.recipe.model_dump(mode="json")})

    def resume(self) -> None:
        """Restores the newest checkpoint. Raises: InputError when there is none, or one of another base."""
        newest = self.checkpoints.newest
        if newest is None:
            raise InputError(f"{self.out} holds no checkpoint")
        state = read_state(newest)
        before, now = state.get("recipe", {}).get("initial_weights"), self.recipe.initial_weights
        if before != now:  # a checkpoint holds only what is learnt
            raise InputError(f"{newest} began from {before}, so it cannot be resumed with initial_weights={now}")
        restore(newest, self._tensors())
        self.step = int(state["step"])

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors that an update changes, by name."""
        state = {f"model.{name}": tensor for name, tensor in self._kept(self.model.state_dict()).items()}
        state |= {f"optimizer.{name}": tensor for name, tensor in named_state(self.optimizer, self.model).items()}
        if self.average is not None:
            state |= {f"average.{name}": tensor for name, tensor in self.average.shadow.items()}
        return state

    def _kept(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in state.items() if name in self.kept}

    def weights(self) -> dict[str, Tensor]:
        """The learnt weights for use: the average where there is one. All processes must call it."""
        state = self.average.state_dict(self.model) if self.average else self.model.state_dict()
        return {name: whole(tensor.detach()) for name, tensor in self._kept(state).items()}


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes, but the main one finishes its update
