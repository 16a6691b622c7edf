"""Training recipes: YAML files in `recipes/`, derived from one another by `base:`, with dotted overrides on top.

Unknown keys fail. Paths of data are relative to `data.root`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from masklet.data.clip_transforms import ClipAugmentConfig
from masklet.data.collate import CollateConfig
from masklet.data.pointing import ClicksConfig
from masklet.data.tracking import TrackingConfig
from masklet.data.transforms import AugmentConfig
from masklet.errors import InputError
from masklet.nn.lora import LoraConfig
from masklet.train.losses.contrast import ContrastConfig
from masklet.train.losses.criterion import Criterion
from masklet.train.recipes.source_specs import DavisSpec, FileSpec, SourceSpec
from masklet.train.run.optim import OptimConfig
from masklet.train.tasks.refine import RefineConfig
from masklet.train.tasks.rollout import TrackingLossConfig

RECIPES = Path(__file__).parent
C = TypeVar("C")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSpec(_Strict):
    """Named sources; how often each is drawn is said by the phases."""

    root: str = "."
    workers: int = 0
    sources: dict[str, SourceSpec]


class Phase(_Strict):
    """A stretch of training: `batch_size` pictures, `accumulate` times, for each of `steps` updates.

    With a `rate` the schedule begins anew, at that share of the peak learning rates.
    """

    steps: int
    image_size: int
    batch_size: int
    accumulate: int = 1
    rate: Annotated[float, Field(gt=0)] | None = None
    max_queries: int = 16
    weights: dict[str, float]
    options: dict[str, dict[str, Any]] = {}
    augment: dict[str, Any] = {}
    criterion: dict[str, Any] = {}
    refine: dict[str, Any] = {}
    clicks: dict[str, Any] = {}
    contrast: dict[str, Any] = {}
    tracking: dict[str, Any] = {}


class Validation(_Strict):
    """What a run is validated on: labelled pictures with phrases, at most `pictures` of them, always the same.

    `source` is used whole unless it says which split; without one, it is what the first source of files that is learnt
    from holds out. `every` is a number of updates; without one, an epoch, or more where that would take much of the
    time.
    """

    source: Annotated[FileSpec, Field(discriminator="kind")] | None = None
    every: Annotated[int, Field(ge=1)] | None = None
    pictures: Annotated[int, Field(ge=1)] = 64

    @field_validator("source", mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        return {"split": "all", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _has_phrases(self) -> "Validation":
        if isinstance(self.source, DavisSpec):
            raise ValueError("a davis source has no phrases to validate on")
        return self


class Recipe(_Strict):
    """A whole training run.

    `task` says what is learnt; sections that the other task has are not read. `initial_weights` is the name of a model
    or a file; without, `preset` says the size of a model that begins from scratch. `train` lists patterns of names of
    parameters: of what the task can learn, what the last fitting pattern names is learnt, unless it begins with `!`.
    `lora` adds adapters; what `train` names is then learnt beside them. `checkpoint_activations` computes layers twice
    to remember less. `general` names a source of files, of what is not the recipe's own subject, whose pictures tell
    what was forgotten. `parallel` says what several processes do with the weights of the encoders: each keeps all
    (`ddp`) or its share (`fsdp`).
    """

    task: Literal["encoders", "concept", "tracking"] = "concept"
    preset: str | None = None
    seed: int = 0
    device: str = "auto"
    bfloat16: bool = True
    initial_weights: str | None = None
    train: tuple[str, ...] = ("*",)
    lora: dict[str, Any] | None = None
    checkpoint_activations: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    ema_decay: float | None = None
    log_every: int = 20
    checkpoint_minutes: float = 10.0
    data: DataSpec
    validation: Validation | None = None
    general: str | None = None
    phases: tuple[Phase, ...]
    optim: dict[str, Any] = {}
    criterion: dict[str, Any] = {}
    collate: dict[str, Any] = {}

    @property
    def total_steps(self) -> int:
        """Updates of all phases together."""
        return sum(phase.steps for phase in self.phases)

    def course(self, step: int) -> tuple[int, int, float]:
        """The schedule that an update belongs to: its first update, how many it has, its share of the peak rates."""
        first, end, rate = 0, 0, 1.0
        for phase in self.phases:
            if phase.rate is not None:
                if step < end:
                    break
                first, rate = end, phase.rate
            end += phase.steps
        return first, end - first, rate

    @property
    def pictures_of_update(self) -> float:
        """Pictures, or clips, of an update, on average over the run."""
        return sum(phase.steps * phase.batch_size * phase.accumulate for phase in self.phases) / self.total_steps

    def work_of(self, steps: int) -> float:
        """What the first updates cost, compared with others: the pixels that they look at."""
        work, left = 0.0, steps
        for phase in self.phases:
            work += min(left, phase.steps) * phase.batch_size * phase.accumulate * phase.image_size**2
            left -= min(left, phase.steps)
        return work

    def trains(self, name: str) -> bool:
        """Whether a parameter is named by the patterns of `train`."""
        fitting = [pattern for pattern in self.train if fnmatchcase(name, pattern.removeprefix("!"))]
        return bool(fitting) and not fitting[-1].startswith("!")

    def lora_config(self) -> LoraConfig | None:
        """Defaults with this recipe's changes, where it wants adapters."""
        return None if self.lora is None else settings(LoraConfig, self.lora)

    def optim_config(self) -> OptimConfig:
        """Defaults with this recipe's changes."""
        return settings(OptimConfig, self.optim)

    def criterion_config(self, phase: Phase) -> Criterion.Config:
        """Defaults with this recipe's and the phase's changes."""
        return settings(Criterion.Config, _merge(self.criterion, phase.criterion))

    def refine_config(self, phase: Phase) -> RefineConfig:
        """Defaults with the phase's changes."""
        return settings(RefineConfig, phase.refine)

    def contrast_config(self, phase: Phase) -> ContrastConfig:
        """Defaults with the phase's changes."""
        return settings(ContrastConfig, phase.contrast)

    def clicks_config(self, phase: Phase) -> ClicksConfig:
        """Defaults with the phase's changes."""
        return settings(ClicksConfig, phase.clicks)

    def tracking_config(self, phase: Phase) -> TrackingConfig:
        """Defaults with the phase's changes."""
        return settings(TrackingConfig, phase.tracking)

    def tracking_loss_config(self, phase: Phase) -> TrackingLossConfig:
        """Defaults with this recipe's and the phase's changes."""
        return settings(TrackingLossConfig, {**self.criterion, **phase.criterion})

    def collate_config(self, phase: Phase, patch_size: int) -> CollateConfig:
        """Defaults with this recipe's and the phase's changes."""
        return settings(CollateConfig, {**self.collate, "max_queries": phase.max_queries, "patch_size": patch_size})

    def augment_config(self, phase: Phase) -> AugmentConfig:
        """Defaults with the phase's changes."""
        return settings(AugmentConfig, phase.augment)

    def clip_augment_config(self, phase: Phase) -> ClipAugmentConfig:
        """What the section `augment` means to the tracker: defaults with the phase's changes."""
        return settings(ClipAugmentConfig, phase.augment)


