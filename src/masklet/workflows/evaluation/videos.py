"""Evaluations of videos: phrases that are followed, and objects that were given."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from masklet.errors import InputError
from masklet.eval.predict.predict_objects import predict_objects
from masklet.eval.predict.predict_video import predict_videos, write_predictions
from masklet.eval.reports.video_report import describe, figure_table, make_report
from masklet.eval.reports.vos_report import describe_objects, make_object_report, object_table
from masklet.eval.videos.video_files import VideoTruth, read_predictions, read_truth
from masklet.eval.videos.video_scores import score_videos
from masklet.eval.videos.vos_files import find_videos, score_followed
from masklet.formats.davis import list_videos
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
class VosJob(EvaluationJob):
    """Folders with a folder of indexed images for each video, or YouTube-VIS files: of the truth and as predicted.

    A model is given each object by its first mask, in the folders of frames below `videos`. DAVIS leaves out the first
    and the last frame, which `all_frames` counts.
    """

    videos: Path | None = None
    all_frames: bool = False
    processes: int = 1


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


def _follow_objects(job: VosJob, observer: JobObserver) -> Path:
    if job.model is None or job.out is None or job.videos is None:
        raise InputError("give a folder of predictions, or a model with the folders of the videos and of the results")
    num_videos = len(list_videos(job.gt)) if job.gt.is_dir() else 1
    with stage(observer, num_videos, "videos") as advance:
        return predict_objects(job.gt, job.videos, job.out / "predictions", job.model.choice.load(), advance)


def evaluate_vos(job: VosJob, observer: JobObserver = SILENT) -> Evaluation:
    """Scores objects that were given and followed: J&F, as DAVIS does. Raises: InputError naming the file."""
    check_exist(job.gt, *([job.pred] if job.pred else []))
    pred = job.pred or _follow_objects(job, observer)
    videos = find_videos(job.gt, pred, all_frames=job.all_frames)
    with stage(observer, len(videos), "videos") as advance:
        scores = score_followed(videos, job.processes, advance)
    settings = job.settings(pred) | {"all_frames": job.all_frames}
    described = describe_objects(videos, scores, settings)
    page = partial(make_object_report, described, f"{job.gt.name}, {job.model_name or pred.name}")
    return finish(Evaluation(scores=described, tables=(object_table(described),)), page, job.out, observer)
