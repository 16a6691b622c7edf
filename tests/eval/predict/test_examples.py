"""Pictures at hand are scored as the files of the same pictures are, and a model is asked about them once."""

from pathlib import Path

import numpy as np
import pytest

import masklet
from masklet.data.labels.writers import write_saco
from masklet.data.schema import Example, PhraseQuery
from masklet.eval.concepts.buckets import Source
from masklet.eval.concepts.concept_run import ConceptEvaluation
from masklet.eval.predict.examples import ask_example, figures_of, outcome_of
from masklet.eval.predict.predict import Request, predict_pairs, write_predictions
from masklet.eval.predict.prediction_cache import PhrasePrediction
from masklet.formats.saco import Subset, read_pairs
from masklet.ops.masks import rle_encode
from masklet.protocols import Segmenter
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene


@pytest.fixture(scope="module")
def model() -> masklet.Model:
    return masklet.load("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def scenes() -> list[Example]:
    return [render_scene(2**31 + seed, SceneConfig(size=336, difficulty=0.3)) for seed in range(2)]


def test_figures_are_those_of_the_same_pictures_in_files(model, scenes, tmp_path):
    outcomes = []
    for place, scene in enumerate(scenes):
        answers = ask_example(scene.image, [query.phrase for query in scene.queries], model, tmp_path / "cache")
        outcomes += [
            outcome_of(scene, query, answers[query.phrase], image=str(place), subset="scenes")
            for query in scene.queries
        ]
    labels, predictions = tmp_path / "labels.json", tmp_path / "predictions.json"
    write_saco(scenes, labels, tmp_path)
    requests = [Request(pair.file_name, pair.id, pair.text_input) for pair in read_pairs(labels)]
    write_predictions(predict_pairs(requests, [tmp_path], model, tmp_path / "other"), predictions)
    source = Source.of(Subset(name="scenes", files=(labels,)), predictions)
    (step,) = ConceptEvaluation(sources=(source,), kinds=("segm",)).run()
    expected = step.tally.kinds["segm"].metrics()
    found = figures_of(outcomes)
    assert found["positive_micro_F1"] > 0.05
    for name in ("cgF1", "IL_MCC", "positive_micro_F1"):
        assert found[name] == pytest.approx(expected[name], abs=1e-9)


class Refusing(Segmenter):
    """A model that must not be asked."""

    identity = ""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def open(self, image: Path | np.ndarray) -> masklet.ImageSession:
        raise AssertionError(f"asked again, of {image.shape if isinstance(image, np.ndarray) else image}")


def test_what_was_answered_is_not_asked_again(model, scenes, tmp_path):
    image, phrase = scenes[0].image, scenes[0].queries[0].phrase
    first = ask_example(image, [phrase], model, tmp_path)
    again = ask_example(image, [phrase], Refusing(model.identity), tmp_path)
    assert np.array_equal(first[phrase].scores, again[phrase].scores)
    for change in ({"phrases": ["giraffe"]}, {"image": image[::-1]}, {"identity": "another"}):
        with pytest.raises(AssertionError, match="asked again"):
            ask_example(
                change.get("image", image),
                change.get("phrases", [phrase]),
                Refusing(change.get("identity", model.identity)),
                tmp_path,
            )


def test_boxes_are_compared_where_there_is_no_mask():
    mask = np.zeros((20, 20), bool)
    mask[0:10, 0:5] = True
    example = Example(
        image=np.zeros((20, 20, 3), np.uint8),
        boxes_xyxy=np.array([[0, 0, 10, 10]], np.float32),
        masks=np.zeros((1, 20, 20), bool),
        mask_valid=np.array([False]),
        queries=(),
        source="test",
    )
    answer = PhrasePrediction(
        height=20,
        width=20,
        presence=0.9,
        scores=np.array([0.8]),
        boxes_xyxy=np.array([[0.0, 0.0, 5.0, 10.0]]),
        masks={0.5: (rle_encode(mask),)},
    )
    outcome = outcome_of(example, PhraseQuery(phrase="mug", object_index=(0,)), answer, image="a", subset="b")
    assert outcome.iou.tolist() == [[0.5]]
    assert outcome.truth_areas.tolist() == [100]
    nothing = outcome_of(example, PhraseQuery(phrase="cat", object_index=()), answer, image="a", subset="b")
    assert nothing.iou.shape == (0, 1)
    assert nothing.predicted_areas.tolist() == [50]
