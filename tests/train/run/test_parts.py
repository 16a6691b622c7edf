"""What is learnt of a model, what then behaves as in use, and layers that are computed twice."""

import pytest
import torch
from torch import nn

from masklet.config import PRESETS
from masklet.data.collate import TrainingBatch
from masklet.data.sources import GeneratedSource
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene
from masklet.tokenizer import Tokenizer
from masklet.train.recipes.schema import Recipe, parse_recipe
from masklet.train.run.parts import prepare_parts, recompute_layers, set_mode
from masklet.train.tasks.detector import ConceptTask

SCENES = SceneConfig(size=112, difficulty=0.2, crowd_share=0.0)


def make_recipe(**changes) -> Recipe:
    phase = {"image_size": 112, "batch_size": 2, "steps": 1, "weights": {"scenes": 1.0}}
    sources = {"scenes": {"kind": "scenes"}}
    table = {"preset": "debug", "device": "cpu", "bfloat16": False, "data": {"sources": sources}, "phases": [phase]}
    return parse_recipe({**table, **changes})


def make_model() -> Detector:
    torch.manual_seed(0)
    return Detector(PRESETS["debug"]())


def make_task(recipe: Recipe) -> ConceptTask:
    source = GeneratedSource(lambda seed: render_scene(seed, SCENES))
    tokenizer = Tokenizer(vocab_size=1000)
    return ConceptTask(recipe=recipe, tokenizer=tokenizer, sources=lambda phase: {"scenes": source}, patch_size=14)  # noqa: ARG005


def learnt(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def gradients(model: Detector, recipe: Recipe) -> dict[str, torch.Tensor]:
    task = make_task(recipe)
    batch: TrainingBatch = task.dataset(recipe.phases[0])[0]
    for report in task.losses(model, [batch], recipe.phases[0], [3]):
        report.total.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def prepared(**changes) -> tuple[Detector, Recipe]:
    model, recipe = make_model(), make_recipe(**changes)
    prepare_parts(model, recipe, make_task(recipe).trains)
    return model, recipe


def test_the_last_fitting_pattern_decides() -> None:
    recipe = make_recipe(train=["*", "!text.*", "text.project.*"])
    assert recipe.trains("decoder.query")
    assert not recipe.trains("text.norm.weight")
    assert recipe.trains("text.project.bias")
    assert not make_recipe(train=["!text.*"]).trains("decoder.query")


def test_a_recipe_learns_what_it_names_of_what_its_task_has() -> None:
    everything = learnt(prepared()[0])
    assert not any(name.startswith(("click.", "memory.", "vision.click_neck.")) for name in everything)
    without_text = learnt(prepared(train=["*", "!text.*"])[0])
    assert everything - without_text == {name for name in everything if name.startswith("text.")}
    model, _ = prepared(train=["decoder.presence_head.*"])
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == 32 * 33 * 2 + 33


def test_the_presence_head_at_full_size_is_what_the_recipe_says() -> None:
    with torch.device("meta"):
        model = Detector(PRESETS["sam3"]())
    assert sum(parameter.numel() for parameter in model.decoder.presence_head.parameters()) == 131_841


def test_adapters_are_learnt_and_their_base_is_not() -> None:
    model, recipe = prepared(train=["decoder.presence_head.*"], lora={"rank": 2, "alpha": 4})
    names = learnt(model)
    assert all(".lora_" in name or name.startswith("decoder.presence_head.") for name in names)
    for layer in (
        "vision.trunk.blocks.3.attention.qkv",
        "text.blocks.0.attention.out",
        "fusion.layers.1.cross_attention.v",
        "decoder.layers.0.prompt_attention.k",
    ):
        assert {f"{layer}.lora_down", f"{layer}.lora_up"} <= names
    # zero beside every learnt one is all that a step keeps: no gradient of the base
    assert gradients(model, recipe).keys() <= names
    assert len(names) < 0.3 * len(list(model.parameters()))


def test_what_is_frozen_behaves_as_in_use() -> None:
    model, _ = prepared(train=["decoder.*", "!decoder.layers.0.*"])
    assert model.decoder.layers[1].dropout.training
    assert model.decoder.layers[1].self_attention.training
    for frozen in (model.decoder.layers[0], model.vision.trunk, model.fusion, model.text):
        assert not any(module.training for module in frozen.modules())
    model.eval()
    set_mode(model)
    assert model.decoder.layers[1].dropout.training
    assert not model.decoder.layers[0].dropout.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["decoder.*", "deccoder.*"]}, "deccoder"),
        ({"train": ["*", "!txet.*"]}, "txet"),
        ({"train": ["click.*"]}, "click"),
        ({"train": []}, "nothing learnt"),
        ({"train": ["*", "!*"]}, "nothing learnt"),
        ({"lora": {}}, "leave it out of train"),
        ({"train": [], "lora": {"layers": ["fusion.norms.*"]}}, "fusion.norms"),
        ({"train": [], "lora": {"layers": ["click.*"]}}, "click"),
    ],
)
def test_choices_that_make_no_sense_are_refused(changes, message) -> None:
    with pytest.raises(InputError, match=message):
        prepared(**changes)


@pytest.mark.parametrize("changes", [{"rank": 0}, {"ranks": 2}, {"rank": "big"}])
def test_settings_of_adapters_are_checked_with_the_recipe(changes) -> None:
    with pytest.raises(InputError):
        make_recipe(lora=changes)


def test_layers_computed_twice_give_the_same_gradients() -> None:
    kept, recipe = prepared()
    twice, _ = prepared()
    recompute_layers(twice)
    counts = {"attention": 0}

    def count(module: nn.Module, arguments: object) -> None:
        del module, arguments
        counts["attention"] += 1

    twice.vision.trunk.blocks[0].attention.register_forward_pre_hook(count)
    expected, found = gradients(kept, recipe), gradients(twice, recipe)
    assert counts["attention"] == 2
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_layers_computed_twice_keep_less() -> None:
    """Tensors that the graph saves, in bytes."""
    found = []
    for again in (False, True):
        model, recipe = prepared()
        if again:
            recompute_layers(model)
        task = make_task(recipe)
        batch = task.dataset(recipe.phases[0])[0]
        saved: dict[int, int] = {}

        def note(tensor: torch.Tensor, saved: dict[int, int] = saved) -> torch.Tensor:
            storage = tensor.untyped_storage()
            saved[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            next(task.losses(model, [batch], recipe.phases[0], [3]))
        found.append(sum(saved.values()))
    assert found[1] < 0.6 * found[0], found
