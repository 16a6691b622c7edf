"""`masklet engine why`, `impact`, `revoke`, `verify-store` and `gc`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.engine.commands import ProjectFolder, engine_command, opened, tell
from masklet.errors import InputError

Kind = Annotated[
    str, typer.Argument(help="model, person, actor (either, or a rule), source or phrase.", show_default=False)
]
Named = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name, or the beginning of its key.", show_default=False)
]


@engine_command("why", "engine why project 3fa9c1", "engine why project 3fa9c1 --out why.html")
def why(
    project: ProjectFolder,
    annotation: Annotated[str, typer.Argument(help="The beginning of its name.", show_default=False)],
    *,
    out: Annotated[Path | None, typer.Option(help="A page with what was shown to whoever judged.")] = None,
) -> None:
    """Say why a label exists: source, phrase, masks, verdicts, corrections, snapshots."""
    from masklet.engine.project.lineage import why as chain_of
    from masklet.workflows.engine.page import write_why

    work = opened(project)
    chain = chain_of(work.view, annotation)
    tell([*chain.lines(), *([f"-> {write_why(work, chain, out)}"] if out else [])])


@engine_command("impact", 'engine impact project phrase "red mug"', "engine impact project person Ada")
def impact(project: ProjectFolder, kind: Kind, name: Named) -> None:
    """List the labels that rest on a model or person, a source or a phrase."""
    from masklet.engine.project.lineage import impact as found

    rows = found(opened(project).view, kind, name)
    tell([f"{row['annotation_id'][:16]}  {row['text']}, tier {row['tier']}" for row in rows])


@engine_command("revoke", "engine revoke project source flickr")
def revoke(
    project: ProjectFolder,
    kind: Kind,
    name: Named,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take back everything that rests on a model or person, a source or a phrase; pairs are asked anew."""
    from masklet.engine.project.lineage import impact as found
    from masklet.engine.project.lineage import revoke as take_back

    view = opened(project).view
    count = len(found(view, kind, name))
    if yes or typer.confirm(f"Take back {count} labels?", default=False):
        take_back(view, kind, name)
        tell([f"{count} labels were taken back; go on: masklet engine resume {project}"])


@engine_command("verify-store", "engine verify-store project")
def verify_store(project: ProjectFolder) -> None:
    """Check that nothing in a project is missing, damaged or changed."""
    from masklet.engine.project.upkeep import verify_store as check

    found = check(opened(project).view)
    tell(found or ["the project is whole"])
    if found:
        raise InputError(f"{len(found)} things are not as they should be")


@engine_command("gc", "engine gc project --dry-run")
def gc(
    project: ProjectFolder, *, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what.")] = False
) -> None:
    """Remove files of a project that nothing refers to."""
    from masklet.engine.project.upkeep import collect_garbage

    removed = collect_garbage(opened(project).view, dry_run=dry_run)
    tell([f"{len(removed)} blobs {'would be' if dry_run else 'were'} removed"])
