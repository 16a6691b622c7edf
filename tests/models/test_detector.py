"""Every stored tensor of eleven prompted pictures equals the official one: tests/golden/official/1_detector.

Its `video_joint.*` tensors belong to the video class (presence folded into the logit, then mask NMS), not to the
image model.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from official_data import ATOL, cases, check, make_exemplars, make_prompts, tensors
from torch import Tensor

from masklet.models.decoder import DecoderOutput
from masklet.models.detector import Detector, Grounding
from masklet.ops.boxes import cxcywh_to_xyxy
from masklet.ops.enlarge import resize_mask_logits
from masklet.ops.scores import joint_scores
from masklet.types import DetectorOutput, PromptBatch

GOLDEN = tensors("official/1_detector")
CASES = cases("official/1_detector")["cases"]
IMAGES = tensors("official/1_vision")["images"]
FUNCTIONS = tensors("official/4c_functions")
POST = tensors("6_preprocess")
POST_CASES = cases("6_preprocess")["postprocess"]


@dataclass(frozen=True)
class Answer:
    """A case's results under the names of the golden file, with the kind of number each is."""

    name: str
    values: dict[str, tuple[Tensor, str]]
    exemplar_valid: Tensor

    def expected(self, name: str) -> Tensor:
        return GOLDEN[f"{self.name}.out.{name}"]


def make_case(name: str) -> PromptBatch:
    case = CASES[name]
    given = {part: GOLDEN.get(f"{name}.in.{part}") for part in ("boxes", "box_labels", "box_valid")}
    exemplars = None
    if case["has_boxes"]:
        exemplars = make_exemplars(given["boxes"], given["box_labels"], given["box_valid"])
    ids, valid = GOLDEN["token_ids"], GOLDEN["text_valid"].bool()
    return make_prompts(ids, valid, case["text_ids"], case["img_ids"], exemplars)


def answer(detector: Detector, name: str) -> Answer:
    prompts = make_case(name)
    features = detector.encode_images(IMAGES)
    phrases = detector.encode_phrases(prompts)
    decoded: list[DecoderOutput] = []
    handle = detector.decoder.register_forward_hook(lambda _module, _inputs, output: decoded.append(output))
    grounding = detector.ground_layers(features, phrases, prompts, detector.decoder.concept_queries())
    handle.remove()
    output = detector.segment(features, grounding, torch.arange(len(prompts.image_index)))
    num_words = prompts.token_ids.shape[1]
    return Answer(
        name=name,
        values=inner_values(detector, features.begun[prompts.image_index], grounding, decoded[0], num_words)
        | outer_values(output),
        exemplar_valid=grounding.prompt.valid[:, num_words:],
    )


def inner_values(
    detector: Detector, begun: Tensor, grounding: Grounding, decoded: DecoderOutput, num_words: int
) -> dict[str, tuple[Tensor, str]]:
    prompt, first = grounding.prompt, detector.fusion.layers[0]
    words = first.cross_attention.project(prompt.tokens, prompt.tokens)
    start = detector.decoder.reference.sigmoid().expand_as(decoded.boxes[:1])
    return {
        "geo_tokens": (prompt.tokens[:, num_words:], "token"),
        "encoder_layer0": (first.attend_memory(begun, words, prompt.valid), "token"),
        "encoder_memory": (grounding.memory, "token"),
        "decoder_hs": (decoded.hidden, "token"),
        "decoder_ref_boxes_in": (torch.cat([start, decoded.boxes[:-1]]), "box"),
    }


def outer_values(output: DetectorOutput) -> dict[str, tuple[Tensor, str]]:
    boxes, logits, presence = output.pred_boxes, output.pred_logits, output.presence_logits
    return {
        "pred_boxes_layers": (boxes, "box"),
        "pred_logits_layers": (logits[..., None], "logit"),
        "presence_logits_layers": (presence[..., None], "presence"),
        "pred_boxes": (boxes[-1], "box"),
        "pred_boxes_xyxy": (cxcywh_to_xyxy(boxes[-1]), "box"),
        "pred_logits": (logits[-1][..., None], "logit"),
        "presence_logit_dec": (presence[-1][:, None], "presence"),
        "pixel_embed": (output.pixel_embeddings, "pixel"),
        "pred_masks": (output.pred_masks, "mask"),
        "semantic_seg": (output.semantic_logits[:, None], "semantic"),
        "scores": (joint_scores(logits[-1], presence[-1]), "score"),
    }


@pytest.fixture(scope="module", params=CASES)
def answered(request: pytest.FixtureRequest, detector: Detector) -> Answer:
    return answer(detector, request.param)


STORED_ONCE = ("pixel_embed",)
STORED = (
    "encoder_layer0",
    "encoder_memory",
    "decoder_hs",
    "decoder_ref_boxes_in",
    "pred_boxes_layers",
    "pred_logits_layers",
    "presence_logits_layers",
    "pred_boxes",
    "pred_boxes_xyxy",
    "pred_logits",
    "presence_logit_dec",
    "pred_masks",
    "semantic_seg",
    "scores",
)


