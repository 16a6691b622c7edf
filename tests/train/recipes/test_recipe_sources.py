"""Every kind of source that a recipe may name, from files to a finished run of the debug model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, write
from masklet.config import PRESETS
from masklet.data.pointing import ClicksConfig, PointedBatch
from masklet.data.schema import Example
from masklet.data.sources import IndexedSource
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.ops.masks import mask_to_polygons, rle_encode
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.stills import ClipSource
from masklet.scenes.scene import render_scene
from masklet.tokenizer import Tokenizer
from masklet.train.recipes.phase_sources import PhaseSources
from masklet.train.recipes.schema import load_recipe, parse_recipe
from masklet.train.recipes.source_specs import FileSpec, open_images
from masklet.train.run import loop
from masklet.train.tasks.detector import ConceptTask

SIDE, FRAMES = 96, 4
WORDS = ("mug", "dog")
SPECS: dict[str, dict[str, Any]] = {
    "coco": {"annotations": "coco.json", "images": "images", "scenes": []},
    "lvis": {"annotations": "lvis.json", "images": "images"},
    "saco": {"annotations": "saco.json", "images": "images"},
    "yolo": {"data": "data.yaml"},
    "masks": {"folder": "."},
    "ytvis": {"annotations": "ytvis.json", "images": "images"},
    "davis": {"annotations": "davis", "images": "videos"},
}
PICTURES = [kind for kind in SPECS if kind != "davis"]


def recipe_of(folder: Path, kinds: list[str], **changes: Any) -> dict[str, Any]:
    sources = {kind: {"kind": kind, "split": "all", **SPECS[kind]} for kind in kinds}
    phase = {"steps": 2, "image_size": 112, "batch_size": 3, "weights": dict.fromkeys(kinds, 1.0)}
    phase |= changes.pop("phase", {})
    return {
        "preset": "debug",
        "device": "cpu",
        "bfloat16": False,
        "data": {"root": str(folder), "sources": sources},
        "phases": [phase],
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures, which are also the frames of one video, labelled in every layout; the largest thing is a mug."""
    root = tmp_path_factory.mktemp("labels")
    for place in ("images/v", "labels/v", "masks/mug", "masks/dog", "davis/v", "videos/v"):
        (root / place).mkdir(parents=True)
    examples = [render_scene(seed, SceneConfig(size=SIDE, crowd_share=0.0)) for seed in range(FRAMES)]
    largest = [example.masks[int(example.masks.sum(axis=(1, 2)).argmax())] for example in examples]
    for index, (example, mask) in enumerate(zip(examples, largest, strict=True)):
        for place in ("images", "images/v", "videos/v"):
            Image.fromarray(example.image).save(root / place / f"{index}.png")
        numbers = Image.fromarray(mask.astype(np.uint8))
        numbers.save(root / f"masks/mug/{index}.png")
        numbers.save(root / f"davis/v/{index}.png")
        Image.new("L", (SIDE, SIDE)).save(root / f"masks/dog/{index}.png")
        outline = " ".join(f"{value / SIDE:.6f}" for value in mask_to_polygons(mask)[0].ravel())
        (root / f"labels/v/{index}.txt").write_text(f"0 {outline}\n")
    (root / "data.yaml").write_text("train: images/v\nnames: [mug, dog]\n")
    for name, document in _documents(largest).items():
        (root / name).write_text(json.dumps(document))
    return root


def _documents(masks: list[np.ndarray]) -> dict[str, Any]:
    size = {"width": SIDE, "height": SIDE}
    runs = [{"size": [SIDE, SIDE], "counts": rle_encode(mask)} for mask in masks]
    boxes = [_box(mask) for mask in masks]
    images = [{"id": index, "file_name": f"{index}.png", **size} for index in range(FRAMES)]
    known = {"neg_category_ids": [1], "not_exhaustive_category_ids": []}
    categories = [{"id": index, "name": word} for index, word in enumerate(WORDS)]
    labels = [
        {"id": index, "image_id": index, "category_id": 0, "bbox": box, "segmentation": run}
        for index, (box, run) in enumerate(zip(boxes, runs, strict=True))
    ]
    pairs = [
        {**image, "id": 10 * image["id"] + row, "text_input": w} for image in images for row, w in enumerate(WORDS)
    ]
    found = [{**label, "image_id": 10 * label["id"], "bbox": [v / SIDE for v in label["bbox"]]} for label in labels]
    video = {"id": 0, **size, "file_names": [f"v/{index}.png" for index in range(FRAMES)]}
    masklet = {"id": 0, "video_id": 0, "category_id": 0, "segmentations": runs, "bboxes": boxes}
    return {
        "coco.json": {"images": images, "annotations": labels, "categories": categories},
        "lvis.json": {"images": [i | known for i in images], "annotations": labels, "categories": categories},
        "saco.json": {"images": pairs, "annotations": found},
        "ytvis.json": {"videos": [video], "annotations": [masklet], "categories": categories},
    }


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]


def opened(folder: Path, kind: str, **changes: Any) -> IndexedSource:
    recipe = parse_recipe(recipe_of(folder, [kind]))
    spec = recipe.data.sources[kind]
    assert isinstance(spec, FileSpec)
    return open_images(spec.model_copy(update=changes), folder)


