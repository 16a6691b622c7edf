"""Stage one: what is compared with what, that it is learnt, and that the detector begins from it."""

import json
from pathlib import Path

import pytest
import torch
from labelled_pictures import write_pictures
from torch.nn import functional as F

import masklet
from masklet.checkpoints.adapters import read
from masklet.data.collate import Targets, TrainingBatch
from masklet.train.losses.contrast import ContrastConfig, cell_coverage, contrast_losses, pool_phrases
from masklet.train.run import loop
from masklet.types import Exemplars, PromptBatch

RUN = [
    "preset=debug",
    "parallel=ddp",
    "device=cpu",
    "bfloat16=false",
    "data.workers=0",
    "log_every=1",
    "data.sources={hq: {kind: coco, annotations: annotations.json, images: images, split: all}}",
]
PHASE = "{steps: 2, image_size: 112, batch_size: 4, weights: {hq: 1}}"


def batch_of(phrases: list[list[int]], asked: list[tuple[int, int]], answers: list[slice | None]) -> TrainingBatch:
    """Pictures of two by two cells; `asked` are (picture, phrase), `answers` the columns of four that answer it."""
    masks = torch.zeros(len(asked), 4, 4, dtype=torch.bool)
    for row, columns in enumerate(answers):
        if columns is not None:
            masks[row, :, columns] = True
    present = torch.tensor([columns is not None for columns in answers])
    none = torch.zeros(len(asked), 0)
    prompts = PromptBatch(
        token_ids=torch.tensor(phrases),
        token_valid=torch.ones(len(phrases), len(phrases[0]), dtype=torch.bool),
        phrase_index=torch.tensor([phrase for _, phrase in asked]),
        image_index=torch.tensor([image for image, _ in asked]),
        exemplars=Exemplars(
            boxes_cxcywh=none[..., None].expand(-1, -1, 4),
            box_labels=none.long(),
            box_valid=none.bool(),
            points_xy=none[..., None].expand(-1, -1, 2),
            point_labels=none.long(),
            point_valid=none.bool(),
        ),
    )
    targets = Targets(
        boxes_cxcywh=torch.full((int(present.sum()), 4), 0.5),
        masks=masks[present],
        mask_valid=torch.ones(int(present.sum()), dtype=torch.bool),
        target_prompt=present.nonzero()[:, 0],
        target_object=torch.arange(int(present.sum())),
        exhaustive=torch.ones(len(asked), dtype=torch.bool),
        semantic_masks=masks,
        semantic_valid=present,
        unlocated=torch.zeros(len(asked), dtype=torch.bool),
    )
    return TrainingBatch(
        images=torch.zeros(1 + max(image for image, _ in asked), 3, 8, 8), prompts=prompts, targets=targets
    )


def words(*directions: int) -> torch.Tensor:
    """Phrases of three tokens, all in one of four directions."""
    return F.one_hot(torch.tensor(directions), 4)[:, None].expand(-1, 3, -1).float()


def features(columns: list[list[int]]) -> torch.Tensor:
    """Pictures of two by two cells; each lists the direction of its left and of its right column."""
    return torch.stack([F.one_hot(torch.tensor([left, right] * 2), 4).T for left, right in columns]).float()


START, END = 1, 2
LEFT, RIGHT = slice(0, 2), slice(2, 4)


def test_what_agrees_costs_less_than_what_does_not() -> None:
    batch = batch_of([[START, 5, END], [START, 6, END]], [(0, 0), (0, 1)], [LEFT, RIGHT])
    right = contrast_losses(features([[0, 1]]), words(0, 1), batch, ContrastConfig())
    wrong = contrast_losses(features([[1, 0]]), words(0, 1), batch, ContrastConfig())
    assert right["loss_contrast"] < 1e-5
    assert right["loss_cells"] < 0.02
    assert wrong["loss_contrast"] > 10
    assert wrong["loss_cells"] > 5


def test_the_contrast_is_cross_entropy_both_ways() -> None:
    batch = batch_of([[START, 5, END], [START, 6, END]], [(0, 0), (1, 1)], [LEFT, RIGHT])
    cells = F.normalize(torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    phrases = F.normalize(torch.randn(2, 4, generator=torch.Generator().manual_seed(1)), dim=1)
    got = contrast_losses(cells, phrases[:, None].expand(-1, 3, -1), batch, ContrastConfig())["loss_contrast"]
    regions = F.normalize(torch.stack([cells[0][:, [0, 2]].sum(1), cells[1][:, [1, 3]].sum(1)]), dim=1)
    logits = regions @ phrases.T / 0.07
    wanted = (F.cross_entropy(logits, torch.arange(2)) + F.cross_entropy(logits.T, torch.arange(2))) / 2
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("second", "asked", "answers"),
    [
        ([START, 5, 6, END], [(0, 0), (1, 1)], [LEFT, LEFT]),  # says more: "circle" and "red circle"
        ([START, 6, 7, END], [(0, 0), (0, 1)], [LEFT, slice(1, 3)]),  # overlaps it in the same picture
    ],
)
def test_what_may_hold_too_is_no_negative(second, asked, answers) -> None:
    batch = batch_of([[START, 5, END, END], second], asked, answers)
    meant_alike = torch.cat([words(0, 0), words(0, 0)[:, :1]], dim=1)
    alike = contrast_losses(features([[0, 0]] * (1 + asked[1][0])), meant_alike, batch, ContrastConfig())
    assert alike["loss_contrast"] == 0


