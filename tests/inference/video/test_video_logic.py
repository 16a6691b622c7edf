"""The rules of concept video decide as the official code does: nine runs of tests/golden/official/4a_video_logic.

There detections and tracker outputs are scripted, and every decision of the official code on every frame is on record.
Here the same inputs go through NMS, `plan_frame` and the delay buffer; the state is what these made of earlier frames.
"""

import gzip
import json
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from masklet.inference.rules.association import FrameDetections, Proposals
from masklet.inference.rules.lifecycle import ConceptState, FramePlan, plan_frame
from masklet.inference.rules.rules import Rules
from masklet.inference.video.emission import DelayBuffer, shown
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import FrameRecord
from masklet.ops.components import fill_small
from masklet.ops.nms import nms_masks

ROUNDING = 2e-7  # the official detector turns its scripted scores into logits and back

FOLDER = Path(__file__).parents[2] / "golden" / "official"
NAMES = [
    *(f"story_{name}" for name in ("release", "no_heuristics", "confirmation", "alternative", "reverse", "box_only")),
    "fuzz1_release",
    "fuzz2_alternative",
    "fuzz3_confirmation_reverse",
]


@cache
def runs() -> dict:
    return json.loads(gzip.decompress((FOLDER / "4a_video_logic.json.gz").read_bytes()))["runs"]


@cache
def tensors() -> dict[str, Tensor]:
    return load(gzip.decompress((FOLDER / "4a_video_logic.safetensors.gz").read_bytes()))


def rules_of(options: dict) -> Rules:
    return Rules(
        min_score=options["score_threshold_detection"],
        nms_overlap=options["det_nms_thresh"],
        min_hit_iou=options["assoc_iou_thresh"],
        min_match_iou=options["trk_assoc_iou_thresh"],
        one_to_one=options["o2o_matching_masklets_enable"],
        min_birth_score=options["new_det_thresh"],
        border=0.025 if options["suppress_det_close_to_boundary"] else 0,
        max_objects=options["max_num_objects"] if options["max_num_objects"] > 0 else 10_000,
        confirmation_delay=options["hotstart_delay"],
        max_unmatched=options["hotstart_unmatch_thresh"],
        max_duplicate=options["hotstart_dup_thresh"],
        confirm_after=options["masklet_confirmation_enable"] * options["masklet_confirmation_consecutive_det_thresh"],
        hide_lost=not options["suppress_unmatched_only_within_hotstart"],
        first_credit=options["init_trk_keep_alive"],
        max_credit=options["max_trk_keep_alive"],
        min_credit=options["min_trk_keep_alive"],
        empty_costs_credit=options["decrease_trk_keep_alive_for_empty_masklets"],
        occlusion_iou=options["suppress_overlapping_based_on_recent_occlusion_threshold"],
        reprompt_every=options["recondition_every_nth_frame"],
        drift_box_iou=options["reconstruction_bbox_iou_thresh"],
        drift_min_score=options["reconstruction_bbox_det_score"],
        fill_area=options["fill_hole_area"],
    )


def mask_logits(run: dict, rows: list[int]) -> Tensor:
    """Masks on record: two codes to a byte, a quarter of a logit each."""
    packed = tensors()[f"{run['family']}.mask_codes4"][rows].long()
    codes = torch.stack([packed >> 4, packed & 15], dim=-1).flatten(1) - 8
    return (codes.float() * 0.25 + 0.0713).view(-1, run["low_res"], run["low_res"])


def extents(masks: Tensor) -> Tensor:
    """Boxes of masks in fractions of the picture, as the scripted detector gave them."""
    boxes = []
    for mask in masks.numpy():
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return torch.tensor(boxes).reshape(-1, 4) / masks.shape[-1]