def of_picture(source: IndexedSource, index: int) -> Example:
    """The picture whose name ends with that number, as sources sort by different names."""
    (found,) = (i for i in range(len(source)) if Path(source.name(i)).stem == str(index))
    return source.example(found, np.random.default_rng(0))


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("index", range(FRAMES))
def test_the_same_labels_in_every_layout_are_the_same_example(folder, kind, index) -> None:
    expected, example = of_picture(opened(folder, "coco"), index), of_picture(opened(folder, kind), index)
    np.testing.assert_array_equal(example.image, expected.image)
    asked = {query.phrase: query for query in example.queries}
    assert set(asked) == set(WORDS)
    assert asked["dog"].object_index == ()
    (row,) = asked["mug"].object_index
    assert asked["mug"].exhaustive
    assert example.absent == {"dog"}
    if kind != "yolo" or len(mask_to_polygons(expected.masks[0])) == 1:  # an outline of one piece is all a line holds
        np.testing.assert_allclose(example.boxes_xyxy[row], expected.boxes_xyxy[0], atol=1e-3)
        wrong = (example.masks[row] != expected.masks[0]).mean()
        assert wrong < (0.02 if kind == "yolo" else 1e-9)


def test_a_batch_is_the_same_for_whoever_asks_whenever(folder) -> None:
    recipe = parse_recipe(recipe_of(folder, PICTURES, phase={"augment": {"mosaic_probability": 0.5}}))
    phase = recipe.phases[0]
    tokenizer = Tokenizer(vocab_size=PRESETS["debug"]().text.vocab_size)
    tasks = [
        ConceptTask(recipe=recipe, tokenizer=tokenizer, sources=PhaseSources(recipe).images, patch_size=14)
        for _ in "ab"
    ]
    here = [tasks[0].dataset(phase)[index] for index in range(4)]
    workers = DataLoader(tasks[1].dataset(phase), batch_size=None, sampler=[3, 2, 1, 0], num_workers=2)
    for batch, other in zip(here, [*workers][::-1], strict=True):
        assert torch.equal(batch.images, other.images)
        assert torch.equal(batch.prompts.token_ids, other.prompts.token_ids)
        assert torch.equal(batch.targets.boxes_cxcywh, other.targets.boxes_cxcywh)
    assert len({batch.images.sum().item() for batch in here}) == 4


def test_a_run_over_all_kinds_of_pictures_reaches_its_end(folder, tmp_path) -> None:
    values = recipe_of(folder, PICTURES, phase={"augment": {"mosaic_probability": 0.5}})
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(values))
    assert loop.run(str(path), [], tmp_path / "run")
    state = read(tmp_path / "run/weights.safetensors").state
    assert all(bool(value.isfinite().all()) for value in state.values())


def test_a_run_over_videos_and_photos_in_motion_reaches_its_end(folder, tmp_path) -> None:
    model = Detector(PRESETS["debug"]())
    parts = ("vision.click_neck", "click", "memory")
    state = {name: value for name, value in model.state_dict().items() if not name.startswith(parts)}
    write(Weights(config=model.config, state=state, origin="test"), tmp_path / "base.safetensors")
    tracking = {"num_frames": 3, "corrections": 1, "image_corrections": 1, "least_area": 0.0005}
    kinds = ["davis", "ytvis", "masks", "yolo"]
    values = recipe_of(folder, kinds, task="tracking", phase={"tracking": tracking, "batch_size": 2})
    values["initial_weights"] = str(tmp_path / "base.safetensors")
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(values))
    assert loop.run(str(path), [], tmp_path / "run")
    assert read(tmp_path / "run/weights.safetensors").parts == {"click", "memory"}


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_gives_clips(folder, kind) -> None:
    recipe = parse_recipe(recipe_of(folder, [kind], task="tracking"))
    source = PhaseSources(recipe).clips(recipe.phases[0], 3)[kind]
    assert isinstance(source, ClipSource)
    clip = source.sample(np.random.default_rng(1))
    assert [frame.image.shape for frame in clip.frames] == [(112, 112, 3)] * 3


def test_videos_without_phrases_teach_clicks_and_no_concepts(folder) -> None:
    recipe = parse_recipe(recipe_of(folder, ["davis", "coco"]))
    task = ConceptTask(recipe=recipe, tokenizer=Tokenizer(1000), sources=PhaseSources(recipe).images, patch_size=14)
    (phase,) = recipe.phases
    with pytest.raises(InputError, match="source davis: a davis source has no phrases"):
        task.dataset(phase)
    changes = {"weights": {"coco": 1.0}, "clicks": ClicksConfig(share=1.0, weights={"davis": 1.0})}
    batch = task.dataset(phase.model_copy(update=changes))[0]
    assert isinstance(batch, PointedBatch)
    assert len(batch.targets.target_prompt) > 0


@pytest.mark.parametrize("kind", [kind for kind in PICTURES if kind != "ytvis"])
def test_limits_and_splits_hold_for_every_kind(folder, kind) -> None:
    assert len(opened(folder, kind, limit=2)) == 2
    assert len(opened(folder, kind)) == FRAMES
    kept = {split: _names(folder, kind, split) for split in ("train", "heldout")}
    assert not kept["train"] & kept["heldout"]
    assert len(kept["train"] | kept["heldout"]) == FRAMES


def _names(folder: Path, kind: str, split: str) -> set[str]:
    try:
        source = opened(folder, kind, split=split)
    except InputError:  # no picture is in it
        return set()
    return {source.name(index) for index in range(len(source))}


@pytest.mark.parametrize(
    "override",
    [
        "data.sources.real.limit=0",
        "data.sources.real.split=test",
        "data.sources.real.max_negatives=-1",
        "data.sources.real.synonym_probability=2",
        "data.sources.real.kind=voc",
    ],
)
def test_specs_that_do_not_fit_are_refused(override) -> None:
    with pytest.raises(InputError, match=r"data\.sources\.real"):
        load_recipe("builtin", [override])
