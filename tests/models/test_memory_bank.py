"""What is remembered and recalled: choices equal the official ones (4c_functions), and nothing needed is let go."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from official_data import GOLDEN, check, tensors

from masklet.models.memory import MaskMemory
from masklet.models.memory_bank import (
    Memory,
    MemoryBank,
    Traversal,
    closest_frames,
    recall,
    trim,
    useful_frames,
    usefulness,
)

FUNCTIONS = tensors("official/4c_functions")
CASES = json.loads((GOLDEN / "official/4c_functions.json").read_text())["cases"]
KEEPS_FIRST, NO_LIMIT = (3, 7), (5,)  # closest_cond: choices that the published model does not make, nor can ours
CONFIG = MaskMemory.Config(dim=8, memory_dim=4)


def recorded(name: str) -> list[dict]:
    return [case for case in CASES if case["fn"] == name]


def make_memory(frame: int, score: float | None = None, *, by_user: bool = False) -> Memory:
    """A memory that can be told from others by its pointer."""
    return Memory(
        mask_logits=torch.zeros(1, 1, 1),
        object_logits=torch.zeros(1),
        pointers=torch.full((1, 1), float(frame)),
        maps=torch.zeros(1, 1, 1, 1),
        usefulness=score,
        by_user=by_user,
    )


def test_the_conditioning_frames_looked_at_are_the_official_ones() -> None:
    checked = []
    for case in recorded("closest_cond"):
        args = case["args"]
        assert args["keep_first"] == (case["index"] in KEEPS_FIRST)
        assert (args["max_num"] == -1) == (case["index"] in NO_LIMIT)
        if case["index"] not in KEEPS_FIRST + NO_LIMIT:
            selected, others = closest_frames(args["cond_frames"], args["frame_idx"], args["max_num"])
            assert selected == case["out"]["selected"]
            assert sorted(others) == case["out"]["unselected"]
            checked.append(case["index"])
    assert checked == [0, 1, 2, 4, 6]


@pytest.mark.parametrize("case", recorded("frame_filter"), ids=lambda case: str(case["index"]))
def test_the_frames_that_show_the_objects_well_are_the_official_ones(case: dict) -> None:
    args = case["args"]
    traversal = Traversal(reverse=args["reverse"], num_frames=args["num_frames"])
    tracked = {int(frame): make_memory(int(frame), score) for frame, score in args["eff"].items()}
    limit, threshold = traversal.pointer_reach(MaskMemory.Config()), MaskMemory.Config().min_usefulness
    assert (
        useful_frames(tracked, args["frame_idx"], traversal, limit=limit, threshold=threshold) == case["out"]["valid"]
    )


def test_usefulness_is_the_official_one_object_by_object() -> None:
    """Case 0 was recorded with a shape for which the official function averages the objects' products; in the tracker
    it multiplies the averages, as ours does. They agree on single objects."""
    for case in range(2):
        iou, logits = FUNCTIONS[f"mem_score.{case}.in.iou"], FUNCTIONS[f"mem_score.{case}.in.score_logits"][:, 0]
        each = [usefulness(iou[row : row + 1], logits[row : row + 1]) for row in range(len(iou))]
        check(torch.tensor(each).mean(dim=0, keepdim=True), FUNCTIONS[f"mem_score.{case}.out.eff"], "function")


def test_usefulness_of_several_objects_is_a_product_of_means() -> None:
    iou, logits = torch.tensor([[0.2, 0.8], [0.4, 0.1]]), torch.tensor([100.0, -3.0])
    assert usefulness(iou, logits) == pytest.approx(0.5 * (0.8 + 0.4) / 2)


def reads(bank: MemoryBank, frame: int, config: MaskMemory.Config, traversal: Traversal) -> tuple[list, list]:
    """What is recalled, by frame."""
    recalled = recall(bank, frame, config, traversal)
    assert all(memory.maps is not None for memory, _ in recalled.maps)
    return (
        [(int(memory.pointers), age) for memory, age in recalled.maps],
        [(int(memory.pointers), age) for memory, age in recalled.pointers],
    )


@settings(max_examples=300)
@given(
    scores=st.lists(st.one_of(st.just(0.0), st.floats(0, 1)), min_size=1, max_size=60),
    said=st.dictionaries(st.integers(0, 59), st.booleans(), max_size=8),
    traversal=st.builds(
        Traversal, reverse=st.booleans(), stride=st.integers(1, 3), num_frames=st.sampled_from([None, 180])
    ),
    keep=st.integers(0, 9),
)
def test_what_is_let_go_is_never_read_in_the_rest_of_a_run(
    scores: list[float], said: dict[int, bool], traversal: Traversal, keep: int
) -> None:
    """`said` are frames on which the detector (False) or the user (True) gives the objects, besides the first."""
    frames = [place * traversal.stride for place in range(len(scores))]
    frames = frames[::-1] if traversal.reverse else frames
    later = {f: make_memory(f, by_user=True) for f, by_user in said.items() if by_user}  # given before the run
    whole = MemoryBank(conditioning={**later, frames[0]: make_memory(frames[0])})
    short = whole
    for frame, score in zip(frames[1:], scores[1:], strict=True):
        assert reads(short, frame, CONFIG, traversal) == reads(whole, frame, CONFIG, traversal)
        if frame in whole.conditioning:
            continue
        memory = make_memory(frame, None if frame in said else score)
        if frame in said:
            whole, short = (bank.with_conditioning(frame, memory) for bank in (whole, short))
        else:
            whole, short = (bank.with_tracked(frame, memory) for bank in (whole, short))
        short = trim(short, frame, CONFIG, traversal, keep)


def test_a_long_run_keeps_a_bounded_bank() -> None:
    """Well-seen frames, unseen ones, and the detector's word every eighth."""
    bank = MemoryBank(conditioning={0: make_memory(0)})
    sizes = []
    for frame in range(1, 400):
        said, score = frame % 8 == 0, 0.0 if frame % 3 else 0.9
        memory = make_memory(frame, None if said else score)
        bank = bank.with_conditioning(frame, memory) if said else bank.with_tracked(frame, memory)
        bank = trim(bank, frame, CONFIG, Traversal(), keep=5)
        kept = [*bank.tracked.values(), *bank.conditioning.values()]
        sizes.append((len(kept), sum(memory.maps is not None for memory in kept)))
    assert max(sizes[200:]) <= max(sizes[:200])
    assert max(count for count, _ in sizes) <= 15 + 5 + 6
    assert max(maps for _, maps in sizes) <= 6 + 5 + 6


