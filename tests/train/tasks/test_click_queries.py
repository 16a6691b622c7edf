"""Clicks on pictures: the best query learns, corrections follow errors, and without queries nothing changes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_pictures import write_pictures

from masklet.checkpoints.adapters import read
from masklet.checkpoints.foreign import write_foreign
from masklet.checkpoints.weights import Weights, load_detector, write
from masklet.config import debug
from masklet.data.collate import CollateConfig
from masklet.data.pointing import ClicksConfig, PointedBatch, collate_pointed
from masklet.data.schema import Example
from masklet.data.sources import GeneratedSource
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.ops.masks import mask_to_box
from masklet.tokenizer import Tokenizer
from masklet.train.losses.criterion import Criterion
from masklet.train.recipes.schema import Recipe, load_recipe, parse_recipe
from masklet.train.run import loop
from masklet.train.tasks import detector as concept
from masklet.train.tasks.detector import ConceptTask
from masklet.train.tasks.simulated_clicks import clicked_again

SIDE, CLICKS = 56, 4
SMALL = ["device=cpu", "bfloat16=false", "data.workers=0", "log_every=1", "preset=debug"]
MINE = "data.sources={mine: {kind: coco, annotations: annotations.json, images: images}}"


def with_clicks() -> Detector.Config:
    return replace(debug(), decoder=replace(debug().decoder, num_click_queries=CLICKS))


def disc_on_square(index: int) -> Example:
    """A click on the disc may mean the disc, or the square with it."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    x, y = ((25, 22), (10, 8), (23, 25), (8, 11))[index]
    square = (columns >= x) & (columns < x + 24) & (rows >= y) & (rows < y + 24)
    disc = (columns - x - 12) ** 2 + (rows - y - 12) ** 2 < 8**2
    image = np.full((SIDE, SIDE, 3), 90, np.uint8)
    image[square], image[disc] = (200, 60, 40), (40, 80, 200)
    masks = np.stack([square, disc])
    return Example(
        image=image,
        boxes_xyxy=np.array([mask_to_box(mask) for mask in masks], np.float32),
        masks=masks,
        mask_valid=np.ones(2, bool),
        queries=(),
        source="a test",
    )


PICTURES = [disc_on_square(index) for index in range(4)]


def make_recipe(**clicks) -> Recipe:
    phase = {"image_size": 2 * SIDE, "batch_size": 1, "accumulate": 3, "steps": 40, "weights": {"scenes": 1.0}}
    table = {"preset": "debug", "device": "cpu", "bfloat16": False, "data": {"sources": {"scenes": {"kind": "scenes"}}}}
    return parse_recipe({**table, "phases": [{**phase, "clicks": {"share": 1.0, **clicks}}]})


def make_task(recipe: Recipe) -> ConceptTask:
    task = loop.make_task(recipe, loop.initial_weights(recipe))
    assert isinstance(task, ConceptTask)
    return task


def make_batch(
    recipe: Recipe, seed: int, *, box_share: float = 0.5, pictures: list[Example] = PICTURES
) -> PointedBatch:
    config = replace(recipe.phases[0].clicks, box_share=box_share)
    return collate_pointed(pictures, Tokenizer(1000), CollateConfig(), config, np.random.default_rng(seed))


@torch.no_grad()
def overlaps(model: Detector, batch: PointedBatch, clicks: int) -> list[float]:
    """Mean IoU of the surest mask after each click."""
    truth = batch.targets.masks[batch.targets.target_object]
    features, phrases = model.encode_images(batch.images), model.encode_phrases(batch.prompts)
    prompts, generator, found = batch.prompts, torch.Generator().manual_seed(0), []
    for _ in range(clicks):
        output = model.answer_clicks(features, phrases, prompts)
        answer = output.mask_logits(torch.arange(len(truth)), output.pred_logits[-1].argmax(dim=-1))
        mask = answer > 0
        found.append(((mask & truth).sum((1, 2)) / (mask | truth).sum((1, 2))).mean().item())
        prompts = clicked_again(prompts, answer, truth, generator)
    return found


def test_a_model_without_click_queries_is_as_it_was() -> None:
    torch.manual_seed(0)
    plain = Detector(debug())
    assert not any("click_query" in name or "click_reference" in name for name in plain.state_dict())
    more = Detector(with_clicks()).state_dict()
    assert more.keys() - plain.state_dict().keys() == {"decoder.click_query", "decoder.click_reference"}
    batch = make_batch(make_recipe(), 0)
    features, phrases = plain.encode_images(batch.images), plain.encode_phrases(batch.prompts)
    with pytest.raises(ValueError, match="num_click_queries"):
        plain.answer_clicks(features, phrases, batch.prompts)


