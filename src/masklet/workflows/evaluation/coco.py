"""Evaluation of average precision over a fixed list of categories, as of COCO and LVIS."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from masklet.eval.reports.task_report import build_task_report, precision_table
from masklet.eval.tasks.detection import DetectionProtocol, DetectionTruth, requests_of, results_of
from masklet.files import write_atomically
from masklet.formats.coco import read_results
from masklet.formats.records import to_json
from masklet.workflows.evaluation.evaluate import Evaluation, EvaluationJob, finish, kinds_of, predictions_of
from masklet.workflows.observer import SILENT, JobObserver


@dataclass(frozen=True, kw_only=True)
class CocoJob(EvaluationJob):
    """Labels in the layout of COCO or LVIS, and a file of results or a model.

    `lvis` and `present_only` are those of `DetectionProtocol`; `iou` is "masks", "boxes" or "both".
    """

    iou: str = "boxes"
    lvis: bool = False
    present_only: bool = False


def evaluate_coco(job: CocoJob, observer: JobObserver = SILENT) -> Evaluation:
    """Average precision and recall. Raises: InputError naming file, record and field."""
    kinds = kinds_of(job.iou)
    truth = DetectionTruth.read(job.gt)
    pred = job.pred or Path()
    if job.model is not None and job.out is not None:
        with predictions_of(job.model, job.model.choice.load(), requests_of(truth), observer) as predictions:
            results = [to_json(each) for each in results_of(predictions, truth)]
        pred = write_atomically(job.out / "results.json", json.dumps(results))
    protocol = DetectionProtocol(kinds=kinds, lvis=job.lvis, present_only=job.present_only)
    metrics = protocol.score(truth, read_results(pred, truth.labels))
    settings = job.settings(pred) | {"iou": job.iou, "lvis": job.lvis, "present_only": job.present_only}
    scores = {"format": "masklet-eval-coco", "version": 1, "settings": settings, "metrics": metrics}
    table = precision_table(metrics)
    page = partial(build_task_report, "coco", settings, next(iter(metrics.values())), table.rows, table.columns)
    return finish(Evaluation(scores=scores, tables=(table,)), page, job.out, observer)
