"""`masklet engine gold-choose`, `gold-export`, `gold-import` and `gold`: pairs that three people label."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from masklet.cli.engine.commands import Person, ProjectFolder, engine_command, opened, tell
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.engine.review.gold import Slot

SlotName = Annotated[str, typer.Option("--slot", help="a, b or c: one person each.", show_default=False)]


def slot_of(text: str) -> "Slot":
    """The slot of that name. Raises: InputError when there is none."""
    if text not in ("a", "b", "c"):
        raise InputError(f"got slot {text!r}, expected a, b or c")
    return cast("Slot", text)


@engine_command("gold-choose", "engine gold-choose project 200")
def gold_choose(
    project: ProjectFolder, count: Annotated[int, typer.Argument(help="How many pairs.", min=1, show_default=False)]
) -> None:
    """Make pairs gold: three people label them, nothing is learnt from their images."""
    from masklet.engine.review.gold import choose_gold

    tell([f"{choose_gold(opened(project), count)} pairs are gold; hand them out: masklet engine gold-export {project}"])


@engine_command("gold-export", "engine gold-export project --slot a --format cvat --out for-ada")
def gold_export(
    project: ProjectFolder,
    *,
    slot: SlotName,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("gold"),
    format: Annotated[str, typer.Option(help="labelstudio, cvat, labelme or coco.")] = "labelstudio",
) -> None:
    """Write the open gold pairs of a slot, without masks, for one person to label in a tool."""
    from masklet.engine.review.gold import export_slot

    tell([f"{export_slot(opened(project), slot_of(slot), out, format)} pairs -> {out}"])


@engine_command("gold-import", "engine gold-import project annotations.xml --slot a --name Ada")
def gold_import(
    project: ProjectFolder,
    file: Annotated[Path, typer.Argument(help="Labels from a tool, in any layout.", show_default=False)],
    *,
    slot: SlotName,
    name: Person,
) -> None:
    """Take in one person's labels for a slot; nobody fills two slots of a pair."""
    from masklet.cli.engine.review import counted
    from masklet.engine.review.gold import import_slot

    tell([counted(import_slot(opened(project), file, slot_of(slot), name))])


@engine_command("gold", "engine gold project --out gold")
def gold(project: ProjectFolder, *, out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("gold")) -> None:
    """Write the gold files of all three slots for `masklet eval concepts`, and show how far the people agree."""
    from masklet.workflows.engine.gold_scores import people_against_people

    lines = people_against_people(opened(project), out)
    files = ",".join(str(out / f"gold-{slot}.json") for slot in "abc")
    tell([*lines, f"score a model: masklet eval concepts --gt {files} --images {out / 'images'} --model tiny"])
