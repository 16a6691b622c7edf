"""The click head equals the official one on seventeen prompts: tests/golden/official/2_click_head.

Its last step, masks at the size of the picture, is `ops`: holes filled, then enlarged. The official code also clamps
the small masks that it hands back to +-32; no stored value comes near.
"""

import pytest
import torch
import torch.nn.functional as F
from official_data import cases, check, load_official, tensors
from torch import Tensor

from masklet.config import debug
from masklet.models.click import ClickFeatures, EncodedClicks, mask_stability, select_single
from masklet.models.detector import Detector
from masklet.ops.components import fill_holes
from masklet.ops.enlarge import resize_mask_logits
from masklet.types import ClickOutput, ClickPrompt, FeaturePyramid

GOLDEN = tensors("official/2_click_head")
CASES = cases("official/2_click_head")["cases"]
HEIGHT, WIDTH = cases("official/2_click_head")["original_hw"]
FUNCTIONS = tensors("official/4c_functions")
IMAGE_SIZE = 112


def stored(part: str) -> list[str]:
    """Cases of which `part` is stored."""
    return [name for name in CASES if f"{name}.out.{part}" in GOLDEN]


def to_fractions(points: Tensor) -> Tensor:
    """Fractions of the picture; the official code adds half a pixel of the picture as the model sees it."""
    return points / torch.tensor([WIDTH, HEIGHT]) + 0.5 / IMAGE_SIZE


def make_prompt(name: str) -> ClickPrompt:
    """The corners of a box are two points in front of the others."""
    case = CASES[name]
    points, labels = [], []
    if "box" in case:
        corners = torch.tensor(case["box"]).view(-1, 2, 2)
        points.append(corners)
        labels.append(torch.tensor([[2, 3]]).expand(len(corners), -1))
    if "points" in case:
        given = torch.tensor(case["points"])
        points.append(given.view(-1, *given.shape[-2:]))
        labels.append(torch.tensor(case["labels"]).view(-1, given.shape[-2]))
    return ClickPrompt(
        points_xy=to_fractions(torch.cat(points, dim=1)) if points else torch.zeros(1, 0, 2),
        point_labels=torch.cat(labels, dim=1) if labels else torch.zeros(1, 0, dtype=torch.long),
        mask_logits=GOLDEN.get(f"{name}.in.mask_input"),
    )


@pytest.fixture(scope="module")
def pyramid(detector: Detector) -> FeaturePyramid:
    return detector.vision.click_neck(detector.vision.trunk(GOLDEN["image"][None]))


@pytest.fixture(scope="module")
def features(detector: Detector, pyramid: FeaturePyramid) -> ClickFeatures:
    return detector.click.project_image(pyramid)


def encode(detector: Detector, name: str) -> EncodedClicks:
    return detector.click.prompts(make_prompt(name))


@pytest.fixture(scope="module")
def answers(detector: Detector, features: ClickFeatures, official_weights: dict[str, Tensor]) -> dict[str, ClickOutput]:
    found = {}
    for name, case in CASES.items():
        scales = case.get("weights_scaled", {})
        model = detector
        if scales:
            scaled = official_weights | {key: official_weights[key] * scale for key, scale in scales.items()}
            model = load_official(Detector(debug()), scaled)
        found[name] = model.click(features, make_prompt(name), multimask=case["multimask_output"])
    return found


def test_the_features_of_the_picture_equal_the_official_ones(features: ClickFeatures, pyramid: FeaturePyramid) -> None:
    check(features.fine, GOLDEN["features.s0"], "vision")
    check(features.medium, GOLDEN["features.s1"], "vision")
    check(pyramid.coarse, GOLDEN["features.level2"], "vision")


@pytest.mark.parametrize("name", stored("sparse"))
def test_prompt_tokens_equal_the_official_ones(detector: Detector, name: str) -> None:
    check(encode(detector, name).tokens, GOLDEN[f"{name}.out.sparse"], "click")


