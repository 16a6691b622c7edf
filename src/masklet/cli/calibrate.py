"""`masklet calibrate`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, Model, app, progress_bar
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.formats.calibration import Calibration

NAMES = {
    "local_F1": "local F1",
    "precision": "precision",
    "recall": "recall",
    "mask_IoU": "mask IoU",
    "cgF1": "cgF1",
    "positive_micro_F1": "pmF1",
    "IL_MCC": "IL_MCC",
}


@app.command()
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
    cache: Annotated[Path | None, typer.Option(help="Folder of answers to go on from; by default beside OUT.")] = None,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = False,
) -> None:
    """Choose a model's thresholds of presence, score and mask for each phrase, from labelled images."""
    if target_precision is not None and not 0 < target_precision < 1:
        raise InputError(f"the target precision must lie between 0 and 1, not {target_precision:g}")
    from masklet.eval.predict.labelled import LabelledImages

    labelled = LabelledImages(gt, images, limit=limit)
    import masklet
    from masklet.eval.analysis.calibrate import calibrate as choose
    from masklet.eval.analysis.calibrate import measure
    from masklet.formats.calibration import write_calibration

    loaded: Any = masklet.load(model, device=device, dtype=dtype)
    answers = out.with_suffix(".answers") if cache is None else cache
    with progress_bar(len(labelled), "images") as advance:
        pairs = list(measure(labelled, loaded, answers, advance=advance))
    found = choose(pairs, loaded.identity, target_precision=target_precision, folds=folds)
    write_calibration(found, out)
    typer.echo(jsonlib.dumps(found.to_json()) if json else f"{table(found)}\n-> {out}")


def table(found: "Calibration") -> str:
    """What to expect, and the thresholds of all phrases together."""
    checks = found.validation
    lines = [
        f"{checks['pairs']} pairs in {checks['images']} images, each judged by thresholds chosen on others "
        f"({checks['folds']} folds)",
        f"{'':12s}{'uncalibrated':>14s}{'calibrated':>12s}",
    ]
    for name, shown in NAMES.items():
        before, after = (100 * checks[side][name] for side in ("uncalibrated", "calibrated"))
        lines.append(f"{shown:12s}{before:14.1f}{after:12.1f}")
    each = found.default
    lines.append(
        f"{len(found.phrases)} phrases with thresholds of their own; all others: "
        f"presence {each.presence:g}, score {each.score:g}, mask {each.mask:g}"
    )
    return "\n".join(lines)
