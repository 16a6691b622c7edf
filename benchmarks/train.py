"""What does a training step cost, part by part, and in how much memory?

    OMP_NUM_THREADS=1 python benchmarks/train.py                # the built-in size, all of it learnt
    OMP_NUM_THREADS=1 python benchmarks/train.py --full         # the published size, adapters learnt, layers twice
    python benchmarks/train.py --flops                          # the arithmetic of a forward pass at the published size

Batches are generated scenes, drawn before the clock starts. Each part is charged with its own forward time; `backward`
is that of all parts. Steps and both ways to compare masks (at sampled points, at all pixels) are measured in processes
of their own, so that each peak of memory is its own.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch

MASKS, GRID, POINTS = 200, 1008, 12544  # matched masks of a crowded picture, at the published resolution


class Clock:
    """Seconds spent in named calls, without those spent in named calls inside them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def time(self, name: str, owner: Any, attribute: str) -> None:
        """Has calls of `owner.attribute` counted under `name`."""
        function = getattr(owner, attribute)
        setattr(owner, attribute, lambda *arguments, **options: self._call(name, function, *arguments, **options))

    def _call(self, name: str, function: Callable, *arguments: Any, **options: Any) -> Any:
        started = self._now()
        self._inner.append(0.0)
        result = function(*arguments, **options)
        spent = self._now() - started
        self.seconds[name] += spent - self._inner.pop()
        self._inner[-1] += spent
        return result

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def recipe_of(given: argparse.Namespace) -> Any:
    from masklet.train.recipes.schema import load_recipe

    size = given.size or (1008 if given.full else 336)
    batch = given.batch or (1 if given.full else 4)
    phase = f"{{steps: 1000, image_size: {size}, batch_size: {batch}, max_queries: 8, weights: {{scenes: 1}}}}"
    source = "data={workers: 0, sources: {scenes: {kind: scenes}}}"
    name = "finetune-lora" if given.full else "builtin"
    whole = ["train=['*']", "lora=null"] if given.whole else []
    return load_recipe(name, [source, f"phases=[{phase}]", "ema_decay=null", *whole, *given.overrides])


def measure_steps(given: argparse.Namespace) -> dict[str, Any]:
    """Medians of a step's parts, after one that is not counted; without `steps`, that one alone."""
    from masklet.checkpoints.weights import Weights
    from masklet.config import PRESETS
    from masklet.models.detector import Detector
    from masklet.train.losses import criterion
    from masklet.train.run.loop import Trainer, make_task

    recipe = recipe_of(given)
    config = PRESETS["sam3" if given.full else "first"]()
    torch.manual_seed(0)
    task = make_task(recipe.model_copy(update={"lora": None}), Weights(config=config, state={}, origin="random"))
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Detector(config), task, recipe, Path(folder))
    phase = recipe.phases[0]
    batches = [task.dataset(phase)[index] for index in range(given.steps + 1)]
    resting = _peak()
    clock, model = Clock(trainer.device), trainer.model
    for name, owner, attribute in (
        ("vision", model, "encode_images"),
        ("text", model, "encode_phrases"),
        ("fusion", model.fusion, "forward"),
        ("decoder", model.decoder, "forward"),
        ("rest of the answer", model, "ground_layers"),
        ("masks", model, "segment"),
        ("matching", criterion, "match_one_to_one"),
        ("matching", criterion, "match_one_to_many"),
        ("losses", criterion.Criterion, "__call__"),
        ("backward", torch.Tensor, "backward"),
        ("optimiser", trainer.optimizer, "step"),
    ):
        clock.time(name, owner, attribute)
    rows = []
    for batch in batches:
        clock.seconds.clear()
        started = clock._now()
        trainer.update([batch], phase)
        whole = clock._now() - started
        rows.append({**clock.seconds, "clipping and the rest": whole - sum(clock.seconds.values()), "step": whole})
    counted = rows[1:] or rows
    medians = {name: round(statistics.median(row.get(name, 0.0) for row in counted), 4) for name in rows[-1]}
    return {
        "seconds": medians,
        "images_per_second": round(phase.batch_size / medians["step"], 3),
        "matching_share": round(medians["matching"] / medians["step"], 4),
        "learnt": sum(parameter.numel() for parameter in trainer.learnt.values()),
        "peak_mib": _peak(),
        "before_the_first_step_mib": resting,
    }


def measure_masks(given: argparse.Namespace) -> dict[str, Any]:
    """The mask loss of a crowded picture, forward and backward."""
    from masklet.train.losses.terms import mask_losses

    torch.manual_seed(0)
    logits = torch.randn(MASKS, GRID, GRID, requires_grad=True)
    targets = torch.rand(MASKS, GRID, GRID) < 0.2
    resting, started = _peak(), time.perf_counter()
    focal, dice = mask_losses(logits, targets, alpha=0.25, gamma=2.0, num_points=given.points)
    (focal.sum() + dice.sum()).backward()
    return {"seconds": round(time.perf_counter() - started, 3), "more_mib": _peak() - resting}