def settings(kind: type[C], values: dict[str, Any]) -> C:
    """The config of `kind` with these changes. Raises `ValueError` on an unknown key or a value of the wrong type."""
    _refuse_unknown(kind, values)  # which pydantic lets pass in a dataclass
    return TypeAdapter(kind).validate_python(values)


def _refuse_unknown(kind: type, values: dict[str, Any]) -> None:
    hints = get_type_hints(kind)
    unknown = sorted(values.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise ValueError(f"{kind.__qualname__} has no {', '.join(unknown)}")
    for name, value in values.items():
        if is_dataclass(hints[name]) and isinstance(value, dict):
            _refuse_unknown(hints[name], value)


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, or a YAML file, with `key.sub=value` overrides (values are read as YAML).

    Raises: InputError when the recipe is unknown or a key or value does not fit.
    """
    values = _read(name)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"override {override!r} is not of the form key.sub=value")
        _set(values, path.split("."), yaml.safe_load(text), override)
    return parse_recipe(values)


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """The recipe that these plain values describe; every section is checked now, not when it is first used."""
    try:
        recipe = Recipe.model_validate(values)
        recipe.optim_config()
        recipe.lora_config()
        for phase in recipe.phases:
            _check_phase(recipe, phase)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InputError(f"the recipe does not fit: {problems}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe does not fit: {error}") from error
    for phase in recipe.phases:
        clicked = recipe.clicks_config(phase).weights if recipe.task == "concept" else {}
        unknown = (phase.weights.keys() | phase.options.keys() | clicked.keys()) - recipe.data.sources.keys()
        if unknown:
            raise InputError(f"a phase names unknown sources: {', '.join(sorted(unknown))}")
    if recipe.general is not None and recipe.general not in recipe.data.sources:
        raise InputError(f"general names an unknown source: {recipe.general}")
    return recipe


def _check_phase(recipe: Recipe, phase: Phase) -> None:
    """Raises `ValueError` when a section that the task reads does not fit."""
    if recipe.task == "tracking":
        recipe.tracking_config(phase)
        recipe.tracking_loss_config(phase)
        recipe.clip_augment_config(phase)
    else:
        recipe.criterion_config(phase)
        recipe.refine_config(phase)
        recipe.clicks_config(phase)
        recipe.contrast_config(phase)
        recipe.collate_config(phase, patch_size=1)
        recipe.augment_config(phase)


def _read(name: str) -> dict[str, Any]:
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise InputError(f"no recipe {name!r}; the shipped ones are {known}")
    try:
        values = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold a table of settings")
    base = values.pop("base", None)
    if base is None:
        return values
    beside = path.parent / f"{base}.yaml"
    return _merge(_read(str(beside) if beside.is_file() else base), values)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; everything else is replaced."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _set(values: Any, path: list[str], value: Any, override: str) -> None:
    """Sets one nested value in place; numbers index lists, missing tables are made."""
    try:
        for key in path[:-1]:
            values = values[int(key)] if isinstance(values, list) else values.setdefault(key, {})
        values[int(path[-1]) if isinstance(values, list) else path[-1]] = value
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"override {override!r} leads nowhere: {error}") from error


def to_json(recipe: Recipe) -> str:
    """The full recipe as JSON, saved beside what it trained."""
    return json.dumps(recipe.model_dump(mode="json"), indent=1)
