"""Workflows as Python users call them: a typed job in, a typed result out, progress through an observer."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet.errors import InputError
from masklet.formats.calibration import Calibration, Thresholds
from masklet.workflows.evaluation.coco import CocoJob
from masklet.workflows.evaluation.evaluate import AskedModel
from masklet.workflows.evaluation.tasks import VerdictsJob, evaluate_verdicts
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, Product, stage
from masklet.workflows.segment_folder import SegmentJob, segment_folder
from masklet.workflows.track_job import TrackJob, TrackPrompts
from masklet.workflows.track_video import track_video
from masklet.workflows.training.train import TrainJob, train


class Recorder(JobObserver):
    """Writes down what it is told; asks to stop after `most` products."""

    def __init__(self, most: int | None = None) -> None:
        self.events: list[str] = []
        self.products: list[Product] = []
        self.most = most

    def started(self, total: int | None, unit: str) -> None:
        self.events.append(f"{total} {unit}")

    def finished(self) -> None:
        self.events.append("finished")

    def produced(self, product: Product) -> None:
        self.products.append(product)

    def noted(self, message: str) -> None:
        self.events.append(message)

    def warned(self, message: str) -> None:
        self.events.append(f"warning: {message}")

    def should_stop(self) -> bool:
        return len(self.products) == self.most


@pytest.fixture
def choice(base: Path) -> ModelChoice:
    """A model of random weights."""
    return ModelChoice(name=str(base), device="cpu", dtype="float32")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of noise, one of which is damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 255, (40, 60, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "2.png").write_bytes(b"")
    return folder


def test_an_observer_needs_no_method_of_its_own() -> None:
    class Nothing(JobObserver):
        """Every method is optional."""

    for observer in (Nothing(), SILENT):
        with stage(observer, 2, "images") as advance:
            advance()
        assert not observer.should_stop()


def test_a_folder_is_segmented(choice: ModelChoice, images: Path, tmp_path: Path) -> None:
    observer = Recorder()
    job = SegmentJob(images=(str(images),), phrases=("dog",), model=choice, formats=("json",), folder=tmp_path / "out")
    done = segment_folder(job, observer)
    assert (done.num_images, done.num_skipped, len(done.failures)) == (3, 0, 1)
    assert observer.events == ["3 images", f"warning: {done.failures[0]}", "finished"]
    assert [each.to_json()["image"] for each in observer.products] == [str(images / f"{i}.png") for i in range(2)]
    assert segment_folder(job).num_skipped == 2


def test_a_video_is_tracked_until_the_observer_stops_it(choice: ModelChoice, images: Path, tmp_path: Path) -> None:
    (images / "2.png").unlink()
    prompts = TrackPrompts(phrases=("dog",))
    job = TrackJob(video=str(images), prompts=prompts, model=choice, formats=("mot",), folder=tmp_path / "out")
    stopped = track_video(job, Recorder(most=1))
    assert (stopped.complete, stopped.last_frame, stopped.resumable) == (False, 0, True)
    assert stopped.files == (tmp_path / "out/mot.txt", tmp_path / "out/mot_frames.json")
    with pytest.raises(InputError, match="holds a run that stopped after 1 frames"):
        track_video(job)


def test_a_training_is_validated(base: Path, tmp_path: Path) -> None:
    """Twenty images of a square, every fifth of them held out."""
    (tmp_path / "images").mkdir()
    document: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "red square"}]}
    for index in range(20):
        pixels = np.random.default_rng(index).integers(90, 120, (64, 64, 3)).astype(np.uint8)
        pixels[10:40, 10 + index : 40 + index] = (220, 30, 30)
        Image.fromarray(pixels).save(tmp_path / f"images/{index}.png")
        document["images"].append({"id": index, "file_name": f"{index}.png", "width": 64, "height": 64})
        x = 10 + index
        outline = [[x, 10, x + 30, 10, x + 30, 40, x, 40]]
        box = {"bbox": [x, 10, 30, 30], "segmentation": outline}
        document["annotations"].append({"id": index, "image_id": index, "category_id": 1, **box})
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    overrides = (
        *("device=cpu", "bfloat16=false", "data.workers=0", "phases.0.image_size=112", "phases.0.steps=1"),
        *("train=['decoder.*']", "validation.pictures=2", f"initial_weights={base}", f"data.root={tmp_path}"),
    )
    observer = Recorder()
    result = train(TrainJob(recipe="finetune", overrides=overrides, out=tmp_path / "run", report=False), observer)
    assert result.complete
    assert result.base is not None
    assert result.best is not None
    assert (result.base["step"], result.best["step"]) == (0, 1)
    assert str(result).startswith(f"finished: {tmp_path / 'run'} (cgF1 ")
    assert "in 1 updates the learning rates reach" in observer.events[0]
    assert "finished" in observer.events
    assert "validation not counted" in observer.events[-1]
    assert masklet.load(tmp_path / "run/weights.safetensors", device="cpu").image_size == 112


def test_an_evaluation_gives_scores_and_a_table(tmp_path: Path) -> None:
    for name, verdict in (("people", "accept"), ("verifier", "reject")):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"id": 1, "verdict": verdict}]))
    job = VerdictsJob(gt=tmp_path / "people.json", pred=tmp_path / "verifier.json", out=tmp_path / "out")
    evaluation = evaluate_verdicts(job)
    assert json.loads((tmp_path / "out/scores.json").read_text()) == evaluation.scores
    assert [row[0] for row in evaluation.tables[0].rows] == list(evaluation.scores["metrics"])
    assert evaluation.report == tmp_path / "out/report.html"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs either predictions or a model"),
        ({"model": AskedModel(choice=ModelChoice(), folders=())}, "needs a folder for what it predicts"),
    ],
)
def test_a_job_that_cannot_be_done_is_refused_at_once(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CocoJob(gt=Path("labels.json"), **given)
    with pytest.raises(InputError, match="the threshold must lie between 0 and 1"):
        SegmentJob(images=("a.png",), phrases=("dog",), threshold=2.0)
    with pytest.raises(InputError, match="there is no frame from 5 to 5"):
        TrackJob(video="clip.mp4", prompts=TrackPrompts(phrases=("dog",)), start=5, stop=5)


OTHER_SEGMENTS = {
    "phrases": ("dog",),
    "boxes": ((0.0, 0.0, 1.0, 1.0),),
    "not_boxes": ((0.0, 0.0, 1.0, 1.0),),
    "threshold": 0.4,
    "calibration": Calibration(model="a", default=Thresholds(), phrases={}, validation={}),
    "exclusive": True,
    "verifier": Path(__file__),  # its bytes count
    "model": ModelChoice(dtype="float32"),
    "formats": ("json",),
}
OTHER_TRACKS = {
    "video": "other.mp4",
    "prompts": TrackPrompts(phrases=("dog",)),
    "start": 3,
    "step": 2,
    "delay": 5,
    "calibration": OTHER_SEGMENTS["calibration"],
    "exclusive": True,
    "question": '"dog"',
    "model": ModelChoice(name="other"),
}


@pytest.mark.parametrize(
    ("job", "changes", "free"),
    [
        (SegmentJob(images=("a",), phrases=("cat",)), OTHER_SEGMENTS, {"images", "folder", "skip_finished"}),
        (
            TrackJob(video="a.mp4", prompts=TrackPrompts(phrases=("cat",))),
            OTHER_TRACKS,
            {"stop", "formats", "folder", "resume"},
        ),
    ],
)
def test_results_are_reused_only_where_every_setting_is_the_same(job, changes, free) -> None:
    assert {field.name for field in fields(job)} == changes.keys() | free, "a new field: do results depend on it?"
    for name, value in changes.items():
        assert replace(job, **{name: value}).arguments != job.arguments, name


def test_what_a_short_run_and_few_images_cannot_do_is_said(tmp_path: Path) -> None:
    from labelled_pictures import write_pictures

    from masklet.train.recipes.schema import load_recipe
    from masklet.workflows.training.train import describe_schedule, describe_split

    write_pictures(tmp_path / "few", 12)
    write_pictures(tmp_path / "many", 30)
    few, many = (load_recipe("finetune", (f"data.root={tmp_path / name}",)) for name in ("few", "many"))
    assert describe_split(few)[0].startswith("warning: validation is on ")
    assert describe_split(many) == ["validation: on 5 images that are held out"]
    assert describe_schedule(many) == []
    assert describe_schedule(load_recipe("finetune", ("phases.0.steps=30",))) == []
    steps = tuple(f"optim.{name}=20" for name in ("warmup_steps", "cooldown_steps", "timescale"))
    (line,) = describe_schedule(load_recipe("finetune", ("phases.0.steps=30", *steps)))
    assert "in 30 updates the learning rates reach 60 % of their peak at most" in line


def test_bfloat16_is_computed_in_where_the_device_multiplies_it_fast(monkeypatch) -> None:
    import torch

    from masklet.train.recipes.schema import load_recipe

    cpu = torch.device("cpu")
    for fast in (False, True):
        monkeypatch.setattr("masklet.train.recipes.schema.multiplies_bfloat16", lambda _, fast=fast: fast)
        with load_recipe("finetune").autocast(cpu):
            assert torch.is_autocast_enabled("cpu") == fast
        with load_recipe("finetune", ("bfloat16=true",)).autocast(cpu):
            assert torch.is_autocast_enabled("cpu")