def test_absent_phrases_are_denied_everywhere_and_unknown_ones_nowhere() -> None:
    batch = batch_of([[START, 5, END]], [(0, 0)], [None])
    cells = features([[0, 1]])
    losses = contrast_losses(cells, words(0), batch, ContrastConfig())
    assert losses["loss_contrast"] == 0
    assert losses["loss_cells"] > 2
    batch.targets.exhaustive[:] = False
    assert contrast_losses(cells, words(0), batch, ContrastConfig())["loss_cells"] == 0


def test_coverage_is_the_share_of_a_cell() -> None:
    batch = batch_of([[START, 5, END]], [(0, 0)], [slice(1, 4)])
    assert cell_coverage(batch.targets, 4).tolist() == [[0.5, 1.0, 0.5, 1.0]]


def test_lengths_are_bound_to_the_width_and_padding_is_not_looked_at() -> None:
    batch = batch_of([[START, 5, END]], [(0, 0)], [LEFT])
    batch.prompts.token_valid[0, 2] = False
    tokens = torch.full((1, 3, 4), 1.0)
    tokens[0, 2] = 9
    right = contrast_losses(2 * features([[0, 1]]), tokens, batch, ContrastConfig())
    assert right["loss_lengths"] == 0
    assert contrast_losses(features([[0, 1]]), tokens, batch, ContrastConfig())["loss_lengths"] == pytest.approx(
        0.75**2
    )


def test_padding_is_not_pooled() -> None:
    tokens = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    valid = torch.tensor([[True, True, False]])
    torch.testing.assert_close(pool_phrases(tokens, valid), torch.tensor([[0.6, 0.8]]))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), count=8, bare_every=4)


def test_the_first_stage_runs_and_the_second_begins_from_it(pictures, tmp_path) -> None:
    first = [*RUN, f"data.root={pictures}"]
    assert loop.run("pretrain-encoders", [*first, f"phases=[{PHASE}, {PHASE}]"], tmp_path / "encoders")
    weights = tmp_path / "encoders/weights.safetensors"
    masklet.load(weights)
    assert loop.run("pretrain-encoders", [*first, f"phases=[{PHASE}]", "seed=1"], tmp_path / "others")
    second = [*first, "preset=null", f"initial_weights={weights}", "phases=[{**}]".replace("{**}", PHASE)]
    assert loop.run(
        "detector", [*second, "optim.lr_rest=0", "optim.lr_vision=0", "optim.lr_text=0"], tmp_path / "detector"
    )
    began, ended = read(weights).state, read(tmp_path / "detector/weights.safetensors").state
    for name in began:
        assert torch.equal(began[name], ended[name]), name


def test_only_encoders_are_learnt(pictures, tmp_path) -> None:
    changes = [*RUN, f"data.root={pictures}", f"phases=[{PHASE}]"]
    assert loop.run("pretrain-encoders", changes, tmp_path / "long")
    assert loop.run("pretrain-encoders", [*changes, "optim.lr_rest=1.0"], tmp_path / "same")
    long, same = (read(tmp_path / name / "weights.safetensors").state for name in ("long", "same"))
    learnt = ("vision.trunk.", "vision.concept_neck.coarse.", "text.")
    assert {name for name in long if name.startswith(learnt)}
    for name in long:
        assert torch.equal(long[name], same[name]), name


def test_a_few_pictures_are_told_apart(pictures, tmp_path) -> None:
    rates = [f"optim.lr_{part}=3e-3" for part in ("vision", "text", "rest")]
    short = ["optim.warmup_steps=2", "optim.cooldown_steps=2", "optim.timescale=100"]
    still = "{crop_probability: 0, flip_probability: 0, pad_probability: 0, keep_aspect_probability: 0}"
    phase = f"phases=[{{steps: 70, image_size: 112, batch_size: 8, weights: {{hq: 1}}, augment: {still}}}]"
    loop.run("pretrain-encoders", [*RUN, *rates, *short, f"data.root={pictures}", phase], tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    first, last = (sum(line["loss_contrast"] for line in part) / 5 for part in (lines[:5], lines[-5:]))
    assert last < 0.5 * first
