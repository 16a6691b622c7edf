"""Folders of images as people have them, and what a second run into the same place does."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.conversion import READERS, find_image, read_any
from masklet.data.labels.layouts import LAYOUTS, LabelFiles, recognise
from masklet.data.sources import CocoConfig
from masklet.errors import InputError
from masklet.formats.coco import read_coco
from masklet.workflows.evaluation.coco import CocoJob, evaluate_coco
from masklet.workflows.manifest import Manifest, find_images
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import JobObserver
from masklet.workflows.segment_folder import JOINED_FORMATS, SegmentedFolder, SegmentJob, segment_folder


class Warnings(JobObserver):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def warned(self, message: str) -> None:
        self.messages.append(message)


def draw(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 60, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def run(base, tmp_path):
    """Segments with a model of random weights, into the folder `out`."""
    choice = ModelChoice(name=str(base), device="cpu", dtype="float32")

    def segment(*images: Path, observer: JobObserver | None = None, **changes) -> SegmentedFolder:
        values = {"phrases": ("dog",), "formats": ("json",), "folder": tmp_path / "out", "threshold": 0.0, **changes}
        job = SegmentJob(images=tuple(map(str, images)), model=choice, **values)
        return segment_folder(job, observer or Warnings())

    return segment


def written(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {"manifest.json"}


def test_labels_call_an_image_by_its_path_below_the_folder_given(run, tmp_path) -> None:
    for place in ("one/a.png", "two/a.png"):
        draw(tmp_path / "in" / place)
    run(tmp_path / "in", formats=("coco",), threshold=1.0)
    document = json.loads((tmp_path / "out/coco.json").read_text())
    assert [each["file_name"] for each in document["images"]] == ["one/a.png", "two/a.png"]
    assert document["info"]["description"] == "written by masklet"
    assert document["licenses"] == []
    assert {each.file_name for each in read_coco(tmp_path / "out/one/a.coco.json").images.values()} == {"one/a.png"}


def test_images_of_one_name_in_two_folders_are_called_below_both(tmp_path) -> None:
    first, second = draw(tmp_path / "in/one/a.png"), draw(tmp_path / "in/two/a.png")
    assert [file.name for file in find_images([str(first.parent), str(second.parent)])] == ["one/a.png", "two/a.png"]
    assert [file.name for file in find_images([str(first.parent)])] == ["a.png"]


def test_hidden_files_are_no_images_and_kinds_that_are_not_read_are_counted(run, tmp_path) -> None:
    draw(tmp_path / "in/a.png")
    for name in ("._a.png", ".cache/b.png", "c.svg", "deep/d.CR2", "deep/e.cr2", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    observer = Warnings()
    assert run(tmp_path / "in", observer=observer).num_images == 1
    assert observer.messages == [f"{tmp_path / 'in'} also holds images of kinds that are not read here: 2 .cr2, 1 .svg"]
    with pytest.raises(InputError, match=r"no images in .*deep; .* 2 \.cr2"):
        run(tmp_path / "in/deep")


def test_an_image_whose_results_cannot_be_written_fails_alone(run, tmp_path) -> None:
    for name in ("A", "L" * 245, "z"):
        draw(tmp_path / f"in/{name}.png")
    observer = Warnings()
    done = run(tmp_path / "in", observer=observer, formats=("json", "overlay"))
    assert len(done.failures) == 1
    assert "the name is too long" in observer.messages[0]
    assert written(tmp_path / "out") == {"A.json", "A.overlay.png", "z.json", "z.overlay.png"}


def test_a_name_that_no_file_can_have_is_told(run) -> None:
    with pytest.raises(InputError, match="no such file"):
        run(Path("x" * 300 + ".png"))


def test_masks_of_other_arguments_do_not_stay(run, tmp_path) -> None:
    draw(tmp_path / "a.png")
    run(tmp_path / "a.png", formats=("png", "coco"))
    assert len(written(tmp_path / "out")) > 3
    run(tmp_path / "a.png", formats=("png",), threshold=1.0)
    assert written(tmp_path / "out") == set()
    run(tmp_path / "a.png", formats=("json",))
    assert written(tmp_path / "out") == {"a.json"}


def test_masks_of_an_image_that_changed_do_not_stay(run, tmp_path) -> None:
    draw(tmp_path / "a.png")
    run(tmp_path / "a.png", formats=("png",))
    (tmp_path / "out/a.masks/001-dog.png").rename(tmp_path / "out/a.masks/999-dog.png")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    manifest["images"]["a"]["outputs"].append("a.masks/999-dog.png")
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    draw(tmp_path / "a.png", seed=1)
    run(tmp_path / "a.png", formats=("png",))
    assert "a.masks/999-dog.png" not in written(tmp_path / "out")


def test_results_of_other_images_with_other_arguments_are_not_overwritten_nor_mixed(run, tmp_path) -> None:
    first, second = draw(tmp_path / "a/a.png"), draw(tmp_path / "b/b.png")
    run(first, phrases=("cat", "dog"), formats=("yolo",))
    before = written(tmp_path / "out")
    with pytest.raises(InputError, match=r"holds results of 1 other images, made with other arguments \(phrases\)"):
        run(second, phrases=("dog",), formats=("yolo",))
    assert written(tmp_path / "out") == before
    run(second, phrases=("cat", "dog"), formats=("yolo",))
    assert (tmp_path / "out/classes.txt").read_text() == "cat\ndog\n"
    run(first, second, phrases=("dog",), formats=("json",))
    assert written(tmp_path / "out") == {"a.json", "b.json"}


def test_a_run_that_fails_at_once_leaves_earlier_results(run, tmp_path) -> None:
    draw(tmp_path / "a.png")
    run(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match="no-such-model"):
        segment_folder(
            SegmentJob(
                images=(str(tmp_path / "a.png"),),
                phrases=("cat",),
                model=ModelChoice(name="no-such-model"),
                folder=tmp_path / "out",
            )
        )
    assert written(tmp_path / "out") == {"a.json"}
    run(tmp_path / "a.png", phrases=("cat",), formats=("overlay",))
    assert written(tmp_path / "out") == {"a.overlay.png"}, "what the run before the failed one wrote is still known"


def test_a_manifest_may_not_name_files_elsewhere(tmp_path) -> None:
    (tmp_path / "secret").write_text("kept")
    (tmp_path / "out").mkdir()
    record = {"source": [], "outputs": ["../secret"], "summary": ""}
    (tmp_path / "out/manifest.json").write_text(json.dumps({"arguments": {"a": 1}, "images": {"a": record}}))
    files = find_images([str(draw(tmp_path / "a.png"))])
    manifest = Manifest.open(tmp_path / "out", {"a": 2}, files)
    with pytest.raises(InputError, match="leads out"):
        manifest.make_room(files[0])
    assert (tmp_path / "secret").read_text() == "kept"


def test_phrases_that_say_the_same_are_asked_once(run, tmp_path) -> None:
    draw(tmp_path / "a.png")
    run(tmp_path / "a.png", phrases=("red dog", "Red_dog", " red  dog"))
    assert len(json.loads((tmp_path / "out/a.json").read_text())["phrases"]) == 1
    with pytest.raises(InputError, match="a phrase is empty"):
        run(tmp_path / "a.png", phrases=("dog", " _ "))


@pytest.mark.parametrize("name", JOINED_FORMATS)
def test_every_layout_of_labels_is_written_when_the_run_ends_and_goes_with_its_arguments(run, tmp_path, name) -> None:
    draw(tmp_path / "in/a.png")
    draw(tmp_path / "in/b.png", seed=1)
    run(tmp_path / "in", formats=(name,))
    found = [path for path in (tmp_path / "out" / name).rglob("*") if path.is_file()]
    assert found
    if name in READERS:
        files = {"lvis": "lvis.json", "saco": "saco.json", "cvat": "annotations.xml", "labelstudio": "tasks.json"}
        labels = tmp_path / "out" / name / files.get(name, "")
        document = read_any(LabelFiles(labels=labels), find_image(labels, tmp_path / "in"))
        assert {each.file_name for each in document.images.values()} == {"a.png", "b.png"}
    run(tmp_path / "in", formats=("json",), threshold=1.0)
    assert written(tmp_path / "out") == {"a.json", "b.json"}
    assert f"`{name}`" in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_results_as_coco_are_scored_and_trained_on_as_they_are(run, tmp_path) -> None:
    draw(tmp_path / "in/sub/a.png")
    draw(tmp_path / "in/b.png", seed=1)
    run(tmp_path / "in", formats=("coco",), phrases=("dog", "cat"))
    labels = tmp_path / "out/coco.json"
    source = LAYOUTS[recognise(labels)].open(LabelFiles(labels=labels, images=tmp_path / "in"), CocoConfig(split="all"))
    assert {source.name(index) for index in range(len(source))} == {"sub/a.png", "b.png"}
    assert all(source.example(index, np.random.default_rng(0)).mask_valid.any() for index in range(2))
    results = [
        {"image_id": each.image_id, "category_id": each.category_id, "bbox": each.bbox, "score": each.score}
        for each in read_coco(labels).annotations
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    scores = evaluate_coco(CocoJob(gt=labels, pred=tmp_path / "results.json", out=tmp_path / "eval")).scores
    assert scores["metrics"]["bbox"]["AP_all"] == pytest.approx(1)