def test_click_queries_go_into_own_files_and_not_into_foreign_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = Weights(config=with_clicks(), state=dict(Detector(with_clicks()).state_dict()), origin="a test")
    write(weights, tmp_path / "own.safetensors")
    back = read(tmp_path / "own.safetensors")
    assert torch.equal(back.state["decoder.click_query"], weights.state["decoder.click_query"])
    query = load_detector(back).decoder.click_query
    assert query is not None
    assert query.shape == (CLICKS, 32)
    for kind in ("official", "transformers"):
        write_foreign(weights, tmp_path / kind, kind)
        assert "decoder.click_query" not in read(tmp_path / kind, debug()).state


def test_the_best_mask_alone_is_corrected_and_presence_is_not_taught() -> None:
    torch.manual_seed(0)
    model = Detector(with_clicks()).eval()
    batch = make_batch(make_recipe(), 0)
    output = model.answer_clicks(model.encode_images(batch.images), model.encode_phrases(batch.prompts), batch.prompts)
    embeddings, logits = output.mask_embeddings, output.pred_logits
    embeddings.retain_grad()
    logits.retain_grad()
    truth = batch.targets.masks[batch.targets.target_object].float()
    probabilities = output.pred_masks.sigmoid()
    misses = torch.nn.functional.binary_cross_entropy(
        probabilities, truth[:, None].expand_as(probabilities), reduction="none"
    )
    agreement = torch.where(truth[:, None] > 0.5, probabilities, 1 - probabilities)
    alpha = torch.where(truth[:, None] > 0.5, 0.25, 0.75)
    focal = (alpha * (1 - agreement) ** 2 * misses).mean(dim=(2, 3))
    shared = (probabilities * truth[:, None]).sum((2, 3))
    dice = 1 - (2 * shared + 1) / (probabilities.sum((2, 3)) + truth.sum((1, 2))[:, None] + 1)
    best = (200 * focal + 10 * dice).argmin(dim=1)
    report = Criterion(Criterion.Config()).of_clicks(output, batch.targets)
    rows = torch.arange(len(best))
    torch.testing.assert_close(report.parts["loss_mask_clicks"], focal[rows, best].mean(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(report.parts["loss_dice_clicks"], dice[rows, best].mean(), rtol=1e-4, atol=1e-6)
    report.total.backward()
    assert embeddings.grad is not None
    moved = embeddings.grad.abs().sum(dim=-1) > 0
    assert moved.sum(dim=1).tolist() == [1] * len(best)
    assert torch.equal(moved.int().argmax(dim=1), best)
    assert logits.grad is not None
    others = torch.ones_like(logits[0], dtype=torch.bool)
    others[rows, best] = False
    assert (logits.grad[:, others] > 0).all()  # to be unsure
    assert all(parameter.grad is None for parameter in model.decoder.presence_head.parameters())
    assert not any(name.startswith(("loss_presence", "loss_semantic")) for name in report.parts)


def test_every_step_is_learnt_from_and_the_pictures_are_looked_at_once(monkeypatch) -> None:
    recipe = make_recipe(steps=2)
    torch.manual_seed(0)
    model, task, phase = Detector(with_clicks()), make_task(recipe), recipe.phases[0]
    looks, points = [], []

    def again(prompts, *rest):
        clicked = clicked_again(prompts, *rest)
        points.append(clicked.exemplars.point_valid.sum().item())
        return clicked

    monkeypatch.setattr(concept, "clicked_again", again)
    model.vision.trunk.register_forward_pre_hook(lambda module, images: looks.append(1))  # noqa: ARG005
    batch = make_batch(recipe, 0)
    (report,) = task.losses(model, [batch], phase, [3])
    assert len(looks) == 1
    given = batch.prompts.exemplars.point_valid.sum().item()
    assert points == [given + 8, given + 16]
    assert report.parts["loss_corrected_clicks"] > 0
    once = phase.model_copy(update={"clicks": ClicksConfig(share=1.0, steps=0)})
    (first,) = task.losses(model, [batch], once, [3])
    torch.testing.assert_close(report.total - report.parts["loss_corrected_clicks"], first.total)
    report.total.backward()
    for parameter in (model.decoder.click_query, model.prompts.point_direct.weight, model.vision.trunk.position):
        assert parameter is not None
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_all_parts_of_an_update_are_of_one_kind() -> None:
    recipe = make_recipe(share=0.4)
    batches = make_task(recipe).dataset(recipe.phases[0])
    kinds = [[isinstance(batches[3 * update + part], PointedBatch) for part in range(3)] for update in range(12)]
    assert all(len(set(kind)) == 1 for kind in kinds)
    assert len({kind[0] for kind in kinds}) == 2


def test_clicks_may_have_sources_of_their_own() -> None:
    values = make_recipe().model_dump()
    values["data"]["sources"]["dark"] = {"kind": "scenes"}
    values["phases"][0]["clicks"] = {"share": 1.0, "weights": {"dark": 1.0}}
    recipe = parse_recipe(values)
    dark = replace(PICTURES[0], image=np.zeros_like(PICTURES[0].image))
    sources = {"scenes": GeneratedSource(lambda seed: PICTURES[seed % 4]), "dark": GeneratedSource(lambda seed: dark)}  # noqa: ARG005
    task = replace(make_task(recipe), sources=lambda phase: {name: sources[name] for name in phase.weights})
    assert task.dataset(recipe.phases[0])[0].images.max() < -0.9
    (phrases,) = (phase.model_copy(update={"clicks": ClicksConfig()}) for phase in recipe.phases)
    assert task.dataset(phrases)[0].images.max() > -0.5
    values["phases"][0]["clicks"]["weights"] = {"nowhere": 1.0}
    with pytest.raises(InputError, match="nowhere"):
        parse_recipe(values)


@pytest.mark.slow
def test_the_debug_model_learns_what_is_meant_click_by_click() -> None:
    recipe = make_recipe(steps=1)
    torch.manual_seed(0)
    model, task, phase = Detector(with_clicks()), make_task(recipe), recipe.phases[0]
    optimizer = torch.optim.AdamW([value for name, value in model.named_parameters() if task.trains(name)], lr=2e-3)
    history = []
    for step in range(160):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 20)
        (report,) = task.losses(model, [make_batch(recipe, step, box_share=0.2)], phase, [step])
        optimizer.zero_grad()
        report.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append(report.parts["loss_dice_clicks"].item())
    assert history[0] > 0.7
    assert np.mean(history[-5:]) < 0.1
    model.eval()
    found = np.mean([overlaps(model, make_batch(recipe, seed, box_share=0.0), 4) for seed in (1000, 1001)], axis=0)
    assert found[3] > 0.9
    assert found[3] > found[0] + 0.03  # one click leaves open what is meant


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), count=6, bare_every=3)


