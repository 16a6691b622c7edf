"""What is computed fast, or once, or for some rows only, equals the plain way."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from hypothesis import given, settings
from hypothesis import strategies as st
from official_data import make_exemplars, make_prompts
from torch import Tensor, nn

from masklet.config import debug
from masklet.models import vision
from masklet.models.detector import Detector, Grounding, ImageFeatures
from masklet.models.heads import upsampled_conv
from masklet.nn.blocks import PreciseMLP
from masklet.nn.precision import cast_compute
from masklet.types import ClickPrompt, DetectorOutput, Exemplars, PromptBatch

CAT, DOG = [998, 5, 999], [998, 40, 41, 42, 999]  # two phrases of different length, start and end included
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.rand(2, 3, 112, 112, generator=GENERATOR) * 2 - 1


def close(actual: Tensor, expected: Tensor, atol: float = 1e-4) -> None:
    """Rounding of float32 through the whole model: logits and masks reach 20."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def phrases(*token_ids: list[int], length: int = 0) -> tuple[Tensor, Tensor]:
    """Ids padded to the longest, or to `length`, and which of them are real."""
    length = max(length, *(len(ids) for ids in token_ids))
    padded = torch.tensor([ids + [0] * (length - len(ids)) for ids in token_ids])
    return padded, torch.tensor([[i < len(ids) for i in range(length)] for ids in token_ids])


def run(detector: Detector, prompts: PromptBatch, images: Tensor = IMAGES) -> DetectorOutput:
    with torch.no_grad():
        return detector(images, prompts)


def same_answer(actual: DetectorOutput, expected: DetectorOutput, row: int = 0, expected_row: int = 0) -> None:
    close(actual.pred_logits[:, row], expected.pred_logits[:, expected_row])
    close(actual.pred_boxes[:, row], expected.pred_boxes[:, expected_row], atol=1e-5)
    close(actual.presence_logits[:, row], expected.presence_logits[:, expected_row])
    close(actual.pred_masks[row], expected.pred_masks[expected_row], atol=7.5e-4)
    close(actual.semantic_logits[row], expected.semantic_logits[expected_row])


# --- vision -------------------------------------------------------------------------------------------------------


