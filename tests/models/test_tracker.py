"""One frame of tracking: which masks the click head is asked for, masks that are given, objects that are not there.

Whole runs are compared with the official tracker in tests/inference/test_cohorts.
"""

import json
from dataclasses import replace

import pytest
import torch
from official_data import ATOL, GOLDEN, check, load_official, tensors
from torch import Tensor

from masklet.config import debug
from masklet.models.click import ClickFeatures
from masklet.models.detector import Detector
from masklet.models.memory import MemoryTokens, resize_smoothly
from masklet.models.tracker import ABSENT_LOGIT, Tracker
from masklet.types import ClickPrompt

FUNCTIONS = tensors("official/4c_functions")
CASES = json.loads((GOLDEN / "official/4c_functions.json").read_text())["cases"]


@pytest.fixture(scope="module")
def tracker(official_weights: dict[str, Tensor]) -> Tracker:
    config = debug()
    config = replace(config, memory=replace(config.memory, half_maps=False))
    return load_official(Detector(config), official_weights).tracker


@pytest.fixture(scope="module")
def features() -> ClickFeatures:
    """The first picture of those on record."""
    given = (FUNCTIONS[f"mask_as_output.0.in.{name}"][:1] for name in ("s0", "s1", "level2"))
    fine, medium, coarse = given
    return ClickFeatures(fine=fine, medium=medium, coarse=coarse)


def remembered(tracker: Tracker, features: ClickFeatures, num_objects: int, num_maps: int) -> MemoryTokens:
    """What some objects look back at: squares, each object's and each frame's elsewhere."""
    logits = torch.full((num_maps, num_objects, 112, 112), -8.0)
    for frame in range(num_maps):
        for row in range(num_objects):
            logits[frame, row, 20 * row + 5 * frame : 20 * row + 30 + 5 * frame, 30:80] = 8
    there, soft = torch.full((num_objects,), 5.0), torch.zeros(num_objects).bool()
    maps = [tracker.remember(features, logits[frame], there, soft) for frame in range(num_maps)]
    pointers = [torch.full((num_objects, 32), 0.1 * frame) for frame in range(num_maps)]
    ages = list(range(num_maps))
    return tracker.memory.assemble(maps, ages[::-1], pointers, [age / 15 for age in ages])


@pytest.mark.parametrize("case", [c for c in CASES if c["fn"] == "use_multimask"], ids=lambda case: str(case["index"]))
def test_the_best_of_three_masks_answers_where_the_official_tracker_asks_for_three(
    tracker: Tracker, features: ClickFeatures, case: dict
) -> None:
    count = case["args"]["num_points"]
    prompt = ClickPrompt(points_xy=torch.full((1, count, 2), 0.4), point_labels=torch.ones(1, count, dtype=torch.long))
    reads = None if case["args"]["is_init"] else [remembered(tracker, features, 1, 2)]
    output = tracker.respond(features, prompt, reads)
    assert output.iou_scores.shape[1] == (3 if case["out"]["multimask"] else 1)


def test_given_masks_become_what_the_official_tracker_makes_of_them(tracker: Tracker) -> None:
    """The function on record shrinks the mask to 36 pixels a side, ours to the 32 of every small mask."""
    case = "mask_as_output.0"
    for row in range(2):
        fine, medium, coarse = (FUNCTIONS[f"{case}.in.{name}"][row : row + 1] for name in ("s0", "s1", "level2"))
        masks = FUNCTIONS[f"{case}.in.mask"][row].float()
        output = tracker.accept(ClickFeatures(fine=fine, medium=medium, coarse=coarse), masks)
        check(output.object_logits, FUNCTIONS[f"{case}.out.score"][row], "function")
        check(output.pointers, FUNCTIONS[f"{case}.out.obj_ptr"][row : row + 1], "function")
        logits = (20 * masks - 10)[None]
        check(resize_smoothly(logits, (36, 36))[0], FUNCTIONS[f"{case}.out.low_res"][row], "function")
        check(output.mask_logits, resize_smoothly(logits, (32, 32))[0], "function")


def test_an_empty_mask_is_an_object_that_is_not_there(tracker: Tracker, features: ClickFeatures) -> None:
    output = tracker.accept(features, torch.zeros(1, 128, 128))
    assert output.object_logits.tolist() == [-10]
    assert torch.equal(output.pointers[0], tracker.memory.unseen_pointer)
    assert (output.mask_logits == -10).all()


def test_objects_of_different_ages_in_one_batch_are_tracked_as_one_by_one(
    tracker: Tracker, features: ClickFeatures
) -> None:
    reads = [remembered(tracker, features, 1, 1), remembered(tracker, features, 2, 4)]
    together = tracker.track(features, reads)
    rows = [replace(read, values=read.values[i : i + 1]) for read in reads for i in range(len(read.values))]
    alone = [tracker.track(features, [row]) for row in rows]
    for name in ("mask_logits", "object_logits", "pointers", "iou_scores"):
        expected = torch.cat([getattr(output, name) for output in alone])
        torch.testing.assert_close(getattr(together, name), expected, rtol=0, atol=ATOL["click"])
    assert (together.mask_logits[1] - together.mask_logits[2]).abs().max() > 0.1


def test_an_object_that_is_not_there_has_no_pixel(tracker: Tracker, features: ClickFeatures) -> None:
    last = tracker.click.decoder.object_head.layers[-1]
    bias = last.bias.clone()
    try:
        last.bias.fill_(-100)
        output = tracker.track(features, [remembered(tracker, features, 2, 1)])
    finally:
        last.bias.copy_(bias)
    assert (output.mask_logits == ABSENT_LOGIT).all()
    assert torch.equal(output.pointers, tracker.memory.unseen_pointer.expand(2, -1))


def test_sizes_of_masks_follow_the_grid(tracker: Tracker, features: ClickFeatures) -> None:
    assert tracker.memory_size(features) == (128, 128)
    assert tracker.enlarge(torch.zeros(3, 32, 32)).shape == (3, 112, 112)
