"""Where only the head of presence is learnt, nothing else is computed, and it learns the same."""

import pytest
import torch

from masklet.models.decoder import Queries
from masklet.models.detector import Detector, Grounding, ImageFeatures
from masklet.train.recipes.schema import Recipe, load_recipe
from masklet.train.run import loop
from masklet.train.run.parts import prepare_parts
from masklet.train.tasks import detector as concept
from masklet.train.tasks.detector import ConceptTask
from masklet.types import PromptBatch, TokenSet

PHASE = "steps: 1, image_size: 112, batch_size: 2, max_queries: 4, weights: {scenes: 1}"


def make_recipe(refine: str = "{}") -> Recipe:
    changes = [
        "initial_weights=null",
        "preset=debug",
        "device=cpu",
        "bfloat16=false",
        "data={sources: {scenes: {kind: scenes}}}",
        f"phases=[{{{PHASE}, refine: {refine}}}]",
        "validation=null",
        "general=null",
    ]
    return load_recipe("presence-only", changes)


def prepared(recipe: Recipe) -> tuple[Detector, ConceptTask]:
    base = loop.initial_weights(recipe)
    torch.manual_seed(0)
    model, task = Detector(base.config), loop.make_task(recipe, base)
    assert isinstance(task, ConceptTask)
    prepare_parts(model, recipe, task.trains)
    return model, task


def gradients(model: Detector, task: ConceptTask, recipe: Recipe) -> tuple[dict[str, torch.Tensor], set[str]]:
    """What a batch teaches, and the parts that the log will show."""
    model.zero_grad()
    (report,) = task.losses(model, [task.dataset(recipe.phases[0])[0]], recipe.phases[0], [3])
    report.total.backward()
    return {n: value.grad.clone() for n, value in model.named_parameters() if value.grad is not None}, {*report.parts}


def test_the_head_learns_what_it_learns_beside_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe()
    model, task = prepared(recipe)
    found, parts = gradients(model, task, recipe)
    assert parts == {"loss_presence"}
    assert {name.rsplit(".", 3)[0] for name in found} == {"decoder.presence_head"}
    monkeypatch.setattr(concept, "_learns_presence_alone", lambda model: False)  # noqa: ARG005
    expected, parts = gradients(model, task, recipe)
    assert len(parts) > 10
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert value.abs().max() > 0
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)


def test_neither_masks_nor_second_queries_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe("{rounds: 2, share: 1.0, sure: 0.0}")
    model, task = prepared(recipe)
    ground, asked = model.ground_layers, []

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"masks of {len(arguments)} things")

    def note(features: ImageFeatures, phrases: TokenSet, prompts: PromptBatch, queries: Queries) -> Grounding:
        asked.append((queries.num_apart, prompts.exemplars.box_valid.sum().item()))
        return ground(features, phrases, prompts, queries)

    monkeypatch.setattr(model, "segment", refuse)
    monkeypatch.setattr(model, "ground_layers", note)
    (report,) = task.losses(model, [task.dataset(recipe.phases[0])[0]], recipe.phases[0], [3])
    assert [num_apart for num_apart, _ in asked] == [0] * 3
    assert asked[0][1] < asked[1][1] < asked[2][1]  # corrected twice
    assert report.parts["loss_refined"] > 0


def test_whoever_learns_more_computes_everything() -> None:
    recipe = make_recipe()
    model, task = prepared(recipe)
    model.decoder.presence.requires_grad_()  # the token is seen by all queries
    _, parts = gradients(model, task, recipe)
    assert "loss_mask" in parts
