"""`masklet track`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import OUTPUT, Device, Dtype, Json, Model, Stopped, command, log, usage
from masklet.cli.arguments import parse_formats, parse_prompts
from masklet.cli.display import Display
from masklet.cli.standard_input import with_standard_input
from masklet.errors import InputError
from masklet.formats.calibration import read_calibration
from masklet.inference.output.registry import VIDEO_FORMATS
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.track_job import TrackJob

if TYPE_CHECKING:
    from masklet.workflows.track_video import TrackedVideo


@command(
    "track",
    "track clip.mp4 -p 'red mug' --out run",
    "track clip.mp4 --object 0:81,175,124,217 --click 0:320,180 --out run",
    "track clip.mp4 -p dog --format mot,davis --resume",
)
def track(  # noqa: PLR0913 - one argument for each option
    *,
    video: Annotated[
        str,
        typer.Argument(
            help="A video, an animated image, a folder of frames, a camera's number, or - for standard input.",
            show_default=False,
        ),
    ],
    phrase: Annotated[
        list[str] | None, typer.Option("--phrase", "-p", metavar="TEXT", help="What to track; may be repeated.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="BOX", help="Example: FRAME:x0,y0,x1,y1 in pixels; repeatable.")
    ] = None,
    click: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLICK",
            help="FRAME:x,y begins an object; FRAME:x,y,+ and FRAME:x,y,- add a point on it, or off it.",
        ),
    ] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", metavar="BOX", help="Box around a single object: FRAME:x0,y0,x1,y1; repeatable."),
    ] = None,
    start: Annotated[int, typer.Option(help="The first frame; the overlay has the sound from there on.", min=0)] = 0,
    stop: Annotated[int | None, typer.Option(help="The frame to end before.", min=1)] = None,
    every: Annotated[int, typer.Option(help="Take every N-th frame.", min=1)] = 1,
    delay: Annotated[int | None, typer.Option(help="Frames a new object is watched before it is shown.", min=0)] = None,
    calibration: Annotated[Path | None, typer.Option(help="Thresholds by phrase, from `masklet calibrate`.")] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="What is tracked under several phrases keeps the one that is surest.")
    ] = False,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for results; `out` unless --json.", rich_help_panel=OUTPUT)
    ] = None,
    format: Annotated[str, typer.Option(help=f"Any of {','.join(VIDEO_FORMATS)}.")] = "overlay",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    json: Json = False,
) -> None:
    """Track every instance of a phrase or of example boxes, or clicked objects, through a video."""
    thresholds = None if calibration is None else read_calibration(calibration)
    with with_standard_input([video]) as files:
        with usage():
            job = TrackJob(
                video=files[0],
                prompts=parse_prompts(phrase or [], box or [], click or [], objects or []),
                start=start,
                stop=stop,
                step=every,
                delay=delay,
                calibration=thresholds,
                exclusive=exclusive,
                model=ModelChoice(name=model, device=device, dtype=dtype),
                formats=parse_formats(format, VIDEO_FORMATS),
                folder=out or (None if json else Path("out")),
                resume=resume,
            )
        from masklet.workflows.track_video import track_video

        with Display(json=json, stoppable=True) as display:
            tracked = track_video(job, display)
    counts = ", ".join(f"{name} {count}" for name, count in tracked.counts.items()) or "nothing found"
    report_video(tracked, counts, len(job.formats), json=json)


def report_video(tracked: "TrackedVideo", found: str, num_formats: int, *, json: bool) -> None:
    """Tells what was found, in words, and written.

    Raises: Stopped or InputError when the video was not tracked to its end, or not written in all formats.
    """
    for each in (*tracked.notes, *tracked.failures):
        log.warning("%s", each)
    if not json:
        files = f" -> {', '.join(map(str, tracked.files))}" if tracked.files else ""
        typer.echo(f"{tracked.name}: {found}{files}")
    if not tracked.complete:
        last = tracked.last_frame
        done = "before the first frame was done" if last is None else f"after frame {last}"
        raise Stopped(f"stopped {done}" + ("; go on with --resume" if tracked.resumable else ""))
    if tracked.failures:
        raise InputError(f"{len(tracked.failures)} of {num_formats} formats could not be written")
