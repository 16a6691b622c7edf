"""Training recipes: YAML files in this folder, derived from one another by `base:`, with dotted overrides on top.

A recipe is registered by lying here. Its files are merged as plain tables, and then every section becomes the dataclass
that reads it: which sections there are is said by the task. Unknown keys, and sections that the task does not read, are
errors. Paths of data are relative to `data.root`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from masklet.data.clip_transforms import ClipAugmentConfig
from masklet.data.collate import CollateConfig
from masklet.data.pointing import ClicksConfig
from masklet.data.tracking import TrackingConfig
from masklet.data.transforms import AugmentConfig
from masklet.errors import InputError
from masklet.formats.records import explain
from masklet.formats.yaml_files import parse_yaml, read_yaml
from masklet.nn.lora import LoraConfig
from masklet.nn.precision import multiplies_bfloat16
from masklet.scenes.layout import SceneConfig
from masklet.train.losses.contrast import ContrastConfig
from masklet.train.losses.criterion import Criterion
from masklet.train.losses.tracking import TrackingLossConfig
from masklet.train.recipes.source_specs import DavisSpec, FileSpec, GeneratedSpec, SourceSpec, Strict
from masklet.train.run.optim import OptimConfig
from masklet.train.tasks.refine import RefineConfig

RECIPES = Path(__file__).parent
GENERATED_KINDS = {get_args(spec.model_fields["kind"].annotation)[0] for spec in get_args(GeneratedSpec)}
# Sections of any task, in the order in which a recipe is shown.
SECTIONS = ("optim", "criterion", "collate")
PHASE_SECTIONS = ("options", "augment", "criterion", "refine", "clicks", "contrast", "tracking")

Table = dict[str, Any]  # as YAML holds it


class DataSpec(Strict, frozen=True):
    """Named sources; how often each is drawn is said by the phases."""

    root: str = "."
    workers: int = 0
    sources: dict[str, SourceSpec] = Field(default_factory=dict)


class Phase(Strict, frozen=True):
    """A stretch of training: `batch_size` images or clips, `accumulate` times, for each of `steps` updates.

    With a `rate` the schedule begins anew, at that share of the peak learning rates. `options` are those of generated
    sources.
    """

    steps: int
    image_size: int
    batch_size: int
    accumulate: int = 1
    rate: Annotated[float, Field(gt=0)] | None = None
    weights: dict[str, float]
    options: dict[str, SceneConfig] = Field(default_factory=dict)

    @property
    def drawn(self) -> list[str]:
        """The names of the sources with a weight above 0."""
        return [name for name, weight in self.weights.items() if weight > 0]


class ImagePhase(Phase, frozen=True):
    """A phase of training on labelled images; `max_queries` bounds the prompts of each."""

    max_queries: int = 16
    augment: AugmentConfig = AugmentConfig()


class EncodersPhase(ImagePhase, frozen=True):
    """A phase of stage one."""

    contrast: ContrastConfig = ContrastConfig()


class WordsPhase(Phase, frozen=True):
    """A phase of first words: `batch_size` phrases; there are no images, and no sources to weigh."""

    image_size: int = 0
    weights: dict[str, float] = Field(default_factory=dict)


class ConceptPhase(ImagePhase, frozen=True):
    """A phase of the detector's training. What it does not say of `criterion` is said by the recipe's.

    `denoise` queries of each prompt begin at noised boxes of its objects; with 0 copies of all queries learn
    one-to-many, as published.
    """

    criterion: Criterion.Config = Criterion.Config()
    denoise: Annotated[int, Field(ge=0)] = 0
    refine: RefineConfig = RefineConfig()
    clicks: ClicksConfig = ClicksConfig()


class TrackingPhase(Phase, frozen=True):
    """A phase of the tracker's training. What it does not say of `criterion` is said by the recipe's."""

    augment: ClipAugmentConfig = ClipAugmentConfig()
    criterion: TrackingLossConfig = TrackingLossConfig()
    tracking: TrackingConfig = TrackingConfig()


class Validation(Strict, frozen=True):
    """What a run is validated on: labelled images with phrases, at most `pictures` of them, always the same.

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


