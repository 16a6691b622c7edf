"""Whole sessions go as the official ones: 4a with scripted masks, 4b with the real tracker, of tests/golden/official.

The scripts give the detections (and in 4a the tracker's masks); the session decides, remembers and shows. Everything
on record is compared: who is grouped with whom, which frames condition, what is written into memory, what is shown
when, also after clicks, partial propagation both ways, removal and replay.

Two repairs of the official behaviour show here and are named where they do: a re-prompted object is remembered as the
detector saw it (docs/parity.md#re-prompting), and boxes alone are looked for on every frame (#example-boxes).
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from test_cohorts import FOLDER, official_weights
from test_cohorts import tensors as tracker_tensors
from test_video_logic import extents, mask_logits, official_boxes, rules_of, runs
from test_video_logic import tensors as logic_tensors
from torch import Tensor

from masklet.checkpoints.names import official
from masklet.config import debug
from masklet.inference.model import Model
from masklet.inference.predictor import Predictor
from masklet.inference.rules.association import FrameDetections
from masklet.inference.rules.rules import Rules
from masklet.inference.video import cohorts
from masklet.inference.video import step as video_step
from masklet.inference.video import video_session as video
from masklet.inference.video.features import FrameFeatures
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import VideoConcept
from masklet.inference.video.video_session import VideoSession
from masklet.media.frames import Frame
from masklet.models.click import ClickFeatures
from masklet.models.detector import Detector
from masklet.models.memory_bank import Memory
from masklet.models.tracker import Tracker
from masklet.ops.nms import nms_masks
from masklet.tokenizer import Tokenizer

EVERYTHING = 10**6  # frames of memory: the official code forgets nothing
NOISE = 5 * 5.0e-5, 5 * 1.5e-5  # five times what other kernels change in 4b: masks, scores
PARTIAL_NOISE = 5 * 1.7e-4


@cache
def tracked() -> dict:
    return json.loads(gzip.decompress((FOLDER / "4b_video_tracker.json.gz").read_bytes()))


@cache
def tracked_tensors() -> dict[str, Tensor]:
    return load(gzip.decompress((FOLDER / "4b_video_tracker.safetensors.gz").read_bytes()))


@cache
def model() -> Model:
    """The golden model; memories in float32."""
    config = debug()
    config = replace(config, memory=replace(config.memory, half_maps=False))
    detector = Detector(config).eval().requires_grad_(requires_grad=False)
    entries = official(config).entries
    weights = official_weights()
    detector.load_state_dict({name: value for entry in entries for name, value in entry.read(weights).items()})
    return Model(
        detector=detector,
        device=torch.device("cpu"),
        dtype=torch.float32,
        image_size=config.image_size,
        parts=frozenset({"click", "memory"}),
        tokenizer=Tokenizer(1000),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class ScriptedFeatures(FrameFeatures):
    """A frame whose features are given."""

    given: ClickFeatures

    @property
    def for_tracker(self) -> ClickFeatures:  # type: ignore[override]
        return self.given

    @property
    def for_detector(self) -> None:  # type: ignore[override]
        return None


@dataclass
class ScriptedCache:
    """A video without pixels."""

    size: tuple[int, int]
    num_frames: int
    looks: Sequence[ClickFeatures]
    fps: None = None
    has_ended: bool = False
    last: int = 0

    def check_open(self) -> None:
        """It is never closed."""

    def at(self, index: int | None) -> ScriptedFeatures:
        return self.hold(self.frame(self.last if index is None else index))

    def frame(self, index: int) -> Frame:
        return Frame(index=index, time=float(index), pixels=np.zeros((*self.size, 3), dtype=np.uint8))

    def frames(self, start: int, stop: int | None, step: int, *, reverse: bool) -> Iterator[Frame]:
        forward = range(start, self.num_frames if stop is None else min(stop, self.num_frames), step)
        return map(self.frame, range(start, -1, -step) if reverse else forward)

    def pixels(self, index: int) -> None:  # noqa: ARG002
        return None

    def hold(self, frame: Frame) -> ScriptedFeatures:
        self.last = frame.index
        return ScriptedFeatures(predictor=model(), frame=frame, given=self.looks[frame.index % len(self.looks)])


@dataclass
class Write:
    """Masks that went into memory: areas, size, whether they were made black and white, and object logits."""

    areas: list[int]
    size: list[int]
    binary: bool
    object_logits: list[float]


@dataclass
class Play:
    """A session that follows a script. `visit` is the entry of the frame that is being processed."""

    run: dict[str, Any]
    rules: Rules
    looks: Sequence[ClickFeatures]
    monkeypatch: pytest.MonkeyPatch
    visit: dict = field(default_factory=dict)
    emitted: list[FrameResult | None] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.visits = iter(self.run["frames"])
        self.session = VideoSession(
            model(), None, self.rules, delay=None, history_frames=None, memory_frames=EVERYTHING
        )
        height, width = self.run["video_hw"]
        self.session.cache = ScriptedCache((height, width), self.run["num_frames"], self.looks)  # type: ignore
        self.monkeypatch.setattr(video, "detect", self.detect)
        self.monkeypatch.setattr(Predictor, "example_tokens", lambda *_: None)

    def detections(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def detect(
        self, _model: object, _features: object, concepts: Sequence[VideoConcept], rules: Rules, *_: object
    ) -> dict[str, FrameDetections]:
        self.finish_visit()
        self.visit, self.writes = next(self.visits), []
        logits, scores = self.detections()
        rows = nms_masks(logits, scores, rules.nms_overlap, of_smaller=rules.overlap_of_smaller)
        return {
            concepts[0].name: FrameDetections(
                mask_logits=logits[rows], scores=scores[rows], boxes_xyxy=extents(logits[rows] > 0)
            )
        }

    def finish_visit(self) -> None:
        """Compares the state after a visit with the one on record."""
        if not self.visit:
            return
        groups = [
            {
                "obj_ids": list(cohort.object_ids),
                "cond_frames": sorted(cohort.bank.conditioning),
                "num_non_cond": len(cohort.bank.tracked),
            }
            for cohort in self.session.state.cohorts
        ]
        assert groups == self.visit["states"], self.visit["visit"]

    def play(self) -> None:
        for call in self.run["flow"]:
            getattr(self, call["op"])(call)

    def add_prompt(self, call: dict) -> None:
        height, width = self.run["video_hw"]
        boxes = [
            (x * width, y * height, (x + w) * width, (y + h) * height) for x, y, w, h in call.get("boxes_xywh", [])
        ]
        self.emitted.append(self.session.add_concept(call.get("text"), boxes=boxes, frame=call["frame"]))

    def propagate(self, call: dict) -> None:
        start, stop = call["start"], call["start"] + call["max"] + 1 if "max" in call else None
        if call.get("reverse"):
            self.emitted += self.session.track("backward", start=start - 1)
        else:
            self.emitted += self.session.track(start=start, stop=stop)
        self.finish_visit()
        self.visit = {}

    def click(self, call: dict) -> None:
        height, width = self.run["video_hw"]
        points = [(x * width, y * height) for x, y in call["points"]]
        self.emitted.append(self.session.click(call["obj"], call["frame"], points, call["labels"]))

    def remove(self, call: dict) -> None:
        self.session.remove(call["obj"])
        self.emitted.append(None)

    def check_emitted(self, bits: Tensor) -> None:
        height, width = self.run["video_hw"]
        assert len(self.emitted) == len(self.run["emitted"])
        for result, expected in zip(self.emitted, self.run["emitted"], strict=True):
            if result is None:
                continue
            assert result.index == expected["frame_idx"]
            assert result.ids.tolist() == expected["obj_ids"]
            np.testing.assert_allclose(result.scores, np.array(expected["probs"]), rtol=0, atol=1e-6)
            boxes = official_boxes(torch.from_numpy(result.boxes), width, height)
            torch.testing.assert_close(boxes, torch.tensor(expected["boxes_xywh"]).reshape(-1, 4))
            masks = np.unpackbits(bits[expected["masks"]].numpy(), axis=1, count=height * width)
            np.testing.assert_array_equal(result.masks, masks.reshape(-1, height, width).astype(bool))


class Scripted(Play):
    """4a: masks and object scores of the tracker are on record as well."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.monkeypatch.setattr(video_step, "propagate", self.scripted_masks)
        network = Tracker.remember

        def listen(tracker: Tracker, features: ClickFeatures, masks: Tensor, logits: Tensor, binary: Tensor) -> Tensor:
            areas = (masks > 0).sum((1, 2)).tolist()
            self.writes.append(Write(areas, list(masks.shape[-2:]), bool(binary.all()), logits.tolist()))
            return network(tracker, features, masks, logits, binary)

        self.monkeypatch.setattr(Tracker, "remember", listen)

    def detections(self) -> tuple[Tensor, Tensor]:
        raw = self.visit["raw_dets"] if self.visit["new_detections_allowed"] else []
        scores = torch.tensor([entry["prob"] for entry in raw])
        rows = (scores > self.rules.min_score).nonzero()[:, 0]
        return mask_logits(self.run, [entry["mask"] for entry in raw])[rows], scores[rows]

    def scripted_masks(self, view: cohorts.FrameView, followed: Sequence[cohorts.Cohort]) -> list[Memory]:
        memories = cohorts.propagate(view, followed)
        masks = mask_logits(self.run, self.visit["track_masks"])
        logits = torch.tensor(self.visit["track_score_logits"])
        ids = self.visit["track_ids"]
        assert [object_id for cohort in followed for object_id in cohort.object_ids] == ids
        scripted = []
        for cohort, memory in zip(followed, memories, strict=True):
            rows = [ids.index(object_id) for object_id in cohort.object_ids]
            scripted.append(replace(memory, mask_logits=masks[rows], object_logits=logits[rows]))
        return scripted

    def finish_visit(self) -> None:
        super().finish_visit()
        if self.visit:
            self.check_writes()

    def check_writes(self) -> None:
        """What was tracked is written as on record; what was given likewise, counting each group's last word.

        The official code corrects one object after the other and encodes its group each time; here once.
        """
        expected = self.visit["memory_writes"]
        tracked = [write for write in expected if not write["from_points"]]
        ours = [write for write in self.writes if not write.binary]
        assert [area for write in ours for area in write.areas] == [a for write in tracked for a in write["areas"]]
        assert all(write.size == tracked[0]["size"] for write in ours)
        logits = [value for write in tracked for value in write["score_logits"]]
        assert [value for write in ours for value in write.object_logits] == pytest.approx(logits)
        last_words = {tuple(write["obj_ids"]): write for write in expected if write["from_points"]}
        given = sorted(last_words.values(), key=lambda write: write["areas"])  # groups are corrected in another order
        ours = sorted((write for write in self.writes if write.binary), key=lambda write: write.areas)
        assert [write.areas for write in ours] == [write["areas"] for write in given]
        for write, other in zip(ours, given, strict=True):
            assert write.size == other["size"]
            assert write.object_logits == pytest.approx(other["score_logits"])


