"""The second design's neck learns to see as the first design's did: its pyramids, from the classifier's trunk.

    python runs/builtin_distil.py TEACHER START DATA OUT [MINUTES [NECK]]

TEACHER is the first built-in model, START what recipe `builtin-words` left, DATA what runs/builtin_data.py wrote. Heads
that took hours to learn where things are (decoder, masks, clicks, tracker) then work on the new trunk at once, and
training goes on from there. What is learnt is a dense regression, so it needs no labels and has no plateau.

Writes OUT after every few minutes and goes on from it: START with both necks learnt, or one of `concept` and `click`.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from builtin_words import autocast
from torch import Tensor

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, load_detector, write
from masklet.models.detector import Detector
from masklet.train.recipes.schema import load_recipe
from masklet.train.run.loop import make_trainer
from masklet.types import FeaturePyramid

LEVELS = ("fine", "medium", "coarse")
RATE, WARMUP, DECAY = 1e-3, 50, 0.02
SAVE_MINUTES, LOG_EVERY = 4, 50
# Sides of the student's images; the teacher's have patches of 14 where the student's cells are of 16
SIDES = (192, 256, 384, 448)
STRIDE, PATCH = 16, 14
TINY_VARIANCE = 1e-4


def left_over(student: FeaturePyramid, teacher: FeaturePyramid) -> dict[str, Tensor]:
    """The share of the teacher's variance that the student misses, by level, 0 for a perfect copy."""
    shares = {}
    for level in LEVELS:
        given, wanted = getattr(student, level).float(), getattr(teacher, level).float()
        variance = wanted.var(dim=(0, 2, 3), keepdim=True) + TINY_VARIANCE
        shares[level] = ((given - wanted) ** 2 / variance).mean()
    return shares


def learnt_so_far(begun: Weights, student: Detector) -> Weights:
    """The weights that it began with, with the student's necks."""
    necks = {name: value.half() for name, value in student.state_dict().items() if name in begun.state}
    return replace(begun, state=necks, digest="", origin="distilled by masklet")


def main(teacher_path: Path, start: Path, data: Path, out: Path, minutes: float, only: str | None) -> None:
    """Trains for so many minutes, both necks or one."""
    teacher = load_detector(read(teacher_path))
    begun = read(out if out.is_file() else start)
    student = load_detector(begun)
    student.requires_grad_(requires_grad=False)
    both = {"concept": student.vision.concept_neck, "click": student.vision.click_neck}
    necks = {name: neck for name, neck in both.items() if only in (None, name)}
    learnt = [value.requires_grad_() for neck in necks.values() for value in neck.parameters()]
    recipe = load_recipe("builtin-photos", [f"data.root={data}", f"initial_weights={start}"])
    images = make_trainer(recipe, out.with_suffix(".scratch"))[0].task
    optimizer = torch.optim.AdamW(learnt, lr=RATE, weight_decay=0.01)
    began = saved = time.monotonic()
    seed, sums = int(time.time()), dict.fromkeys([f"{neck} {level}" for neck in necks for level in LEVELS], 0.0)
    sets = [
        images.dataset(recipe.phases[0].model_copy(update={"image_size": side, "max_queries": 1})) for side in SIDES
    ]
    step = 0
    while (elapsed := (time.monotonic() - began) / 60) < minutes:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP) * min(1, (minutes - elapsed) / (0.3 * minutes) + DECAY)
        which = (0, 1, 2, 0, 1, 3)[step % 6]
        pixels = sets[which][seed % 10_000_000 + step].images
        smaller = torch.nn.functional.interpolate(
            pixels, size=SIDES[which] // STRIDE * PATCH, mode="bilinear", antialias=True, align_corners=False
        )
        with torch.no_grad(), autocast():
            wanted, maps = teacher.vision.trunk(smaller), student.vision.trunk(pixels)
            targets = {name: getattr(teacher.vision, f"{name}_neck")(wanted) for name in necks}
        with autocast():
            given = {name: neck(maps) for name, neck in necks.items()}
        shares = {
            f"{name} {level}": value for name in necks for level, value in left_over(given[name], targets[name]).items()
        }
        optimizer.zero_grad()
        sum(shares.values()).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        step += 1
        for name, value in shares.items():
            sums[name] += value.item() / LOG_EVERY
        if step % LOG_EVERY == 0:
            shown = "  ".join(f"{name} {value:.3f}" for name, value in sums.items())
            print(f"{step}  {elapsed:.1f} min  {shown}", flush=True)
            sums = dict.fromkeys(sums, 0.0)
        if time.monotonic() - saved > 60 * SAVE_MINUTES:
            write(learnt_so_far(begun, student), out)
            saved = time.monotonic()
    write(learnt_so_far(begun, student), out)


if __name__ == "__main__":
    main(
        *map(Path, sys.argv[1:5]),
        minutes=float(sys.argv[5]) if len(sys.argv) > 5 else 60.0,
        only=sys.argv[6] if len(sys.argv) > 6 else None,
    )
