"""Each rule by a table, and as in the official code (tests/golden/official/4c_functions)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from masklet.inference.rules.association import FrameDetections, Matches, Proposals
from masklet.inference.rules.lifecycle import (
    NEVER,
    ConceptState,
    FramePlan,
    Track,
    begin,
    confirm,
    count_detections,
    count_shared,
    highest,
    inside_border,
    lost,
    plan_frame,
    removals,
    suppress_occluded,
)
from masklet.inference.rules.rules import RULES, Rules, sam3, sam3_1, without_heuristics
from masklet.ops.overlaps import SUPPRESSED

FOLDER = Path(__file__).parents[2] / "golden" / "official"
GOLDEN = load_file(FOLDER / "4c_functions.safetensors")
ALL_CASES = json.loads((FOLDER / "4c_functions.json").read_text())["cases"]


def cases(name: str) -> list:
    return [pytest.param(case, id=str(case["index"])) for case in ALL_CASES if case["fn"] == name]


def track(object_id: int, **changes: object) -> Track:
    return Track(**{"object_id": object_id, "first_frame": 0, "birth_score": 0.9, "credit": 30, **changes})  # type: ignore[arg-type]


def found(
    hits: tuple[tuple[int, ...], ...] = (), unmatched: tuple[int, ...] = (), empty: tuple[int, ...] = ()
) -> Matches:
    return Matches(new=(), unmatched=unmatched, empty=empty, hits=hits, confident=())


def strips(*spans: tuple[int, int]) -> Tensor:
    """Logits of masks that fill the columns from the first to before the second number, of twenty."""
    columns = torch.arange(20)
    rows = [(columns >= low) & (columns < high) for low, high in spans]
    return torch.stack(rows)[:, None, :].expand(-1, 40, -1).float() - 0.5 if rows else torch.zeros(0, 40, 20)


def detect(*spans: tuple[int, int], scores: list[float] | None = None) -> FrameDetections:
    boxes = [[low / 20, 0.0, high / 20, 1.0] for low, high in spans]
    return FrameDetections(
        mask_logits=strips(*spans),
        scores=torch.tensor([0.9] * len(spans) if scores is None else scores),
        boxes_xyxy=torch.tensor(boxes).reshape(-1, 4),
    )


def propose(ids: tuple[int, ...], *spans: tuple[int, int], logit: float = 5.0) -> Proposals:
    return Proposals(object_ids=ids, mask_logits=strips(*spans), object_logits=torch.full((len(ids),), logit))


def step(
    state: ConceptState,
    frame: int,
    detections: FrameDetections,
    proposals: Proposals,
    rules: Rules | None = None,
    next_id: int = 0,
) -> FramePlan:
    return plan_frame(
        state,
        frame,
        detections,
        proposals,
        rules or sam3(),
        reverse=False,
        next_id=next_id,
        num_objects=len(state.tracks),
    )


def test_the_three_sets_of_rules_have_names() -> None:
    assert {name: make() for name, make in RULES.items()} == {
        "sam3": sam3(),
        "no-heuristics": without_heuristics(),
        "sam3.1": sam3_1(),
    }


OPTIONS = {
    "hotstart_delay": "confirmation_delay",
    "hotstart_unmatch_thresh": "max_unmatched",
    "hotstart_dup_thresh": "max_duplicate",
    "init_trk_keep_alive": "first_credit",
    "max_trk_keep_alive": "max_credit",
    "min_trk_keep_alive": "min_credit",
    "decrease_trk_keep_alive_for_empty_masklets": "empty_costs_credit",
}


@pytest.mark.parametrize("case", cases("hotstart"))
def test_probation_equals_the_official_one(case: dict) -> None:
    """Credit, unmatched frames, shared detections and removals, frame by frame."""
    args, state, gone = case["args"], ConceptState(), set()
    options = dict(args["options"])
    hide_lost = not options.pop("suppress_unmatched_only_within_hotstart", True)
    rules = Rules(**{OPTIONS[key]: value for key, value in options.items()}, hide_lost=hide_lost)
    for given, expected in zip(args["steps"], case["out"]["steps"], strict=True):
        hits = tuple(tuple(ids) for ids in given["det_to_trk"].values())
        matches = found(hits, tuple(given["unmatched_ids"]), tuple(given["empty_ids"]))
        born = tuple(begin(object_id, given["frame_idx"], 0.9, rules) for object_id in given["new_ids"])
        state = ConceptState(tracks=(*count_detections(state.tracks, matches, rules), *born), shared=state.shared)
        state = ConceptState(tracks=state.tracks, shared=count_shared(state, matches, reverse=args["reverse"]))
        removed = removals(state, given["frame_idx"], rules, reverse=args["reverse"])
        hidden = lost(state, rules, removed)
        assert sorted(removed) == sorted(expected["newly_removed"])
        assert set(hidden) == set(expected["suppressed"]) - set(removed)
        state, gone = state.without(removed), gone | set(removed)
        assert gone == set(expected["removed"])
        for one in state.tracks:
            assert one.credit == expected["keep_alive"][str(one.object_id)]
            assert one.num_unmatched == expected["unmatched_count"].get(str(one.object_id), 0)
        counts = {(older, younger): count for older, younger, count in expected["overlap_counts"]}
        assert dict(state.shared) == {pair: count for pair, count in counts.items() if not gone & set(pair)}


@pytest.mark.parametrize("case", cases("confirmation"))
def test_confirmation_equals_the_official_one(case: dict) -> None:
    rules, tracks = Rules(confirm_after=case["args"]["threshold"]), ()
    for given, expected in zip(case["args"]["steps"], case["out"]["steps"], strict=True):
        assert [one.object_id for one in tracks] == given["ids_before"]
        hits = tuple(tuple(ids) for ids in given["det_to_trk"].values())
        tracks = confirm(tracks, found(hits), rules)
        tracks += tuple(begin(object_id, 0, 0.9, rules) for object_id in given["new_ids"])
        tracks = tuple(one for one in tracks if one.object_id in given["ids_after"])
        assert [one.is_confirmed for one in tracks] == expected["confirmed"]
        assert [one.streak for one in tracks] == expected["consecutive"]


@pytest.mark.parametrize("case", cases("occlusion"))
def test_suppression_by_recent_occlusion_equals_the_official_one(case: dict) -> None:
    args, masks = case["args"], GOLDEN[f"occlusion.{case['index']}.in.masks"]
    known = [NEVER if frame is None else frame for frame in args["last_occluded"]]
    state = ConceptState(
        tracks=tuple(track(one, last_occluded=last) for one, last in zip(args["obj_ids"], known, strict=True))
    )
    proposals = Proposals(object_ids=tuple(args["obj_ids"]), mask_logits=masks, object_logits=torch.zeros(len(masks)))
    empty = tuple(one for one, mask in zip(args["obj_ids"], masks, strict=True) if not (mask > 0).any())
    state, occluded = suppress_occluded(
        state, args["frame_idx"], proposals, empty, Rules(occlusion_iou=args["iou_threshold"]), reverse=args["reverse"]
    )
    assert list(occluded) == case["out"]["suppressed_ids"]
    assert {str(one.object_id): one.last_occluded for one in state.tracks} == case["out"]["last_occluded_after"]


@pytest.mark.parametrize("case", cases("drop_limit"))
def test_the_surest_are_kept_as_in_the_official_code(case: dict) -> None:
    args = case["args"]
    rows, num_dropped = highest(args["inds"], torch.tensor(args["scores"]), args["num_to_keep"])
    assert list(rows) == case["out"]["kept"]
    assert num_dropped == len(args["inds"]) - len(rows)


def test_boxes_at_the_border_equal_the_official_ones() -> None:
    inside = inside_border(GOLDEN["boundary.0.in.boxes_xyxy"], sam3_1().border)
    assert inside.equal(GOLDEN["boundary.0.out.keep"].bool())


def test_a_masklet_on_probation_ends_after_eight_unmatched_frames() -> None:
    """Three detections on frame 0, the second lost from frame 1 on, a fourth on frame 5."""
    spans = [(0, 4), (6, 10), (12, 16)]
    plan = step(ConceptState(), 0, detect(*spans), propose(()))
    assert plan.births == ((0, 0), (1, 1), (2, 2))
    credits, spawned = [], []
    for frame in range(1, 10):
        ids = plan.state.object_ids
        seen = [(0, 4), (12, 16), *([(17, 20)] if frame >= 5 else [])]
        tracked = [span for one, span in ((0, (0, 4)), (1, (6, 10)), (2, (12, 16)), (3, (17, 20))) if one in ids]
        plan = step(plan.state, frame, detect(*seen), propose(ids, *tracked), next_id=3)
        spawned += [(frame, object_id) for object_id, _ in plan.births]
        credits += [one.credit for one in plan.state.tracks if one.object_id == 1]
        assert plan.removed == ((1,) if frame == 8 else ())
    assert credits == [29, 28, 27, 26, 25, 24, 23]
    assert spawned == [(5, 3)]
    assert plan.state.object_ids == (0, 2, 3)


@pytest.mark.parametrize(
    ("first", "frame", "reverse", "removed"),
    [(0, 14, False, (7,)), (0, 15, False, ()), (30, 16, True, (7,)), (30, 15, True, ())],
)
def test_nothing_is_removed_after_probation(first: int, frame: int, *, reverse: bool, removed: tuple) -> None:
    state = ConceptState(tracks=(track(7, first_frame=first, num_unmatched=20),))
    assert removals(state, frame, sam3(), reverse=reverse) == removed
    assert removals(state, frame, without_heuristics(), reverse=reverse) == ()


def test_of_masklets_that_share_detections_the_one_begun_later_is_removed() -> None:
    state = ConceptState(tracks=(track(3, first_frame=4), track(5, first_frame=6)))
    forward = count_shared(state, found(((3, 5), (5,), (5, 3))), reverse=False)
    assert dict(forward) == {(3, 5): 2}
    assert dict(count_shared(state, found(((3, 5),)), reverse=True)) == {(5, 3): 1}
    state = ConceptState(tracks=state.tracks, shared={(3, 5): 8})
    assert removals(state, 7, sam3(), reverse=False) == (5,)
    assert state.without((5,)) == ConceptState(tracks=(track(3, first_frame=4),))


@pytest.mark.parametrize(
    ("changes", "hidden"),
    [
        ({"credit": 0, "num_unmatched": 1}, (7,)),
        ({"credit": 1, "num_unmatched": 1}, ()),
        ({"credit": 0, "num_unmatched": 0}, ()),  # only ever empty
    ],
)
def test_a_masklet_without_credit_is_hidden_where_the_rules_say_so(changes: dict, hidden: tuple) -> None:
    state = ConceptState(tracks=(track(7, **changes),))
    assert lost(state, Rules(hide_lost=True), ()) == hidden
    assert lost(state, Rules(hide_lost=True), (7,)) == ()
    assert lost(state, sam3(), ()) == ()


@pytest.mark.parametrize(
    ("last", "reverse", "occluded"),
    [
        ((3, NEVER), False, ()),  # one never occluded neither suppresses nor is suppressed
        ((5, 3), False, (1,)),
        ((3, 5), False, (2,)),
        ((5, 3), True, (2,)),
        ((4, 4), False, ()),
        ((NEVER, 3), True, (1,)),
    ],
)
def test_the_masklet_occluded_last_is_suppressed_by_the_one_it_lies_on(
    last: tuple[int, int], occluded: tuple, *, reverse: bool
) -> None:
    tracks = tuple(track(one, last_occluded=frame) for one, frame in zip((1, 2), last, strict=True))
    proposals = propose((1, 2), (0, 10), (0, 8))
    state, suppressed = suppress_occluded(ConceptState(tracks=tracks), 9, proposals, (), sam3(), reverse=reverse)
    assert suppressed == occluded
    expected = [9 if one in occluded else frame for one, frame in zip((1, 2), last, strict=True)]
    assert [one.last_occluded for one in state.tracks] == expected


def test_a_suppressed_masklet_goes_into_memory_without_a_pixel() -> None:
    state = ConceptState(tracks=(track(1, last_occluded=5), track(2, last_occluded=3)))
    plan = step(state, 9, detect((0, 10)), propose((1, 2), (0, 10), (0, 8)))
    assert plan.occluded == (1,)
    assert plan.mask_logits[0].eq(SUPPRESSED).all()
    assert plan.mask_logits[1].equal(strips((0, 8))[0])


@pytest.mark.parametrize(
    ("frame", "logit", "score", "reprompted"),
    [(16, 0.9, 0.9, ((1, 0),)), (17, 0.9, 0.9, ()), (16, 0.8, 0.9, ()), (16, 0.9, 0.79, ()), (0, 5.0, 0.9, ((1, 0),))],
)
def test_a_sure_detection_corrects_a_sure_masklet_every_sixteen_frames(
    frame: int, logit: float, score: float, reprompted: tuple
) -> None:
    state, proposals = ConceptState(tracks=(track(1),)), propose((1,), (0, 9), logit=logit)
    plan = step(state, frame, detect((0, 10), scores=[score]), proposals)
    assert plan.reprompted == reprompted
    assert plan.redrawn == ()
    assert plan.shown_logits(detect((0, 10)), proposals, sam3()).equal(strips((0, 9)))


def test_a_masklet_whose_box_has_drifted_is_corrected_and_redrawn_at_once() -> None:
    """With a second masklet that has not drifted and is corrected along with it."""
    rules = Rules(drift_box_iou=0.85, drift_min_score=0.8, reprompt_min_overlap=0.7, fill_area=0)
    state = ConceptState(tracks=(track(1), track(2)))
    proposals, detections = propose((1, 2), (0, 8), (12, 20)), detect((0, 8), (13, 20))
    plan = step(state, 3, detections, proposals, rules)
    assert plan.reprompted == ((1, 0), (2, 1))
    assert plan.redrawn == ((2, 1),)
    shown = plan.shown_logits(detections, proposals, rules)
    assert shown.equal(torch.stack([proposals.mask_logits[0], detections.mask_logits[1]]))
    assert step(state, 3, detections, proposals, sam3()).reprompted == ()


def test_new_objects_wait_at_the_border_and_where_there_is_no_room() -> None:
    spans = [(0, 1), (4, 6), (8, 10), (12, 14)]
    detections = detect(*spans, scores=[0.9, 0.8, 0.95, 0.85])
    plan = step(ConceptState(), 0, detections, propose(()), Rules(border=0.026, max_objects=2), next_id=5)
    assert plan.births == ((5, 2), (6, 3))
    assert plan.num_dropped == 1
    assert [one.birth_score for one in plan.state.tracks] == pytest.approx([0.95, 0.85])
    full = step(plan.state, 1, detections, propose((5, 6), (17, 18), (18, 19)), Rules(max_objects=1))
    assert (full.births, full.num_dropped) == ((), 4)


def test_a_newborn_is_shown_with_its_holes_filled() -> None:
    detections = detect((0, 10))
    detections.mask_logits[0, 0, 4] = -1
    plan = step(ConceptState(), 0, detections, propose(()))
    shown = plan.shown_logits(detections, propose(()), sam3())
    assert shown[0, 0, 4] == pytest.approx(0.1)


def test_a_user_begins_or_corrects_a_masklet() -> None:
    rules = sam3_1()
    state = ConceptState(tracks=(track(1, birth_score=0.6),)).with_user_track(1, 4, rules).with_user_track(9, 4, rules)
    assert state.object_ids == (1, 9)
    assert [one.birth_score for one in state.tracks] == [1, 1]
    assert [one.is_confirmed for one in state.tracks] == [True, True]
    assert [one.first_frame for one in state.tracks] == [0, 4]