@dataclass
class Replay:
    """One run with our rules: the state between frames, and what was emitted."""

    run: dict
    state: ConceptState = field(default_factory=ConceptState)
    next_id: int = 0
    emitted: list[tuple[int, FrameResult]] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rules = rules_of(self.run["options"])
        self.buffer = DelayBuffer.of(self.rules)
        self.phase = ""

    def visit(self, expected: dict) -> None:
        detections = self.detect(expected)
        proposals = Proposals(
            object_ids=self.state.object_ids,
            mask_logits=fill_small(mask_logits(self.run, expected["track_masks"]), self.rules.fill_area),
            object_logits=torch.tensor(expected["track_score_logits"]),
        )
        assert list(self.state.object_ids) == expected["track_ids"]
        before = self.state
        plan = plan_frame(
            before,
            expected["frame_idx"],
            detections,
            proposals,
            self.rules,
            reverse=expected["reverse"],
            next_id=self.next_id,
            num_objects=len(before.tracks),
        )
        self.state = plan.state
        self.next_id += len(plan.births)
        check_decisions(plan, expected)
        check_state(plan, expected, self.rules)
        record = self.record_of(before, plan, detections, proposals, expected["frame_idx"])
        self.ended |= set(plan.removed)
        self.check_areas(record, expected)
        self.emit(record, expected)

    def check_areas(self, record: FrameRecord, expected: dict) -> None:
        """Masks at the size of the video before anything is hidden."""
        areas = dict(zip(record.result.ids.tolist(), record.result.areas.tolist(), strict=True))
        for object_id, area in expected["masks_this_frame"].items():
            assert areas.get(int(object_id), 0) == area

    def detect(self, expected: dict) -> FrameDetections:
        logits = mask_logits(self.run, [entry["mask"] for entry in expected["raw_dets"]])
        scores = torch.tensor([entry["prob"] for entry in expected["raw_dets"]])
        rows = (scores > self.rules.min_score).nonzero()[:, 0][: None if expected["new_detections_allowed"] else 0]
        rows = rows[nms_masks(logits[rows], scores[rows], self.rules.nms_overlap)]
        assert rows.tolist() == expected["kept_after_nms"]
        torch.testing.assert_close(scores[rows], torch.tensor(expected["det_scores"]), rtol=0, atol=ROUNDING)
        return FrameDetections(mask_logits=logits[rows], scores=scores[rows], boxes_xyxy=extents(logits[rows] > 0))

    def emit(self, record: FrameRecord, expected: dict) -> None:
        """The answer to the prompt comes at once and whole; a propagation is delayed, and flushed at its end."""
        visit, frames = expected["visit"], self.run["frames"]
        if expected["phase"] == "add_prompt":
            self.emitted.append((visit, shown(replace(record, unconfirmed=frozenset()), ())))
            return
        if expected["phase"] != self.phase:
            self.phase, self.buffer = expected["phase"], DelayBuffer.of(self.rules)
        self.buffer, released = self.buffer.push(record)
        if visit + 1 == len(frames) or frames[visit + 1]["phase"] != self.phase:
            self.buffer, rest = self.buffer.flush()
            released += rest
        self.emitted += [(visit, shown(one, self.ended)) for one in released]

    def record_of(
        self,
        before: ConceptState,
        plan: FramePlan,
        detections: FrameDetections,
        proposals: Proposals,
        frame: int,
    ) -> FrameRecord:
        """What the frame adds to the output: old masklets as the tracker shows them, new ones as they were detected."""
        born = [row for _, row in plan.births]
        height, width = self.run["video_hw"]
        result = FrameResult.of(
            index=frame,
            time=float(frame),
            size=(height, width),
            ids=(*proposals.object_ids, *(object_id for object_id, _ in plan.births)),
            concepts=("thing",) * (len(proposals.object_ids) + len(born)),
            scores=(*(track.birth_score for track in before.tracks), *detections.scores[born].tolist()),
            object_scores=(*proposals.object_logits.sigmoid().tolist(), *detections.scores[born].tolist()),
            mask_logits=plan.shown_logits(detections, proposals, self.rules),
        )
        unconfirmed = frozenset(track.object_id for track in plan.state.tracks if not track.is_confirmed)
        return FrameRecord(result=result, hidden=frozenset(plan.hidden), unconfirmed=unconfirmed)