def plain_rotation(x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Real form of the rotary positions: x turns the first half of the channel pairs, y the second."""
    quarter = x.shape[-1] // 4
    frequencies = 10000.0 ** (-torch.arange(quarter) / quarter)
    angles = torch.cat([columns[:, None] * frequencies, rows[:, None] * frequencies], dim=-1)
    u, v = x[..., 0::2], x[..., 1::2]
    turned = [u * angles.cos() - v * angles.sin(), u * angles.sin() + v * angles.cos()]
    return torch.stack(turned, dim=-1).flatten(-2)


def plain_attention(block: nn.Module, x: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    attention = block.attention
    q, k, v = (
        rearrange(part, "b n (h d) -> b h n d", h=attention.num_heads) for part in attention.qkv(x).chunk(3, dim=-1)
    )
    q, k = plain_rotation(q, columns, rows), plain_rotation(k, columns, rows)
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)
    return attention.out(rearrange(weights @ v, "b h n d -> b n (h d)"))


def plain_trunk(trunk: vision.Trunk, images: Tensor) -> Tensor:
    """Row-major, windows cut out and put back in every block, tables made anew each time."""
    window = trunk.config.window
    x = rearrange(trunk.patch_embed(images), "b c h w -> b h w c")
    height, width = x.shape[1:3]
    tiles = (height // window, width // window)
    table = repeat(trunk.position, "(y x) c -> (wy y) (wx x) c", y=window, wy=tiles[0], wx=tiles[1])
    x = trunk.norm(x + table)
    for index, block in enumerate(trunk.blocks):
        y = block.norm1(x)
        if index in trunk.config.global_blocks:
            rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            sequence = rearrange(y, "b h w c -> b (h w) c")
            at = (columns.flatten() * window / width, rows.flatten() * window / height)
            mixed = rearrange(plain_attention(block, sequence, *at), "b (h w) c -> b h w c", h=height)
        else:
            rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
            sequence = rearrange(y, "b (wy y) (wx x) c -> (b wy wx) (y x) c", y=window, x=window)
            mixed = plain_attention(block, sequence, columns.flatten().float(), rows.flatten().float())
            mixed = rearrange(mixed, "(b wy wx) (y x) c -> b (wy y) (wx x) c", wy=tiles[0], wx=tiles[1], y=window)
        x = x + mixed
        x = x + block.mlp.down(F.gelu(block.mlp.up(block.norm2(x))))
    return rearrange(x, "b h w c -> b c h w")


@pytest.mark.parametrize(("height", "width"), [(56, 56), (112, 112), (56, 168), (168, 112)])
def test_window_major_order_equals_rows_and_columns(detector: Detector, height: int, width: int) -> None:
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        close(detector.vision.trunk(images), plain_trunk(detector.vision.trunk, images), atol=2e-5)


def test_rotary_tables_are_made_twice_however_many_blocks(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = vision.axial_rotation
    monkeypatch.setattr(vision, "axial_rotation", lambda *args: made.append(len(args[0])) or original(*args))
    detector.vision.trunk(IMAGES)
    assert sorted(made) == [16, 64]


@pytest.mark.parametrize(("height", "width"), [(56, 56), (112, 168), (168, 56), (224, 224)])
def test_any_whole_number_of_windows_runs(detector: Detector, height: int, width: int) -> None:
    images = torch.zeros(1, 3, height, width)
    prompts = make_prompts(*phrases(CAT), [0], [0], make_exemplars(torch.tensor([[[0.5, 0.5, 0.2, 0.3]]])))
    output = run(detector, prompts, images)
    assert output.semantic_logits.shape == (1, height // 14 * 4, width // 14 * 4)
    assert output.pred_masks.isfinite().all()


@pytest.mark.parametrize("side", [57, 64, 98])
def test_a_picture_of_another_size_is_refused(detector: Detector, side: int) -> None:
    with pytest.raises(ValueError, match=f"{side}x112 is not a multiple of 56"):
        detector.encode_images(torch.zeros(1, 3, side, 112))


# --- detector -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features(detector: Detector) -> ImageFeatures:
    return detector.encode_images(IMAGES)


def some_boxes(prompts: int, boxes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(prompts, boxes, 4, generator=generator) * 0.4 + 0.2


def ground(detector: Detector, features: ImageFeatures, prompts: PromptBatch) -> Grounding:
    return detector.ground(features, detector.encode_phrases(prompts), prompts)


def doubled(detector: Detector, prompts: PromptBatch) -> DetectorOutput:
    features, phrases = detector.encode_images(IMAGES), detector.encode_phrases(prompts)
    return detector.segment_all(
        features, detector.ground_layers(features, phrases, prompts, detector.decoder.doubled_queries())
    )


def test_scoring_the_last_layer_alone_equals_the_last_of_all(detector: Detector, features: ImageFeatures) -> None:
    prompts = make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1])
    last, words = ground(detector, features, prompts), detector.encode_phrases(prompts)
    every = detector.ground_layers(features, words, prompts, detector.decoder.concept_queries())
    assert (len(last.pred_logits), len(every.pred_logits)) == (1, 2)
    close(last.pred_logits, every.pred_logits[-1:], atol=1e-5)
    close(last.pred_boxes, every.pred_boxes[-1:], atol=1e-6)
    close(last.presence_logits, every.presence_logits[-1:], atol=1e-5)


@pytest.mark.parametrize("phrase_index", [[0], [0, 1, 0]])
def test_masks_of_kept_queries_equal_rows_of_all_masks(detector: Detector, phrase_index: list[int]) -> None:
    output = run(detector, make_prompts(*phrases(CAT, DOG), phrase_index, [0] * len(phrase_index)))
    prompt_index = torch.tensor([0, len(phrase_index) - 1, 0])
    query_index = torch.tensor([9, 0, 3])
    close(output.mask_logits(prompt_index, query_index), output.pred_masks[prompt_index, query_index], atol=1e-5)


def test_no_kept_query_gives_no_mask(detector: Detector) -> None:
    output = run(detector, make_prompts(*phrases(CAT, DOG), [0, 1], [0, 0]))
    nothing = torch.zeros(0, dtype=torch.long)
    assert output.mask_logits(nothing, nothing).shape == (0, 32, 32)


def test_prompts_can_be_segmented_apart(detector: Detector, features: ImageFeatures) -> None:
    grounding = ground(detector, features, make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1]))
    both = detector.segment(features, grounding, torch.tensor([0, 1]))
    second = detector.segment(features, grounding, torch.tensor([1]))
    same_answer(second, both, expected_row=1)


def test_padding_of_phrases_does_not_matter(detector: Detector) -> None:
    short = run(detector, make_prompts(*phrases(CAT), [0], [0]))
    padded = run(detector, make_prompts(*phrases(CAT, length=32), [0], [0]))
    same_answer(padded, short)


def test_a_phrase_used_twice_is_encoded_once(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = make_exemplars(some_boxes(2, 1))
    rows = []
    original = detector.text.forward
    monkeypatch.setattr(detector.text, "forward", lambda ids: rows.append(len(ids)) or original(ids))
    shared = run(detector, make_prompts(*phrases(CAT), [0, 0], [0, 1], boxes))
    copied = run(detector, make_prompts(*phrases(CAT, CAT), [0, 1], [0, 1], boxes))
    assert rows == [1, 2]
    for row in range(2):
        same_answer(shared, copied, row, row)


def test_a_prompt_is_answered_alone_as_in_a_batch(detector: Detector) -> None:
    """Several prompts on one picture, several pictures, and a phrase for two of them."""
    prompts = make_prompts(*phrases(CAT, DOG), [0, 1, 1, 0], [0, 0, 1, 1], make_exemplars(some_boxes(4, 2)))
    together = run(detector, prompts)
    for row in range(4):
        picture = int(prompts.image_index[row])
        boxes = make_exemplars(prompts.exemplars.boxes_cxcywh[row : row + 1])
        ids = (CAT, DOG)[int(prompts.phrase_index[row])]
        alone = run(detector, make_prompts(*phrases(ids), [0], [0], boxes), IMAGES[picture][None])
        same_answer(alone, together, expected_row=row)


def test_the_order_of_prompts_does_not_matter(detector: Detector) -> None:
    forward = run(detector, make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1]))
    backward = run(detector, make_prompts(*phrases(DOG, CAT), [0, 1], [1, 0]))
    same_answer(backward, forward, 0, 1)
    same_answer(backward, forward, 1, 0)


def test_padded_exemplars_do_not_matter(detector: Detector) -> None:
    """A prompt with one box beside one with three: the padding may hold anything, outside the picture too."""
    boxes = some_boxes(2, 3)
    boxes[0, 1:] = torch.tensor([7.0, -3.0, 2.0, 90.0])
    valid = torch.tensor([[True, False, False], [True, True, True]])
    ragged = run(detector, make_prompts(*phrases(CAT), [0, 0], [0, 0], make_exemplars(boxes, valid=valid)))
    alone = run(detector, make_prompts(*phrases(CAT), [0], [0], make_exemplars(boxes[:1, :1])))
    same_answer(ragged, alone)


def test_padded_points_do_not_matter(detector: Detector) -> None:
    points = torch.tensor([[[0.2, 0.3], [9.0, -4.0]], [[0.8, 0.5], [0.1, 0.1]]])
    ragged = replace(shown(torch.zeros(2, 0, 4), points), point_valid=torch.tensor([[True, False], [True, True]]))
    padded = run(detector, make_prompts(*phrases(CAT), [0, 0], [0, 0], ragged))
    alone = run(detector, make_prompts(*phrases(CAT), [0], [0], shown(torch.zeros(1, 0, 4), points[:1, :1])))
    same_answer(padded, alone)


def test_a_point_pools_the_cell_it_lies_in(detector: Detector, features: ImageFeatures) -> None:
    """At the centre of row 2, column 5 of eight nothing is mixed in from the neighbours."""
    pooled = []
    handle = detector.prompts.point_pool.register_forward_pre_hook(lambda _module, inputs: pooled.append(inputs[0]))
    points = torch.tensor([[[5.5 / 8, 2.5 / 8]]])
    run(detector, make_prompts(*phrases(CAT), [0], [1], shown(torch.zeros(1, 0, 4), points)))
    handle.remove()
    expected = detector.prompts.pool_norm(features.coarse[1, :, 2, 5])
    close(pooled[0][0, 0], expected, atol=1e-5)


def test_logits_stay_within_the_published_bounds(detector: Detector, features: ImageFeatures) -> None:
    grounding = ground(detector, features, make_prompts(*phrases(CAT), [0], [0]))
    logits = detector.scoring(grounding.queries[None] * 1e3, grounding.prompt)
    assert logits.abs().max() == 12


def test_a_prompt_without_exemplars_is_the_same_beside_one_with(detector: Detector) -> None:
    valid = torch.tensor([[False, False], [True, True]])
    mixed = run(detector, make_prompts(*phrases(CAT), [0, 0], [0, 0], make_exemplars(some_boxes(2, 2), valid=valid)))
    alone = run(detector, make_prompts(*phrases(CAT), [0], [0]))
    same_answer(mixed, alone)


def shown(boxes: Tensor, points: Tensor) -> Exemplars:
    return make_exemplars(boxes, points=points)


def test_the_order_of_exemplars_does_not_matter(detector: Detector) -> None:
    boxes, points = some_boxes(1, 3), torch.tensor([[[0.2, 0.3], [0.8, 0.5]]])
    given_order = run(detector, make_prompts(*phrases(CAT), [0], [0], shown(boxes, points)))
    turned = run(detector, make_prompts(*phrases(CAT), [0], [0], shown(boxes.flip(1), points.flip(1))))
    same_answer(turned, given_order)


def test_an_exemplar_point_changes_the_answer(detector: Detector) -> None:
    points = torch.tensor([[[0.2, 0.3]]])
    without = run(detector, make_prompts(*phrases(CAT), [0], [0]))
    with_point = run(detector, make_prompts(*phrases(CAT), [0], [0], shown(torch.zeros(1, 0, 4), points)))
    assert (with_point.pred_logits - without.pred_logits).abs().max() > 1e-2


def test_one_to_many_leaves_the_first_half_of_the_queries_alone(detector: Detector) -> None:
    prompts = make_prompts(*phrases(CAT), [0], [0])
    plain = run(detector, prompts)
    with torch.no_grad():
        output = doubled(detector, prompts)
    first, copies = output.split_queries(10)
    close(first.pred_logits, plain.pred_logits)
    close(first.pred_boxes, plain.pred_boxes, atol=1e-5)
    close(first.pred_masks, output.pred_masks[:, :10])
    assert copies.pred_logits.shape == first.pred_logits.shape


# --- mask head ----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 4), height=st.integers(1, 6), width=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_the_doubled_convolution_equals_doubling_then_convolving(seed: int, dim: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, dim, height, width, generator=generator)
    weight = torch.randn(dim + 1, dim, 3, 3, generator=generator)
    plain = F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, padding=1)
    close(upsampled_conv(x, weight), plain, atol=2e-5)


def test_sharing_the_picture_part_of_the_pixel_decoder_equals_running_it_whole(
    detector: Detector, features: ImageFeatures
) -> None:
    """A convolution of a sum is the sum of convolutions: the picture's half is computed once for all prompts."""
    prompts = make_prompts(*phrases(CAT, DOG), [0, 1, 0], [0, 0, 1])
    grounding = ground(detector, features, prompts)
    head, prompt = detector.masks, grounding.prompt
    words = head.prompt_attention.project(prompt.tokens, prompt.tokens)
    attended = head.prompt_attention(head.prompt_norm(grounding.memory), words, prompt.valid[:, None, None])
    x = rearrange(grounding.memory + attended, "p (h w) c -> p c h w", h=8)
    pyramid = detector.vision.concept_neck(features.trunk)
    for finer, conv, norm in (
        (pyramid.medium, head.conv_medium, head.norm_medium),
        (pyramid.fine, head.conv_fine, head.norm_fine),
    ):
        x = F.relu(norm(conv(F.interpolate(x, scale_factor=2, mode="nearest") + finer[prompts.image_index])))
    output = detector.segment(features, grounding, torch.arange(3))
    close(output.pixel_embeddings, x, atol=5e-5)


def test_folding_the_instance_convolution_equals_running_it_on_the_map(
    detector: Detector, features: ImageFeatures
) -> None:
    grounding = ground(detector, features, make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1]))
    output = detector.segment(features, grounding, torch.arange(2))
    head = detector.masks
    plain = torch.einsum("pqc,pchw->pqhw", head.query_mlp(grounding.queries), head.instance(output.pixel_embeddings))
    close(output.pred_masks, plain, atol=7.5e-4)


