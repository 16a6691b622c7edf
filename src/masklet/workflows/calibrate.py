"""Thresholds of a model for each phrase, chosen on labelled images and written to a file."""

from dataclasses import dataclass, field
from pathlib import Path

from masklet.errors import InputError
from masklet.formats.calibration import Calibration, write_calibration
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, stage


@dataclass(frozen=True, kw_only=True)
class CalibrateJob:
    """Labels in COCO or SA-Co JSON with the folder of their images, and the calibration file to write.

    With `target_precision`, in (0, 1), as much as possible is found at that precision, otherwise F1 is the best. Every
    one of `folds` parts of the images is left out in turn to validate. `limit` draws so many images. Predictions are
    cached in `cache`, by default beside the file. Raises: InputError for a target outside its range.
    """

    gt: Path
    images: Path
    out: Path = Path("calibration.json")
    target_precision: float | None = None
    folds: int = 5
    limit: int | None = None
    cache: Path | None = None
    model: ModelChoice = field(default_factory=ModelChoice)

    def __post_init__(self) -> None:
        if self.target_precision is not None and not 0 < self.target_precision < 1:
            raise InputError(f"the target precision must lie between 0 and 1, not {self.target_precision:g}")


def calibrate_model(job: CalibrateJob, observer: JobObserver = SILENT) -> Calibration:
    """Chooses the thresholds and writes them. Raises: InputError when labels, images or the model cannot be used."""
    from masklet.eval.predict.labelled import LabelledImages

    labelled = LabelledImages(job.gt, job.images, limit=job.limit)
    from masklet.eval.analysis.calibrate import calibrate, measure

    model = job.model.load()
    cache = job.out.with_suffix(".answers") if job.cache is None else job.cache
    with stage(observer, len(labelled), "images") as advance:
        pairs = list(measure(labelled, model, cache, advance=advance))
    found = calibrate(pairs, model.identity, target_precision=job.target_precision, folds=job.folds)
    write_calibration(found, job.out)
    return found
