"""Recipes: inheritance, overrides, that mistakes are named, and the tables in which recipes, tasks and kinds stand."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from masklet.data.labels.layouts import LAYOUTS
from masklet.errors import InputError
from masklet.train.recipes.schema import (
    PHASE_SECTIONS,
    RECIPE_OF_TASK,
    RECIPES,
    SECTIONS,
    Phase,
    Recipe,
    load_recipe,
    parse_recipe,
    parse_saved_recipe,
    to_json,
)
from masklet.train.recipes.source_specs import FileSpec, GeneratedSpec, ScenesSpec, Strict, open_renderers
from masklet.train.run.trainer import Task
from masklet.train.tasks.table import TASKS

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_valid_and_stay_the_same_written_out(name) -> None:
    recipe = load_recipe(name)
    assert recipe.total_steps > 0
    written = to_json(recipe)
    assert dict(parse_recipe(json.loads(written))) == dict(recipe)
    assert to_json(parse_recipe(json.loads(written))) == written


def test_a_recipe_is_known_by_lying_in_the_folder(tmp_path) -> None:
    with pytest.raises(InputError, match=f"the shipped ones are {', '.join(SHIPPED)}"):
        load_recipe("nothing")
    with pytest.raises(InputError, match="no recipe"):
        load_recipe(str(tmp_path / "missing.yaml"))


def test_every_task_has_a_recipe_and_a_class() -> None:
    assert TASKS.keys() == RECIPE_OF_TASK.keys() == set(get_args(Recipe.model_fields["task"].annotation))
    for name, kind in RECIPE_OF_TASK.items():
        assert get_args(kind.model_fields["task"].annotation) == (name,)
        assert issubclass(TASKS[name], Task)
        (phase, _) = get_args(kind.model_fields["phases"].annotation)
        assert kind.model_fields.keys() - Recipe.model_fields.keys() <= {*SECTIONS, "words"}
        assert phase.model_fields.keys() - Phase.model_fields.keys() <= {*PHASE_SECTIONS, "max_queries", "denoise"}


def test_every_kind_of_source_is_in_the_table_once() -> None:
    def leaves(kind: type[Strict]) -> set[type[Strict]]:
        below = kind.__subclasses__()
        return {kind} if not below else {leaf for each in below for leaf in leaves(each)}

    kinds = (*get_args(FileSpec), *get_args(GeneratedSpec))
    assert {leaf for leaf in leaves(Strict) if "kind" in leaf.model_fields} == set(kinds)
    names = [name for kind in kinds for name in get_args(kind.model_fields["kind"].annotation)]
    assert len(set(names)) == len(names)
    of_files = {name for kind in get_args(FileSpec) for name in get_args(kind.model_fields["kind"].annotation)}
    assert of_files == set(LAYOUTS)
    assert all(map(callable, open_renderers(ScenesSpec(kind="scenes"), Path())))


def test_clips_have_no_number_of_prompts() -> None:
    with pytest.raises(InputError, match=r"phases\.0\.max_queries: there is no such setting"):
        load_recipe("builtin-tracker", ["phases.0.max_queries=4"])


def _older(recipe: Recipe) -> dict[str, Any]:
    """The recipe as runs kept it when phases of all tasks had the same settings."""
    saved = json.loads(to_json(recipe))
    return {**saved, "phases": [{**phase, "max_queries": 16} for phase in saved["phases"]]}


@pytest.mark.parametrize("name", ["builtin", "builtin-encoders", "builtin-tracker"])
def test_a_run_of_an_older_version_is_read_back(name) -> None:
    recipe = load_recipe(name)
    saved = _older(recipe)
    saved["phases"][0] |= {section: {} for section in PHASE_SECTIONS if section not in saved["phases"][0]}
    again = parse_saved_recipe(saved)
    assert [phase.steps for phase in again.phases] == [phase.steps for phase in recipe.phases]
    if recipe.task == "tracking":
        assert dict(again) == dict(recipe)
        assert dict(parse_saved_recipe({**saved, "collate": {"least_negative_share": 0.5}})) == dict(recipe)
        with pytest.raises(InputError, match="max_queries: there is no such setting"):
            parse_recipe(saved)
    else:
        assert {phase.max_queries for phase in again.phases} == {16}


def test_what_is_wrong_in_a_saved_recipe_is_named() -> None:
    saved = _older(load_recipe("builtin-tracker"))
    with pytest.raises(InputError, match=r"phases\.0\.nonsense: there is no such setting"):
        parse_saved_recipe({**saved, "phases": [{**saved["phases"][0], "nonsense": 1}]})
    for broken in ({"phases": 3}, {"phases": [3]}, {"task": "nonsense"}):
        with pytest.raises(InputError, match="the recipe does not fit"):
            parse_saved_recipe({**saved, **broken})


def test_overrides_reach_nested_values_and_list_entries() -> None:
    changes = ["data.root=/data", "phases.0.steps=7", "optim.lr_text=1e-4", "criterion.weights.mask=3"]
    recipe = load_recipe("builtin", [*changes, "phases.1.criterion.weights.classes=50"])
    assert recipe.data.root == "/data"
    assert recipe.phases[0].steps == 7
    assert recipe.optim.lr_text == 1e-4
    assert recipe.phases[0].criterion.weights.mask == 3.0
    assert recipe.phases[0].criterion.weights.dice == 10.0
    last = recipe.phases[-1].criterion.weights
    assert (last.classes, last.mask) == (50.0, 3.0)  # a phase changes a weight and keeps the others


def test_options_of_generated_sources_are_the_sources_with_the_phases_changes() -> None:
    recipe = load_recipe("builtin-tracker", ["data.sources.scenes.options.negative_share=0.2"])
    options = recipe.phases[1].options
    assert options.keys() == {"scenes", "cutouts"}
    assert (options["scenes"].size, options["cutouts"].size) == (224, 224)
    assert (options["scenes"].negative_share, options["scenes"].crowd_share) == (0.2, 0.04)
    assert (options["scenes"].difficulty, recipe.phases[0].options["scenes"].difficulty) == (0.6, 0.3)
    (encoders,) = load_recipe("builtin-encoders").phases
    assert (encoders.image_size, encoders.options["scenes"].size) == (112, 224)


def test_a_recipe_is_written_out_as_it_was_given(tmp_path: Path) -> None:
    phase = {"steps": 1, "image_size": 112, "batch_size": 1, "weights": {"a": 1}, "augment": {"crop_probability": 0}}
    data = {"sources": {"a": {"kind": "scenes", "options": {"difficulty": 0.5}}}}
    values = {"preset": "debug", "data": data, "phases": [phase], "criterion": {"weights": {"mask": 3}}}
    (tmp_path / "mine.yaml").write_text(json.dumps(values))
    shown = json.loads(to_json(load_recipe(str(tmp_path / "mine.yaml"), ["optim.lr_text=0.5", "lora={rank: 2}"])))
    assert (shown["criterion"], shown["optim"], shown["lora"]) == (values["criterion"], {"lr_text": 0.5}, {"rank": 2})
    assert (shown["collate"], shown["phases"][0]["criterion"], shown["phases"][0]["options"]) == ({}, {}, {})
    assert shown["phases"][0]["augment"] == phase["augment"]
    assert shown["data"]["sources"]["a"]["options"] == {"difficulty": 0.5}


def test_a_recipe_takes_the_rest_from_its_base(tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text("base: builtin\nseed: 5\noptim: {lr_text: 0.25}\n")
    recipe, base = load_recipe(str(tmp_path / "mine.yaml")), load_recipe("builtin")
    assert (recipe.seed, recipe.optim.lr_text) == (5, 0.25)
    assert recipe.optim.lr_rest == base.optim.lr_rest
    assert recipe.phases == base.phases


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ("nonsense=1", "nonsense: there is no such setting"),
        ("optim.nonsense=1", r"optim\.nonsense: there is no such setting"),
        ("criterion.weights.nonsense=1", r"criterion\.weights\.nonsense: there is no such setting"),
        ("collate.nonsense=1", r"collate\.nonsense: there is no such setting"),
        ("collate.max_queries=1", "collate: max_queries is not set here"),
        ("phases.0.augment.nonsense=1", r"phases\.0\.augment\.nonsense: there is no such setting"),
        ("phases.1.options.scenes.nonsense=1", r"phases\.1\.options\.scenes\.nonsense: there is no such setting"),
        ("phases.0.options.scenes.difficulty=2", r"phases\.0\.options\.scenes: difficulty 2\.0 is not in"),
        ("phases.0.options.real={difficulty: 1}", r"phases\.0\.options\.real: only generated sources have options"),
        ("data.sources.scenes.options={nonsense: 1}", r"data\.sources\.scenes\.options\.nonsense: there is no such"),
        ("phases.0.tracking={corrections: 1}", r"phases\.0\.tracking: the task concept reads no such section"),
        ("phases.0.contrast={cells: 1}", r"phases\.0\.contrast: the task concept reads no such section"),
        ("task=encoders", "criterion: the task encoders reads no such section"),
        ("task=nonsense", "task: got 'nonsense', expected one of words, encoders, concept, tracking"),
        ("lora={nonsense: 1}", r"lora\.nonsense: there is no such setting"),
        ("lora={rank: 0}", "lora: rank 0 of the adapters is less than 1"),
        ("phases.9.steps=1", "phases.9.steps=1"),
        ("phases.0.steps=many", r'phases\.0\.steps: is "many"; a whole number is expected'),
        ("phases=1", "phases: is 1; a list is expected"),
        ("phases.0=1", r"phases\.0: is 1; a table of settings is expected"),
        ("phases.0.options=[1]", r"phases\.0\.options"),
        ("criterion=[1]", r"criterion: is \[1\]; an object is expected"),
        ("data=[1]", "data"),
        ("data.sources=1", r"data\.sources: is 1; a table of settings is expected"),
        ("data.sources.mine={kind: excel}", r"data\.sources\.mine.*one of .*'coco'.* as its 'kind'"),
        ("data.sources.mine={}", r"data\.sources\.mine.*'kind' in it"),
        ("optim.lr_text=fast", r'optim\.lr_text: is "fast"; a number is expected'),
        ("phases.0.weights.nowhere=1", r"phases\.0\.weights: there is no source 'nowhere'"),
        ("phases.0.clicks={weights: {nowhere: 1}}", r"phases\.0\.clicks\.weights: there is no source 'nowhere'"),
        ("general=nowhere", "general: there is no source 'nowhere'"),
        ("preset.deeper=1", "leads nowhere"),
        ("seed", "not of the form"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(override, path) -> None:
    with pytest.raises(InputError, match=path):
        load_recipe("builtin", [override])


@pytest.mark.parametrize("name", ["builtin-encoders", "builtin", "builtin-tracker"])
def test_empty_sections_of_other_tasks_say_nothing(name) -> None:
    recipe = load_recipe(name)
    foreign = set(PHASE_SECTIONS) - type(recipe.phases[0]).model_fields.keys()
    empty = [f"phases.0.{section}={{}}" for section in foreign]
    assert load_recipe(name, [*empty, "collate={}"]).phases == recipe.phases
