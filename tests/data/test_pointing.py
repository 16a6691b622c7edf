"""Objects pointed at: only those with a mask, by a pixel of theirs or a box near theirs, each a prompt of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from masklet.data.collate import CollateConfig
from masklet.data.pointing import POINTED_PHRASE, ClicksConfig, collate_pointed, point_at_objects
from masklet.data.schema import Example
from masklet.tokenizer import Tokenizer

SIDE = 56
COLLATE = CollateConfig()
BOXES = ((4, 4, 16, 20), (20, 8, 40, 30), (30, 36, 52, 50))


def picture(valid: tuple[bool, ...] = (True, True, True)) -> Example:
    masks = np.zeros((3, SIDE, SIDE), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, BOXES, strict=True):
        mask[y0:y1, x0:x1] = True
    return Example(
        image=np.zeros((SIDE, SIDE, 3), np.uint8),
        boxes_xyxy=np.array(BOXES, np.float32),
        masks=masks,
        mask_valid=np.array(valid),
        queries=(),
        source="a test",
    )


def test_clicks_lie_on_the_object_and_boxes_near_its_own() -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(40):
        for prompt in point_at_objects(picture(), COLLATE, ClicksConfig(), rng):
            (index,) = prompt.object_index
            kinds.add((index, len(prompt.boxes), len(prompt.points)))
            if len(prompt.points):
                x, y = (prompt.points[0] * SIDE).astype(int)
                assert picture().masks[index, y, x]
            else:
                x0, y0, x1, y1 = BOXES[index]
                box = np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]) / SIDE
                assert np.abs(prompt.boxes[0] - box).max() < 0.1
                assert prompt.labels.tolist() == [1]
            assert prompt.phrase == POINTED_PHRASE
    assert kinds == {(index, *kind) for index in range(3) for kind in ((0, 1), (1, 0))}


def test_each_prompt_means_one_object_that_has_a_mask() -> None:
    example = picture((True, False, True))
    for seed in range(10):
        rng = np.random.default_rng(seed)
        batch = collate_pointed(
            [example, picture((False,) * 3), example], Tokenizer(1000), COLLATE, ClicksConfig(), rng
        )
        targets, exemplars = batch.targets, batch.prompts.exemplars
        assert targets.target_prompt.tolist() == [0, 1, 2, 3]
        assert batch.prompts.image_index.tolist() == [0, 0, 2, 2]
        assert targets.target_object.tolist() == [0, 1, 2, 3]
        assert targets.mask_valid.all()
        shown = exemplars.box_valid.sum(dim=1) + exemplars.point_valid.sum(dim=1)
        assert shown.tolist() == [1, 1, 1, 1]
        assert torch.equal(exemplars.point_labels, exemplars.point_valid.long())


def test_no_more_objects_than_wanted_and_always_the_same_ones() -> None:
    config = ClicksConfig(objects=2)
    drawn = [point_at_objects(picture(), COLLATE, config, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert all(len(prompts) == 2 for prompts in drawn)
    chosen = [tuple(prompt.object_index[0] for prompt in prompts) for prompts in drawn]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1


def test_a_picture_without_masks_asks_nothing() -> None:
    empty = replace(picture(), masks=np.zeros((3, SIDE, SIDE), bool))
    assert point_at_objects(empty, COLLATE, ClicksConfig(), np.random.default_rng(0)) == []


@pytest.mark.parametrize("values", [{"share": 1.5}, {"box_share": -0.1}, {"steps": -1}, {"objects": 0}])
def test_settings_that_make_no_sense_are_refused(values) -> None:
    with pytest.raises(ValueError, match="clicks"):
        ClicksConfig(**values)
