"""What does a frame of video cost, part by part, for few and many objects, beside transformers'? In turn, in one run.

    python benchmarks/video.py --objects 1 4 16 64 --concepts 1 4 --out video.json
    python benchmarks/video.py --full --dtype bfloat16            # the published sizes: for a GPU

Both models share random weights and follow the same objects through the same video: discs that drift. What the detector
finds and what the tracker draws is replaced by these discs once it has been computed, so that every object lives on
every frame; the memories are those that the networks made. Both sides process a frame in turn; the first frames, on
which memories fill up, are not counted, and medians of the others are printed, in milliseconds: of CPU time on a CPU
(give it one thread, as in OMP_NUM_THREADS=1), of time that passed on a GPU.

Without `--full` the trunk has `TRUNK_DEPTH` blocks and the picture 336 pixels, while detector and tracker have their
published widths and depths: what is compared is the cost of objects and concepts, not that of the trunk (`image.py`).

The parts: `decode` of a video (transformers is given pictures of the right size), `vision` with what both necks make of
it, `detect` for all concepts, `propagate` of all objects, `associate` with all rules, `memory` with births, `output` at
the size of the video, and the `rest`.
"""

import argparse
import itertools
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))

PARTS = ("decode", "vision", "detect", "propagate", "associate", "memory", "output", "rest")
IMAGE_SIZE, TRUNK_DEPTH = 336, 2
VIDEO_SIZE = (720, 1280)
FILLING, COUNTED = 8, 7  # frames; together fewer than the sixteen after which the detector re-prompts
MANY = 200  # detections and masklets at once
SURE = 5.0  # logit of an object that is there


@dataclass
class Clock:
    """Seconds in each part of the current frame. A part within another counts for itself alone."""

    device: torch.device
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _open: list[float] = field(default_factory=list)

    def now(self) -> float:
        """Of a GPU the time that passed, of a CPU the time that it worked: others may use it, too."""
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, part: str, function: Callable) -> Callable:
        """The function, on the clock."""

        def call(*args: Any, **named: Any) -> Any:
            started = self.now()
            self._open.append(0.0)
            try:
                return function(*args, **named)
            finally:
                passed, within = self.now() - started, self._open.pop()
                self.spent[part] += passed - within
                if self._open:
                    self._open[-1] += passed

        return call

    def frame(self, step: Callable[[], object]) -> dict[str, float]:
        """One frame, split into parts."""
        self.spent.clear()
        self.timed("rest", step)()
        return {part: self.spent[part] for part in PARTS}


