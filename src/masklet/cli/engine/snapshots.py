"""`masklet engine snapshot`, `export`, `diff` and `revert`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.engine.commands import ProjectFolder, engine_command, opened, tell
from masklet.errors import InputError

Name = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="The beginning of its name, or `latest`.")]


@engine_command("snapshot", "engine snapshot project", "engine snapshot project --tier HQ-human --licence CC0-1.0")
def snapshot(
    project: ProjectFolder,
    *,
    licence: Annotated[
        list[str] | None, typer.Option(metavar="LICENCE", help="Images under this one alone; repeatable.")
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option(metavar="TIER", help="HQ-human, HQ-ai or SYN alone; repeatable.")
    ] = None,
) -> None:
    """Fix the present labels as a data set that `masklet train` learns from, under a name that its content gives it."""
    from masklet.engine.snapshots import export_saco, take_snapshot

    work = opened(project)
    taken = take_snapshot(work.view, licence or ())
    folder = project / "snapshots" / taken.snapshot_id[:12]
    export_saco(work.view, taken, folder, originals=work.originals, tiers=tier or ())
    counts = ", ".join(f"{count} {what}" for what, count in taken.manifest["counts"].items())
    tell([f"{taken.snapshot_id[:12]}: {counts}; licences {', '.join(taken.manifest['licences'])}"])
    tell([f"-> {folder}; learn from it: masklet train finetune data.root={folder}"])


@engine_command(
    "export",
    "engine export project --format coco --out labels",
    "engine export project --for-correction --format labelstudio --out fix",
)
def export(
    project: ProjectFolder,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("export"),
    format: Annotated[
        str | None,
        typer.Option(help="saco, coco, yolo, labelstudio, cvat, labelme; ytvis of clips.", show_default=False),
    ] = None,
    of: Annotated[str, typer.Option("--snapshot", help="The beginning of its name, or `latest`.")] = "latest",
    for_correction: Annotated[
        bool, typer.Option(help="What waits for correction, as coco, labelstudio, cvat or labelme.")
    ] = False,
) -> None:
    """Write a snapshot as labels for other programs; the same snapshot gives the same bytes."""
    from masklet.engine.clips.exchange import export_clip_corrections, export_ytvis
    from masklet.engine.project.exports import EXPORTS
    from masklet.engine.review.corrections import export_for_correction
    from masklet.engine.snapshots import load_snapshot

    work = opened(project)
    if for_correction:
        is_of_clips = any(row["profile"] is not None for row in work.view.media())
        count = (
            export_clip_corrections(work, out) if is_of_clips else export_for_correction(work, out, format or "coco")
        )
        tell([f"{count} pairs -> {out}; bring them back: masklet engine correct-import {project} FILE --name YOU"])
        return
    layout, layouts = format or "saco", {**EXPORTS, "ytvis": export_ytvis}
    if layout not in layouts:
        raise InputError(f"there is no format {layout!r}: choose from {', '.join(layouts)}")
    written = layouts[layout](work, load_snapshot(work.view, of), out)
    tell([f"{len(written)} files -> {out}"])


@engine_command("diff", "engine diff project 3fa9c1", "engine diff project 3fa9c1 77b0e2")
def diff(project: ProjectFolder, earlier: Name, later: Name = "latest") -> None:
    """Show which labels changed between two snapshots."""
    from masklet.engine.project.versions import diff as compare

    found = compare(opened(project).view, earlier, later)
    lines = [f"+ {image}: {phrase}" for image, phrase in found.added]
    lines += [f"- {image}: {phrase}" for image, phrase in found.removed]
    tell([*lines, *(f"~ {image}: {phrase}: {word}" for image, phrase, word in found.changed)])


@engine_command("revert", "engine revert project 3fa9c1")
def revert(project: ProjectFolder, name: Name) -> None:
    """Make an earlier snapshot the latest again."""
    from masklet.engine.project.versions import revert as go_back

    tell([f"{go_back(opened(project).view, name).snapshot_id[:12]} is the latest snapshot now"])