def test_what_the_user_gave_is_never_let_go() -> None:
    bank = MemoryBank(conditioning={f: make_memory(f, by_user=f % 2 == 0) for f in range(40)})
    kept = trim(bank, 39, CONFIG, Traversal(), keep=0).conditioning
    assert sorted(kept) == sorted([*range(0, 40, 2), 1, 33, 35, 37, 39])


def test_a_bank_holds_a_frame_once() -> None:
    bank = MemoryBank().with_tracked(3, make_memory(3, 0.5)).with_tracked(4, make_memory(4, 0.5))
    bank = bank.with_conditioning(3, make_memory(3))
    assert (list(bank.conditioning), list(bank.tracked)) == ([3], [4])
    seen_again = make_memory(3)
    assert bank.with_tracked(3, seen_again).conditioning[3] is seen_again
    demoted = bank.demote([3])
    assert (list(demoted.conditioning), sorted(demoted.tracked)) == ([], [3, 4])
    assert bank.get(9) is None


def test_objects_are_taken_from_every_memory_of_a_bank() -> None:
    memory = make_memory(0).map(lambda tensor: tensor.expand(3, *tensor.shape[1:]))
    memory = replace(memory, pointers=torch.tensor([[1.0], [2.0], [3.0]]))
    bank = MemoryBank(conditioning={0: memory}, tracked={1: memory}).select(torch.tensor([2, 0]))
    assert [m.pointers.flatten().tolist() for m in (bank.conditioning[0], bank.tracked[1])] == [[3.0, 1.0]] * 2