@pytest.mark.parametrize("name", stored("dense"))
def test_the_code_of_a_mask_equals_the_official_one(detector: Detector, name: str) -> None:
    check(encode(detector, name).dense, GOLDEN[f"{name}.out.dense"], "click")


@pytest.mark.parametrize("name", stored("raw_low_res"))
def test_mask_logits_equal_the_official_ones(answers: dict[str, ClickOutput], name: str) -> None:
    check(answers[name].mask_logits, GOLDEN[f"{name}.out.raw_low_res"], "click")


@pytest.mark.parametrize("name", stored("raw_iou"))
def test_predicted_overlaps_equal_the_official_ones(answers: dict[str, ClickOutput], name: str) -> None:
    check(answers[name].iou_scores, GOLDEN[f"{name}.out.raw_iou"], "click")


@pytest.mark.parametrize("name", stored("sam_tokens"))
def test_mask_tokens_equal_the_official_ones(answers: dict[str, ClickOutput], name: str) -> None:
    check(answers[name].mask_tokens, GOLDEN[f"{name}.out.sam_tokens"], "click")


@pytest.mark.parametrize("name", stored("object_score_logits"))
def test_object_logits_equal_the_official_ones(answers: dict[str, ClickOutput], name: str) -> None:
    check(answers[name].object_logits[:, None], GOLDEN[f"{name}.out.object_score_logits"], "click")


@pytest.mark.parametrize("name", stored("masks_logits_orig"))
def test_masks_at_full_size_equal_the_official_ones(answers: dict[str, ClickOutput], name: str) -> None:
    low = answers[name].mask_logits.flatten(0, 1)
    filled = fill_holes(low, int(CASES[name]["max_hole_area"]))
    expected = GOLDEN[f"{name}.out.masks_logits_orig"].reshape(-1, HEIGHT, WIDTH)
    enlarged = F.interpolate(filled[:, None], (HEIGHT, WIDTH), mode="bilinear")[:, 0]
    check(enlarged, expected, "click")
    clear = expected.abs() > 1e-3
    assert resize_mask_logits(filled, HEIGHT, WIDTH)[clear].equal(expected[clear] > 0)


def test_an_unstable_single_mask_gives_way_to_the_best_alternative() -> None:
    masks, ious = FUNCTIONS["stability.0.in.masks"], FUNCTIONS["stability.0.in.ious"]
    every = ClickOutput(
        mask_logits=masks,
        iou_scores=ious,
        object_logits=torch.zeros(len(masks)),
        mask_tokens=torch.zeros(*ious.shape, 1),
    )
    chosen = select_single(every)
    check(chosen.mask_logits, FUNCTIONS["stability.0.out.mask"], "function")
    check(chosen.iou_scores, FUNCTIONS["stability.0.out.iou"], "function")


def test_an_empty_mask_is_stable() -> None:
    torch.testing.assert_close(mask_stability(torch.full((2, 4, 4), -1.0)), torch.ones(2))


def test_padding_points_do_not_look_at_their_coordinates(detector: Detector) -> None:
    labels = torch.tensor([[1, -1]])
    one = ClickPrompt(points_xy=torch.tensor([[[0.3, 0.4], [0.0, 0.0]]]), point_labels=labels)
    other = ClickPrompt(points_xy=torch.tensor([[[0.3, 0.4], [0.9, 0.1]]]), point_labels=labels)
    torch.testing.assert_close(detector.click.prompts(one).tokens, detector.click.prompts(other).tokens)


def test_objects_in_a_batch_do_not_change_each_other(detector: Detector, features: ClickFeatures) -> None:
    together = make_prompt("points_batch_single")
    both = detector.click(features, together, multimask=True)
    for row in range(2):
        alone = detector.click(features, together.map(lambda tensor, row=row: tensor[row : row + 1]), multimask=True)
        torch.testing.assert_close(alone.mask_logits[0], both.mask_logits[row], rtol=0, atol=1e-5)
