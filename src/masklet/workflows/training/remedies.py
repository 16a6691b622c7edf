"""Remedies for what a training run has forgotten, as commands that can be run as they are."""

import json
import shlex
from pathlib import Path

from masklet.eval.analysis.forgetting import Forgetting
from masklet.eval.reports.train_report import Remedy
from masklet.train.recipes.schema import Recipe, load_recipe
from masklet.train.recipes.source_specs import FileSpec

GENERAL = "general"  # the source that `finetune-replay` mixes in
REPLAY = "finetune-replay"
TWICE = 2  # every other image is a general one
PRESENCE = "decoder.presence_head.*"


def find_remedies(found: Forgetting, recipe: Recipe, out: Path, weights: Path) -> list[Remedy]:
    """Remedies, the cheapest first; none where nothing was forgotten, and none that the run itself has applied."""
    remedies = []
    if "rejections" in found.troubles and recipe.train != (PRESENCE,):
        command = _train("presence-only", recipe, str(weights), _beside(out, "presence"))
        what = "trains only the presence of concepts, on top of this run; the instances found stay as they are"
        remedies.append(Remedy(what=what, command=command))
    if found.troubles and recipe.lora is not None:
        softer = shlex.join(["masklet", "merge", str(out / "softer.safetensors"), f"{weights}=0.5"])
        remedies.append(Remedy(what="takes half of the change of the adapter, without training", command=softer))
    if found.troubles and GENERAL not in recipe.data.sources:
        command = _train(REPLAY, recipe, str(recipe.initial_weights), _beside(out, "replay"))
        what = "trains again from the base, with a general image for each of yours"
        remedies.append(Remedy(what=what, command=command))
    if found.troubles and recipe.lora is None:
        command = _train("finetune-lora", recipe, str(recipe.initial_weights), _beside(out, "lora"))
        what = "trains an adapter from the base: small corrections, while the base itself stays as it is"
        remedies.append(Remedy(what=what, command=command))
    return remedies


def _beside(out: Path, ending: str) -> str:
    return str(out.with_name(f"{out.resolve().name}-{ending}"))


def _train(name: str, recipe: Recipe, initial: str, out: str) -> str:
    """`masklet train` on the same data, with another recipe that derives from `finetune`."""
    usual = load_recipe("finetune")
    arguments = ["masklet", "train", name, f"initial_weights={initial}", *_data(recipe, name, usual)]
    last = recipe.phases[-1]
    if last.image_size != usual.phases[-1].image_size:
        arguments.append(f"phases.0.image_size={last.image_size}")
    if name == REPLAY:
        arguments += _schedule(recipe, usual)
    if recipe.device != "auto":
        arguments.append(f"device={recipe.device}")
    return shlex.join([*arguments, "--out", out])


def _schedule(recipe: Recipe, usual: Recipe) -> list[str]:
    """Overrides of `finetune-replay` for the settings in which this run differs from the usual ones."""
    if recipe.lora is not None or recipe.train == (PRESENCE,):
        return []
    last, their_last = recipe.phases[-1], usual.phases[-1]
    settings = {
        "train": (list(recipe.train), list(usual.train)),
        "checkpoint_activations": (recipe.checkpoint_activations, usual.checkpoint_activations),
        "phases.0.steps": (TWICE * recipe.total_steps, TWICE * usual.total_steps),
        "phases.0.batch_size": (last.batch_size, their_last.batch_size),
        "phases.0.accumulate": (last.accumulate, their_last.accumulate),
        **{f"optim.{name}": (value, getattr(usual.optim, name)) for name, value in vars(recipe.optim).items()},
    }
    return [f"{name}={json.dumps(value)}" for name, (value, theirs) in settings.items() if value != theirs]


def _data(recipe: Recipe, name: str, usual: Recipe) -> list[str]:
    """Overrides that give another recipe the file sources and the validation source of this one."""
    arguments = [] if recipe.data.root == "." else [f"data.root={recipe.data.root}"]
    shares = recipe.phases[-1].weights
    files = {source: spec for source, spec in recipe.data.sources.items() if isinstance(spec, FileSpec)}
    weights = {source: shares[source] for source in files if source != GENERAL and shares.get(source, 0) > 0}
    specs = {source: spec.model_dump(mode="json", exclude_defaults=True) for source, spec in files.items()}
    mixes = name in (REPLAY, "presence-only")
    if {source: files[source] for source in weights} != usual.data.sources:
        arguments += [f"data.sources.{source}={json.dumps(specs[source])}" for source in weights]
        mixed = {GENERAL: sum(weights.values())} if mixes else {}
        arguments.append(f"phases.0.weights={json.dumps({**weights, **mixed})}")
    if mixes and GENERAL in specs:
        arguments.append(f"data.sources.{GENERAL}={json.dumps(specs[GENERAL])}")
    if recipe.validation is not None and recipe.validation.source is not None:
        source = recipe.validation.source.model_dump(mode="json", exclude_defaults=True)
        arguments.append(f"validation.source={json.dumps(source)}")
    return arguments
