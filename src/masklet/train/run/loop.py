"""A training run, from a recipe to weights that load: begun, continued, validated, exported.

`run` is the entry: `python -m masklet.train.run.loop RECIPE OUT key=value...` or `masklet train`, which also shows
how far it is and validates.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from masklet.checkpoints.adapters import is_adapter_file, read
from masklet.checkpoints.hub import find
from masklet.checkpoints.weights import OPTIONAL_PARTS, Weights, belongs
from masklet.config import PRESETS
from masklet.errors import InputError
from masklet.files import REASONS, write_atomically
from masklet.models.detector import Detector
from masklet.tokenizer import Tokenizer
from masklet.train.recipes.schema import Recipe, load_recipe, to_json
from masklet.train.run.distributed import meet
from masklet.train.run.estimate import Estimate, estimate, memory_explained
from masklet.train.run.export import Exporter
from masklet.train.run.observers import JsonLog, Observer
from masklet.train.run.shelf import SourceShelf
from masklet.train.run.trainer import Trainer
from masklet.train.run.validation import Validate, Validator, updates_of_epoch
from masklet.train.tasks.detector import ConceptTask, with_click_queries
from masklet.train.tasks.encoders import EncoderTask
from masklet.train.tasks.tracker import ClipShelf, TrackingTask, start_tracker


def run(  # noqa: PLR0913 - what a run may be given
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
    """Trains a recipe into a folder; True when it is complete. With `resume` a run begun there is continued.

    `announce` is called before the first update with what the run will take.

    Leaves `checkpoints`, `log.jsonl`, `recipe.json` and, each time it stops, `weights.safetensors`, or
    `adapter.safetensors` where the recipe has adapters learnt. `masklet.load` takes either. With `validate` those are
    the best, `last.safetensors` or `last-adapter.safetensors` are those where it stopped, and `validation.jsonl` says
    what came of each validation.
    """
    recipe, out = load_recipe(recipe_name, overrides), Path(out_dir)
    with memory_explained(recipe), disk_explained(out):
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
        exporter = Exporter(base=base, recipe=recipe, names=frozenset(trainer.learnt), out=out)
        validator = None if validate is None else Validator(validate, exporter, recipe, _epoch(trainer))
        complete = trainer.train(minutes=minutes, max_steps=max_steps, validator=validator)
        learnt = trainer.weights()
    if trainer.rank == 0:
        if validator is not None:
            exporter.write(learnt, exporter.last)
        if validator is None or not validator.is_best_known:
            exporter.write(learnt, exporter.best)
    return complete


def make_trainer(recipe: Recipe, out: Path, observers: Sequence[Observer] = ()) -> tuple[Trainer, Weights]:
    """A run before its first update, and the weights that it begins with."""
    meet()
    torch.manual_seed(recipe.seed)
    base = initial_weights(recipe)
    task = make_task(recipe, base)
    model = begin(base)
    if not base.state:  # what this task does not learn the next one begins with
        base = replace(base, state=_detector_of(model))
    return Trainer(model, task, recipe, out, observers), base


@contextmanager
def disk_explained(out: Path) -> Iterator[None]:
    """Raises: InputError in place of what the system says when nothing more can be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in REASONS:
            raise
        raise InputError(f"cannot write in {out}: {REASONS[error.errno]}; the last checkpoint stands") from error


def estimate_run(recipe: Recipe) -> Estimate:
    """What a run of the recipe would take; nothing is written."""
    with memory_explained(recipe):
        trainer, _ = make_trainer(recipe, Path())
        return estimate(trainer)


def _epoch(trainer: Trainer) -> float | None:
    """Updates in an epoch of the pictures that concepts are learnt from."""
    if not isinstance(trainer.task, ConceptTask):
        return None
    sources = {name: each for phase in trainer.recipe.phases for name, each in trainer.task.sources(phase).items()}
    return updates_of_epoch(trainer.recipe, list(sources.values()))


def initial_weights(recipe: Recipe) -> Weights:
    """What the run begins with, by name or from a file; nothing but a size when it begins from scratch."""
    if recipe.initial_weights is not None:
        path = find(recipe.initial_weights)
        if recipe.lora is not None and is_adapter_file(path):
            raise InputError(f"{path} is an adapter itself: make it a model first, with `masklet convert`")
        return with_click_queries(read(path), recipe)
    if recipe.preset not in PRESETS:
        raise InputError(f"set initial_weights to a model or a file, or preset to one of {', '.join(PRESETS)}")
    nothing = Weights(config=PRESETS[recipe.preset](), state={}, origin="trained from scratch by masklet")
    return with_click_queries(nothing, recipe)


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
