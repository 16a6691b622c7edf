"""The training loop: phases one after another, stoppable and resumable at any step.

Started by `torchrun`, each process takes its share of the micro-batches of an update and gradients are summed; the
result is that of one process with the same `accumulate`.

Nothing random has a state that must be saved: example i of step s, its augmentation, and the dropout of step s are all
functions of (seed, s). A resumed run therefore equals an uninterrupted one, bit for bit on a CPU.

`run` is the entry: `python -m masklet.train.loop RECIPE OUT key=value...` or `masklet train`.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from masklet.config import PRESETS
from masklet.data.collate import CollateConfig, Encoder, TrainingBatch, collate, select_prompts
from masklet.data.sources import CocoConfig, CocoSource, ExampleSource, GeneratedSource, Mixture, SacoSource
from masklet.data.synthetic.cutouts import CutoutLibrary, compose_scene
from masklet.data.synthetic.layout import SceneConfig
from masklet.data.synthetic.scene import render_scene
from masklet.data.transforms import AugmentConfig, augment
from masklet.errors import InputError
from masklet.files import replacing, write_atomically
from masklet.models.detector import Detector
from masklet.models.weights import OPTIONAL_PARTS, Weights, belongs, load_detector, read, write
from masklet.tokenizer import Tokenizer
from masklet.train.criterion import Counts, Criterion, LossReport, present_prompts
from masklet.train.optim import WeightAverage, factor_of_update, make_optimizer, set_learning_rates
from masklet.train.recipes import (
    CutoutsSpec,
    Phase,
    Recipe,
    SacoSpec,
    ScenesSpec,
    SourceSpec,
    load_recipe,
    settings,
    to_json,
)

# Distinguishes the streams of random numbers drawn for one example or batch.
AUGMENT_STREAM, COLLATE_STREAM = 1, 2
BATCHES_PER_SEED = 2**20
MOST_PARTS = 4096  # micro-batches of one update, over all processes

SourceBuilder = Callable[[Phase], dict[str, ExampleSource]]
Evaluate = Callable[[nn.Module, int], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Batches(Dataset):
    """Batch `index` of a phase, made from nothing but the seed and the index."""

    mixture: Mixture
    tokenizer: Encoder
    phase: Phase
    augment: AugmentConfig
    collate: CollateConfig

    def __getitem__(self, index: int) -> TrainingBatch:
        seed = self.mixture.seed
        examples = []
        for row in range(self.phase.batch_size):
            rng = np.random.default_rng([seed, index, row, AUGMENT_STREAM])
            example = self.mixture[index * BATCHES_PER_SEED + row]
            examples.append(augment(example, self.phase.image_size, self.augment, rng))
        return collate(examples, self.tokenizer, self.collate, np.random.default_rng([seed, index, COLLATE_STREAM]))


class Trainer:
    """Model, optimiser, average and step counter, and the step that moves them."""

    def __init__(self, model: Detector, tokenizer: Encoder, sources: SourceBuilder, recipe: Recipe, out: Path) -> None:
        self.recipe, self.tokenizer, self.sources, self.out = recipe, tokenizer, sources, out
        self.device = _device(recipe.device)
        self.model: Detector = model.to(self.device).train()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not _is_optional(name))  # clicks and memory are trained apart
        self.criterion = Criterion(recipe.criterion_config(recipe.phases[0]))
        self.optim = recipe.optim_config()
        self.optimizer = make_optimizer(self.model, self.optim)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay else None
        self.step = 0
        self.sums: dict[str, Tensor] = {}
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        out.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the state of the run is kept."""
        return self.out / "checkpoint.pt"

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
            self.criterion = Criterion(self.recipe.criterion_config(phase))
            for batches in self._batches(phase, stop):
                self._update(batches)
                if self.step % self.recipe.log_every == 0 or self.step == last:
                    self._log(phase)
                if time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
                if minutes is not None and self._agree(time.monotonic() - started > 60 * minutes):
                    last = self.step
                    break
            if evaluate is not None and self.step == first + phase.steps:
                self._write({"step": self.step, "evaluation": evaluate(self.model, self.step)})
                self.model.train()
        self.save()
        return self.step == self.recipe.total_steps

    def _phase(self) -> tuple[Phase, int]:
        """The phase of the current step and the step it began at."""
        first = 0
        for phase in self.recipe.phases:
            if self.step < first + phase.steps:
                return phase, first
            first += phase.steps
        raise AssertionError("no phase is left")

    def dataset(self, phase: Phase) -> Batches:
        """The batches of a phase, to be asked for by index."""
        if phase.accumulate % self.world:
            raise InputError(f"accumulate={phase.accumulate} cannot be shared by {self.world} processes")
        built = self.sources(phase)
        names = [name for name, weight in phase.weights.items() if weight > 0]
        return Batches(
            mixture=Mixture([built[name] for name in names], [phase.weights[name] for name in names], self.recipe.seed),
            tokenizer=self.tokenizer,
            phase=phase,
            augment=self.recipe.augment_config(phase),
            collate=self.recipe.collate_config(phase, self.model.config.vision.trunk.patch_size),
        )

    def _batches(self, phase: Phase, stop: int) -> Iterator[list[TrainingBatch]]:
        """The micro-batches of each update from the current step to `stop`."""
        loader = DataLoader(
            self.dataset(phase),
            batch_size=None,
            sampler=range(self.step * phase.accumulate + self.rank, stop * phase.accumulate, self.world),
            num_workers=self.recipe.data.workers,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if self.recipe.data.workers else None,
            generator=torch.Generator(),  # else the loader would draw from the generator that dropout uses
        )
        parts: list[TrainingBatch] = []
        for batch in loader:
            parts.append(batch)
            if len(parts) == phase.accumulate // self.world:
                yield parts
                parts = []

    def _update(self, batches: Sequence[TrainingBatch]) -> None:
        """One optimiser update over all micro-batches, normalised as if they were one batch."""
        set_learning_rates(self.optimizer, factor_of_update(self.step, self.recipe.total_steps, self.optim))
        self.optimizer.zero_grad(set_to_none=True)
        counts = sum((Counts.of(batch.targets) for batch in batches[1:]), Counts.of(batches[0].targets))
        counts = counts.over_processes()
        for row, batch in enumerate(batches):
            # dropout, too, depends on nothing but the micro-batch, whichever process runs it
            torch.manual_seed((self.recipe.seed * 1_000_003 + self.step) * MOST_PARTS + self.rank + row * self.world)
            report = self._loss(batch.to(self.device), counts)
            report.total.backward()
            self._add({"loss": report.total.detach(), **report.parts})
        self._sum_gradients()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.clip_norm)
        self._add({"gradient_norm": norm})
        self.step += 1
        if not torch.isfinite(norm):  # one bad batch must not end a run of days; the log shows the norm
            return
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, self.step)

    def _agree(self, wish: bool) -> bool:  # noqa: FBT001 - a wish is nothing else
        """Whether any process wishes it, so that all stop at the same step."""
        if self.world == 1:
            return wish
        votes = torch.tensor(int(wish))
        dist.all_reduce(votes)
        return bool(votes)

    def _sum_gradients(self) -> None:
        """Adds up the gradients of all processes, as one flat tensor.

        What a batch did not use, such as the parts for example boxes, has a gradient of zero: all processes must send
        the same tensors, and one process must do as several would.
        """
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _loss(self, batch: TrainingBatch, counts: Counts) -> LossReport:
        """Forward pass and loss.

        Absent concepts teach presence only, so they get neither one-to-many queries nor masks: a third of the time.
        """
        present = present_prompts(batch.targets)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            features = self.model.encode_images(batch.images)
            phrases = self.model.encode_phrases(batch.prompts)
            prompts = select_prompts(batch.prompts, present)
            grounding = self.model.ground(features, phrases, prompts, one_to_many=True, all_layers=True)
            every = torch.arange(len(prompts.image_index), device=self.device)
            output = self.model.segment(features, grounding, every)
            prompts = select_prompts(batch.prompts, ~present)
            absent = self.model.ground(features, phrases, prompts, all_layers=True)
        targets = batch.targets.select(present)
        return self.criterion(output, targets, counts=counts, absent_logits=absent.presence_logits)

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
        """Writes the state of the run, beside the old one first, so that a crash leaves one of them whole."""
        if self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow if self.average else None,
            "step": self.step,
            "recipe": to_json(self.recipe),
        }
        with replacing(self.checkpoint) as beside:
            torch.save(state, beside)

    def resume(self) -> None:
        """Takes up the run where its checkpoint left it."""
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.shadow = state["average"]
        self.step = state["step"]

    def weights(self) -> dict[str, Tensor]:
        """What is worth shipping: the average where there is one, else the model's own state."""
        return self.average.state_dict(self.model) if self.average else self.model.state_dict()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def _one_thread(worker: int) -> None:
    del worker
    torch.set_num_threads(1)


