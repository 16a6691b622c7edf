"""Examples to tensors: sharing of phrases, packing of targets, exemplars, and determinism."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masklet.data.collate import (
    CollateConfig,
    collate,
    dress_queries,
    jitter_boxes,
    select_prompts,
    shrink_mask,
)
from masklet.data.schema import Example, PhraseQuery

SIDE = 56


class Letters:
    """One id a letter."""

    def encode(self, phrases: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        longest = max(map(len, phrases))
        ids = torch.tensor([[ord(c) for c in phrase.ljust(longest, "\0")] for phrase in phrases])
        return ids, ids > 0


def make_example(queries: Sequence[tuple[str, tuple[int, ...]]], *, objects: int = 4, side: int = SIDE) -> Example:
    masks = np.zeros((objects, side, side), bool)
    boxes = np.zeros((objects, 4), np.float32)
    for row in range(objects):
        masks[row, 4 : 4 + 12, 13 * row : 13 * row + 10] = True
        boxes[row] = [13 * row, 4, 13 * row + 10, 16]
    return Example(
        image=np.full((side, side, 3), 255, np.uint8),
        boxes_xyxy=boxes,
        masks=masks,
        mask_valid=np.arange(objects) != 3,
        queries=tuple(PhraseQuery(phrase=phrase, object_index=answers) for phrase, answers in queries),
        source="test",
    )


FIRST = (("cup", (0, 1)), ("dog", ()), ("thing", (0, 1, 2, 3)))
SECOND = (("cup", ()), ("car", (2,)))
PLAIN = CollateConfig(visual_probability=0.0, text_and_box_probability=0.0)


def make_batch(config: CollateConfig = PLAIN, seed: int = 0):
    examples = [make_example(FIRST), make_example(SECOND)]
    return collate(examples, Letters(), config, np.random.default_rng(seed))


def test_each_phrase_is_encoded_once_and_every_prompt_finds_its_own() -> None:
    prompts = make_batch().prompts
    rows = ["".join(map(chr, row)).rstrip("\0") for row in prompts.token_ids.tolist()]
    assert sorted(rows) == ["car", "cup", "dog", "thing"]
    asked = [rows[index] for index in prompts.phrase_index.tolist()]
    assert list(zip(asked, prompts.image_index.tolist(), strict=True)) == [
        ("cup", 0),
        ("thing", 0),
        ("dog", 0),
        ("car", 1),
        ("cup", 1),
    ]
    assert prompts.exemplars.boxes_cxcywh.shape == (5, 0, 4)


def test_objects_are_packed_once_and_targets_point_at_them() -> None:
    targets = make_batch().targets
    assert targets.target_prompt.tolist() == [0, 0, 1, 1, 1, 1, 3]
    assert targets.target_object.tolist() == [0, 1, 0, 1, 2, 3, 4]
    assert targets.masks.shape == (5, 16, 16)
    assert targets.mask_valid.tolist() == [True, True, True, False, True]
    torch.testing.assert_close(targets.boxes_cxcywh[1], torch.tensor([18 / SIDE, 10 / SIDE, 10 / SIDE, 12 / SIDE]))


def test_semantic_targets_are_unions_and_unknown_with_a_missing_mask_or_no_object() -> None:
    targets = make_batch().targets
    assert targets.semantic_valid.tolist() == [True, False, False, True, False]
    assert torch.equal(targets.semantic_masks[0], targets.masks[0] | targets.masks[1])


def test_selecting_prompts_keeps_what_they_ask_and_answer() -> None:
    batch = make_batch()
    kept = torch.tensor([False, True, False, True, False])
    targets = batch.targets.select(kept)
    assert targets.target_prompt.tolist() == [0, 0, 0, 0, 1]
    assert targets.target_object.tolist() == [0, 1, 2, 3, 4]
    prompts = select_prompts(batch.prompts, kept)
    assert prompts.image_index.tolist() == [0, 1]
    assert prompts.exemplars.box_valid.shape == (2, 0)


def test_the_same_generator_state_gives_the_same_batch() -> None:
    config = CollateConfig(visual_probability=0.4, text_and_box_probability=0.4)
    first, second = make_batch(config, 5), make_batch(config, 5)
    assert torch.equal(first.prompts.token_ids, second.prompts.token_ids)
    assert torch.equal(first.prompts.exemplars.boxes_cxcywh, second.prompts.exemplars.boxes_cxcywh)


def test_visual_prompts_lose_their_words_and_keep_all_their_objects() -> None:
    example = make_example(FIRST)
    config = CollateConfig(visual_probability=1.0, jitter=0.0)
    for prompt in dress_queries(example, config, np.random.default_rng(0)):
        if not prompt.object_index:
            assert prompt.phrase == "dog"
            continue
        assert prompt.phrase == "visual"
        assert prompt.object_index in {(0, 1), (0, 1, 2, 3)}
        assert 1 <= len(prompt.boxes) <= min(3, len(prompt.object_index))
        assert (prompt.labels == 1).all()


def test_boxes_beside_words_may_be_negative_and_then_show_what_does_not_answer() -> None:
    example = make_example(FIRST)
    config = CollateConfig(
        visual_probability=0.0, text_and_box_probability=1.0, negative_exemplar_probability=1.0, jitter=0.0
    )
    prompts = {prompt.phrase: prompt for prompt in dress_queries(example, config, np.random.default_rng(0))}
    assert prompts["cup"].labels[-1] == 0
    assert round(float(prompts["cup"].boxes[-1][0] * SIDE)) in {13 * 2 + 5, 13 * 3 + 5}
    assert 0 not in prompts["thing"].labels
    assert prompts["dog"].labels.tolist() == [0]


def test_positives_come_first_but_negatives_keep_their_share() -> None:
    queries = [(f"p{i}", (0,)) for i in range(10)] + [(f"n{i}", ()) for i in range(10)]
    prompts = dress_queries(make_example(queries), CollateConfig(max_queries=8), np.random.default_rng(0))
    assert sum(bool(prompt.object_index) for prompt in prompts) == 6
    assert len(prompts) == 8


def test_questions_with_too_many_answers_are_left_out() -> None:
    config = CollateConfig(max_targets=3)
    prompts = dress_queries(make_example(FIRST), config, np.random.default_rng(0))
    assert (0, 1, 2, 3) not in [prompt.object_index for prompt in prompts]


def test_a_batch_without_any_question_or_object_is_possible() -> None:
    batch = collate([make_example((), objects=0)], Letters(), PLAIN, np.random.default_rng(0))
    assert batch.prompts.phrase_index.shape == (0,)
    assert batch.targets.masks.shape == (0, 16, 16)


def test_pictures_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        collate([make_example(FIRST), make_example(FIRST, side=112)], Letters(), PLAIN, np.random.default_rng(0))


@given(seed=st.integers(0, 1000), sigma=st.sampled_from([0.0, 0.1, 3.0]))
def test_jittered_boxes_stay_in_the_picture_with_an_area(seed, sigma) -> None:
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.01, 0.3, (5, 2))
    boxes = np.concatenate([rng.uniform(size / 2, 1 - size / 2), size], axis=1).astype(np.float32)
    moved = jitter_boxes(boxes, CollateConfig(jitter=sigma, largest_jitter=0.05), rng)
    change = np.stack([moved[:, :2] - boxes[:, :2], moved[:, 2:] - boxes[:, 2:]])
    assert (np.abs(change[0]) <= 0.05 + 1e-6).all()
    assert (np.abs(change[1]) <= 2 * 0.05 + 1e-6).all()
    assert (sigma > 0) == bool((np.abs(change) > 1e-5).any())
    assert (moved[:, 2:] > 0).all()
    assert (moved[:, :2] - moved[:, 2:] / 2 >= -1e-6).all()
    assert (moved[:, :2] + moved[:, 2:] / 2 <= 1 + 1e-6).all()


def test_shrunk_masks_keep_cells_half_covered_and_tiny_objects() -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4, :3] = True
    assert shrink_mask(mask, 2).tolist() == [[True, False], [False, False]]
    speck = np.zeros((56, 56), bool)
    speck[30, 30] = True
    assert shrink_mask(speck, 16).sum() == 1
    assert not shrink_mask(np.zeros((56, 56), bool), 16).any()
