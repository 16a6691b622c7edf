"""A verifier behind a model makes it another system, which is measured as one."""

import json
from pathlib import Path

import numpy as np
import pytest
from engine_features import ColourFeatures
from engine_world import ColourSegmenter, open_world, paint, run_world, write_photos
from PIL import Image

from masklet.cli import main
from masklet.engine.verify.choices import Choice
from masklet.engine.verify.oracle import NoisyOracle
from masklet.eval.predict.labelled import LabelledImages
from masklet.ops.masks import rle_encode
from masklet.protocols import Segmenter
from masklet.workflows.engine.verified import VerifiedSegmenter, compare_systems

COLOURS = ("red square", "green square", "blue square")


class Hallucinating(ColourSegmenter):
    """Sure of everything: finds a wrong square of each colour beside the true ones."""

    @property
    def identity(self) -> str:
        return "hallucinating"

    def open(self, image):
        from dataclasses import replace

        from engine_world import ColourSession, Found

        class Session(ColourSession):
            def find(self, phrases=None, **options) -> Found:
                found = super().find(phrases, **options)
                asked = [phrases] if isinstance(phrases, str) else list(phrases)
                wrong = np.zeros(self.size, bool)
                wrong[80:95, 80:95] = True
                return replace(
                    found,
                    presence=dict.fromkeys(asked, 0.9),
                    phrases=[*found.phrases, *asked],
                    scores=np.concatenate([found.scores, np.full(len(asked), 0.8, np.float32)]),
                    boxes=np.concatenate([found.boxes, np.array([[80, 80, 95, 95]] * len(asked), np.float32)]),
                    all_masks=[*found.all_masks, *[wrong] * len(asked)],
                )

        return Session(self, image)


def truth(image: np.ndarray, phrase: str) -> list[np.ndarray]:
    from engine_world import true_masks

    return true_masks(image, phrase)


@pytest.fixture
def held(tmp_path: Path) -> LabelledImages:
    """Six labelled photos, every colour asked of each."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for number in range(6):
        pixels = paint(np.random.default_rng([7, number]))
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 96, "height": 96})
        for category, phrase in enumerate(COLOURS):
            for mask in truth(pixels, phrase):
                segmentation = {"size": [96, 96], "counts": rle_encode(mask)}
                label = {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": category,
                    "segmentation": segmentation,
                }
                rows, columns = np.argwhere(mask).T
                box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
                annotations.append(label | {"bbox": box})
    categories = [{"id": number, "name": phrase} for number, phrase in enumerate(COLOURS)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "labels.json").write_text(json.dumps(document))
    return LabelledImages(tmp_path / "labels.json", tmp_path / "images")


def test_rejected_masks_are_dropped_and_presence_is_the_verifiers(held: LabelledImages) -> None:
    oracle = NoisyOracle(truth=truth, sensitivity=1.0, specificity=1.0)
    system = VerifiedSegmenter(Hallucinating(), oracle)  # type: ignore[arg-type]
    image = held.example(0).image
    found = system.open(image).find(COLOURS)
    for phrase in COLOURS:
        assert sum(each == phrase for each in found.phrases) == len(truth(image, phrase))
        assert found.presence[phrase] == float(bool(truth(image, phrase)))
    assert len(found.scores) == len(found.boxes) == len(found)
    assert not any(found.mask(index)[85, 85] for index in range(len(found)))


def test_two_systems_are_measured_on_the_same_images(held: LabelledImages) -> None:
    alone: Segmenter = Hallucinating()  # type: ignore[assignment]
    oracle = NoisyOracle(truth=truth, sensitivity=1.0, specificity=1.0)
    lines = compare_systems({"model": alone, "model and verifier": VerifiedSegmenter(alone, oracle)}, held)
    figures = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines[2:]}
    assert float(figures["model and verifier"][0]) > float(figures["model"][0]) + 30
    assert float(figures["model and verifier"][1]) > float(figures["model"][1])


def test_where_the_verifier_knows_nothing_the_model_stands(held: LabelledImages) -> None:
    class Silent(NoisyOracle):
        def judge_masks(self, items):
            return [Choice(label="unsure", probabilities={}) for _ in items]

        judge_exhaustivity = judge_masks

    model: Segmenter = ColourSegmenter()  # type: ignore[assignment]
    lines = compare_systems({"a": model, "b": VerifiedSegmenter(model, Silent(truth=truth))}, held)
    assert lines[2].split(" | ")[1:] == lines[3].split(" | ")[1:]


def test_a_trained_head_behind_the_model(held: LabelledImages, tmp_path: Path) -> None:
    from masklet.engine.review.intake import take_in
    from masklet.engine.review.queues import queue
    from masklet.engine.review.verdict_file import Decision, VerdictFile
    from masklet.engine.verify.head import load_verifier, save_heads
    from masklet.engine.verify.lessons import lessons_of

    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 40))
    run_world(project, Bad())
    for item in (items := queue(project, "masks")):
        assert item.number is not None
    said = [
        Decision(
            pair=item.pair_id,
            maskset=item.maskset_id,
            number=item.number,
            label="reject" if item.masks[0].box == (80.0, 80.0, 95.0, 95.0) else "accept",
        )
        for item in items
    ]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task="masks", answers=said), "Ada")
    head = lessons_of(project, ColourFeatures())["masks"].fit(0.1)
    save_heads(tmp_path / "verifier.npz", {"masks": head}, ColourFeatures.identity)
    verifier = load_verifier(tmp_path / "verifier.npz", ColourFeatures)
    model: Segmenter = Bad()  # type: ignore[assignment]
    lines = compare_systems({"model": model, "with head": VerifiedSegmenter(model, verifier)}, held)
    pmf1 = [float(line.split(" | ")[3].strip("| ")) for line in lines[2:]]
    assert pmf1[1] > pmf1[0] + 10


class Bad(Hallucinating):
    """Doubtful of what it finds."""

    def __init__(self) -> None:
        super().__init__(score=0.5)


def test_without_a_verifier_one_is_told_how_to_make_it(tmp_path: Path, capsys) -> None:
    from masklet.workflows.engine.folder import ProjectSettings, write_settings

    write_settings(tmp_path / "project", ProjectSettings(photos=str(tmp_path)))
    arguments = ["engine", "verifier-eval", str(tmp_path / "project"), "--gt", str(tmp_path), "--images", str(tmp_path)]
    assert main(arguments) == 1
    assert "train-verifier" in capsys.readouterr().err
