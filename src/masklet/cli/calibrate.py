"""`masklet calibrate`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, command
from masklet.cli.display import Display
from masklet.workflows.calibrate import CalibrateJob, calibrate_model
from masklet.workflows.model_choice import ModelChoice

if TYPE_CHECKING:
    from masklet.formats.calibration import Calibration

SHOWN = ("local_F1", "precision", "recall", "mask_IoU", "cgF1", "positive_micro_F1", "IL_MCC")


@command(
    "calibrate",
    "calibrate --gt labels.json --images images",
    "calibrate --gt labels.json --images images --target-precision 0.9",
)
def calibrate(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help="Labels in COCO or SA-Co JSON.", show_default=False)],
    images: Annotated[Path, typer.Option(help="Folder of the images.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The calibration file to write.")] = Path("calibration.json"),
    target_precision: Annotated[
        float | None, typer.Option(help="Find as much as possible at this precision; by default the best F1.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Parts of the images that are left out in turns to validate.", min=2)] = 5,
    limit: Annotated[int | None, typer.Option(help="Use this many images, drawn by chance.", min=1)] = None,
    cache: Annotated[Path | None, typer.Option(help="Where predictions are kept; by default beside OUT.")] = None,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = False,
) -> None:
    """Choose a model's thresholds of presence, score and mask for each phrase, from labelled images."""
    job = CalibrateJob(
        gt=gt,
        images=images,
        out=out,
        target_precision=target_precision,
        folds=folds,
        limit=limit,
        cache=cache,
        model=ModelChoice(name=model, device=device, dtype=dtype),
    )
    with Display(json=json) as display:
        found = calibrate_model(job, display)
    typer.echo(jsonlib.dumps(found.to_json()) if json else f"{table(found)}\n-> {out}")


def table(found: "Calibration") -> str:
    """What to expect on new images, and the thresholds of all phrases together."""
    from masklet.eval.metrics import metric

    checks = found.validation
    lines = [
        f"{checks['pairs']} pairs in {checks['images']} images, each judged by thresholds chosen on others "
        f"({checks['folds']} folds)",
        f"{'':12s}{'uncalibrated':>14s}{'calibrated':>12s}",
    ]
    for name in SHOWN:
        before, after = (100 * checks[side][name] for side in ("uncalibrated", "calibrated"))
        lines.append(f"{metric(name).title:12s}{before:14.1f}{after:12.1f}")
    each = found.default
    lines.append(
        f"{len(found.phrases)} phrases with thresholds of their own; all others: "
        f"presence {each.presence:g}, score {each.score:g}, mask {each.mask:g}"
    )
    return "\n".join(lines)
