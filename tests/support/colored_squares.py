"""A debug model that learns coloured squares, for tests of the loop: no files, a fraction of a second for an update."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from masklet.config import PRESETS
from masklet.data.collate import CollateConfig
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import ExampleSource
from masklet.models.detector import Detector
from masklet.tokenizer import Tokenizer
from masklet.train.recipes.schema import Recipe, parse_recipe
from masklet.train.run.observers import Observer
from masklet.train.run.trainer import Trainer
from masklet.train.tasks.detector import ConceptTask

COLORS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230), "yellow": (230, 220, 40)}
WORDS_ONLY = CollateConfig(visual_probability=0.0, text_and_box_probability=0.0)
OPTIM = {"lr_vision": 1e-3, "lr_text": 1e-3, "lr_rest": 1e-3, "layer_decay": 1.0, "clip_norm": 1.0, "timescale": 1000}


class ColoredSquares:
    """One or two squares on grey; asks for the colours shown and one that is not."""

    def sample(self, rng: np.random.Generator) -> Example:
        count = int(rng.integers(1, 3))
        names = [list(COLORS)[i] for i in rng.permutation(len(COLORS))[: count + 1]]
        image = np.full((112, 112, 3), 128, np.uint8)
        masks = np.zeros((count, 112, 112), bool)
        for row in range(count):
            x, y = int(rng.integers(4, 20)) + 50 * row, int(rng.integers(4, 60))
            masks[row, y : y + 40, x : x + 36] = True
            image[masks[row]] = COLORS[names[row]]
        boxes = [[m.any(0).argmax(), m.any(1).argmax()] for m in masks]
        queries = [PhraseQuery(phrase=f"{name} square", object_index=(row,)) for row, name in enumerate(names[:-1])]
        return Example(
            image=image,
            boxes_xyxy=np.array([[x, y, x + 36, y + 40] for x, y in boxes], np.float32),
            masks=masks,
            mask_valid=np.ones(count, bool),
            queries=(*queries, PhraseQuery(phrase=f"{names[-1]} square", object_index=())),
            source="squares",
        )


def make_recipe(steps: tuple[int, ...] = (3, 2), **changes) -> Recipe:
    phase = {"image_size": 112, "batch_size": 2, "weights": {"squares": 1.0}}
    return parse_recipe(
        {
            "preset": "debug",
            "device": "cpu",
            "bfloat16": False,
            "ema_decay": 0.9,
            "log_every": 1,
            "data": {"sources": {"squares": {"kind": "scenes"}}},
            "phases": [{**phase, "steps": count} for count in steps],
            "optim": {**OPTIM, "warmup_steps": 2, "cooldown_steps": 2},
            **changes,
        }
    )


def make_trainer(recipe: Recipe, out: Path, observers: Sequence[Observer] = ()) -> Trainer:
    torch.manual_seed(0)
    config = PRESETS["debug"]()
    tokenizer = Tokenizer(vocab_size=config.text.vocab_size)
    return Trainer(Detector(config), make_task(recipe, tokenizer, ColoredSquares()), recipe, out, observers)


def make_task(recipe: Recipe, tokenizer: Tokenizer, source: ExampleSource) -> ConceptTask:
    return ConceptTask(
        recipe=recipe,
        tokenizer=tokenizer,
        sources=lambda phase: {"squares": source},  # noqa: ARG005
        patch_size=14,
    )