class Recipe(Strict, frozen=True):
    """A whole training run; each task has a class of its own, with the sections that it reads.

    `initial_weights` is the name of a model or a file; without, `preset` says the size of a model that begins from
    scratch. `train` lists patterns of names of parameters: of what the task can learn, what the last fitting pattern
    names is learnt, unless it begins with `!`. `lora` adds adapters; what `train` names is then learnt beside them.
    `checkpoint_activations` computes layers twice to save memory. `general` names a source of files, of what is not the
    recipe's own subject, whose images tell what was forgotten. `parallel` says what several processes do with the
    weights of the encoders: each keeps all (`ddp`) or its share (`fsdp`). `bfloat16` is what is computed in;
    `auto` takes it where the device multiplies it fast. Weights are float32.

    Written out, a recipe shows of its sections what was given, not what they hold by default.
    """

    task: Literal["words", "encoders", "concept", "tracking"]
    preset: str | None = None
    seed: int = 0
    device: str = "auto"
    bfloat16: Literal["auto"] | bool = "auto"
    initial_weights: str | None = None
    train: tuple[str, ...] = ("*",)
    lora: LoraConfig | None = None
    checkpoint_activations: bool = False
    parallel: Literal["ddp", "fsdp"] = "ddp"
    ema_decay: float | None = None
    log_every: int = 20
    checkpoint_minutes: float = 10.0
    data: DataSpec
    validation: Validation | None = None
    general: str | None = None
    phases: tuple[Phase, ...]
    optim: OptimConfig = OptimConfig()
    _given: Table = PrivateAttr(default_factory=dict)

    @property
    def total_steps(self) -> int:
        """Updates of all phases together."""
        return sum(phase.steps for phase in self.phases)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The precision of a forward pass on a device."""
        enabled = multiplies_bfloat16(device) if self.bfloat16 == "auto" else self.bfloat16
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

    def schedule_at(self, step: int) -> tuple[int, int, float]:
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
    def images_per_update(self) -> float:
        """Images, or clips, of an update, on average over the run."""
        return sum(phase.steps * phase.batch_size * phase.accumulate for phase in self.phases) / self.total_steps

    def work_of(self, steps: int) -> float:
        """The cost of the first `steps` updates in pixels, to be compared with that of others."""
        work, left = 0.0, steps
        for phase in self.phases:
            work += min(left, phase.steps) * phase.batch_size * phase.accumulate * phase.image_size**2
            left -= min(left, phase.steps)
        return work

    def trains(self, name: str) -> bool:
        """Whether a parameter is named by the patterns of `train`."""
        fitting = [pattern for pattern in self.train if fnmatchcase(name, pattern.removeprefix("!"))]
        return bool(fitting) and not fitting[-1].startswith("!")

    @model_validator(mode="wrap")
    @classmethod
    def _from_table(cls, given: Table, handler: Callable[[Any], "Recipe"]) -> "Recipe":
        recipe = handler(_completed(given, cls))
        recipe._given.update(given)
        return recipe

    @model_serializer(mode="wrap")
    def _as_given(self, handler: Callable[["Recipe"], Table]) -> Table:
        shown, given = handler(self), self._given
        tables = [(shown, given, SECTIONS)]
        tables += [(*pair, PHASE_SECTIONS) for pair in zip(shown["phases"], given["phases"], strict=True)]
        for table, source, sections in tables:
            for section in sections:
                table.pop(section, None)
                table[section] = source.get(section) or {}
        for name, source in shown["data"]["sources"].items():
            if "options" in source:
                source["options"] = given["data"]["sources"][name].get("options") or {}
        if self.lora is not None:
            shown["lora"] = given.get("lora", shown["lora"])
        return shown


def _without_sizes(given: Any) -> Any:
    for name in ("max_queries", "patch_size"):
        if isinstance(given, dict) and name in given:
            raise ValueError(f"{name} is not set here: the phases set max_queries, the model patch_size")
    return given


Collate = Annotated[CollateConfig, BeforeValidator(_without_sizes)]


class EncodersRecipe(Recipe, frozen=True):
    """Stage one: encoders that learn to compare images with words."""

    task: Literal["encoders"]
    phases: tuple[EncodersPhase, ...]
    collate: Collate = CollateConfig()


class ConceptRecipe(Recipe, frozen=True):
    """The detector: every instance of a concept, and single objects that are pointed at."""

    task: Literal["concept"] = "concept"
    phases: tuple[ConceptPhase, ...]
    criterion: Criterion.Config = Criterion.Config()
    collate: Collate = CollateConfig()


class TrackingRecipe(Recipe, frozen=True):
    """The tracker: objects that are pointed at, followed through clips."""

    task: Literal["tracking"]
    phases: tuple[TrackingPhase, ...]
    criterion: TrackingLossConfig = TrackingLossConfig()


class WordsRecipe(Recipe, frozen=True):
    """First words: the text encoder learns the vectors of the table `words`, a file below `data.root`."""

    task: Literal["words"]
    words: str
    phases: tuple[WordsPhase, ...]


RECIPE_OF_TASK = {
    "words": WordsRecipe,
    "encoders": EncodersRecipe,
    "concept": ConceptRecipe,
    "tracking": TrackingRecipe,
}


def _completed(given: Any, kind: type[Recipe]) -> Any:
    """The table with what phases take from elsewhere, and without empty sections of other tasks, which say nothing.

    A phase's criterion is the recipe's with its own changes; the options of a generated source are the source's with
    the phase's image size and its changes. What is malformed is left for validation to name.
    """
    if not isinstance(given, dict) or not isinstance(given.get("phases"), list | tuple):
        return given
    table = _without_empty(given, SECTIONS, kind)
    sources = given["data"].get("sources") if isinstance(given.get("data"), dict) else None
    generated = {
        name: spec.get("options") or {}
        for name, spec in (sources.items() if isinstance(sources, dict) else ())
        if isinstance(spec, dict) and str(spec.get("kind")) in GENERATED_KINDS
    }
    kind_of_phase = get_args(kind.model_fields["phases"].annotation)[0]

    def complete(phase: Any) -> Any:
        if not isinstance(phase, dict):
            return phase
        own = _without_empty(phase, PHASE_SECTIONS, kind_of_phase)
        if table.get("criterion"):
            own["criterion"] = _merge(table["criterion"], own.get("criterion") or {})
        size = {"size": own["image_size"]} if isinstance(own.get("image_size"), int) else {}
        usual = {name: _merge(options, size) for name, options in generated.items()}
        return {**own, "options": _merge(usual, own.get("options") or {})}

    return {**table, "phases": [complete(phase) for phase in given["phases"]]}


def _without_empty(table: Table, sections: Sequence[str], kind: type[Strict]) -> Table:
    return {name: value for name, value in table.items() if value or name not in sections or name in kind.model_fields}


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, or a YAML file, with `key.sub=value` overrides (values are read as YAML).

    Raises: InputError when the recipe is unknown or a key or value does not fit.
    """
    values = _read(name)
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator:
            raise InputError(f"override {override!r} is not of the form key.sub=value")
        _set(values, path.split("."), parse_yaml(text, f"override {override!r}"), override)
    return parse_recipe(values)