def measure_flops() -> dict[str, float]:
    """Multiply-adds, counted as two, of the forward pass, in 10^12.

    Of one picture, of one prompt of each kind; of the tracker's view of a picture over the trunk that both share, of
    a click, and of one object followed through as many frames as published clips have.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from masklet.config import sam3
    from masklet.models.detector import Detector
    from masklet.train.tasks.rollout import Rollout
    from masklet.types import ClickPrompt, TokenSet

    torch.manual_seed(0)
    model, found = Detector(sam3()).eval().requires_grad_(requires_grad=False), {}

    def count(name: str, function: Callable[[], Any]) -> Any:
        # written out, because attention in one kernel is not counted on a CPU
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            result = function()
        found[name] = found.get(name, 0.0) + counter.get_total_flops() / 1e12
        return result

    with FakeTensorMode(allow_non_fake_inputs=True):  # tensors of shapes alone: nothing is computed
        features = count("picture", lambda: model.encode_images(torch.zeros(1, 3, 1008, 1008)))
        tokens = count("phrase", lambda: model.text(torch.zeros(1, 8, dtype=torch.int64)))
        phrase = TokenSet(tokens=tokens, valid=torch.ones(1, 8, dtype=torch.bool))
        prompt = _words_alone()
        single, double = model.decoder.concept_queries(), model.decoder.doubled_queries()
        count("prompt, absent", lambda: model.ground_layers(features, phrase, prompt, single))
        answer = count("prompt, present", lambda: model.ground_layers(features, phrase, prompt, double))
        count("prompt, present", lambda: model.segment_all(features, answer))
        tracker, trunk = model.tracker, torch.zeros(1, sam3().vision.trunk.dim, 72, 72)
        seen = count("tracker's view of a picture", lambda: tracker.tracker_features(trunk))
        click = ClickPrompt(points_xy=torch.zeros(1, 1, 2), point_labels=torch.ones(1, 1, dtype=torch.int64))
        count("click", lambda: tracker.click(tracker.click.without_memory(seen), click, multimask=True))
        for num_frames in (8, 16, 32):
            frames = seen.map(lambda x, size=num_frames: x.expand(size, *x.shape[1:]))
            rollout = Rollout(tracker, _clip(num_frames), frames, torch.Generator())
            count(f"object followed through {num_frames} frames", lambda rollout=rollout: list(rollout.predictions()))
    return {name: round(value, 3) for name, value in found.items()}


def _words_alone() -> Any:
    """A prompt of one phrase, without exemplars, on one picture."""
    from masklet.types import Exemplars, PromptBatch

    none, first = torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    exemplars = Exemplars(
        boxes_cxcywh=torch.zeros(1, 0, 4),
        box_labels=none,
        box_valid=none.bool(),
        points_xy=torch.zeros(1, 0, 2),
        point_labels=none,
        point_valid=none.bool(),
    )
    ids = torch.zeros(1, 8, dtype=torch.int64)
    return PromptBatch(token_ids=ids, token_valid=ids == 0, phrase_index=first, image_index=first, exemplars=exemplars)


def _clip(num_frames: int) -> Any:
    """An object that is given as a mask, as a batch for the tracker; its pictures are not looked at."""
    from masklet.data.tracking import TrackBatch

    return TrackBatch(
        images=torch.zeros(num_frames, 3, 1, 1),
        masks=torch.ones(1, num_frames, 1008, 1008, dtype=torch.bool),
        clip_index=torch.zeros(1, dtype=torch.int64),
        conditioning=(0,),
        pointing="mask",
        first_points=torch.zeros(1, 1, 0, 2),
        first_labels=torch.zeros(0, dtype=torch.int64),
        corrections=0,
    )


def _peak() -> int:
    """Most memory that this process ever held, or its accelerator."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def apart(*arguments: str) -> dict[str, Any]:
    """The answer of this script with those arguments, in a process of its own."""
    command = [sys.executable, __file__, "--apart", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value", help="of the recipe")
    parser.add_argument("--full", action="store_true", help="the published size")
    parser.add_argument("--whole", action="store_true", help="learn all weights, at the published size too")
    parser.add_argument("--flops", action="store_true", help="count arithmetic at the published size, and nothing else")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--size", type=int, help="of pictures, in pixels")
    parser.add_argument("--batch", type=int, help="pictures of a step")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    parser.add_argument("--points", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_intermixed_args()
    if given.apart:
        print(json.dumps(measure_masks(given) if given.points else measure_steps(given)))
        return
    if given.flops:
        print(json.dumps(measure_flops()))
        return
    options = {"steps": given.steps, "size": given.size, "batch": given.batch}
    flags = [f"--{name}" for name in ("full", "whole") if getattr(given, name)]
    step = apart(
        *given.overrides, *flags, *(f"--{name}={value}" for name, value in options.items() if value is not None)
    )
    sampled, everything = apart("--points", str(POINTS)), apart("--points", str(GRID**2))
    print(f"{date.today()}, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, seconds in step["seconds"].items():
        print(f"{name:24}{seconds:9.3f} s {100 * seconds / step['seconds']['step']:6.1f} %")
    print(f"{step['images_per_second']} images a second, {step['learnt'] / 1e6:.2f} million weights learnt")
    print(f"peak {step['peak_mib']} MiB, {step['before_the_first_step_mib']} before the first step")
    print(f"mask loss of {MASKS} masks of {GRID}x{GRID}: at {POINTS} points {sampled}, at all {everything}")
    if given.out:
        given.out.write_text(json.dumps({"step": step, "sampled": sampled, "everything": everything}, indent=1))


if __name__ == "__main__":
    main()
