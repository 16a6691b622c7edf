"""`masklet track`."""

import json as jsonlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, Model, Stopped, app, complain, progress_bar
from masklet.errors import InputError
from masklet.formats.calibration import read_calibration
from masklet.interrupt import Interrupt
from masklet.workflows.track_prompts import parse_prompts, parse_track_formats

if TYPE_CHECKING:
    from masklet.workflows.track_video import TrackRun


@app.command()
def track(  # noqa: PLR0913 - one argument for each option
    *,
    video: Annotated[
        str, typer.Argument(help="A video, a folder of frames, or a camera's number.", show_default=False)
    ],
    phrase: Annotated[list[str] | None, typer.Option("--phrase", "-p", help="What to follow; may be repeated.")] = None,
    box: Annotated[list[str] | None, typer.Option(help="Like this: FRAME:x0,y0,x1,y1 in pixels; repeatable.")] = None,
    click: Annotated[
        list[str] | None,
        typer.Option(help="FRAME:x,y begins an object; FRAME:x,y,+ and FRAME:x,y,- say what else is on it, or not."),
    ] = None,
    objects: Annotated[
        list[str] | None, typer.Option("--object", help="Just what is in FRAME:x0,y0,x1,y1; repeatable.")
    ] = None,
    start: Annotated[int, typer.Option(help="The first frame.", min=0)] = 0,
    stop: Annotated[int | None, typer.Option(help="The frame to end before.", min=1)] = None,
    every: Annotated[int, typer.Option(help="Take every N-th frame.", min=1)] = 1,
    delay: Annotated[int | None, typer.Option(help="Frames a new object is watched before it is shown.", min=0)] = None,
    calibration: Annotated[Path | None, typer.Option(help="Thresholds by phrase, from `masklet calibrate`.")] = None,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")] = None,
    format: Annotated[str, typer.Option(help="Any of overlay,masks,ytvis,mot,davis,json.")] = "overlay",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    json: Json = False,
) -> None:
    """Follow every instance of a phrase, of what a box shows, or of what was clicked, through a video."""
    prompts = parse_prompts(phrase or [], box or [], click or [], objects or [])
    formats = parse_track_formats(format)
    target = out or (None if json else Path("out"))
    if stop is not None and stop <= start:
        raise InputError(f"there is no frame from {start} to {stop}")
    if resume and target is None:
        raise InputError("--resume needs the folder of the run: give --out")
    calibrated = None if calibration is None else read_calibration(calibration)
    from masklet.workflows.track_video import TrackJob, TrackRun

    def load() -> Any:
        import masklet

        return masklet.load(model, device=device, dtype=dtype)

    job = TrackJob(
        video=video,
        prompts=prompts,
        start=start,
        stop=stop,
        step=every,
        delay=delay,
        calibration=calibrated,
        model=model,
        formats=formats if target else (),
        folder=target,
    )
    with TrackRun(job, load, resume=resume) as run:
        _follow(run, json=json)


def _follow(run: "TrackRun", *, json: bool) -> None:
    """Runs to the end, or to where it is stopped, and says what there is then."""
    try:
        with Interrupt() as interrupt, progress_bar(run.total, "frames") as advance:
            for result in run:
                if json:
                    typer.echo(jsonlib.dumps(result.to_json()))
                advance()
                run.stopping = interrupt.requested
    except KeyboardInterrupt:
        run.stopping = True
    finally:
        files = run.close()
    for each in (*run.notes, *run.failures):
        complain(each)
    if not json:
        shown = f" -> {', '.join(map(str, files))}" if files else ""
        counts = Counter(run.objects.values())
        found = ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing found"
        typer.echo(f"{run.source.name}: {found}{shown}")
    if not run.complete:
        done = "before the first frame was done" if run.last is None else f"after frame {run.last.index}"
        raise Stopped(f"stopped {done}" + ("; go on with --resume" if run.resumable else ""))
    if run.failures:
        raise InputError(f"{len(run.failures)} of {len(run.job.formats)} formats could not be written")