@dataclass(frozen=True)
class Scene:
    """Discs on a grid, drifting; objects are dealt to concepts in equal shares, in order."""

    objects: int
    concepts: int
    cells: int  # of the low-resolution mask, along a side
    device: torch.device

    def logits(self, frame: int) -> Tensor:
        """Of all discs, `[object, cell, cell]`."""
        side = math.ceil(math.sqrt(self.objects))
        place = torch.arange(self.objects, device=self.device)
        grid = (torch.arange(self.cells, device=self.device) + 0.5) / self.cells
        x = (place % side + 0.4 + 0.01 * frame)[:, None, None] / side
        y = (place // side + 0.4 + 0.01 * frame)[:, None, None] / side
        distance = ((grid[None, None, :] - x) ** 2 + (grid[None, :, None] - y) ** 2).sqrt()
        return 50 * (0.35 / side - distance)

    def rows(self, concept: int) -> slice:
        share = self.objects // self.concepts
        return slice(concept * share, (concept + 1) * share)

    def found(self, concept: int, frame: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, scores and boxes of one concept's discs."""
        logits = self.logits(frame)[self.rows(concept)]
        box = torch.tensor([0.3, 0.3, 0.6, 0.6], device=self.device)
        return logits, torch.full((len(logits),), 0.9, device=self.device), box.expand(len(logits), 4)


# --- the models ---------------------------------------------------------------------------------------------------


def small_config() -> Any:
    """Published widths and depths, but for the trunk and the words, on a small picture."""
    from twins import CONTEXT, VOCABULARY

    from masklet.config import sam3

    full = sam3()
    trunk = replace(full.vision.trunk, depth=TRUNK_DEPTH, global_blocks=(TRUNK_DEPTH - 1,))
    return replace(
        full,
        image_size=IMAGE_SIZE,
        vision=replace(full.vision, trunk=trunk),
        text=replace(full.text, vocab_size=VOCABULARY, context=CONTEXT, depth=1),
    )


def build(dtype: torch.dtype, device: torch.device, *, full: bool) -> tuple[Any, Any]:
    """Transformers' model and ours, with the same random weights."""
    import torchvision_shim  # noqa: F401 - must come before transformers
    from transformers.models.sam3_video.configuration_sam3_video import Sam3VideoConfig
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel
    from twins import concept_config, tracker_config

    from masklet.checkpoints.foreign import parse_foreign
    from masklet.config import sam3
    from masklet.inference.model import make_model

    torch.manual_seed(0)
    config, foreign = sam3(), Sam3VideoConfig()
    if not full:
        config = small_config()
        foreign = Sam3VideoConfig(
            detector_config=concept_config(config),
            tracker_config=tracker_config(config),
            low_res_mask_size=cells_of(config),
        )
    theirs = Sam3VideoModel(foreign).eval().requires_grad_(requires_grad=False)
    ours = make_model(parse_foreign(dict(theirs.state_dict()), config), device, dtype)
    return theirs.to(device=device, dtype=dtype), ours


def cells_of(config: Any) -> int:
    """Side of the low-resolution masks."""
    return 4 * config.image_size // config.vision.trunk.patch_size


def write_video(path: Path, frames: int) -> None:
    """Noise that changes slowly, as a video file."""
    import av

    height, width = VIDEO_SIZE
    pixels = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for shift in range(frames):
            picture = np.roll(pixels, shift, axis=1).repeat(8, axis=0).repeat(8, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


# --- the two sides ------------------------------------------------------------------------------------------------


def run_ours(model: Any, scene: Scene, video: Path, clock: Clock, stack: ExitStack) -> Iterator[dict[str, float]]:
    """Frames of a session, each split into parts."""
    from masklet.inference.video import detect, features, video_session
    from masklet.inference.video import step as video_step
    from masklet.models.detector import Detector
    from masklet.models.tracker import Tracker

    here = [0]

    def patch(owner: Any, name: str, part: str, instead: Callable | None = None) -> None:
        stack.enter_context(mock.patch.object(owner, name, clock.timed(part, instead or getattr(owner, name))))

    stack.enter_context(mock.patch.object(detect, "video_scores", partial(choose, scene)))
    patch(video_session, "detect", "detect", partial(detect_ours, scene, here, video_session.detect))
    patch(video_step, "propagate", "propagate", partial(propagate_ours, scene, video_step.propagate))
    patch(features, "preprocess", "vision")
    patch(model.detector.vision.trunk, "forward", "vision")
    for owner, name in ((Detector, "prepare"), (Tracker, "tracker_features")):
        patch(owner, name, "vision")
    for name in ("_repair", "_plan"):
        patch(video_step, name, "associate")
    for name in ("_reprompt", "_remember", "begin"):
        patch(video_step, name, "memory")
    patch(video_step, "_collect", "output")
    session = stack.enter_context(model.open_video(video, delay=0))
    patch(video_session.FrameResult, "of", "output")
    patch(session.results, "keep", "output")
    for number in range(scene.concepts):
        name = f"thing {number}"
        session.state = replace(session.state, concepts={**session.state.concepts, name: ours_asks(name)})
    source = session.cache.source
    frames = source.frames()
    decoded = iter(clock.timed("decode", partial(next, frames)), None)
    stack.enter_context(mock.patch.object(source, "frames", return_value=decoded))
    results = session.track(start=0)
    for here[0] in range(FILLING + COUNTED):
        yield clock.frame(partial(next, results))
        assert len(session.object_ids) == scene.objects


def ours_asks(name: str) -> Any:
    from masklet.inference.concepts import Concept
    from masklet.inference.video.records import VideoConcept

    return VideoConcept(name=name, concept=Concept(phrase=name))


def choose(scene: Scene, logits: Tensor, _presence: Tensor) -> Tensor:
    """Scores with as many queries kept as there are discs, so that their masks are computed."""
    share = scene.objects // scene.concepts
    return torch.where(torch.arange(logits.shape[-1], device=logits.device) < share, 0.9, 0.1).expand_as(logits)


def detect_ours(scene: Scene, here: list[int], detect: Callable, *args: Any) -> dict[str, Any]:
    """What the detector took its time for, and then the discs."""
    from masklet.inference.rules.association import FrameDetections

    names, found = list(detect(*args)), {}
    for number, name in enumerate(names):
        logits, scores, boxes = scene.found(number, here[0])
        found[name] = FrameDetections(mask_logits=logits, scores=scores, boxes_xyxy=boxes)
    return found


def propagate_ours(scene: Scene, propagate: Callable, view: Any, cohorts: Any) -> list[Any]:
    """What the tracker remembers of the discs, with the discs for masks: ids are their numbers."""
    logits, memories = scene.logits(view.frame), []
    for cohort, memory in zip(cohorts, propagate(view, cohorts), strict=True):
        rows = torch.tensor(cohort.object_ids, device=logits.device)
        sure = torch.full_like(memory.object_logits, SURE)
        memories.append(replace(memory, mask_logits=logits[rows], object_logits=sure, usefulness=0.9))
    return memories


def run_theirs(model: Any, scene: Scene, video: Path, clock: Clock, stack: ExitStack) -> Iterator[dict[str, float]]:
    """Frames of a session of transformers, each split into parts."""
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession
    from transformers.models.sam3_video.processing_sam3_video import Sam3VideoProcessor

    from masklet.media.images import preprocess
    from masklet.media.video_source import open_frames

    here, dtype = [0], next(model.parameters()).dtype
    side = model.config.detector_config.image_size
    with open_frames(video) as source:
        pictures = torch.stack([preprocess(frame.pixels, side) for frame in source.frames()])
    session = Sam3VideoInferenceSession(
        video=pictures,
        video_height=VIDEO_SIZE[0],
        video_width=VIDEO_SIZE[1],
        inference_device=scene.device,
        inference_state_device=scene.device,
        video_storage_device=scene.device,
        dtype=dtype,
    )
    for number in range(scene.concepts):
        prompt = session.add_prompt(f"thing {number}")
        ids = torch.zeros(1, 32, dtype=torch.long, device=scene.device)
        ids[0, :3] = torch.tensor([998, 5 + number, 999])
        session.prompt_input_ids[prompt] = ids
        session.prompt_attention_masks[prompt] = (torch.arange(32, device=scene.device) < 3).long()[None]

    def patch(owner: Any, name: str, part: str, instead: Callable | None = None) -> None:
        stack.enter_context(mock.patch.object(owner, name, clock.timed(part, instead or getattr(owner, name))))

    patch(model.detector_model, "get_vision_features", "vision")
    patch(model, "get_vision_features_for_tracker", "vision")
    patch(model, "run_detection", "detect", partial(detect_theirs, scene, here, model.run_detection))
    instead = partial(propagate_theirs, scene, model.run_tracker_propagation)
    patch(model, "run_tracker_propagation", "propagate", instead)
    patch(model, "run_tracker_update_planning_phase", "associate")
    patch(model, "_tracker_update_memories", "memory")
    patch(model, "run_tracker_update_execution_phase", "memory")
    patch(model, "build_outputs", "output")
    processor = Sam3VideoProcessor.__new__(Sam3VideoProcessor)  # its post-processing needs no part of it
    finish = clock.timed("output", processor.postprocess_outputs)
    for here[0] in range(FILLING + COUNTED):
        yield clock.frame(lambda: finish(session, model(session, frame_idx=here[0])))
        assert len(session.obj_ids) == scene.objects


def detect_theirs(scene: Scene, here: list[int], detect: Callable, **said: Any) -> dict[int, dict[str, Tensor]]:
    """As `detect_ours`."""
    dtype, found = said["vision_embeds"].last_hidden_state.dtype, {}
    for number, prompt in enumerate(detect(**said)):
        logits, scores, boxes = scene.found(number, here[0])
        found[prompt] = {"mask": logits.to(dtype), "scores": scores, "bbox": boxes}
    return found


def propagate_theirs(scene: Scene, propagate: Callable, **said: Any) -> tuple[Tensor, Tensor]:
    """As `propagate_ours`."""
    masks, scores = propagate(**said)
    logits = scene.logits(said["frame_idx"])[list(said["inference_session"].obj_ids)]
    return logits.to(masks.dtype), torch.full_like(scores, SURE)


# --- the questions ------------------------------------------------------------------------------------------------


@torch.inference_mode()
def time_frames(theirs: Any, ours: Any, scene: Scene, video: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of each part on the median frame of both."""
    with ExitStack() as stack:
        runs = {
            "transformers": run_theirs(theirs, scene, video, Clock(scene.device), stack),
            "masklet": run_ours(ours, scene, video, Clock(scene.device), stack),
        }
        taken: dict[str, list[dict[str, float]]] = {side: [] for side in runs}
        for number in range(FILLING + COUNTED):
            for side, frames in runs.items():
                frame = next(frames)
                if number >= FILLING:
                    taken[side].append(frame)
    return {side: summarise(frames) for side, frames in taken.items()}


def summarise(frames: list[dict[str, float]]) -> dict[str, float]:
    """Medians in milliseconds, and that of the whole."""
    parts = {part: 1000 * statistics.median(frame[part] for frame in frames) for part in PARTS}
    return parts | {"total": 1000 * statistics.median(sum(frame.values()) for frame in frames)}


def time_association(device: torch.device, cells: int = 288) -> float:
    """Milliseconds to match many detections to as many masklets, from logits: thresholding and counting included.

    transformers compares masks pixel by pixel in one array, for which it asks for 26 GB here: it is not timed.
    """
    from masklet.inference.rules.association import FrameDetections, Proposals, associate
    from masklet.inference.rules.rules import sam3

    scene = Scene(objects=MANY, concepts=1, cells=cells, device=device)
    logits, scores, boxes = scene.found(0, 0)
    moved, ids = scene.logits(3), tuple(range(MANY))

    def match() -> None:
        found = FrameDetections(mask_logits=logits, scores=scores, boxes_xyxy=boxes)
        tracked = Proposals(object_ids=ids, mask_logits=moved, object_logits=scores)
        assert not associate(found, tracked, sam3()).new

    return time_call(match, device, 20)


def time_call(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Milliseconds of the median call."""
    clock, taken = Clock(device), []
    for _ in range(repeats):
        started = clock.now()
        call()
        taken.append(clock.now() - started)
    return 1000 * statistics.median(taken)


def per_object(rows: dict[tuple[int, int], dict[str, dict[str, float]]]) -> dict[str, float]:
    """Milliseconds for one object more, from the fewest to the most of one concept; nothing without two such rows."""
    counts = sorted(objects for objects, concepts in rows if concepts == 1)
    if len(counts) < 2:
        return {}
    low, high = rows[counts[0], 1], rows[counts[-1], 1]
    return {side: (high[side]["total"] - low[side]["total"]) / (counts[-1] - counts[0]) for side in low}


def show(title: str, row: dict[str, dict[str, float]]) -> None:
    """One line for each side."""
    for side, parts in row.items():
        print(f"{title:24s} {side:12s}" + "".join(f"{parts[name]:11.1f}" for name in (*PARTS, "total")), flush=True)


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--concepts", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--full", action="store_true", help="the published sizes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    dtype, device = getattr(torch, given.dtype), torch.device(given.device)
    theirs, ours = build(dtype, device, full=given.full)
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {given.dtype}, {device}")
    print(" " * 37 + "".join(f"{name:>11s}" for name in (*PARTS, "total")))
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        write_video(video, FILLING + COUNTED)
        for concepts, objects in itertools.product(given.concepts, given.objects):
            if objects % concepts == 0:
                scene = Scene(objects, concepts, cells_of(ours.detector.config), device)
                rows[objects, concepts] = time_frames(theirs, ours, scene, video)
                show(f"{objects} objects, {concepts} concepts", rows[objects, concepts])
    more, association = per_object(rows), time_association(device)
    if more:
        print("an object more:", more, f"ratio {more['masklet'] / more['transformers']:.2f}")
    print(f"association of {MANY} with {MANY}: {association:.1f}")
    if given.out:
        named = {f"{objects} objects, {concepts} concepts": row for (objects, concepts), row in rows.items()}
        content = {"date": str(date.today()), "torch": torch.__version__, "dtype": given.dtype, "rows": named}
        given.out.write_text(json.dumps(content | {"more": more, "association": association}, indent=1) + "\n")


if __name__ == "__main__":
    main()