# --- training and precision ---------------------------------------------------------------------------------------


def gradients(detector: Detector, prompts: PromptBatch) -> dict[str, Tensor]:
    """Of a weighted sum of everything that is answered."""
    output = doubled(detector, prompts)
    generator = torch.Generator().manual_seed(3)
    parts = [output.pred_logits, output.pred_boxes, output.presence_logits, output.pred_masks, output.semantic_logits]
    total = sum((part * torch.randn(part.shape, generator=generator)).mean() for part in parts)
    names, parameters = zip(*detector.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(total, parameters, allow_unused=True), strict=True))


@pytest.fixture
def trainable(detector: Detector) -> Detector:
    """A copy whose weights learn; drop-out stays off so that two runs are the same."""
    copy = Detector(debug())
    copy.load_state_dict(detector.state_dict())
    return copy.eval().double()


def test_written_out_attention_gives_the_gradients_of_the_kernel(
    trainable: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = make_exemplars(some_boxes(2, 2))
    prompts = make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1], boxes)
    monkeypatch.setattr(f"{__name__}.IMAGES", IMAGES.double())
    written_out = gradients(trainable, prompts)
    monkeypatch.setattr("masklet.nn.attention._better_written_out", lambda *_: False)
    fused = gradients(trainable, prompts)
    for name, gradient in written_out.items():
        if gradient is not None:
            torch.testing.assert_close(gradient, fused[name], rtol=1e-6, atol=1e-6, msg=name)


