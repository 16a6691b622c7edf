"""The training loop: phases one after another, stoppable and resumable at any step.

Started by `torchrun`, each process takes its share of the micro-batches of an update and gradients are summed; the
result is that of one process with the same `accumulate`. Only what is learnt is in optimiser, average and checkpoint.

Nothing random has a state that must be saved: example i of step s, its augmentation, and the dropout of step s are all
functions of (seed, s). A resumed run therefore equals an uninterrupted one, bit for bit on a CPU.

`run` is the entry: `python -m masklet.train.loop RECIPE OUT key=value...` or `masklet train`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from masklet.config import PRESETS
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.models.detector import Detector
from masklet.models.weights import OPTIONAL_PARTS, Weights, belongs, find, is_adapter_file, read, write, write_adapter
from masklet.nn.lora import Adapter
from masklet.tokenizer import Tokenizer
from masklet.train.checkpoints import Checkpoints, read_state, restore
from masklet.train.concept import ConceptTask, SourceShelf
from masklet.train.criterion import LossReport
from masklet.train.distributed import (
    agree,
    clip_gradients,
    meet,
    rank_and_world,
    shard_encoders,
    sum_gradients,
    whole,
)
from masklet.train.encoders import EncoderTask
from masklet.train.optim import WeightAverage, factor_of_update, make_optimizer, named_state, set_learning_rates
from masklet.train.parts import prepare_parts, recompute_layers, set_mode
from masklet.train.recipes import Phase, Recipe, load_recipe, to_json
from masklet.train.tracker import ClipShelf, TrackingTask, start_tracker

MOST_PARTS = 4096  # micro-batches of one update, over all processes

Evaluate = Callable[[nn.Module, int], dict[str, float]]


@runtime_checkable
class Task(Protocol):
    """What is learnt: which parameters, from which batches (of a type that only the task knows), by which losses."""

    def trains(self, name: str) -> bool:
        """Whether a parameter of the model is learnt."""
        ...

    def dataset(self, phase: Phase) -> Dataset:
        """The micro-batches of a phase, to be asked for by index."""
        ...

    def losses(
        self, model: Detector, batches: Sequence[Any], phase: Phase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """The loss of each micro-batch in turn, normalised as if they were one batch of all processes."""
        ...


class Trainer:
    """Model, optimiser, average and step counter, and the step that moves them."""

    def __init__(self, model: Detector, task: Task, recipe: Recipe, out: Path) -> None:
        self.recipe, self.task, self.out = recipe, task, out
        self.device = _device(recipe.device)
        self.rank, self.world = rank_and_world()
        self.model: Detector = model.to(self.device)
        prepare_parts(self.model, recipe, task.trains)
        if recipe.checkpoint_activations:
            recompute_layers(self.model)
        if recipe.parallel == "fsdp" and self.world > 1:
            shard_encoders(self.model, self.device)
        self.learnt = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        buffers = {name for name, _ in self.model.named_buffers() if task.trains(name)}
        self.kept = buffers | self.learnt.keys()  # of the model's state, what its base may lack
        self.optim = recipe.optim_config()
        self.optimizer = make_optimizer(self.model, self.optim)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None
        self.step = 0
        self.sums: dict[str, Tensor] = {}
        self.checkpoints = Checkpoints(out)
        out.mkdir(parents=True, exist_ok=True)

    def train(
        self, *, minutes: float | None = None, max_steps: int | None = None, evaluate: Evaluate | None = None
    ) -> bool:
        """Trains to the end, or until time or steps of this call are used up; True when the run is complete.

        `evaluate(model, step)` is called after each phase; what it returns is logged.
        """
        started = saved = time.monotonic()
        last = self.recipe.total_steps if max_steps is None else min(self.recipe.total_steps, self.step + max_steps)
        self._clock = (started, self.step)
        while self.step < last:
            phase, first = self._phase()
            stop = min(last, first + phase.steps)
            for batches in self._micro_batches(phase, stop):
                self.update(batches, phase)
                if self.step % self.recipe.log_every == 0 or self.step == last:
                    self._log(phase)
                if agree(time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes):
                    self.save()
                    saved = time.monotonic()
                if minutes is not None and agree(time.monotonic() - started > 60 * minutes):
                    last = self.step
                    break
            if evaluate is not None and self.step == first + phase.steps:
                self._write({"step": self.step, "evaluation": evaluate(self.model, self.step)})
                set_mode(self.model)
        self.save()
        self.checkpoints.wait()
        return self.step == self.recipe.total_steps

    def _phase(self) -> tuple[Phase, int]:
        """The phase of the current step and the step it began at."""
        first = 0
        for phase in self.recipe.phases:
            if self.step < first + phase.steps:
                return phase, first
            first += phase.steps
        raise AssertionError("no phase is left")

    def _micro_batches(self, phase: Phase, stop: int) -> Iterator[list[Any]]:
        """The micro-batches of each update from the current step to `stop`."""
        if phase.accumulate % self.world:
            raise InputError(f"accumulate={phase.accumulate} cannot be shared by {self.world} processes")
        loader = DataLoader(
            self.task.dataset(phase),
            batch_size=None,
            sampler=range(self.step * phase.accumulate + self.rank, stop * phase.accumulate, self.world),
            num_workers=self.recipe.data.workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if self.recipe.data.workers else None,
            generator=torch.Generator(),  # else the loader would draw from the generator that dropout uses
        )
        parts: list[Any] = []
        for batch in loader:
            parts.append(batch)
            if len(parts) == phase.accumulate // self.world:
                yield parts
                parts = []

    def update(self, batches: Sequence[Any], phase: Phase) -> None:
        """One optimiser update over all micro-batches, normalised as if they were one batch."""
        set_learning_rates(self.optimizer, factor_of_update(self.step, self.recipe.total_steps, self.optim))
        self.optimizer.zero_grad(set_to_none=True)
        # what is random in a step, too, depends on nothing but the micro-batch, whichever process runs it
        first = (self.recipe.seed * 1_000_003 + self.step) * MOST_PARTS + self.rank
        seeds = [first + row * self.world for row in range(len(batches))]
        on_device = [batch.to(self.device) for batch in batches]
        for report in self.task.losses(self.model, on_device, phase, seeds):
            report.total.backward()
            self._add({"loss": report.total.detach(), **report.parts})
        sum_gradients(self.learnt.values())
        norm = clip_gradients(list(self.learnt.values()), self.optim.clip_norm)
        self._add({"gradient_norm": norm})
        self.step += 1
        if not torch.isfinite(norm):  # one bad batch must not end a run of days; the log shows the norm
            return
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, self.step)

    def _add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def _log(self, phase: Phase) -> None:
        """One line with the means since the last; the only place where numbers leave the device."""
        began, at = self._clock
        now, steps = time.monotonic(), max(1, self.step - at)
        names = list(self.sums)
        totals = torch.stack([self.sums[name].float() for name in names]) if names else torch.zeros(0)
        self.sums, self._clock = {}, (now, self.step)
        if self.world > 1:  # losses are each process's share of the sum; the norm is everybody's already
            dist.all_reduce(totals)
            totals[names.index("gradient_norm")] /= self.world
        if self.rank:
            return
        means = (totals / steps).tolist()
        self._write(
            {
                "step": self.step,
                "image_size": phase.image_size,
                "lr": max(group["lr"] for group in self.optimizer.param_groups),
                "seconds_per_step": round((now - began) / steps, 4),
                **{name: round(value, 5) for name, value in zip(names, means, strict=True)},
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Writes the state of the run in the background; the checkpoint before stands until that is done."""
        self.checkpoints.save(self.step, self._tensors(), {"recipe": self.recipe.model_dump(mode="json")})

    def resume(self) -> None:
        """Takes up the run where its newest checkpoint left it. Raises: InputError when there is none that fits."""
        newest = self.checkpoints.newest
        if newest is None:
            raise InputError(f"{self.out} holds no checkpoint")
        state = read_state(newest)
        before, now = state.get("recipe", {}).get("initial_weights"), self.recipe.initial_weights
        if before != now:  # what is not learnt is not in the checkpoint
            raise InputError(f"{newest} began from {before}, so it cannot go on over {now}")
        restore(newest, self._tensors())
        self.step = int(state["step"])

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that a step changes, by name."""
        state = {f"model.{name}": tensor for name, tensor in self._kept(self.model.state_dict()).items()}
        state |= {f"optimizer.{name}": tensor for name, tensor in named_state(self.optimizer, self.model).items()}
        if self.average is not None:
            state |= {f"average.{name}": tensor for name, tensor in self.average.shadow.items()}
        return state

    def _kept(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in state.items() if name in self.kept}

    def weights(self) -> dict[str, Tensor]:
        """What is worth shipping of what the task learns: the average where there is one. All processes must ask."""
        state = self.average.state_dict(self.model) if self.average else self.model.state_dict()
        return {name: whole(tensor.detach()) for name, tensor in self._kept(state).items()}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)


def run(
    recipe_name: str,
    overrides: Sequence[str],
    out_dir: Path | str,
    *,
    resume: bool = False,
    minutes: float | None = None,
    max_steps: int | None = None,
    evaluate: Evaluate | None = None,
) -> bool:
    """Trains a recipe into a folder; True when it is complete. With `resume` a run begun there is continued.

    Leaves `checkpoints`, `log.jsonl`, `recipe.json` and, each time it stops, `weights.safetensors`, or
    `adapter.safetensors` where the recipe has adapters learnt. `masklet.load` takes either.
    """
    recipe, out = load_recipe(recipe_name, overrides), Path(out_dir)
    meet()
    torch.manual_seed(recipe.seed)
    base = initial_weights(recipe)
    task = make_task(recipe, base)
    model = begin(base)
    if not base.state:  # what this task does not learn the next one begins with
        base = replace(base, state=_detector_of(model))
    trainer = Trainer(model, task, recipe, out)
    newest = trainer.checkpoints.newest
    if newest is not None and not resume:
        raise InputError(f"{out} already holds a run; continue it with resume, or choose another folder")
    trainer.checkpoints.forget_unfinished()
    if newest is not None:
        trainer.resume()
    complete = trainer.train(minutes=minutes, max_steps=max_steps, evaluate=evaluate)
    weights = trainer.weights()
    if trainer.rank == 0:
        write_atomically(out / "recipe.json", to_json(recipe))
        export(weights, base, trainer)
    return complete


def initial_weights(recipe: Recipe) -> Weights:
    """What the run begins with, by name or from a file; nothing but a size when it begins from scratch."""
    if recipe.initial_weights is not None:
        path = find(recipe.initial_weights)
        if recipe.lora is not None and is_adapter_file(path):
            raise InputError(f"{path} is an adapter itself: make it a model first, with `masklet convert`")
        return read(path)
    if recipe.preset not in PRESETS:
        raise InputError(f"set initial_weights to a model or a file, or preset to one of {', '.join(PRESETS)}")
    return Weights(config=PRESETS[recipe.preset](), state={}, origin="trained from scratch by masklet")


def begin(base: Weights) -> Detector:
    """The model to train: random where there are no weights yet, but for a tracker over a trained detector."""
    model = Detector(base.config)
    model.load_state_dict({**model.state_dict(), **{name: value.float() for name, value in base.state.items()}})
    if base.state and "click" not in base.parts:
        start_tracker(model)
    return model


def _detector_of(model: Detector) -> dict[str, Tensor]:
    """A copy of all but the optional parts, as weight files hold it."""
    state = model.state_dict().items()
    return {name: value.half() for name, value in state if not any(belongs(name, part) for part in OPTIONAL_PARTS)}


def make_task(recipe: Recipe, base: Weights) -> EncoderTask | ConceptTask | TrackingTask:
    """The recipe's task. Raises: InputError for a tracker without a detector, or adapters without a base, under it."""
    if recipe.lora is not None and recipe.initial_weights is None:
        raise InputError("adapters change a model that is there: set initial_weights to a model or a file")
    if recipe.task == "tracking":
        if not base.state:
            raise InputError("a tracker sees what a trained detector sees: set initial_weights to a model or a file")
        if recipe.lora is not None and not {"click", "memory"} <= base.parts:
            raise InputError(f"adapters change a tracker that is there, and {recipe.initial_weights} has none")
        return TrackingTask(recipe=recipe, sources=ClipShelf(recipe))
    tokenizer = Tokenizer(vocab_size=base.config.text.vocab_size)
    patch_size = base.config.vision.trunk.patch_size
    concept = ConceptTask(recipe=recipe, tokenizer=tokenizer, sources=SourceShelf(recipe), patch_size=patch_size)
    return EncoderTask(concept=concept) if recipe.task == "encoders" else concept


def export(learnt: Mapping[str, Tensor], base: Weights, trainer: Trainer) -> None:
    """Writes weights for use into the folder of the run: the base with what was learnt, or an adapter alone.

    Weights are in float16 where they were learnt (the checkpoint holds float32), and as they were elsewhere.
    """
    state = {name: value.cpu() for name, value in learnt.items() if name in trainer.learnt or name not in base.state}
    lora, name = trainer.recipe.lora_config(), trainer.recipe.initial_weights
    if lora is None or name is None:
        halves = {name: value.half() for name, value in state.items()}
        write(replace(base, state=base.state | halves), trainer.out / "weights.safetensors")
    else:
        write_adapter(Adapter(tensors=state, scale=lora.scale), base, name, trainer.out / "adapter.safetensors")


def main() -> None:
    """Command line of the loop alone."""
    parser = argparse.ArgumentParser(description="Train a recipe.")
    parser.add_argument("recipe")
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--max-steps", type=int)
    given = parser.parse_intermixed_args()
    run(
        given.recipe,
        given.overrides,
        given.out,
        resume=given.resume,
        minutes=given.minutes,
        max_steps=given.max_steps,
    )


if __name__ == "__main__":
    main()
