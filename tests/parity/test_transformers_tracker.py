"""Our tracker and transformers' follow objects through a video alike, with the same weights at sizes drawn anew.

A tracker feeds on its own answers, so that noise could grow from frame to frame. Known differences are stepped over:

- theirs resizes a mask before making it soft or binary for memory, the official code after: here theirs does, too;
- theirs keeps memories in bfloat16, which alone moves later masks by a hundredth: here both keep them whole;
- theirs takes the pointer of a given mask from the best of three answers, the official code from the single one, and
  brings the mask to another size for it: here it takes the single one, and patches have the size where both agree;
- theirs remembers all conditioning frames by a pointer, ours those close by: within 16 frames they are the same;
- theirs lets no object yield to another, so every object has a cohort of its own here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import SystemRandom
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision_shim  # noqa: F401, before transformers
from torch import Tensor, nn
from transformers.models.sam3_tracker_video import modeling_sam3_tracker_video as modeling
from transformers.models.sam3_tracker_video.modeling_sam3_tracker_video import Sam3TrackerVideoInferenceSession
from twins import TrackerTwins, make_tracker_twins

from masklet.inference.rules.rules import Rules
from masklet.inference.video import cohorts
from masklet.inference.video.cohorts import Cohort, FrameView
from masklet.inference.video.step import SessionState, StepOptions, step
from masklet.models.click import ClickFeatures
from masklet.models.memory import resize_smoothly
from masklet.models.memory_bank import Memory, Traversal
from masklet.types import ClickPrompt

pytestmark = pytest.mark.parity

NUM_FRAMES = 16
FLOAT32_SEEDS = (0, 1)  # fixed, so that the tolerance can be near the rounding
# Of the largest value, or of one. In float64 a few parts of both stay in float32: over a dozen seeds the worst
# difference on any of the 16 frames was 4e-6. In float32 it was 6e-6, three times that of the first two frames. A
# constant that is wrong by a hundredth makes 1e-3 or more.
FIRST, LATER = 2e-5, 5e-5
GIVEN_RATIO = 1024 / 10  # of what ours and theirs show of a given mask
SQUARE_PATCH = 16  # where the picture has as many pixels as the mask that is remembered


@dataclass(frozen=True)
class Given:
    """What a user says of one object: points with labels in fractions of the picture, or the columns of a stripe.

    Columns are quarters of a cell. Straight edges there survive any change of size, so that both can remember them.
    """

    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] = ()
    stripe: tuple[int, int] | None = None


POINT = Given(points=[(0.3, 0.6)], labels=[1])
TWO_POINTS = Given(points=[(0.7, 0.2), (0.4, 0.4)], labels=[1, 0])
BOX = Given(points=[(0.2, 0.1), (0.7, 0.8)], labels=[2, 3])
STRIPE = Given(stripe=(2, 5))
EVERY_SECOND = {frame: POINT if frame % 4 else BOX for frame in range(0, 12, 2)}


@dataclass(frozen=True)
class Story:
    """What is said of each object, by frame, and where tracking starts."""

    told: Sequence[Mapping[int, Given]]
    start: int = 0
    reverse: bool = False

    @property
    def frames(self) -> range:
        return range(self.start, -1, -1) if self.reverse else range(self.start, NUM_FRAMES)


STORIES = {
    "point": Story([{0: POINT}]),
    "box": Story([{0: BOX}]),
    "from_the_third_frame": Story([{2: TWO_POINTS}], start=2),
    "backward": Story([{11: POINT}], start=11, reverse=True),
    "three_objects": Story([{0: POINT}, {0: TWO_POINTS}, {0: BOX}]),
    "six_conditioning_frames": Story([EVERY_SECOND]),
    "six_and_one": Story([EVERY_SECOND, {0: TWO_POINTS}]),  # memories of two lengths
    "six_backward": Story([EVERY_SECOND], start=NUM_FRAMES - 1, reverse=True),
}


@dataclass(frozen=True)
class Film:
    """Twins with the seed they were made from, and a video of noise that changes a little from frame to frame."""

    seed: int
    twins: TrackerTwins
    dtype: torch.dtype

    @cached_property
    def pixels(self) -> Tensor:
        side, generator = self.twins.image_size, torch.Generator().manual_seed(self.seed)
        scene = torch.randn(3, side, side, generator=generator)
        change = 0.5 * torch.randn(NUM_FRAMES, 3, side, side, generator=generator)
        return (scene + change.cumsum(0)).to(self.dtype)

    @cached_property
    def looks(self) -> list[ClickFeatures]:
        detector = self.twins.ours
        return [detector.tracker.tracker_features(detector.vision.trunk(frame[None])) for frame in self.pixels]

    def stripe(self, given: Given) -> Tensor:
        side = self.twins.image_size
        low, high = given.stripe or (0, 0)
        columns = torch.arange(side) * 4 // self.twins.ours.config.vision.trunk.patch_size
        return ((columns >= low) & (columns < high)).expand(side, side)


def film(seed: int, dtype: torch.dtype, patch_size: int | None = None) -> Film:
    twins = make_tracker_twins(seed, patch_size)
    models: list[nn.Module] = [twins.theirs, twins.ours]
    for model in models:
        model.to(dtype)
    return Film(seed=seed, twins=twins, dtype=dtype)


@pytest.fixture(autouse=True)
def _whole_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where their module says bfloat16, which it does for memories only, it gets double precision."""
    wider = ModuleType("torch")
    wider.__dict__.update(torch.__dict__)
    wider.__dict__["bfloat16"] = torch.float64
    monkeypatch.setattr(modeling, "torch", wider)


