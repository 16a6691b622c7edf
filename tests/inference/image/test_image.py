"""The model as a user has it, at the debug size with random weights: what goes in, what comes out, what is refused."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from random_model import random_weights
from torch.testing import assert_close

from masklet.checkpoints.weights import Weights
from masklet.config import debug
from masklet.errors import InputError
from masklet.inference.concepts import check_box, read_labels, read_phrases, read_rows
from masklet.inference.devices import choose_device, choose_dtype, limit_threads
from masklet.inference.model import Model, make_model
from masklet.models.detector import Detector
from masklet.ops.nms import nms_masks
from masklet.tokenizer import Tokenizer
from masklet.types import DetectionSettings

EVERYTHING = 0.0


@pytest.fixture(scope="module")
def model() -> Model:
    return make_model(random_weights(), torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)


def test_every_query_above_the_threshold_is_a_detection_best_first(model: Model, picture: np.ndarray) -> None:
    result = model.segment(picture, "cat", threshold=EVERYTHING)
    assert len(result) == 10
    assert (np.diff(result.scores) <= 0).all()
    assert result.masks.shape == (10, 70, 90)
    assert result.masks.dtype == bool
    some = model.segment(picture, "cat", threshold=float(result.scores[4]))
    np.testing.assert_array_equal(some.scores, result.scores[:4])


def test_of_finds_that_overlap_more_than_the_model_allows_the_surest_stays(picture: np.ndarray) -> None:
    weights = random_weights()
    every, distinct = (
        make_model(each, torch.device("cpu"), torch.float32).segment(picture, ["cat", "dog"], threshold=EVERYTHING)
        for each in (weights, replace(weights, settings=DetectionSettings(max_overlap=0.3)))
    )
    assert 0 < len(distinct) < len(every)
    for phrase in ("cat", "dog"):
        found, kept = every.for_phrase(phrase), distinct.for_phrase(phrase)
        chosen = nms_masks(found.detections.mask_logits, found.detections.scores, 0.3).numpy()
        np.testing.assert_array_equal(kept.scores, found.scores[chosen])
        np.testing.assert_array_equal(kept.masks, found.masks[chosen])
    assert distinct.presence == every.presence


def test_a_phrase_alone_and_among_others_gives_the_same(model: Model, picture: np.ndarray) -> None:
    alone = model.segment(picture, "cat", threshold=EVERYTHING)
    among = model.segment(picture, ["a very long phrase about dogs", "cat", "dog"], threshold=EVERYTHING)
    np.testing.assert_allclose(among.for_phrase("cat").scores, alone.scores, atol=1e-5)
    np.testing.assert_allclose(among.presence["cat"], alone.presence["cat"], atol=1e-5)
    np.testing.assert_allclose(among.for_phrase("cat").boxes, alone.boxes, atol=1e-3)


def test_a_concept_assumed_to_be_there_keeps_its_scores(model: Model, picture: np.ndarray) -> None:
    with model.open(picture) as session:
        unsure = session.find("cat", threshold=EVERYTHING)
        given = session.find("cat", threshold=EVERYTHING, assume_present=True)
    assert given.presence == {"cat": 1.0}
    np.testing.assert_allclose(given.scores * unsure.presence["cat"], unsure.scores, rtol=1e-5)


def test_a_list_of_pictures_gives_a_list_of_results(model: Model, picture: np.ndarray) -> None:
    results = model.segment([picture, picture[:, ::-1].copy()], "cat", threshold=EVERYTHING)
    assert len(results) == 2
    np.testing.assert_array_equal(results[0].scores, model.segment(picture, "cat", threshold=EVERYTHING).scores)


def test_a_picture_may_come_in_any_form(model: Model, picture: np.ndarray) -> None:
    image = Image.fromarray(picture)
    data = io.BytesIO()
    image.save(data, "PNG")
    expected = model.segment(picture, "cat", threshold=EVERYTHING).scores
    for form in (image, data.getvalue(), torch.from_numpy(picture).permute(2, 0, 1)):
        np.testing.assert_array_equal(model.segment(form, "cat", threshold=EVERYTHING).scores, expected)


def test_the_picture_is_encoded_once_in_a_session(
    model: Model, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    encode = Detector.encode_images
    monkeypatch.setattr(Detector, "encode_images", lambda *args: calls.append(1) or encode(*args))
    with model.open(picture) as session:
        session.find("cat")
        session.find("dog", boxes=[(1, 2, 30, 40)])
        session.click([(10, 10)], [1])
    assert len(calls) == 1


def test_a_phrase_is_encoded_once(model: Model, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model._phrases.clear()
    rows = []
    forward = type(model.detector.text).forward
    monkeypatch.setattr(
        type(model.detector.text), "forward", lambda self, ids: rows.append(len(ids)) or forward(self, ids)
    )
    with model.open(picture) as session:
        session.find(["zebra", "owl", "zebra"])
        session.find(["owl", "hen"])
    assert rows == [2, 1]


def test_exemplars_add_up_over_the_rounds(model: Model, picture: np.ndarray) -> None:
    like, unlike = (5, 5, 40, 40), (50, 10, 80, 60)
    with model.open(picture) as session:
        session.find("cat", threshold=EVERYTHING)
        session.add_exemplar(like)
        refined = session.add_exemplar(unlike, positive=False)
        at_once = session.find("cat", boxes=[like], not_boxes=[unlike], threshold=EVERYTHING)
    np.testing.assert_allclose(refined.scores, at_once.scores, atol=1e-6)


def test_boxes_alone_are_asked_as_visual(model: Model, picture: np.ndarray) -> None:
    by_boxes = model.segment(picture, boxes=[(5, 5, 40, 40)], threshold=EVERYTHING)
    by_word = model.segment(picture, "visual", boxes=[(5, 5, 40, 40)], threshold=EVERYTHING)
    np.testing.assert_array_equal(by_boxes.scores, by_word.scores)


def test_a_single_click_offers_three_masks_and_more_clicks_one(model: Model, picture: np.ndarray) -> None:
    with model.open(picture) as session:
        three = session.click([(20, 30)], [1])
        one = session.click([(20, 30), (60, 60)], [1, 0], mask=three.logits[0])
        boxed = session.click(box=(10, 10, 50, 50))
    assert len(three) == 3
    assert (np.diff(three.iou_scores) <= 0).all()
    assert len(one) == len(boxed) == 1
    assert one.masks.shape == (1, 70, 90)
    assert one.plot().size[0] >= 90


def test_masks_are_made_only_for_prompts_that_keep_something(
    model: Model, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(model.detector.masks), "embed_pixels", lambda *_: pytest.fail("no mask was wanted"))
    assert len(model.segment(picture, ["cat", "dog"], threshold=1.0)) == 0


def test_another_image_size_works(picture: np.ndarray) -> None:
    larger = make_model(random_weights(), torch.device("cpu"), torch.float32, image_size=168)
    assert larger.segment(picture, "cat", threshold=EVERYTHING).detections.mask_logits.shape[-2:] == (48, 48)
    with pytest.raises(InputError, match="multiple of 56"):
        make_model(random_weights(), torch.device("cpu"), torch.float32, image_size=100)


def test_half_precision_answers_are_float32(picture: np.ndarray) -> None:
    half = make_model(random_weights(), torch.device("cpu"), torch.bfloat16)
    detections = half.segment(picture, "cat", threshold=EVERYTHING).detections
    assert half.detector.fusion.layers[0].mlp.up.weight.dtype == torch.bfloat16
    assert {detections.boxes_xyxy.dtype, detections.scores.dtype, detections.mask_logits.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "nothing to look for"),
        ({"phrases": []}, "nothing to look for"),
        ({"phrases": " "}, "the phrase is empty"),
        ({"phrases": "\ufeff_"}, "the phrase is empty"),
        ({"boxes": (1, 1, 5)}, r"a box is 4 numbers x0, y0, x1, y1, not \(1, 1, 5\)"),
        ({"phrases": "very " * 40 + "long"}, "too long"),
        ({"not_boxes": [(1, 1, 5, 5)]}, "at least one example box"),
        ({"phrases": ["cat", "dog"], "boxes": [(1, 1, 5, 5)]}, "belong to one concept"),
        ({"boxes": [(5, 1, 1, 5)]}, "inverted"),
        ({"boxes": [(1, 1, 500, 5)]}, "not inside the 90 x 70 image"),
        ({"boxes": [(1, 1, float("nan"), 5)]}, "finite"),
        ({"phrases": "cat", "threshold": 2.0}, "not in"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_sentence(
    model: Model, picture: np.ndarray, arguments: dict, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        model.segment(picture, **arguments)
    assert "\n" not in str(caught.value)


BOX = (10, 20, 40, 50)


@pytest.mark.parametrize(
    "boxes",
    [
        np.array([BOX]),
        np.array(BOX),
        torch.tensor([BOX]),
        torch.tensor(BOX, dtype=torch.float32),
        [torch.tensor(BOX)],
        [np.array(BOX, np.int64)],
        BOX,
        [list(BOX)],
        [[np.float32(value) for value in BOX]],
    ],
    ids=lambda each: type(each).__name__,
)
def test_boxes_and_points_come_as_lists_arrays_and_tensors_flat_or_not(
    model: Model, picture: np.ndarray, boxes: Any
) -> None:
    with model.open(picture) as session:
        expected = session.find(boxes=[BOX], threshold=EVERYTHING)
        assert_close(session.find(boxes=boxes, threshold=EVERYTHING).scores, expected.scores)
        given = session.find("cat", boxes=[BOX], not_boxes=boxes, threshold=EVERYTHING)
        assert_close(given.scores, session.find("cat", boxes=[BOX], not_boxes=[BOX], threshold=EVERYTHING).scores)
        box = boxes if len(boxes) == 4 else boxes[0]
        assert_close(session.click(box=box).iou_scores, session.click(box=BOX).iou_scores)


def test_a_box_less_than_a_pixel_over_an_edge_is_cut_there() -> None:
    assert check_box((-0.4, 0, 30.5, 20.2), (20, 30)) == (0, 0, 30, 20)
    assert check_box((1, 2.5, 30, 20), (20, 30)) == (1, 2.5, 30, 20)
    for box in ((-1, 0, 9, 9), (0, 0, 31, 9), (0, 0, 9, 21), (30.2, 0, 30.6, 9), (-0.6, 0, -0.1, 9)):
        with pytest.raises(InputError, match="is not inside the 30 x 20 image"):
            check_box(box, (20, 30))


def test_points_and_labels_come_flat_and_as_arrays(model: Model, picture: np.ndarray) -> None:
    with model.open(picture) as session:
        expected = session.click([(30, 40)], [1])
        assert len(expected) == 3
        pairs = (((30, 40), 1), (np.array([[30, 40]]), np.array([1])), (torch.tensor([30, 40]), [True]))
        for points, labels in pairs:
            assert_close(session.click(points, labels).iou_scores, expected.iou_scores)
        refined = session.click(mask=expected.logits[0].numpy())
        assert_close(refined.iou_scores, session.click(mask=expected.logits[0]).iou_scores)


def test_phrases_that_say_the_same_are_one_and_arrays_of_phrases_are_lists(model: Model, picture: np.ndarray) -> None:
    result = model.segment(picture, np.array(["red cat", "dog", "Red_cat", " DOG "]), threshold=EVERYTHING)
    assert result.queries == ("red cat", "dog")
    assert result.to_yolo(np.array(["red cat", "dog"])) == result.to_yolo()


@pytest.mark.parametrize("wrong", [5, b"cat", ["cat", None], [["cat"]], {"cat": 1}])
def test_a_phrase_is_a_text(wrong: Any) -> None:
    with pytest.raises(InputError, match="a phrase is a text, not"):
        read_phrases(wrong)


@pytest.mark.parametrize("wrong", [5, "1,2,3,4", [("1", "2", "3", "4")], [(1, 2)], [1, (2, 3)], [[[1, 2, 3, 4]]]])
def test_a_box_is_four_numbers(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"a box is 4 numbers x0, y0, x1, y1, not"):
        read_rows(wrong, 4, "box")


@pytest.mark.parametrize("wrong", ["1", [2], [[1]], ["+"], [None]])
def test_a_label_is_one_or_zero(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"label is 1 \(on the object\) or 0"):
        read_labels(wrong)


@pytest.mark.parametrize(
    ("points", "labels", "words"),
    [
        ([], [], "nothing to go by"),
        ([(1, 1)], [], "each point needs one"),
        ([(1, 1)], [2], "label is 1"),
        ([(float("inf"), 1)], [1], "finite"),
        ([(100, 1)], [1], "outside"),
    ],
)
def test_what_cannot_be_clicked_is_refused(
    model: Model, picture: np.ndarray, points: Sequence, labels: Sequence, words: str
) -> None:
    with model.open(picture) as session, pytest.raises(InputError, match=words):
        session.click(points, labels)


def test_a_closed_session_and_a_missing_click_head_say_so(model: Model, picture: np.ndarray) -> None:
    with model.open(picture) as session:
        pass
    with pytest.raises(InputError, match="closed"):
        session.find("cat")
    weights = random_weights()
    state = {n: t for n, t in weights.state.items() if not n.startswith(("click.", "vision.click_neck."))}
    plain = make_model(Weights(config=weights.config, state=state, origin="x"), torch.device("cpu"), torch.float32)
    with plain.open(picture) as session, pytest.raises(InputError, match="no click head"):
        session.click([(1, 1)], [1])


def test_refining_needs_a_single_concept(model: Model, picture: np.ndarray) -> None:
    with model.open(picture) as session:
        session.find(["cat", "dog"])
        with pytest.raises(InputError, match="no single concept"):
            session.add_exemplar((1, 1, 5, 5))


def test_devices_and_types_are_checked() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_dtype("float32", torch.device("cpu")) is torch.float32
    with pytest.raises(InputError, match="unknown device"):
        choose_device("tpu")
    with pytest.raises(InputError, match="unknown dtype"):
        choose_dtype("int8", torch.device("cpu"))


def test_the_debug_tokenizer_fits_its_vocabulary() -> None:
    token_ids, _ = Tokenizer(debug().text.vocab_size).encode(["antidisestablishmentarianism"])
    assert int(token_ids.max()) < debug().text.vocab_size


def test_threads_share_a_model(model: Model, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a cache of phrases far too small for them, so that entries come and go under their hands."""
    monkeypatch.setattr("masklet.inference.predictor._PHRASES_KEPT", 1)
    phrases = [["cat", f"dog {number}", "bird"] for number in range(6)]
    expected = [model.segment(picture, each, threshold=EVERYTHING).scores for each in phrases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = pool.map(lambda each: model.segment(picture, each, threshold=EVERYTHING).scores, phrases)
            for scores, others in zip(found, expected, strict=True):
                assert_close(scores, others)


@pytest.mark.parametrize(("cores", "given", "expected"), [(2, None, 1), (12, None, 6), (64, None, 8), (2, "2", 2)])
def test_torch_is_left_half_of_the_cores_unless_told_otherwise(monkeypatch, cores, given, expected) -> None:
    chosen = [min(cores, 64)]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    limit_threads()
    assert chosen[-1] == expected
