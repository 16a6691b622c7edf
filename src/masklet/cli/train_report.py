"""`masklet train-report`: the page of a training run, and what the run has cost elsewhere."""

import json as jsonlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from masklet.cli.app import Json, app, progress_bar
from masklet.cli.train_remedies import find_remedies
from masklet.errors import InputError
from masklet.files import write_atomically

if TYPE_CHECKING:
    from masklet.data.doctor import Tally
    from masklet.data.sources import IndexedSource
    from masklet.eval.analysis.forgetting import Forgetting, Questions
    from masklet.eval.concepts.outcomes import PairOutcome
    from masklet.eval.reports.train_report import Remedy
    from masklet.train.recipes.schema import Recipe

LOOKED_AT = 50  # pictures of each source, to say what it holds


@app.command("train-report")
def train_report(
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="Folder of a training run.")],
    no_forgetting: Annotated[bool, typer.Option("--no-forgetting", help="Do not ask what was forgotten.")] = False,
    json: Json = False,
) -> None:
    """Write the page of a training run, finished or not, and say what it has cost elsewhere."""
    if not (out / "log.jsonl").is_file():
        raise InputError(f"{out} holds no training run: there is no log.jsonl")
    run = FinishedRun(out, forgetting=not no_forgetting)
    with progress_bar(len(run), "pictures") as advance:
        lines = run.finish(advance)
    typer.echo(jsonlib.dumps(run.to_json()) if json else "\n".join(lines))


def finish_run(out: Path, *, advance: Callable[[], object] = lambda: None) -> list[str]:
    """Finds what a run has forgotten, writes its page, and gives the lines to print; `advance` after each picture."""
    return FinishedRun(out, forgetting=True).finish(advance)


class FinishedRun:
    """A run's folder, and the pictures that its weights are asked about. `len` is how many, over all models.

    Raises: InputError when a file of the run cannot be read.
    """

    def __init__(self, out: Path, *, forgetting: bool) -> None:
        self.out = out
        self.notes: list[str] = []
        self.recipe = _read_recipe(out / "recipe.json")
        files = (out / "weights.safetensors", out / "adapter.safetensors")
        self.weights = next((path for path in files if path.is_file()), None)
        asked = self.recipe if self.recipe and self.recipe.task == "concept" and self.weights else None
        self.validation = None if asked is None else self._validation_pictures(asked)
        self.own = None if self.validation is None else _own_questions(*self.validation)
        self.sets = self._sets(asked) if asked is not None and forgetting else []
        self.found: Forgetting | None = None
        self.remedies: list[Remedy] = []
        self.page: Path | None = None

    def __len__(self) -> int:
        return 2 * sum(questions.count for questions in self.sets) + (self.own.count if self.own else 0)

    def finish(self, advance: Callable[[], object]) -> list[str]:
        """Asks, compares, and writes `forgetting.json` and `report.html`; gives the lines to print."""
        outcomes = self._ask(advance)
        if self.found is not None:
            document = {**self.found.to_json(), "remedies": [vars(remedy) for remedy in self.remedies]}
            write_atomically(self.out / "forgetting.json", jsonlib.dumps(document, indent=1) + "\n")
        self._write_page(outcomes)
        lines = [] if self.found is None else [f"forgetting: {self.found.verdict}"]
        lines += [line for remedy in self.remedies for line in (f"  {remedy.what}:", f"    {remedy.command}")]
        return [*lines, *self.notes, *([] if self.page is None else [f"report: {self.page}"])]

    def to_json(self) -> dict[str, Any]:
        """What was found, for programs."""
        return {
            "report": None if self.page is None else str(self.page),
            "forgetting": None if self.found is None else self.found.to_json(),
            "remedies": [vars(remedy) for remedy in self.remedies],
            "notes": self.notes,
        }

    def _validation_pictures(self, recipe: "Recipe") -> "tuple[IndexedSource, list[int]] | None":
        from masklet.train.run.validation import validation_pictures

        try:
            return validation_pictures(recipe)
        except InputError as error:
            self.notes.append(f"no validation pictures: {error}")
            return None

    def _sets(self, recipe: "Recipe") -> "list[Questions]":
        """What both models are asked; nothing where there is no base."""
        from masklet.eval.analysis.forgetting import everyday_questions, picture_questions, scene_questions, spread

        if recipe.initial_weights is None:
            self.notes.append("no forgetting check: the run began from nothing")
            return []
        sets = [scene_questions(learnt=_learns_scenes(recipe))]
        try:
            general = _general_pictures(recipe)
            if general is not None:
                sets.append(picture_questions("general", "Your general pictures", general, spread(len(general))))
            if self.own is not None:
                sets.append(everyday_questions(self.own))
        except InputError as error:
            self.notes.append(f"less was asked to see what was forgotten: {error}")
        return sets

    def _ask(self, advance: Callable[[], object]) -> "list[PairOutcome]":
        """One model after the other: both on the sets, then the trained one on the validation pictures."""
        from masklet.eval.analysis.forgetting import ask_questions, compare, standings

        recipe, cache = self.recipe, self.out / "answers"
        if recipe is None or self.weights is None or not (self.sets or self.own):
            return []
        try:
            before = standings(self.sets, _load(recipe.initial_weights, recipe), cache, advance) if self.sets else []
            model = _load(self.weights, recipe)
            if self.sets:
                self.found = compare(self.sets, before, standings(self.sets, model, cache, advance))
                self.remedies = find_remedies(self.found, recipe, self.out, self.weights)
            return [] if self.own is None else ask_questions(self.own, model, cache, advance)
        except InputError as error:  # a base that is gone, a picture that is broken: the page still stands
            self.notes.append(f"the models could not be asked: {error}")
            return []

    def _write_page(self, outcomes: "Sequence[PairOutcome]") -> None:
        """Without the packages that draw it, everything else still stands."""
        from masklet.eval.reports.page import write_report
        from masklet.eval.reports.train_log import read_log
        from masklet.eval.reports.train_report import TrainRun, build_train_report
        from masklet.train.run.validation import best_validation, read_validations

        lines = read_validations(self.out)
        run = TrainRun(
            name=self.out.resolve().name,
            log=read_log(self.out / "log.jsonl"),
            validations=lines,
            best=best_validation(lines),
            recipe={} if self.recipe is None else self.recipe.model_dump(mode="json", exclude_defaults=True),
            tallies={} if self.recipe is None else _tallies(self.recipe),
            outcomes=outcomes,
            pixels=self._pixels,
            forgetting=self.found,
            remedies=self.remedies,
        )
        try:
            self.page = write_report(build_train_report(run), self.out / "report.html")
        except InputError as error:
            self.notes.append(f"no report: {error}")

    def _pixels(self, name: str) -> "np.ndarray":
        """A validation picture by its name."""
        assert self.validation is not None, "there are no outcomes without pictures"
        source, places = self.validation
        place = next(each for each in places if source.name(each) == name)
        return source.example(place, np.random.default_rng(place)).image


