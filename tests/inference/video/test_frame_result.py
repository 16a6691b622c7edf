import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from frame_results import make, rectangle
from hypothesis import given
from hypothesis import strategies as st

from masklet.errors import InputError
from masklet.inference.video.frame_result import FrameResult
from masklet.render.palettes import object_colour


@pytest.fixture
def two():
    """A dog and, partly over it, something that was clicked."""
    size = (40, 60)
    masks = [rectangle(size, 5, 5, 30, 25), rectangle(size, 20, 10, 50, 30)]
    return make(masks, [0.7, 0.9], ids=[4, 9], concepts=["dog", ""])


def test_overlaps_go_to_the_surest_object_but_boxes_and_areas_are_whole(two):
    dogs = replace(two, concepts=("dog", "dog"))
    assert dogs.masks.sum(axis=(1, 2)).tolist() == [25 * 20 - 10 * 15, 30 * 20]
    assert not (dogs.masks[0] & dogs.masks[1]).any()
    assert two.boxes.tolist() == [[5, 5, 30, 25], [20, 10, 50, 30]]
    assert two.areas.tolist() == [500, 600]
    assert two.mask(0).sum() == 500


def test_what_answers_two_phrases_is_whole_for_both(two):
    assert two.masks.sum(axis=(1, 2)).tolist() == [500, 600]


def test_the_object_in_front_gets_the_pixel_and_of_equals_the_first():
    mask = rectangle((8, 8), 0, 0, 4, 4)
    result = make([mask, mask, mask], [0.9, 0.8, 0.8], precedence=[0.5, 1, 1])
    assert result.masks.sum(axis=(1, 2)).tolist() == [0, 16, 0]


@given(st.integers(0, 4), st.integers(0, 2**31))
def test_resolved_masks_share_no_pixel_and_lose_none(count, seed):
    random = np.random.default_rng(seed)
    masks = list(random.random((count, 7, 9)) < 0.5)
    result = make(masks, random.integers(0, 3, count) / 2)
    size = result.size
    resolved = result.masks
    np.testing.assert_array_equal(resolved.sum(axis=0), np.any(np.reshape(masks, (count, *size)), axis=0))


def test_logits_become_masks_and_what_is_empty_drops_out():
    logits = torch.full((3, 10, 15), -5.0, dtype=torch.bfloat16)
    logits[0, 2:6, 3:9] = 5
    logits[2, 9, 14] = 5
    result = FrameResult.of(
        index=7,
        time=0.7,
        size=(40, 60),
        ids=torch.tensor([0, 1, 2**40]),
        concepts=["dog", "cat", ""],
        scores=[0.9, 0.8, 1],
        object_scores=torch.tensor([0.5, 0.6, 0.7], dtype=torch.bfloat16),
        mask_logits=logits,
    )
    assert (result.ids.tolist(), result.concepts) == ([0, 2**40], ("dog", ""))
    assert result.scores.tolist() == pytest.approx([0.9, 1])
    assert result.object_scores.tolist() == result.precedence.tolist() == pytest.approx([0.5, 0.7], abs=0.01)
    assert result.boxes[0].tolist() == [12, 8, 36, 24]
    assert result.masks.shape == (2, 40, 60)


def test_a_frame_without_objects_is_whole():
    result = FrameResult.of(
        index=0,
        time=0,
        size=(40, 60),
        ids=[],
        concepts=[],
        scores=[],
        object_scores=[],
        mask_logits=torch.zeros(0, 10, 15),
    )
    assert (len(result), result.masks.shape, result.boxes.shape, result.areas.shape) == (0, (0, 40, 60), (0, 4), (0,))
    assert repr(result) == "FrameResult(0 at 0.000 s, 60 x 40: nothing)"
    assert result.to_coco()["annotations"] == []
    assert np.asarray(result.plot(np.zeros((40, 60, 3), dtype=np.uint8))).max() == 0


def test_selecting_keeps_everything_together(two):
    assert repr(two) == "FrameResult(3 at 0.300 s, 60 x 40: dog #4, #9)"
    for chosen in (two[1], two[-1:], two[[1]], two[two.ids == 9], two.for_id(9), two.for_concept("")):
        assert (chosen.ids.tolist(), chosen.concepts, chosen.index) == ([9], ("",), 3)
        assert chosen.boxes.tolist() == [[20, 10, 50, 30]]
    assert len(two.for_id(1)) == len(two.for_concept("cat")) == 0
    assert two[[1, 0]].ids.tolist() == [9, 4]


def test_json_gives_the_same_result_back(two):
    entry = json.loads(json.dumps(two.to_json()))
    again = FrameResult.from_json(entry)
    assert again.to_json() == entry
    assert (again.index, again.time, again.size, again.concepts, again.rles) == (
        3,
        0.3,
        (40, 60),
        ("dog", ""),
        two.rles,
    )
    np.testing.assert_array_equal(again.object_scores, two.object_scores)
    np.testing.assert_array_equal(again.precedence, two.precedence)
    for change in ({"ids": [1]}, {"size": 3}, {"scores": "x"}, {"rles": None}):
        with pytest.raises(InputError, match=r"no result of a frame|different numbers"):
            FrameResult.from_json(entry | change)


def test_json_keeps_which_objects_were_clicked(two):
    clicked = replace(two, clicked=frozenset({4, 77}))
    again = FrameResult.from_json(json.loads(json.dumps(clicked.to_json())))
    assert (again.phrases, again.clicked) == (clicked.phrases, {4})  # 77 is not on this frame
    assert "dog #4" in repr(two)
    assert "dog" not in repr(again)
    with pytest.raises(InputError, match="no result of a frame"):
        FrameResult.from_json({name: value for name, value in clicked.to_json().items() if name != "clicked"})


def test_coco_holds_the_whole_masks(two):
    coco = two.to_coco()
    assert coco["images"] == [{"id": 1, "file_name": "000003", "width": 60, "height": 40}]
    assert coco["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "object"}]
    first, second = coco["annotations"]
    assert (first["bbox"], first["area"], first["track_id"], first["score"]) == ([5, 5, 25, 20], 500, 4, 0.9)
    assert second["category_id"] == 2
    assert second["segmentation"] == {"size": [40, 60], "counts": two.rles[1]}


def test_an_object_keeps_its_colour_and_the_picture_its_size(two):
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    both, alone = np.asarray(two.plot(image)), np.asarray(two[1].plot(image))
    assert both.shape == alone.shape == (40, 60, 3)
    outline = (29, 45)  # row and column of the lower edge of the second object
    assert tuple(both[outline]) == tuple(alone[outline]) == object_colour(9) != object_colour(4)
    assert (image == 128).all()
    assert tuple(both[2, 58]) == (128, 128, 128)
    assert len({object_colour(number) for number in range(50)}) == 50


def test_an_object_without_a_pixel_is_not_drawn():
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(make([np.zeros((40, 60), dtype=bool)], [0.5]).plot(image)), image)


def test_drawing_needs_the_frame(two):
    with pytest.raises(InputError, match="the result of frame 3 holds no image"):
        two.plot()
    with pytest.raises(InputError, match="the image is 40 x 60, the frame 60 x 40"):
        two.plot(np.zeros((60, 40, 3), dtype=np.uint8))
