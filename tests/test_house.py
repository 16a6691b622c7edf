"""The house: no circle of files, folders of a size to be taken in, one name for one thing, and a place for what is new.

Who may import whom is in pyproject.toml; what the folders are for is told in docs/architecture.md.
"""

import ast
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from house import (
    BUDGETS,
    MOST_FILES,
    ROOT,
    SOURCE,
    circles,
    files_of,
    folders,
    imports_of,
    lines,
    modules,
    parse,
    public_classes,
)

# Folders at the top whose files must not share a name, besides the rooms of one folder.
NEIGHBOURS = (("inference", "train", "eval"), ("data", "scenes"), ("formats", "media", "render"))
CHANGES = {
    "a label format": "LAYOUTS",
    "an image kind": "IMAGE_SUFFIXES",
    "a rule of video": "plan_frame",
    "a loss": "LOSSES",
    "a report page": "PAGES",
    "an export of results": "IMAGE_FORMATS",
    "a weight format": "FORMATS",
    "a metric": "METRICS",
    "a recipe": "RECIPES",
    "a CLI option": "segment",
}


def test_no_files_import_each_other_in_a_circle() -> None:
    assert not circles({module: imports_of(module) for module in modules()})


def test_a_circle_is_noticed_through_any_number_of_files() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_a_folder_holds_no_more_files_than_can_be_taken_in() -> None:
    counted = {folder.relative_to(SOURCE).as_posix(): len(files_of(folder)) for folder in folders()}
    assert not {folder: count for folder, count in counted.items() if count > MOST_FILES}


def test_a_public_class_has_a_name_of_its_own() -> None:
    assert not {name: places for name, places in public_classes().items() if len(places) > 1}


def test_neighbouring_files_have_names_of_their_own() -> None:
    def files_below(folder: Path) -> list[str]:
        return [name for each in folders() if each == folder or folder in each.parents for name in files_of(each)]

    groups = [files_below(folder) for folder in SOURCE.iterdir() if folder.is_dir()]
    groups += [[name for folder in group for name in files_below(SOURCE / folder)] for group in NEIGHBOURS]
    repeated = {name for group in groups for name, times in Counter(group).items() if times > 1}
    assert not repeated


def test_no_folder_has_outgrown_its_budget() -> None:
    counted = lines()
    assert counted.keys() == BUDGETS.keys()
    assert not {folder: count for folder, count in counted.items() if count > BUDGETS[folder]}


def places_of_new_things() -> dict[str, tuple[str, str]]:
    """From the table of docs/architecture.md: what is new, and the file and the name where it is registered."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| `([\w/.]+)`,? `(\w+)`", page, flags=re.MULTILINE)
    return {new: (file, name) for new, file, name in rows}


@pytest.mark.parametrize("new", CHANGES)
def test_each_new_thing_has_one_place_that_the_page_names(new: str) -> None:
    file, name = places_of_new_things()[new]
    assert name == CHANGES[new]
    assert (SOURCE / file).is_file()
    module = import_module("masklet." + file.removesuffix(".py").replace("/", "."))
    assert getattr(module, name)


def test_every_number_of_the_rules_is_read_by_one_of_them() -> None:
    from dataclasses import fields

    from masklet.inference.rules.rules import Rules

    rooms = [path for module, path in modules().items() if module.startswith("masklet.inference.")]
    read = {
        node.attr
        for path in rooms
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert {field.name for field in fields(Rules)} <= read


def test_scripts_import_what_exists() -> None:
    scripts = [path for folder in ("benchmarks", "examples", "runs") for path in (ROOT / folder).glob("*.py")]
    wanted = {
        (str(node.module), alias.name)
        for path in scripts
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("masklet")
        for alias in node.names
    }
    missing = [
        f"{module}.{name}"
        for module, name in sorted(wanted)
        if f"{module}.{name}" not in modules() and (module not in modules() or not hasattr(import_module(module), name))
    ]
    assert not missing


def test_commands_name_modules_that_exist() -> None:
    texts = [ROOT / "README.md", *(path for folder in ("docs", "runs") for path in (ROOT / folder).rglob("*.[ms][dh]"))]
    named = {name for path in texts for name in re.findall(r"-m (masklet[.\w]*)", path.read_text(encoding="utf-8"))}
    assert {"masklet", "masklet.train.run.loop"} <= named <= modules().keys()
