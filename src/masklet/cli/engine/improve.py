"""`masklet engine loop`, `adapt` and `distil`: the model learns from a project."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import Device, Stopped
from masklet.cli.display import Display
from masklet.cli.engine.commands import ProjectFolder, engine_command, tell
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.workflows.engine.improve import HeldOut

Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Changes of the recipe.")]
Gold = Annotated[
    list[str] | None,
    typer.Option(metavar="LABELS:IMAGES", help="SA-Co labels to measure on; repeatable.", show_default=False),
]
Run = Annotated[Path, typer.Option("--out", help="Folder of the training run.")]


def held_out(text: str) -> "HeldOut":
    """LABELS:IMAGES, or labels beside images/. Raises: InputError when either is missing."""
    from masklet.workflows.engine.improve import HeldOut

    labels, _, images = text.rpartition(":") if ":" in text[2:] else (text, "", "")
    path = Path(labels)
    folder = Path(images) if images else path.parent / "images"
    if not path.is_file() or not folder.is_dir():
        raise InputError(f"{text}: got {path} and {folder}, expected LABELS:IMAGES, a file and a folder that exist")
    return HeldOut(name=path.stem if path.stem != "annotations" else path.parent.name, labels=path, images=folder)


@engine_command(
    "loop", "engine loop project", "engine loop project --gold gold.json:images --tier HQ-human phases.0.steps=300"
)
def loop(
    project: ProjectFolder,
    overrides: Overrides = None,
    *,
    recipe: Annotated[
        str | None, typer.Option(help="Name or file of a recipe, by default the one that fits the model.")
    ] = None,
    gold: Gold = None,
    tier: Annotated[
        list[str] | None, typer.Option(metavar="TIER", help="Learn from this tier alone; repeatable.")
    ] = None,
    out: Run = Path("round"),
    device: Device = "auto",
) -> None:
    """Learn from the project's labels, measure before and after, and go on with the new model if it is no worse."""
    from masklet.workflows.engine.improve import LoopJob, run_loop

    job = LoopJob(
        project=project,
        out=out,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        gold=tuple(map(held_out, gold or ())),
        tiers=tuple(tier or ()),
        device=device,
    )
    with Display() as display:
        result = run_loop(job, display)
    tell(result.lines())


@engine_command("adapt", 'engine adapt PHOTOS --phrases "scallop, sea star" --general general.json:images')
def adapt(  # noqa: PLR0913 - one argument for each option
    *,
    photos: Annotated[Path, typer.Argument(help="Folder of photos of the new field.", show_default=False)],
    overrides: Overrides = None,
    phrases: Annotated[str, typer.Option(help="What is to be found in it, with commas between.")],
    project: Annotated[Path, typer.Option(help="Folder of the project.")] = Path("project"),
    general: Annotated[str | None, typer.Option(help="General labels, LABELS:IMAGES, to mix one to one.")] = None,
    gold: Gold = None,
    out: Run = Path("round"),
    model: Annotated[
        str | None, typer.Option(help="The model that labels and learns; by default the project's own.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    device: Device = "auto",
) -> None:
    """Bring the model to a field of photos without people: label, verify, learn one to one with general images."""
    from masklet.workflows.engine.folder import parse_phrase_list
    from masklet.workflows.engine.improve import LoopJob, run_loop
    from masklet.workflows.engine.run import EngineJob, run_engine

    job = EngineJob(
        photos=photos, folder=project, phrases=parse_phrase_list(phrases), model=model, device=device, negatives=10
    )

    def confirm(cost: object) -> bool:
        typer.echo(str(cost))
        return yes or typer.confirm("Start?", default=True)

    round_job = LoopJob(
        project=project,
        out=out,
        recipe="finetune-replay",
        overrides=tuple(overrides or ()),
        gold=tuple(map(held_out, gold or ())),
        general=held_out(general) if general else None,
        audited=200,
        device=device,
    )
    with Display() as display:
        if run_engine(job, display, confirm=confirm) is None:
            raise Stopped("not started")
        result = run_loop(round_job, display)
    tell(result.lines())


@engine_command("distil", "engine distil project --out yolo")
def distil(
    project: ProjectFolder,
    *,
    out: Annotated[Path, typer.Option(help="Folder of the YOLO data set.")] = Path("yolo"),
    of: Annotated[str, typer.Option("--snapshot", help="The beginning of its name, or `latest`.")] = "latest",
) -> None:
    """Write a YOLO data set of a snapshot, and say how to train a small closed-set model on it."""
    from masklet.workflows.engine.improve import distil as make

    tell(make(project, out, of).lines())
