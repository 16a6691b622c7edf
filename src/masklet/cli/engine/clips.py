"""`masklet engine clips`, and clips that go to other tools and come back."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Stopped
from masklet.cli.display import Display
from masklet.cli.engine.commands import engine_command, tell


@engine_command("clips", 'engine clips VIDEOS --phrases "dog, red car" --out project')
def clips(  # noqa: PLR0913 - one argument for each option
    *,
    videos: Annotated[Path, typer.Argument(help="Folder of videos, or of folders of frames.", show_default=False)],
    phrases: Annotated[str, typer.Option(help="What to track, with commas between; proposed where none is.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the project; an existing one is continued.")] = Path("project"),
    fps: Annotated[float, typer.Option(help="Frames a second to keep.", min=0.5, max=60)] = 6.0,
    shortest: Annotated[float, typer.Option(help="Seconds of the shortest clip.", min=0.3)] = 5.0,
    longest: Annotated[float, typer.Option(help="Seconds of the longest clip.", min=1)] = 30.0,
    least_objects: Annotated[int, typer.Option(help="Leave phrases with fewer masklets aside.", min=0)] = 0,
    licence: Annotated[str, typer.Option(help="Of the videos, such as CC-BY-4.0.")] = "unknown",
    model: Annotated[str, typer.Option(help="The model that tracks.")] = "tiny",
    device: Device = "auto",
) -> None:
    """Cut videos into clips of one shot, track phrases through them, and hand the masklets to people."""
    from masklet.engine.clips.shots import ClipLimits
    from masklet.workflows.engine.clips import ClipsJob, run_clips
    from masklet.workflows.engine.folder import parse_phrase_list
    from masklet.workflows.model_choice import ModelChoice

    job = ClipsJob(
        videos=videos,
        folder=out,
        phrases=parse_phrase_list(phrases),
        licence=licence,
        limits=ClipLimits(fps=fps, least_seconds=shortest, most_seconds=longest),
        least_objects=least_objects,
        model=ModelChoice(name=model, device=device),
    )
    with Display() as display:
        result = run_clips(job, display)
    tell(result.lines())
    if not result.is_complete:
        raise Stopped(f"stopped; the same command goes on where {result.folder} stands")