def test_every_parameter_of_the_concept_path_learns(trainable: Detector) -> None:
    boxes, points = some_boxes(2, 2), torch.full((2, 1, 2), 0.4)
    trained = gradients(trainable.float(), make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1], shown(boxes, points)))
    idle = {name for name, gradient in trained.items() if gradient is None}
    assert {name for name in idle if not name.startswith(("click.", "vision.click_neck.", "memory."))} == set()


def test_no_layer_learns_from_the_boxes_of_later_ones(trainable: Detector) -> None:
    moves: list[Tensor] = []
    trainable.decoder.box_head.register_forward_hook(lambda _module, _inputs, output: moves.append(output))
    output = trainable.float()(IMAGES, make_prompts(*phrases(CAT), [0], [0]))
    first, last = torch.autograd.grad(output.pred_boxes[-1].sum(), [moves[0], moves[-1]])
    assert first.eq(0).all()
    assert last.ne(0).any()


@pytest.fixture
def half(detector: Detector) -> Detector:
    copy = Detector(debug())
    copy.load_state_dict(detector.state_dict())
    copy.eval().requires_grad_(requires_grad=False)
    cast_compute(copy, torch.bfloat16)
    return copy


def test_half_precision_leaves_what_decides_coordinates_in_float32(half: Detector) -> None:
    precise = [module for module in half.modules() if isinstance(module, PreciseMLP)]
    assert {parameter.dtype for module in precise for parameter in module.parameters()} == {torch.float32}
    assert half.decoder.reference.dtype == half.decoder.query.dtype == half.vision.trunk.position.dtype == torch.float32
    assert half.vision.trunk.blocks[0].attention.qkv.weight.dtype == torch.bfloat16


def test_half_precision_stays_close(detector: Detector, half: Detector) -> None:
    """Loose: bfloat16 has three digits, and random weights amplify more than learned ones."""
    prompts = make_prompts(*phrases(CAT, DOG), [0, 1], [0, 1], make_exemplars(some_boxes(2, 2)))
    exact, rounded = run(detector, prompts), run(half, prompts)
    assert rounded.pred_boxes.dtype == rounded.presence_logits.dtype == torch.float32
    close(rounded.pred_boxes, exact.pred_boxes, atol=0.05)
    close(rounded.pred_logits.float(), exact.pred_logits, atol=0.5)
    close(rounded.presence_logits, exact.presence_logits, atol=0.5)


def test_half_precision_runs_the_click_head(half: Detector) -> None:
    features = half.click.project_image(half.vision.click_neck(half.vision.trunk(IMAGES[:1])))
    prompt = ClickPrompt(points_xy=torch.tensor([[[0.4, 0.4]]]), point_labels=torch.tensor([[1]]))
    assert half.click(features, prompt, multimask=True).mask_logits.isfinite().all()
