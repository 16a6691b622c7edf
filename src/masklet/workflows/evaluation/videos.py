"""Evaluations of videos: phrases that are followed, and objects that were given."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from masklet.errors import InputError
from masklet.eval.predict.predict_video import predict_videos, write_predictions
from masklet.eval.reports.video_report import describe, figure_table, make_report
from masklet.eval.reports.vos_report import describe_objects, make_object_report, object_table
from masklet.eval.videos.video_files import VideoTruth, read_predictions, read_truth
from masklet.eval.videos.video_scores import score_videos
from masklet.eval.videos.vos_files import find_videos, score_followed
from masklet.workflows.evaluation.evaluate import Evaluation, EvaluationJob, check_exist, finish
from masklet.workflows.observer import SILENT, JobObserver, stage


@dataclass(frozen=True, kw_only=True)
class VideoJob(EvaluationJob):
    """SA-Co/VEval or YouTube-VIS annotations, and predicted masklets or a model.

    `videos` holds the frames that the annotations name, which a model needs.
    """

    videos: Path | None = None
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class VosJob:
    """Folders with a folder of indexed images for each video, or YouTube-VIS files: of the truth and as predicted.

    DAVIS leaves out the first and the last frame, which `all_frames` counts.
    """

    gt: Path
    pred: Path
    all_frames: bool = False
    processes: int = 1
    out: Path | None = None


def evaluate_video(job: VideoJob, observer: JobObserver = SILENT) -> Evaluation:
    """Scores phrases followed through videos: cgF1, pHOTA, TETA and AP, by masks and by boxes, as published.

    Raises: InputError naming file, record and field.
    """
    check_exist(job.gt, *([job.pred] if job.pred else []))
    truth = read_truth(job.gt)
    pred = job.pred or _predict(truth, job, observer)
    predictions = read_predictions(pred, truth.videos)
    with stage(observer, len(truth.videos), "videos") as advance:
        scores = score_videos(truth, predictions, job.processes, advance)
    described = describe(scores, truth, job.settings(pred) | {"videos": job.videos and str(job.videos)})
    page = partial(make_report, scores, truth, f"{job.gt.name}, {job.model_name or pred.name}")
    evaluation = Evaluation(scores=described, tables=(figure_table(described["metrics"]),))
    return finish(evaluation, page, job.out, observer)


def _predict(truth: VideoTruth, job: VideoJob, observer: JobObserver) -> Path:
    if job.model is None or job.out is None or job.videos is None:
        raise InputError("give a file of predictions, or a model with the folders of the videos and of the results")
    model = job.model.choice.load()
    with stage(observer, len(truth.videos), "videos") as advance:
        records = predict_videos(truth, job.videos, model, job.model.cache_folder, advance)
        return write_predictions(records, job.out / "predictions.json")


def evaluate_vos(job: VosJob, observer: JobObserver = SILENT) -> Evaluation:
    """Scores objects that were given and followed: J&F, as DAVIS does. Raises: InputError naming the file."""
    check_exist(job.gt, job.pred)
    videos = find_videos(job.gt, job.pred, all_frames=job.all_frames)
    with stage(observer, len(videos), "videos") as advance:
        scores = score_followed(videos, job.processes, advance)
    settings = {"gt": str(job.gt), "pred": str(job.pred), "all_frames": job.all_frames}
    described = describe_objects(videos, scores, settings)
    page = partial(make_object_report, described, f"{job.gt.name}, {job.pred.name}")
    return finish(Evaluation(scores=described, tables=(object_table(described),)), page, job.out, observer)