def parse_recipe(values: Mapping[str, Any]) -> Recipe:
    """The recipe that these plain values describe; every section is checked now, not when it is first used.

    Raises: InputError naming the path of what does not fit.
    """
    task = values.get("task", ConceptRecipe.model_fields["task"].default)
    if task not in tuple(RECIPE_OF_TASK):
        raise InputError(f"the recipe does not fit: task: got {task!r}, expected one of {', '.join(RECIPE_OF_TASK)}")
    try:
        recipe = RECIPE_OF_TASK[task].model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_explain(each, task) for each in error.errors())
        raise InputError(f"the recipe does not fit: {problems}") from error
    for path, name in _named_sources(recipe):
        if name not in recipe.data.sources:
            known = ", ".join(recipe.data.sources)
            raise InputError(f"{path}: there is no source {name!r} in data.sources, which has {known}")
        if path.endswith(".options") and not isinstance(recipe.data.sources[name], GeneratedSpec):
            raise InputError(f"{path}.{name}: only generated sources have options")
    return recipe


def parse_saved_recipe(values: Mapping[str, Any]) -> Recipe:
    """The recipe of a run, as its `recipe.json` holds it; what earlier versions wrote and no task read is dropped.

    Phases of every task had `max_queries` and sections of the other tasks.

    Raises: InputError naming the path of what does not fit.
    """
    kind = RECIPE_OF_TASK.get(str(values.get("task")), Recipe)
    if kind is Recipe or not isinstance(values.get("phases"), list):
        return parse_recipe(values)
    kind_of_phase = get_args(kind.model_fields["phases"].annotation)[0]
    unread = {"max_queries", *PHASE_SECTIONS} - kind_of_phase.model_fields.keys()
    phases = [
        {name: value for name, value in phase.items() if name not in unread} if isinstance(phase, dict) else phase
        for phase in values["phases"]
    ]
    read = {name: value for name, value in values.items() if name in kind.model_fields or name not in SECTIONS}
    return parse_recipe({**read, "phases": phases})