def _own_questions(source: "IndexedSource", places: list[int]) -> "Questions":
    from masklet.eval.analysis.forgetting import picture_questions

    return picture_questions("validation", "Validation pictures", source, places)


def _read_recipe(path: Path) -> "Recipe | None":
    """The recipe of a run; None where none was written."""
    from masklet.train.recipes.schema import parse_recipe

    if not path.is_file():
        return None
    try:
        values = jsonlib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold a recipe")
    return parse_recipe(values)


def _general_pictures(recipe: "Recipe") -> "IndexedSource | None":
    """What the general source holds out, or all of it where it is not learnt from; None where it is generated."""
    from masklet.train.recipes.source_specs import FileSpec, open_pictures

    spec = None if recipe.general is None else recipe.data.sources[recipe.general]
    if not isinstance(spec, FileSpec):
        return None
    if any(phase.weights.get(str(recipe.general), 0) > 0 for phase in recipe.phases):
        spec = spec.model_copy(update={"split": "heldout", "limit": None})
    return open_pictures(spec, Path(recipe.data.root))


def _learns_scenes(recipe: "Recipe") -> bool:
    from masklet.train.recipes.source_specs import ScenesSpec

    used = {name for phase in recipe.phases for name, weight in phase.weights.items() if weight > 0}
    return any(isinstance(recipe.data.sources[name], ScenesSpec) for name in used)


def _load(weights: str | Path | None, recipe: "Recipe") -> Any:
    import masklet

    return masklet.load(weights or "", device=recipe.device)


def _tallies(recipe: "Recipe") -> "dict[str, Tally]":
    """What the sources hold, from a part of their pictures; nothing where they are gone."""
    from masklet.data.doctor import examine
    from masklet.train.run.data_check import DataCheck

    try:
        checked = DataCheck(recipe, whole=False)
    except InputError:
        return {}
    return dict(examine(checked.sources, checked.image_size, most=LOOKED_AT).tallies)
