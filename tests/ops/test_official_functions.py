"""Small functions equal the official ones: tests/golden/official/4c_functions.

Elsewhere: components and fill_holes (test_components), nms (test_nms), shrink and pixel_nonoverlap (test_overlaps), roi
(test_roi), sine2d, box_code and rope_table (tests/nn), rpb and stability (tests/models), associate
(tests/inference/test_association), hotstart, confirmation, occlusion, drop_limit and boundary (test_lifecycle there),
object_nonoverlap (test_emission there).
The rest is of the tracker: closest_cond, frame_filter, sine1d and pointer_tpos (time of object pointers),
memory_rope_attention, memory_encoder, mask_as_output, use_multimask, mem_score.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from masklet.ops.masks import mask_iou, mask_to_box
from masklet.ops.overlaps import overlap_table
from masklet.ops.scores import inverse_sigmoid, joint_scores

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "official" / "4c_functions.safetensors")


def test_boxes_of_masks_equal_the_official_ones_but_for_the_far_edge() -> None:
    """The official box ends on the last pixel, ours behind it; the official box of an empty mask is made up."""
    for mask, expected in zip(GOLDEN["boxes.0.in.masks"].bool(), GOLDEN["boxes.0.out.masks_to_boxes"], strict=True):
        box = mask_to_box(mask.numpy())
        assert (box is None) == (not mask.any())
        if box is not None:
            assert_close(torch.tensor(box) - torch.tensor([0, 0, 1, 1]), expected.long())


def test_overlaps_of_masks_equal_the_official_ones() -> None:
    masks, others = GOLDEN["iou.0.in.a"].bool(), GOLDEN["iou.0.in.b"].bool()
    for overlaps in (mask_iou(masks.numpy(), others.numpy()), overlap_table(masks, others).iou()):
        np.testing.assert_allclose(overlaps, GOLDEN["iou.0.out.iou"].numpy(), rtol=0, atol=1e-6)


def test_the_inverse_sigmoid_equals_the_official_one() -> None:
    logits = inverse_sigmoid(GOLDEN["box_code.0.in.boxes_cxcywh"])
    assert_close(logits, GOLDEN["box_code.0.out.inverse_sigmoid"], rtol=0, atol=1e-5)


def test_an_absent_concept_silences_every_query() -> None:
    scores = joint_scores(torch.tensor([[5.0, 12.0], [5.0, 12.0]]), torch.tensor([-20.0, 20.0]))
    assert (scores[0] < 1e-8).all()
    assert_close(scores[1], torch.tensor([5.0, 12.0]).sigmoid())
