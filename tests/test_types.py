"""Bundles: frozen, keyword-only, moved as a whole, checked for shape while tests run, and seen through by PyTorch."""

from dataclasses import FrozenInstanceError

import jaxtyping
import pytest
import torch
from torch.utils import _pytree as pytree

from masklet.types import ClickPrompt, DetectorOutput, FeaturePyramid, TokenSet


def tokens(count: int = 3) -> TokenSet:
    return TokenSet(tokens=torch.ones(2, count, 4), valid=torch.ones(2, count, dtype=torch.bool))


def test_a_bundle_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        tokens().tokens = torch.zeros(1)  # type: ignore[misc]


def test_a_bundle_maps_every_tensor_and_keeps_what_is_not_one() -> None:
    moved = tokens().map(lambda tensor: tensor[:1])
    assert moved.tokens.shape == (1, 3, 4)
    assert moved.valid.shape == (1, 3)
    prompt = ClickPrompt(points_xy=torch.zeros(1, 1, 2), point_labels=torch.zeros(1, 1, dtype=torch.long))
    assert prompt.to("cpu").mask_logits is None


def test_wrong_shapes_are_refused_on_construction() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        TokenSet(tokens=torch.ones(2, 3, 4), valid=torch.ones(2, 4, dtype=torch.bool))


def test_a_bundle_is_a_tree_of_tensors_to_pytorch() -> None:
    leaves, spec = pytree.tree_flatten(tokens())
    assert len(leaves) == 2
    assert isinstance(pytree.tree_unflatten(leaves, spec), TokenSet)


@pytest.mark.parametrize("num_prompts", [1, 3])
def test_chosen_masks_are_rows_of_all_masks(num_prompts: int) -> None:
    torch.manual_seed(0)
    output = DetectorOutput(
        pred_logits=torch.zeros(1, num_prompts, 5),
        pred_boxes=torch.zeros(1, num_prompts, 5, 4),
        presence_logits=torch.zeros(1, num_prompts),
        mask_embeddings=torch.randn(num_prompts, 5, 8),
        mask_biases=torch.randn(num_prompts, 5),
        pixel_embeddings=torch.randn(num_prompts, 8, 6, 7),
        semantic_logits=torch.zeros(num_prompts, 6, 7),
    )
    prompt_index, query_index = torch.tensor([0, num_prompts - 1, 0]), torch.tensor([4, 1, 0])
    chosen = output.mask_logits(prompt_index, query_index)
    torch.testing.assert_close(chosen, output.pred_masks[prompt_index, query_index])
    none = torch.zeros(0, dtype=torch.long)
    assert output.mask_logits(none, none).shape == (0, 6, 7)


def test_a_pyramid_moves_all_levels() -> None:
    maps = {name: torch.zeros(1, 2, size, size) for name, size in (("fine", 8), ("medium", 4), ("coarse", 2))}
    assert FeaturePyramid(**maps).map(lambda tensor: tensor + 1).coarse.eq(1).all()