class SourceShelf:
    """Builds the sources that a phase draws from; what is read from files is read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.root, self.specs = Path(recipe.data.root), recipe.data.sources
        self.loaded: dict[str, Any] = {}

    def __call__(self, phase: Phase) -> dict[str, ExampleSource]:
        """Sources by name, with the phase's options."""
        return {
            name: self._build(name, self.specs[name], {"size": phase.image_size, **phase.options.get(name, {})})
            for name, weight in phase.weights.items()
            if weight > 0
        }

    def _build(self, name: str, spec: SourceSpec, options: dict[str, Any]) -> ExampleSource:
        if isinstance(spec, ScenesSpec):
            return GeneratedSource(partial(render_scene, config=_scene_config(spec, options)))
        if isinstance(spec, CutoutsSpec):
            library = self._once(
                name, lambda: CutoutLibrary.open(self.root / spec.cutouts, self.root / spec.backgrounds, split="train")
            )
            return GeneratedSource(partial(compose_scene, library=library, config=_scene_config(spec, options)))
        annotations, images = self.root / spec.annotations, self.root / spec.images
        if isinstance(spec, SacoSpec):
            return self._once(name, lambda: SacoSource(annotations, images))
        config = CocoConfig(scenes=spec.scenes, max_negatives=spec.max_negatives, complete=spec.complete)
        return self._once(name, lambda: CocoSource(annotations, images, config))

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self.loaded:
            self.loaded[name] = load()
        return self.loaded[name]