def flat_look(low_res: int) -> ClickFeatures:
    """Features of the right size that say nothing."""
    grid = low_res // 4
    return ClickFeatures(
        fine=torch.zeros(1, 4, low_res, low_res),
        medium=torch.zeros(1, 8, low_res // 2, low_res // 2),
        coarse=torch.zeros(1, 32, grid, grid),
    )


@pytest.mark.parametrize("name", runs())
def test_scripted_sessions_remember_and_show_what_the_official_ones_do(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs()[name]
    play = Scripted(run, rules_of(run["options"]), [flat_look(run["low_res"])], monkeypatch)
    play.play()
    play.check_emitted(logic_tensors()[f"{run['family']}.out_bits"])


def test_boxes_alone_are_looked_for_on_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repair of what the official session loses at the eighth frame: frames 8 to 13 of this run, and with them all
    that the delay hides."""
    run = runs()["story_box_only"]
    lost = [entry["frame_idx"] for entry in run["emitted"][1:] if not entry["obj_ids"]]
    assert lost == list(range(14))
    first = run["frames"][0]["raw_dets"]
    visits = [{**visit, "new_detections_allowed": True, "raw_dets": first} for visit in run["frames"]]
    play = Scripted({**run, "frames": visits}, rules_of(run["options"]), [flat_look(run["low_res"])], monkeypatch)
    monkeypatch.setattr(play, "finish_visit", lambda: None)
    monkeypatch.setattr(video_step, "propagate", cohorts.propagate)
    monkeypatch.setattr(
        play, "detections", lambda: (mask_logits(run, [d["mask"] for d in first]), torch.ones(len(first)))
    )
    play.play()
    assert all(len(result.ids) == len(first) for result in play.emitted if result is not None)


class Tracked(Play):
    """4b: the real tracker on real features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.num_partial = 0
        self.monkeypatch.setattr(video_step, "_proposals", self.proposals)
        self.monkeypatch.setattr(video, "step", self.step)

    def detections(self) -> tuple[Tensor, Tensor]:
        raw = self.visit["raw_dets"]
        logits = tracked_tensors()["det_logits"][[entry["mask"] for entry in raw]]
        return logits, torch.tensor([entry["prob"] for entry in raw])

    def proposals(self, *arguments: Any) -> Any:
        proposals = PROPOSALS(*arguments)
        key = f"v{self.visit['visit']:03d}_track_"
        assert list(proposals.object_ids) == self.visit["track_ids"]
        self.compare(proposals.mask_logits, tracked_tensors()[f"{key}low_res"], NOISE[0])
        self.compare(proposals.object_logits, tracked_tensors()[f"{key}scores"], NOISE[1])
        return proposals

    def step(self, view: cohorts.FrameView, state: Any, found: Any, alone: Any, options: Any) -> Any:
        state, sightings = STEP(view, state, found, alone, options)
        if not found:
            expected, key = self.run["partial"][self.num_partial], f"partial{self.num_partial:03d}_low_res"
            self.num_partial += 1
            assert (view.frame, list(sightings.ids)) == (expected["frame_idx"], expected["obj_ids"])
            self.compare(sightings.mask_logits, tracked_tensors()[key], PARTIAL_NOISE)
        return state, sightings

    def compare(self, actual: Tensor, expected: Tensor, atol: float) -> None:
        torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


PROPOSALS, STEP, REMEMBER = video_step._proposals, video_step.step, video_step.remember


def looks() -> list[ClickFeatures]:
    inputs = tracker_tensors("3_tracker_inputs")
    return [
        ClickFeatures(
            fine=inputs["feat.s0"][i : i + 1],
            medium=inputs["feat.s1"][i : i + 1],
            coarse=inputs["feat.level2"][i : i + 1],
        )
        for i in tracked()["feature_index"]
    ]


def tracked_rules() -> Rules:
    """The options of the run; what it leaves out is as in the release."""
    return rules_of({**runs()["story_release"]["options"], **tracked()["options"]})


def test_a_session_with_clicks_and_removal_equals_the_official_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the official rewriting of re-prompted memories put back, every number and every pixel."""
    monkeypatch.setattr(video_step, "remember", lambda *arguments: REMEMBER(*arguments[:5]))
    play = Tracked(tracked(), tracked_rules(), looks(), monkeypatch)
    play.play()
    play.check_emitted(tracked_tensors()["out_bits"])
    assert play.num_partial == len(tracked()["partial"])


class Repaired(Tracked):
    """Notes the first frame on which the tracker's answers leave the official ones, and looks no further."""

    first_difference: int | None = None

    def proposals(self, *arguments: Any) -> Any:
        if self.first_difference is None:
            with suppress(AssertionError):
                return super().proposals(*arguments)
            self.first_difference = self.visit["frame_idx"]
        return PROPOSALS(*arguments)

    def finish_visit(self) -> None:
        if self.first_difference is None:
            super().finish_visit()


def test_a_reprompted_object_is_remembered_as_the_detector_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The repair changes frame 1 and what follows: frame 0 is re-prompted on its second visit (every 6th frame is)."""
    run = {**tracked(), "flow": tracked()["flow"][:2]}
    assert next(v["visit"] for v in run["frames"] if v.get("recondition_called")) == 1
    play = Repaired(run, tracked_rules(), looks(), monkeypatch)
    play.play()
    assert play.first_difference == 1