def given(base: Path, pictures: Path, clicks: str = "{share: 0.5, steps: 1}") -> list[str]:
    phase = "steps: 4, image_size: 112, batch_size: 1, accumulate: 2, max_queries: 2, weights: {mine: 1}"
    phases = f"phases=[{{{phase}, clicks: {clicks}}}]"
    return [*SMALL, MINE, f"data.root={pictures}", f"initial_weights={base}", phases]


def test_a_run_adds_the_queries_that_its_base_lacks_and_can_be_resumed(base, pictures, tmp_path) -> None:
    overrides = given(base, pictures)
    assert loop.run("builtin", overrides, tmp_path / "whole")
    after = read(tmp_path / "whole" / "weights.safetensors")
    assert after.config.decoder.num_click_queries == CLICKS
    assert after.state["decoder.click_query"].shape == (CLICKS, 32)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert {"loss_mask" in line for line in lines} == {True, False}
    assert all(("loss_mask" in line) != ("loss_mask_clicks" in line) for line in lines)
    assert not loop.run("builtin", overrides, tmp_path / "parts", max_steps=2)
    assert loop.run("builtin", overrides, tmp_path / "parts", resume=True)
    resumed = read(tmp_path / "parts" / "weights.safetensors").state
    for name, value in after.state.items():
        assert torch.equal(resumed[name], value), name


@pytest.mark.parametrize("change", ["lora={rank: 2}", "train=['text.*']", "train=['*', '!decoder.*']"])
def test_queries_that_are_not_there_must_be_learnt(base, pictures, tmp_path, change) -> None:
    with pytest.raises(InputError, match="clicks"):
        loop.run("builtin", [*given(base, pictures), change], tmp_path)


def test_clicks_that_teach_nothing_are_refused() -> None:
    recipe = make_recipe(steps=0)
    model = Detector(with_clicks())
    model.requires_grad_(requires_grad=False).decoder.presence_head.requires_grad_()
    with pytest.raises(InputError, match="clicks teach nothing"):
        list(make_task(recipe).losses(model, [make_batch(recipe, 0)], recipe.phases[0], [3]))


def test_settings_of_clicks_are_checked(base, pictures) -> None:
    for clicks in ("{turns: 2}", "{share: 2}", "{weights: {nowhere: 1}}"):
        with pytest.raises(InputError):
            load_recipe("builtin", given(base, pictures, clicks))