def check_decisions(plan: FramePlan, expected: dict) -> None:
    assert [row for _, row in plan.births] == expected["new_det_inds"]
    assert [object_id for object_id, _ in plan.births] == expected["new_obj_ids"]
    assert plan.num_dropped == expected["num_obj_dropped"]
    matches = plan.matches
    assert list(matches.unmatched) == expected["unmatched_track_ids"]
    assert list(matches.empty) == expected["empty_track_ids"]
    for row, ids in enumerate(matches.hits):
        assert list(ids) == expected["det_to_tracks"].get(str(row), [])
    assert dict(matches.confident) == {int(key): row for key, row in expected["high_conf_track_to_det"].items()}
    assert sorted(plan.removed) == sorted(expected["newly_removed"])
    assert list(plan.occluded) == expected.get("occlusion_suppressed", [])
    # What ends on this frame is never shown; the official code lists some of it as hidden too.
    assert set(plan.hidden) == set(expected["suppressed_ids"]) - set(plan.removed)
    assert [object_id for object_id, _ in plan.redrawn] == expected["box_mismatch_reconditioned"]
    given = [entry["obj_id"] for entry in expected["masks_given_to_tracker"]]
    assert [object_id for object_id, _ in (*plan.reprompted, *plan.births)] == given


def check_state(plan: FramePlan, expected: dict, rules: Rules) -> None:
    """What is remembered of the living masklets; the official code also keeps the dead ones' counts."""
    state = plan.state
    assert list(state.object_ids) == expected["obj_ids_after"]

    def check(name: str, value_of: object, default: int | None = None) -> None:
        table = expected[name]
        assert callable(value_of)
        for track in state.tracks:
            key = str(track.object_id)
            assert value_of(track) == (table[key] if default is None else table.get(key, default)), name

    check("keep_alive", lambda track: track.credit)
    check("unmatched_count", lambda track: track.num_unmatched, 0)
    check("first_frame", lambda track: track.first_frame)
    check("last_occluded", lambda track: track.last_occluded, -1)
    if rules.confirm_after:
        check("confirmed", lambda track: track.is_confirmed)
        check("consecutive_det_num", lambda track: track.streak)
    living = set(state.object_ids)
    pairs = {(a, b): count for a, b, count in expected["overlap_pair_counts"] if {a, b} <= living}
    assert dict(state.shared) == pairs


@pytest.mark.parametrize("name", NAMES)
def test_every_decision_and_every_emitted_frame_equals_the_official_one(name: str) -> None:
    run = runs()[name]
    replay = Replay(run)
    for expected in run["frames"]:
        replay.visit(expected)
    height, width = run["video_hw"]
    bits = tensors()[f"{run['family']}.out_bits"].numpy()
    assert len(replay.emitted) == len(run["emitted"])
    for (visit, result), expected in zip(replay.emitted, run["emitted"], strict=True):
        assert (visit, result.index) == (expected["after_visit"], expected["frame_idx"])
        assert result.ids.tolist() == expected["obj_ids"]
        probabilities = np.array(expected["probs"], dtype=np.float32)
        np.testing.assert_allclose(result.scores, probabilities, rtol=0, atol=ROUNDING)
        boxes = official_boxes(torch.from_numpy(result.boxes), width, height)
        torch.testing.assert_close(boxes, boxes_of(expected))
        masks = np.unpackbits(bits[expected["masks"]], axis=1, count=height * width).reshape(-1, height, width)
        np.testing.assert_array_equal(result.masks, masks.astype(bool))


def official_boxes(boxes_xyxy: Tensor, width: int, height: int) -> Tensor:
    """Corner and size in fractions of the picture, to the last pixel instead of behind it."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - 1
    return torch.cat([low, high - low], dim=1) / torch.tensor([width, height, width, height])


def boxes_of(expected: dict) -> Tensor:
    return torch.tensor(expected["boxes_xywh"]).reshape(-1, 4)