@pytest.mark.parametrize("name", STORED)
def test_each_tensor_equals_the_official_one(answered: Answer, name: str) -> None:
    value, kind = answered.values[name]
    check(value, answered.expected(name), kind)


def test_exemplar_tokens_equal_the_official_ones_but_for_their_order(answered: Answer) -> None:
    """The official class token stands behind the last real box, ours in front."""
    theirs, theirs_valid = answered.expected("geo_tokens"), answered.expected("geo_valid").bool()
    ours = answered.values["geo_tokens"][0]
    for row in range(len(ours)):
        real = ours[row, answered.exemplar_valid[row]]
        check(real.roll(-1, dims=0), theirs[row, theirs_valid[row]], "token")


def test_the_pixel_embedding_equals_the_official_one(detector: Detector) -> None:
    answered = answer(detector, "text_boxes_pos_neg")
    check(answered.values["pixel_embed"][0], answered.expected("pixel_embed"), "pixel")


def test_no_stored_tensor_is_left_out() -> None:
    outputs = {name.split(".out.")[1] for name in GOLDEN if ".out." in name}
    assert outputs == {*STORED, *STORED_ONCE, "geo_tokens", "geo_valid"}


def test_forward_runs_the_three_stages(detector: Detector) -> None:
    output = detector(IMAGES, make_case("three_rows_mixed"))
    check(output.pred_masks, GOLDEN["three_rows_mixed.out.pred_masks"], "mask")
    check(output.pred_boxes, GOLDEN["three_rows_mixed.out.pred_boxes_layers"], "box")


def test_the_box_relative_bias_equals_the_official_one(detector: Detector) -> None:
    bias = detector.decoder.position_bias(FUNCTIONS["rpb.0.in.boxes_cxcywh"], (8, 8))
    check(bias[:, :, 1:], FUNCTIONS["rpb.0.out.bias"], "function")


def test_the_presence_token_has_no_bias(detector: Detector) -> None:
    bias = detector.decoder.position_bias(FUNCTIONS["rpb.0.in.boxes_cxcywh"], (8, 8))
    assert bias[:, :, 0].eq(0).all()


@dataclass(frozen=True)
class Kept:
    """What is left of a case after the threshold, at the size of the picture, in the order of the queries."""

    name: str
    scores: Tensor
    boxes_xyxy: Tensor
    mask_logits: Tensor
    size: tuple[int, int]


@pytest.fixture(scope="module", params=POST_CASES)
def kept(request: pytest.FixtureRequest, detector: Detector) -> Kept:
    case = POST_CASES[request.param]
    box = case["extra_positive_box_cxcywh"]
    exemplars = None if box is None else make_exemplars(torch.tensor([[box]]))
    row = slice(case["token_row"], case["token_row"] + 1)
    prompts = make_prompts(GOLDEN["token_ids"][row], GOLDEN["text_valid"][row].bool(), [0], [0], exemplars)
    output = detector(IMAGES[case["image"]][None], prompts)
    scores = joint_scores(output.pred_logits[-1], output.presence_logits[-1])[0]
    (query_index,) = torch.nonzero(scores > case["threshold"], as_tuple=True)
    height, width = case["original_hw"]
    corners = cxcywh_to_xyxy(output.pred_boxes[-1, 0, query_index])
    return Kept(
        name=request.param,
        scores=scores[query_index],
        boxes_xyxy=corners * torch.tensor([width, height, width, height]),
        mask_logits=output.mask_logits(torch.zeros_like(query_index), query_index),
        size=(height, width),
    )


def test_the_scores_above_the_threshold_are_the_official_ones(kept: Kept) -> None:
    check(kept.scores, POST[f"{kept.name}.scores"], "score")


def test_the_boxes_in_pixels_are_the_official_ones(kept: Kept) -> None:
    largest = max(kept.size)
    torch.testing.assert_close(kept.boxes_xyxy, POST[f"{kept.name}.boxes_xyxy"], rtol=0, atol=ATOL["box"] * largest)


def test_the_masks_at_full_size_are_the_official_ones_to_the_pixel(kept: Kept) -> None:
    height, width = kept.size
    masks = resize_mask_logits(kept.mask_logits, height, width)
    bits = np.unpackbits(POST[f"{kept.name}.mask_bits"].numpy(), axis=1, count=height * width).astype(bool)
    torch.testing.assert_close(masks, torch.from_numpy(bits).view(-1, height, width))


def test_the_mask_probabilities_are_the_official_ones(kept: Kept) -> None:
    enlarged = torch.nn.functional.interpolate(kept.mask_logits[:3, None], kept.size, mode="bilinear")
    check(enlarged.sigmoid(), POST[f"{kept.name}.mask_probs_first3"], "mask")
