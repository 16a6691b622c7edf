"""`masklet engine protect`, `describe`, `profile`, `alike`, `mine`: which photos to label, which never to learn."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device
from masklet.cli.engine.commands import ProjectFolder, engine_command, opened, tell


@engine_command("protect", "engine protect project GOLD/images --name gold")
def protect(
    project: ProjectFolder,
    images: Annotated[Path, typer.Argument(help="Folder of the images of an evaluation set.", show_default=False)],
    *,
    name: Annotated[str, typer.Option("--name", help="Of the set.")] = "gold",
) -> None:
    """Keep evaluation images out of snapshots, also resized, re-encoded or cropped copies of them."""
    from masklet.engine.curation.guard import register_set

    found = register_set(opened(project), name, images)
    broken = f"; {len(found.broken)} could not be read" if found.broken else ""
    tell([f"{found.images} images of {name} are guarded{broken}; go on: masklet engine resume {project}"])


@engine_command("describe", "engine describe project")
def describe(project: ProjectFolder, *, device: Device = "auto") -> None:
    """Describe each photo by the model's own features, for the map, for `alike` and for --order coreset."""
    from masklet.workflows.engine.curate import describe_project
    from masklet.workflows.engine.run import conclude

    count = describe_project(project, device)
    conclude(opened(project), project)
    tell([f"{count} photos were described; the map is in {project / 'index.html'}"])


@engine_command("profile", "engine profile project")
def profile(project: ProjectFolder) -> None:
    """Write a table of all photos: kind, number of masks, how crowded, how small what they show."""
    from masklet.workflows.engine.curate import write_profile

    path, lines = write_profile(project)
    tell([*lines, f"-> {path}"])


@engine_command("alike", "engine alike project beach.jpg --count 10")
def alike(
    project: ProjectFolder,
    photos: Annotated[
        list[str], typer.Argument(metavar="PHOTO...", help="Names of photos of the project.", show_default=False)
    ],
    *,
    count: Annotated[int, typer.Option(help="How many to list.", min=1)] = 20,
) -> None:
    """List the photos of a described project that are most like some of its own."""
    from masklet.workflows.engine.curate import more_like

    tell([f"{score:.3f}  {uri}" for uri, score in more_like(project, photos, count)])


@engine_command(
    "mine", "engine mine POOL --like mug.jpg --count 200", 'engine mine POOL --phrases "umbrella" --out rainy'
)
def mine(
    *,
    pool: Annotated[Path, typer.Argument(help="Folder of many photos.", show_default=False)],
    like: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A photo to find others like; repeatable.")
    ] = None,
    phrases: Annotated[str, typer.Option(help="Photos with any of these, with commas between.")] = "",
    count: Annotated[int, typer.Option(help="How many photos to take.", min=1)] = 100,
    out: Annotated[Path, typer.Option(help="Folder for the photos that are taken.")] = Path("mined"),
    index: Annotated[Path, typer.Option(help="Project that keeps what is known of the pool.")] = Path("pool"),
    model: Annotated[str, typer.Option(help="The model whose features are compared.")] = "tiny",
    device: Device = "auto",
) -> None:
    """Take photos out of a big pool: like some examples, with some phrases, or else some of every kind."""
    from masklet.workflows.engine.curate import MineJob
    from masklet.workflows.engine.curate import mine as take
    from masklet.workflows.engine.folder import parse_phrase_list
    from masklet.workflows.model_choice import ModelChoice

    job = MineJob(
        pool=pool,
        folder=index,
        out=out,
        examples=tuple(like or ()),
        phrases=parse_phrase_list(phrases),
        count=count,
        model=ModelChoice(name=model, device=device),
    )
    found = take(job)
    tell([*(f"{score:.3f}  {uri}" for uri, score in found.photos[:10]), f"{len(found.photos)} photos -> {found.out}"])