def _scene_config(spec: ScenesSpec | CutoutsSpec, options: dict[str, Any]) -> SceneConfig:
    return settings(SceneConfig, {**spec.options, **options})


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

    Leaves `checkpoint.pt`, `log.jsonl`, `recipe.json` and, each time it stops, `weights.safetensors`.
    """
    recipe, out = load_recipe(recipe_name, overrides), Path(out_dir)
    if "WORLD_SIZE" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    config = PRESETS[recipe.preset]()
    torch.manual_seed(recipe.seed)
    model = Detector(config)
    if recipe.initial_weights is not None:
        model = load_detector(read(Path(recipe.initial_weights))).requires_grad_().train()
    tokenizer = Tokenizer(vocab_size=config.text.vocab_size)
    trainer = Trainer(model, tokenizer, SourceShelf(recipe), recipe, out)
    if resume and trainer.checkpoint.exists():
        trainer.resume()
    elif trainer.checkpoint.exists():
        raise InputError(f"{out} already holds a run; continue it with resume, or choose another folder")
    complete = trainer.train(minutes=minutes, max_steps=max_steps, evaluate=evaluate)
    if trainer.rank == 0:
        write_atomically(out / "recipe.json", to_json(recipe))
        export(trainer.weights(), config, out / "weights.safetensors")
    return complete


def _is_optional(name: str) -> bool:
    return any(belongs(name, part) for part in OPTIONAL_PARTS)


def export(state: dict[str, Tensor], config: Detector.Config, path: Path) -> None:
    """Writes weights for use, in float16 (the checkpoint holds float32); the click head is not trained here."""
    trained = {name: value for name, value in state.items() if not _is_optional(name)}
    halved = {name: value.detach().cpu().half() for name, value in trained.items()}
    write(Weights(config=config, state=halved, origin="trained from scratch by masklet"), path)


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
