"""A calibration on pictures and videos: what is absent, what is dropped, and where masks are cut."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_model import random_weights

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, write
from masklet.errors import InputError
from masklet.formats.calibration import Calibration, Thresholds
from masklet.inference.concepts import Concept
from masklet.inference.model import Model, make_model
from masklet.inference.rules.rules import Rules
from masklet.inference.thresholds import cut_masks, recentre_scores
from masklet.inference.video.detect import detect
from masklet.inference.video.records import VideoConcept
from masklet.types import DetectionSettings

EVERYTHING = 0.0


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights()


@pytest.fixture(scope="module")
def model(weights: Weights) -> Model:
    return make_model(weights, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def calibrate(model: Model, default: Thresholds, **phrases: Thresholds) -> Calibration:
    return Calibration(model=model.identity, default=default, phrases=phrases)


def test_a_threshold_becomes_one_half_and_the_order_stays() -> None:
    scores = torch.tensor([[0.1, 0.3, 0.8], [0.1, 0.3, 0.8]])
    gated = recentre_scores(scores, torch.ones(2), 0.5, [Thresholds(score=0.3), Thresholds()])
    torch.testing.assert_close(gated[0], torch.tensor([0.07 / 0.34, 0.5, 0.56 / 0.62]))
    assert gated[1].equal(scores[1])


def test_below_its_presence_a_prompt_finds_nothing() -> None:
    scores = torch.full((3, 2), 0.9)
    limits = [Thresholds(presence=0.4)] * 3
    gated = recentre_scores(scores, torch.tensor([0.39, 0.4, 0.9]), 0.5, limits)
    assert (gated > 0).tolist() == [[False] * 2, [True] * 2, [True] * 2]


def test_a_mask_is_cut_at_its_own_probability() -> None:
    probabilities = torch.tensor([0.2, 0.4, 0.6, 0.8]).reshape(1, 2, 2).expand(3, 2, 2)
    masks = cut_masks(probabilities.logit(), [0.5, 0.3, 0.7]) > 0
    assert masks.sum((1, 2)).tolist() == [2, 3, 1]
    assert cut_masks(torch.zeros(0, 2, 2), []).shape == (0, 2, 2)


def test_thresholds_that_change_nothing_change_nothing(model: Model, picture: np.ndarray) -> None:
    plain = model.segment(picture, ["cat", "dog"], threshold=0.05)
    same = model.segment(picture, ["cat", "dog"], threshold=0.05, calibration=calibrate(model, Thresholds()))
    assert len(plain)
    np.testing.assert_array_equal(same.scores, plain.scores)
    np.testing.assert_array_equal(same.masks, plain.masks)


def test_each_phrase_has_its_own_threshold(model: Model, picture: np.ndarray) -> None:
    plain = model.segment(picture, ["cat", "dog"], threshold=EVERYTHING)
    limits = {
        phrase: float((plain.for_phrase(phrase).scores[rank] + plain.for_phrase(phrase).scores[rank + 1]) / 2)
        for phrase, rank in (("cat", 2), ("dog", 4))
    }
    calibration = calibrate(model, Thresholds(), **{name: Thresholds(score=limit) for name, limit in limits.items()})
    assert model.segment(picture, ["cat", "dog"], calibration=calibration).counts() == {"cat": 3, "dog": 5}
    [alone] = model.segment([picture], "dog", calibration=calibration)  # type: ignore[misc]
    assert len(alone) == 5


def test_presence_decides_before_the_scores(model: Model, picture: np.ndarray) -> None:
    presence = model.segment(picture, ["cat", "dog"]).presence
    calibration = calibrate(
        model,
        Thresholds(),
        cat=Thresholds(presence=presence["cat"] + 1e-4, score=1e-6),
        dog=Thresholds(presence=presence["dog"] - 1e-4, score=1e-6),
    )
    result = model.segment(picture, ["cat", "dog"], calibration=calibration)
    assert result.counts() == {"cat": 0, "dog": 10}
    assert result.presence == presence


def test_masks_are_cut_where_the_phrase_wants_it_and_where_one_asks(model: Model, picture: np.ndarray) -> None:
    plain = model.segment(picture, "cat", threshold=EVERYTHING)
    calibration = calibrate(model, Thresholds(mask=0.3))
    cut = model.segment(picture, "cat", threshold=EVERYTHING, calibration=calibration)
    assert cut.masks.sum() > plain.masks.sum()
    for index in range(len(plain)):
        np.testing.assert_array_equal(cut.mask(index), plain.mask(index, cut=0.3))
        np.testing.assert_array_equal(plain.mask(index), plain.mask(index, cut=0.5))


def test_an_example_more_keeps_the_calibration(model: Model, picture: np.ndarray) -> None:
    calibration = calibrate(model, Thresholds(presence=1.0))
    with model.open(picture) as session:
        session.find("cat", threshold=EVERYTHING, calibration=calibration)
        assert len(session.add_exemplar((5, 5, 40, 40))) == 0


def test_the_calibration_of_another_model_is_refused(model: Model, picture: np.ndarray) -> None:
    other = Calibration(model="0123456789abcdef-56-float32", default=Thresholds())
    with pytest.raises(InputError, match="was made for the model 0123456789abcdef"):
        model.segment(picture, "cat", calibration=other)
    with pytest.raises(InputError, match="was made for the model 0123456789abcdef"):
        model.open_video([picture], calibration=other)


def test_the_identity_tells_weights_sizes_and_types_apart(weights: Weights, tmp_path) -> None:
    cpu = torch.device("cpu")
    own = make_model(weights, cpu, torch.float32).identity
    changed = dict(weights.state)
    name = next(iter(changed))
    changed[name] = changed[name] + 1
    others = [
        make_model(weights, cpu, torch.float32, image_size=168).identity,
        make_model(weights, cpu, torch.bfloat16).identity,
        make_model(replace(weights, state=changed), cpu, torch.float32).identity,
        make_model(replace(weights, settings=DetectionSettings(even_score=0.4)), cpu, torch.float32).identity,
        make_model(replace(weights, settings=DetectionSettings(max_overlap=0.4)), cpu, torch.float32).identity,
    ]
    assert len({own, *others}) == 6
    write(weights, tmp_path / "model.safetensors")
    again = read(tmp_path / "model.safetensors")
    assert make_model(again, cpu, torch.float32).identity == own
    hashed = make_model(again, cpu, torch.bfloat16).identity
    assert hashed.rpartition("-")[0] == own.rpartition("-")[0]


def test_on_a_video_detections_are_calibrated_before_the_rules(model: Model, picture: np.ndarray) -> None:
    """With a phrase's threshold at one half of the detector's scores, the rules' one half is that threshold."""
    features = model.encode(picture)
    concepts = [VideoConcept(name=name, concept=Concept(phrase=name)) for name in ("cat", "dog")]
    size = (70, 90)
    rules = Rules(min_score=0.0, nms_overlap=1.0)
    plain = detect(model, features, concepts, rules, size)
    scores = plain["cat"].scores.sort(descending=True).values
    limit = float(scores[3] + scores[4]) / 2
    calibration = calibrate(model, Thresholds(presence=1.0), cat=Thresholds(score=limit, mask=0.3))
    found = detect(model, features, concepts, replace(rules, min_score=0.5), size, calibration)
    assert len(found["dog"].scores) == 0
    assert len(found["cat"].scores) == 4
    order = plain["cat"].scores.argsort(descending=True)[:4]
    shifted = cut_masks(plain["cat"].mask_logits[order], [0.3] * 4)
    torch.testing.assert_close(
        found["cat"].mask_logits[found["cat"].scores.argsort(descending=True)], shifted, atol=1e-4, rtol=1e-4
    )


def test_a_saved_session_keeps_its_calibration(model: Model, picture: np.ndarray, tmp_path) -> None:
    calibration = calibrate(model, Thresholds(presence=0.1, score=0.2, mask=0.6), cat=Thresholds(score=0.3))
    frames = [picture, picture]
    with model.open_video(frames, calibration=calibration) as session:
        session.add_concept("cat", frame=0)
        session.save(tmp_path / "session")
    with model.resume_video(tmp_path / "session", frames) as resumed:
        assert resumed.calibration == calibration