def _explain(error: Any, task: str) -> str:
    """Where in the recipe something does not fit, as an override would name it, and what."""
    place, kind = error["loc"], error["type"]
    for parent in (("data", "sources"), ("validation",)):
        if place[: len(parent)] == parent:  # the kind of a source, which the path of its settings does not hold
            place = (*place[: len(parent) + 1], *place[len(parent) + 2 :])
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        is_section = place[-1] in (SECTIONS if len(place) == 1 else PHASE_SECTIONS if len(place) == 3 else ())
        message = f"the task {task} reads no such section" if is_section else "there is no such setting"
    elif kind == "value_error":
        message = error["msg"].removeprefix("Value error, ")
    else:
        message = explain(error)
    return f"{'.'.join(map(str, place))}: {message}"


def _named_sources(recipe: Recipe) -> list[tuple[str, str]]:
    """Paths that name sources, and the names."""
    named = [] if recipe.general is None else [("general", recipe.general)]
    for place, phase in enumerate(recipe.phases):
        named += [(f"phases.{place}.weights", name) for name in phase.weights]
        named += [(f"phases.{place}.options", name) for name in phase.options]
        if isinstance(phase, ConceptPhase):
            named += [(f"phases.{place}.clicks.weights", name) for name in phase.clicks.weights]
    return named


def _read(name: str, derived: tuple[Path, ...] = ()) -> Table:
    """The values of a recipe over those of its base; `derived` are the files that led here."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    if path in derived:
        raise InputError(f"{path}: base: leads back to this recipe")
    if not _is_file(path):
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise InputError(f"no recipe {name!r}; the shipped ones are {known}")
    values = read_yaml(path)
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"{path} does not hold a table of settings")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise InputError(f"{path}: base: is {base!r}; the name of a recipe is expected")
    beside = path.parent / f"{base}.yaml"
    return _merge(_read(str(beside if _is_file(beside) else base), (*derived, path)), values)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        return False


def _merge(base: Any, changes: Any) -> Any:
    """Tables merge key by key; everything else is replaced."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return {**base, **{key: _merge(base.get(key), value) for key, value in changes.items()}}


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