def soften_first(film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory encoder is given what becomes the official mask when it has made it soft."""
    theirs, encode = film.twins.theirs, film.twins.theirs._encode_new_memory
    side = 16 * theirs.backbone_feature_sizes[-1][0]

    def encode_soft(*, pred_masks_high_res: Tensor, is_mask_from_pts: bool, **others: Tensor) -> tuple:
        mask = pred_masks_high_res.float()
        mask = (mask > 0).float() if is_mask_from_pts else mask.sigmoid()
        logits = resize_smoothly(mask, (side, side)).logit().to(pred_masks_high_res.dtype)
        return encode(pred_masks_high_res=logits, is_mask_from_pts=False, **others)

    monkeypatch.setattr(theirs, "_encode_new_memory", encode_soft)


def answer_singly(film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever their code does not say how many answers it wants, which is for given masks, it gets one."""
    theirs, forward = film.twins.theirs, film.twins.theirs._single_frame_forward

    def forward_singly(*, multimask_output: bool = False, **others: Any) -> Any:
        return forward(multimask_output=multimask_output, **others)

    monkeypatch.setattr(theirs, "_single_frame_forward", forward_singly)


Trace = dict[tuple[int, int], dict[str, Tensor]]  # object and frame: what is known of it there


def follow_theirs(film: Film, story: Story) -> Trace:
    model, side = film.twins.theirs, film.twins.image_size
    session = Sam3TrackerVideoInferenceSession(video=film.pixels, video_height=side, video_width=side, dtype=film.dtype)
    for row, told in enumerate(story.told):
        session.obj_id_to_idx(row)
        for frame, given in told.items():
            if given.stripe is not None:
                session.add_mask_inputs(row, frame, film.stripe(given)[None, None])
            else:
                points = torch.tensor(given.points, dtype=film.dtype)[None, None] * side
                labels = torch.tensor(given.labels, dtype=torch.int32)[None, None]
                session.add_point_inputs(row, frame, {"point_coords": points, "point_labels": labels})
            if frame != story.start:
                session.obj_with_new_inputs = [row]
                model(session, frame_idx=frame)
    session.obj_with_new_inputs = [row for row, told in enumerate(story.told) if story.start in told]
    for _ in model.propagate_in_video_iterator(session, start_frame_idx=story.start, reverse=story.reverse):
        pass
    trace = {}
    for row, kept in session.output_dict_per_obj.items():
        for frame, known in (kept["cond_frame_outputs"] | kept["non_cond_frame_outputs"]).items():
            given = story.told[row].get(frame)
            scale = 1.0 if given is None or given.stripe is None else GIVEN_RATIO
            trace[row, frame] = {
                "mask": known["pred_masks"][0, 0] * scale,
                "object logit": known["object_score_logits"].flatten(),
                "pointer": known["object_pointer"].flatten(),
                "map": known["maskmem_features"][:, 0].T,
            }
    return trace


def follow_ours(film: Film, story: Story) -> Trace:
    traversal = Traversal(reverse=story.reverse, num_frames=NUM_FRAMES)
    started = tuple(begin(film, traversal, row, told) for row, told in enumerate(story.told))
    state, side = SessionState(cohorts=started), film.twins.image_size
    options = StepOptions(rules=Rules(fill_area=0), size=(side, side), memory_frames=0)
    trace: Trace = {
        (row, frame): to_trace(memory)
        for row, cohort in enumerate(started)
        for frame, memory in cohort.bank.conditioning.items()
    }
    for frame in story.frames:
        state, _ = step(view(film, traversal, frame), state, {}, range(len(started)), options)
        for row, cohort in enumerate(state.cohorts):
            memory = cohort.bank.get(frame)
            assert memory is not None
            trace[row, frame] = to_trace(memory)
    return trace


def begin(film: Film, traversal: Traversal, row: int, told: Mapping[int, Given]) -> Cohort:
    cohort, half_a_pixel = Cohort(object_ids=(row,)), 0.5 / film.twins.image_size
    for frame, given in told.items():
        if given.stripe is not None:
            cohort = cohorts.draw(view(film, traversal, frame), cohort, row, film.stripe(given))
        else:
            points = torch.tensor([given.points], dtype=film.dtype) + half_a_pixel  # theirs adds it
            prompt = ClickPrompt(points_xy=points, point_labels=torch.tensor([given.labels]))
            cohort = cohorts.click(view(film, traversal, frame), cohort, row, prompt)
    return cohorts.settle(lambda frame: view(film, traversal, frame), cohort)


def view(film: Film, traversal: Traversal, frame: int) -> FrameView:
    return FrameView(tracker=film.twins.ours.tracker, features=film.looks[frame], frame=frame, traversal=traversal)


def to_trace(memory: Memory) -> dict[str, Tensor]:
    assert memory.maps is not None
    return {
        "mask": memory.mask_logits[0],
        "object logit": memory.object_logits,
        "pointer": memory.pointers[0],
        "map": memory.maps[0].flatten(1),
    }


def differences(ours: Trace, theirs: Trace) -> Iterator[tuple[str, int, float]]:
    """What, on which frame, and the largest difference as a part of the largest value, or of one."""
    assert ours.keys() == theirs.keys()
    for (row, frame), known in theirs.items():
        for name, expected in known.items():
            actual = ours[row, frame][name]
            assert actual.shape == expected.shape
            scale = max(1.0, float(expected.abs().max()))
            yield f"{name} of object {row}", frame, float((actual - expected).abs().max()) / scale


@pytest.fixture(scope="module", params=[0], ids=lambda index: f"random{index}")
def drawn() -> Film:
    """In float64. The numbers in the names of the tests only count: workers of xdist must agree on names."""
    return film(SystemRandom().randrange(2**31), torch.float64)


@pytest.fixture(scope="module", params=FLOAT32_SEEDS, ids=lambda seed: f"seed{seed}")
def single(request: pytest.FixtureRequest) -> Film:
    """In float32."""
    return film(request.param, torch.float32)


def check(film: Film, story: Story, monkeypatch: pytest.MonkeyPatch, first: float, later: float) -> Trace:
    """All frames up to the first that is tracked within `first`, and those after it within `later`."""
    soften_first(film, monkeypatch)
    theirs = follow_theirs(film, story)
    for name, frame, difference in differences(follow_ours(film, story), theirs):
        tolerance = later if abs(frame - story.start) > 1 else first
        assert difference < tolerance, f"seed {film.seed}: {name} on frame {frame} differs by {difference:.1e}"
    return theirs


@pytest.mark.parametrize("name", STORIES)
def test_objects_are_followed_alike(drawn: Film, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(drawn, STORIES[name], monkeypatch, first=1e-4, later=1e-3)


@pytest.mark.parametrize("name", STORIES)
def test_objects_are_followed_alike_in_float32(single: Film, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(single, STORIES[name], monkeypatch, first=FIRST, later=LATER)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_given_mask_is_followed_alike(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    case = film(0, dtype, SQUARE_PATCH)
    answer_singly(case, monkeypatch)
    check(case, Story([{0: STRIPE}, {0: POINT}]), monkeypatch, first=FIRST, later=LATER)


def test_objects_that_come_and_go_are_followed_alike(single: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the object logit moved into the middle of what it takes, so that some frames do without the object."""
    story, theirs, ours = STORIES["three_objects"], single.twins.theirs, single.twins.ours
    known = follow_theirs(single, story)
    middle = torch.cat([known[key]["object logit"] for key in known if key[1] > 0]).median()
    for head in (theirs.mask_decoder.pred_obj_score_head.proj_out, ours.click.decoder.object_head.layers[-1]):
        monkeypatch.setattr(head.bias, "data", head.bias.data - middle)
    trace = check(single, story, monkeypatch, first=FIRST, later=LATER)
    absent = sum(bool(known["object logit"] < 0) for known in trace.values())
    assert 0 < absent < len(trace)
