"""`masklet segment`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import OUTPUT, Device, Dtype, Json, Model, WithVerifier, command, usage
from masklet.cli.arguments import parse_boxes, parse_formats, parse_phrases
from masklet.cli.display import Display
from masklet.cli.standard_input import with_standard_input
from masklet.errors import InputError
from masklet.formats.calibration import read_calibration
from masklet.inference.output.registry import IMAGE_FORMATS
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.segment_folder import JOINED_FORMATS, SegmentJob, segment_folder

FORMATS = (*IMAGE_FORMATS, *JOINED_FORMATS)


@command(
    "segment",
    "segment photo.jpg -p coin -p cat",
    "segment photos/ -p 'red mug' --out labels --format coco,png",
    "segment photo.jpg --box 81,175,124,217 --json",
    "segment - -p coin --json < photo.jpg",
)
def segment(  # noqa: PLR0913 - one argument for each option
    *,
    images: Annotated[
        list[str],
        typer.Argument(
            help="Files, folders or patterns; - is an image on standard input.", metavar="IMAGE...", show_default=False
        ),
    ],
    phrase: Annotated[
        list[str] | None, typer.Option("--phrase", "-p", metavar="TEXT", help="What to find; may be repeated.")
    ] = None,
    box: Annotated[
        list[str] | None, typer.Option(metavar="BOX", help="Positive example: x0,y0,x1,y1 in pixels; repeatable.")
    ] = None,
    not_box: Annotated[
        list[str] | None, typer.Option(metavar="BOX", help="Negative example: x0,y0,x1,y1; repeatable.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Keep scores above this, between 0 and 1.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Thresholds by phrase, from `masklet calibrate`.")] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Of phrases that find the same thing, the surest keeps it.")
    ] = False,
    with_verifier: WithVerifier = None,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for results; `out` unless --json.", rich_help_panel=OUTPUT)
    ] = None,
    format: Annotated[str, typer.Option(help=f"Any of {','.join(FORMATS)}.")] = "overlay",
    json: Json = False,
) -> None:
    """Find every instance of a phrase, or of example boxes, in images."""
    thresholds = None if calibration is None else read_calibration(calibration)
    with with_standard_input(images) as files:
        with usage():
            job = SegmentJob(
                images=files,
                phrases=parse_phrases(phrase or []),
                boxes=parse_boxes(box or []),
                not_boxes=parse_boxes(not_box or []),
                threshold=threshold,
                calibration=thresholds,
                exclusive=exclusive,
                verifier=with_verifier,
                model=ModelChoice(name=model, device=device, dtype=dtype),
                formats=parse_formats(format, FORMATS),
                folder=out or (None if json else Path("out")),
                skip_finished=not json,
            )
        with Display(json=json, lines=True) as display:
            done = segment_folder(job, display)
    if done.num_skipped:
        typer.echo(f"{done.num_skipped} of {done.num_images} were done before, with the same arguments, and skipped")
    if done.failures:
        raise InputError(f"{len(done.failures)} of {done.num_images} images failed")
