import torch

from masklet.config import debug
from masklet.data.collate import Targets
from masklet.models.decoder import Decoder
from masklet.train.tasks.denoise import SHIFT, noised_boxes

SLOTS, LAYERS = 6, 2


def targets_of(*counts: int) -> Targets:
    total, prompts = sum(counts), len(counts)
    return Targets(
        boxes_cxcywh=torch.rand(total, 4, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4,
        masks=torch.zeros(total, 4, 4, dtype=torch.bool),
        mask_valid=torch.ones(total, dtype=torch.bool),
        target_prompt=torch.repeat_interleave(torch.arange(prompts), torch.tensor(counts)),
        target_object=torch.arange(total),
        exhaustive=torch.ones(prompts, dtype=torch.bool),
        semantic_masks=torch.zeros(prompts, 4, 4, dtype=torch.bool),
        semantic_valid=torch.zeros(prompts, dtype=torch.bool),
        unlocated=torch.zeros(prompts, dtype=torch.bool),
    )


def noised(targets: Targets, seed: int = 0):
    return noised_boxes(targets, SLOTS, LAYERS, torch.Generator().manual_seed(seed))


def test_each_slot_begins_near_the_object_that_it_should_become() -> None:
    targets = targets_of(2, 3)
    boxes, pairs = noised(targets)
    assert boxes.shape == (2, SLOTS, 4)
    wanted = targets.boxes_cxcywh[targets.target_object[pairs.target_index]]
    given = boxes[pairs.prompt_index, pairs.query_index]
    assert (targets.target_prompt[pairs.target_index] == pairs.prompt_index).all()
    assert ((given - wanted)[:, :2].abs() <= SHIFT * wanted[:, 2:] + 1e-6).all()
    assert not torch.equal(given, wanted)
    assert torch.equal(boxes, noised(targets)[0])
    assert not torch.equal(boxes, noised(targets, seed=1)[0])


def test_slots_are_dealt_evenly_and_on_every_layer() -> None:
    targets = targets_of(4, 1, 9)
    _, pairs = noised(targets)
    assert pairs.layer_index.bincount().tolist() == [len(pairs.layer_index) // LAYERS] * LAYERS
    first = pairs.keep(pairs.layer_index == 0)
    assert first.prompt_index.bincount().tolist() == [
        4,
        SLOTS,
        SLOTS,
    ]  # 4 fit once, 1 six times, of 9 there is room for 6
    assert len(set(zip(first.prompt_index.tolist(), first.query_index.tolist(), strict=True))) == len(first.query_index)
    assert (first.prompt_index.diff() >= 0).all()  # as the loss of masks expects


def test_a_prompt_without_objects_has_boxes_and_no_pairs() -> None:
    boxes, pairs = noised(targets_of(0, 1))
    assert set(pairs.prompt_index.tolist()) == {1}
    assert ((boxes > 0) & (boxes < 1)).all()


def test_the_decoder_s_own_queries_do_not_see_those_that_denoise() -> None:
    torch.manual_seed(0)
    decoder = Decoder(debug().decoder)
    boxes = torch.rand(3, SLOTS, 4) * 0.3 + 0.3
    queries, own = decoder.denoising_queries(boxes), decoder.concept_queries()
    assert queries.num_apart == SLOTS
    assert torch.equal(queries.boxes[:, -SLOTS:], boxes)
    assert torch.equal(queries.boxes[1, :-SLOTS], own.boxes)
    assert torch.equal(queries.embeddings[: len(own.embeddings)], own.embeddings)
