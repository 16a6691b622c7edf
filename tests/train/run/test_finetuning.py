"""The recipes for pictures of one's own: from a file of pictures to weights that load, on the debug model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from labelled_pictures import NAMES, write_pictures
from PIL import Image
from safetensors.torch import load_file

import masklet
from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import belongs, write
from masklet.config import PRESETS
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.train.losses.criterion import present_prompts
from masklet.train.recipes.schema import load_recipe
from masklet.train.run import loop
from masklet.train.tasks.detector import ConceptTask

SMALL = ["device=cpu", "bfloat16=false", "data.workers=0", "phases.0.image_size=112", "phases.0.steps=2", "log_every=1"]
SHORT = {"warmup_steps": 1, "cooldown_steps": 1, "lr_vision": 1e-3, "lr_text": 1e-3, "lr_rest": 1e-3}
LAST = "checkpoints/step-00000002/part-0-of-1.safetensors"
TRACKING = "phases.0.tracking={num_frames: 2, corrections: 1, image_corrections: 1, image_batch: 2}"


def is_optional(name: str) -> bool:
    return belongs(name, "click") or belongs(name, "memory")


RECIPES = {
    "finetune": lambda name: not name.startswith("text.") and not is_optional(name),
    "builtin-finetune": lambda name: not is_optional(name) and not name.startswith("vision.trunk."),
    "presence-only": lambda name: name.startswith("decoder.presence_head."),
    "tracker-finetune": is_optional,
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), count=8)


def overrides(recipe: str, base: Path, pictures: Path) -> list[str]:
    changes = [f"optim.{name}={value}" for name, value in SHORT.items()]
    tracking = [TRACKING] if recipe == "tracker-finetune" else []
    return [*SMALL, *changes, *tracking, f"initial_weights={base}", f"data.root={pictures}"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_learns_its_parts_and_leaves_the_others_bit_for_bit(recipe, base, pictures, tmp_path) -> None:
    assert loop.run(recipe, overrides(recipe, base, pictures), tmp_path)
    before, after = read(base).state, read(tmp_path / "weights.safetensors").state
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(after[name].float(), value.half().float())}
    changed &= {name for name, value in before.items() if not torch.equal(after[name].float(), value)}
    assert changed
    assert all(RECIPES[recipe](name) for name in changed)
    for name, value in before.items():
        if not RECIPES[recipe](name):
            assert torch.equal(after[name], value), name
    wanted = {name for name, _ in Detector(PRESETS["debug"]()).named_parameters() if RECIPES[recipe](name)}
    names = {name for name in load_file(tmp_path / LAST) if not name.startswith("model.")}
    moments = ("step", "exp_avg", "exp_avg_sq")
    assert names == {f"optimizer.{name}.{moment}" for name in wanted for moment in moments}


@pytest.mark.parametrize("recipe", [*RECIPES, "finetune-lora"])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(recipe, base, pictures, tmp_path) -> None:
    given = [*overrides(recipe, base, pictures), "ema_decay=0.9"]
    assert loop.run(recipe, given, tmp_path / "whole")
    assert not loop.run(recipe, given, tmp_path / "parts", max_steps=1)
    torch.rand(7)  # a resumed process has another generator state
    assert loop.run(recipe, given, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / LAST) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert {name.split(".")[0] for name in whole} == {"model", "optimizer", "average"}
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_adapters_are_a_small_file_that_loads(base, pictures, tmp_path) -> None:
    assert loop.run("finetune-lora", [*overrides("finetune-lora", base, pictures), "lora.rank=2"], tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()
    before, after = read(base).state, read(tmp_path / "adapter.safetensors").state
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert changed
    assert all("attention." in name and name.endswith(".weight") for name in changed)
    assert {name.split(".")[0] for name in changed} == {"vision", "text", "fusion", "decoder"}
    model = masklet.load(tmp_path / "adapter.safetensors", device="cpu")
    scene = Image.open(pictures / "images" / "1.png")
    assert model.segment(scene, NAMES[0]) is not None
    assert (tmp_path / LAST).stat().st_size < 0.7 * base.stat().st_size


def test_pictures_are_asked_for_what_they_do_not_show(base, pictures) -> None:
    for name in ("finetune", "finetune-lora", "presence-only"):
        recipe = load_recipe(name, overrides(name, base, pictures))
        task = loop.make_task(recipe, read(base))
        assert isinstance(task, ConceptTask)
        batches = task.dataset(recipe.phases[0])
        present = torch.cat([present_prompts(batches[index].targets) for index in range(24)])
        # half of the pictures lack one of two kinds; everyday things make it two negatives for one or two positives
        assert 0.4 < (~present).float().mean() < 0.7


@pytest.mark.parametrize("recipe", ["detector", "detector-refine"])
def test_the_stages_of_the_detector_run(recipe, base, pictures, tmp_path) -> None:
    mine = "data.sources={mine: {kind: coco, annotations: annotations.json, images: images}}"
    small = ["phases.0.batch_size=1", "phases.0.accumulate=2", "phases.0.weights={mine: 1}", "phases.0.refine.sure=0.0"]
    clicks = ["phases.0.clicks.share=0.5", "phases.0.clicks.steps=1", "phases.0.clicks.weights={mine: 1}"]
    given = [*overrides(recipe, base, pictures), mine, *(small if recipe == "detector-refine" else small[:3]), *clicks]
    if recipe == "detector":
        given += ["initial_weights=null", "preset=debug"]
    assert loop.run(recipe, given, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    (phrases,) = (line for line in lines if "loss_presence" in line)
    (clicks,) = (line for line in lines if "loss_corrected_clicks" in line)
    assert clicks is not phrases
    assert ("loss_refined" in phrases) == (recipe == "detector-refine")
    weights = read(tmp_path / "weights.safetensors")
    assert weights.parts == (set() if recipe == "detector" else {"click", "memory"})
    assert weights.config.decoder.num_click_queries == 4
    with pytest.raises(InputError, match="initial_weights"):
        loop.run("detector-refine", [*given, "initial_weights=null", "preset=null"], tmp_path / "nothing")


def test_adapters_are_not_stacked_on_adapters_by_training(base, pictures, tmp_path) -> None:
    given = [*overrides("finetune-lora", base, pictures), "lora.rank=2", "phases.0.steps=1"]
    assert loop.run("finetune-lora", given, tmp_path / "first")
    above = [*given, f"initial_weights={tmp_path / 'first' / 'adapter.safetensors'}"]
    with pytest.raises(InputError, match="is an adapter itself"):
        loop.run("finetune-lora", above, tmp_path / "second")
    whole = [*overrides("presence-only", base, pictures), "phases.0.steps=1", above[-1]]
    assert loop.run("presence-only", whole, tmp_path / "third")  # learns on from the merged model
    read(tmp_path / "third" / "weights.safetensors")


def test_a_run_cannot_go_on_with_another_choice_of_parts(base, pictures, tmp_path) -> None:
    given = overrides("presence-only", base, pictures)
    loop.run("presence-only", given, tmp_path, max_steps=1)
    with pytest.raises(InputError, match="another recipe"):
        loop.run("presence-only", [*given, "train=['scoring.*']"], tmp_path, resume=True)


def test_a_run_cannot_go_on_over_another_base(base, pictures, tmp_path) -> None:
    given = overrides("presence-only", base, pictures)
    loop.run("presence-only", given, tmp_path / "run", max_steps=1)
    other = shutil.copy(base, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="cannot be resumed with initial_weights="):
        loop.run("presence-only", [*given, f"initial_weights={other}"], tmp_path / "run", resume=True)


def test_adapters_of_the_tracker_are_learnt(base, pictures, tmp_path) -> None:
    changes = ["train=[]", "lora={rank: 2, layers: ['memory.layers.*_attention.*', 'click.decoder.blocks.*']}"]
    given = [*overrides("tracker-finetune", base, pictures), *changes, "phases.0.steps=1"]
    assert loop.run("tracker-finetune", given, tmp_path / "run")
    before, after = read(base).state, read(tmp_path / "run" / "adapter.safetensors").state
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert {name.split(".")[0] for name in changed} == {"click", "memory"}
    weights = read(base)
    state = {name: value for name, value in weights.state.items() if not is_optional(name)}
    write(replace(weights, state=state), tmp_path / "alone.safetensors")
    with pytest.raises(InputError, match="has none"):
        loop.run("tracker-finetune", [*given, f"initial_weights={tmp_path / 'alone.safetensors'}"], tmp_path / "no")


def test_adapters_need_something_to_adapt(pictures, tmp_path) -> None:
    given = [*SMALL, f"data.root={pictures}", "initial_weights=null", "preset=debug"]
    with pytest.raises(InputError, match="initial_weights"):
        loop.run("finetune-lora", given, tmp_path)
    with pytest.raises(InputError, match="debug"):
        loop.run("finetune", [*given, "preset=huge"], tmp_path)
