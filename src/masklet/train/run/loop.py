"""A training run, from a recipe to weights that load: started or resumed, validated, exported.

`run` is the entry: `python -m masklet.train.run.loop RECIPE OUT key=value...`, or `masklet train`, which also shows
progress and validates.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from masklet.checkpoints.adapters import is_adapter_file, read
from masklet.checkpoints.hub import find
from masklet.checkpoints.weights import OPTIONAL_PARTS, Weights, belongs
from masklet.config import PRESETS
from masklet.errors import InputError
from masklet.files import REASONS, write_atomically
from masklet.models.detector import Detector
from masklet.train.recipes.schema import Recipe, load_recipe, to_json
from masklet.train.run.distributed import meet
from masklet.train.run.estimate import Estimate, estimate, memory_explained
from masklet.train.run.exporter import Exporter
from masklet.train.run.observers import JsonLog, Observer
from masklet.train.run.trainer import Trainer
from masklet.train.run.validator import Validate, Validator, updates_of_epoch
from masklet.train.tasks.detector import ConceptTask, with_click_queries
from masklet.train.tasks.table import make_task
from masklet.train.tasks.tracker import start_tracker


def run(  # noqa: PLR0913 - the options of a run
    recipe_name: str,
    overrides: Sequence[str],
    out_dir: Path | str,
    *,
    resume: bool = False,
    minutes: float | None = None,
    max_steps: int | None = None,
    observers: Sequence[Observer] = (),
    validate: Validate | None = None,
    announce: Callable[[Estimate], object] | None = None,
) -> bool:
    """Trains a recipe into a folder; True when it is complete. With `resume` the run in that folder is continued.

    `announce` is called before the first update with the memory and time that the run will need.

    Writes `checkpoints`, `log.jsonl`, `recipe.json` and, each time it stops, `weights.safetensors`, or
    `adapter.safetensors` where the recipe has adapters. `masklet.load` takes either. With `validate` those are the
    best weights, `last.safetensors` or `last-adapter.safetensors` the last ones, and `validation.jsonl` holds the
    results of each validation.
    """
    recipe, out = load_recipe(recipe_name, overrides), Path(out_dir)
    with memory_explained(recipe), disk_explained(out):
        # Start or resume
        trainer, base = make_trainer(recipe, out, [JsonLog(out), *observers])
        newest = trainer.checkpoints.newest
        if newest is not None and not resume:
            raise InputError(f"{out} already holds a run; continue it with resume, or choose another folder")
        trainer.checkpoints.forget_unfinished()
        if newest is not None:
            trainer.resume()
        elif announce is not None:
            announce(estimate(trainer))
        if trainer.rank == 0:
            write_atomically(out / "recipe.json", to_json(recipe))
        # Train, with validation
        exporter = Exporter(base=base, recipe=recipe, names=frozenset(trainer.learnt), out=out)
        validator = None if validate is None else Validator(validate, exporter, recipe, _epoch(trainer))
        complete = trainer.train(minutes=minutes, max_steps=max_steps, validator=validator)
        learnt = trainer.weights()
    # Write the weights for use
    if trainer.rank == 0:
        if validator is not None:
            exporter.write(learnt, exporter.last)
        if validator is None or not validator.is_best_known:
            exporter.write(learnt, exporter.best)
    return complete


def make_trainer(recipe: Recipe, out: Path, observers: Sequence[Observer] = ()) -> tuple[Trainer, Weights]:
    """The trainer of a run before its first update, and the weights that it begins with."""
    meet()
    torch.manual_seed(recipe.seed)
    base = initial_weights(recipe)
    check_image_sizes(recipe, base.config)
    task = make_task(recipe, base)
    model = begin(base)
    if not base.state:  # the next task begins with the parts that this one does not learn
        state = model.state_dict().items()
        kept = {name: value for name, value in state if not any(belongs(name, part) for part in OPTIONAL_PARTS)}
        base = replace(base, state={name: value.half() for name, value in kept.items()})
    return Trainer(model, task, recipe, out, observers), base


def check_image_sizes(recipe: Recipe, config: Detector.Config) -> None:
    """Raises: InputError for the phase whose images the trunk cannot take, before anything has been learnt."""
    unit = config.vision.trunk.patch_size * config.vision.trunk.window
    for place, phase in enumerate(recipe.phases):
        below = phase.image_size // unit * unit
        if phase.image_size != below:
            raise InputError(
                f"phases.{place}.image_size is {phase.image_size}; this model takes multiples of {unit}, "
                f"such as {max(below, unit)} or {max(below, unit) + unit}"
            )


@contextmanager
def disk_explained(out: Path) -> Iterator[None]:
    """Raises: InputError in place of the system's error when the disk is full or not writable."""
    try:
        yield
    except OSError as error:
        if error.errno not in REASONS:
            raise
        raise InputError(f"cannot write in {out}: {REASONS[error.errno]}; the last checkpoint is kept") from error


def estimate_run(recipe: Recipe) -> Estimate:
    """Memory and time that a run of the recipe would need; nothing is written."""
    with memory_explained(recipe):
        trainer, _ = make_trainer(recipe, Path())
        return estimate(trainer)


def _epoch(trainer: Trainer) -> float | None:
    """Updates in an epoch of the images that concepts are learnt from."""
    if not isinstance(trainer.task, ConceptTask):
        return None
    sources = {name: each for phase in trainer.recipe.phases for name, each in trainer.task.sources(phase).items()}
    return updates_of_epoch(trainer.recipe, list(sources.values()))


def initial_weights(recipe: Recipe) -> Weights:
    """The weights that the run begins with, by name or from a file; only a size when it begins from scratch."""
    if recipe.initial_weights is not None:
        path = find(recipe.initial_weights)
        if recipe.lora is not None and is_adapter_file(path):
            raise InputError(f"{path} is an adapter itself: make it a model first, with `masklet convert`")
        return with_click_queries(read(path), recipe)
    if recipe.preset not in PRESETS:
        raise InputError(f"set initial_weights to a model or a file, or preset to one of {', '.join(PRESETS)}")
    empty = Weights(config=PRESETS[recipe.preset](), state={}, origin="trained from scratch by masklet")
    return with_click_queries(empty, recipe)


def begin(base: Weights) -> Detector:
    """The model to train: the base, random where it has no weights; a new tracker starts from the trained detector."""
    model = Detector(base.config)
    model.load_state_dict({**model.state_dict(), **{name: value.float() for name, value in base.state.items()}})
    if base.state and "click" not in base.parts:
        start_tracker(model)
    return model


def main() -> None:
    """The command line without `masklet`: no progress, no validation."""
    parser = argparse.ArgumentParser(description="Train a recipe.")
    parser.add_argument("recipe")
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--max-steps", type=int)
    given = parser.parse_intermixed_args()
    run(given.recipe, given.overrides, given.out, resume=given.resume, minutes=given.minutes, max_steps=given.max_steps)


if __name__ == "__main__":
    main()
