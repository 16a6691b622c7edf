"""A session on a stream needs no more memory the longer it runs: what it keeps has a limit, and does not outgrow it."""

import gc
from pathlib import Path
from resource import getpagesize

import pytest
import torch
from scripted_stream import FIRST_VISIT, STAYING, VISIT_EVERY, random_model, scripted

from masklet.inference.video.cohorts import Cohort
from masklet.inference.video.features import CACHED_FRAMES

NUM_FRAMES, HISTORY, SETTLED = 140, 40, 60
POINTERS, MAPS, KEPT = 15, 6, 8  # frames reached by pointers and by maps, and kept for corrections
CONDITIONING = 1 + KEPT  # where the objects began, and the last that the detector corrected
GROWTH = 20  # MiB; the features of 80 frames would be 40


def resident() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize() / 2**20


def check_bank(cohort: Cohort) -> None:
    tracked, conditioning = cohort.bank.tracked, cohort.bank.conditioning
    assert len(conditioning) <= CONDITIONING
    assert len(tracked) <= POINTERS + KEPT
    assert sum(memory.maps is not None for memory in tracked.values()) <= MAPS + KEPT


def test_what_a_session_keeps_stays_within_its_limits() -> None:
    sizes, most = {}, 0
    with scripted(random_model(), history_frames=HISTORY) as script:
        session = script.session
        for frame in script.run(NUM_FRAMES):
            for cohort in session.state.cohorts:
                check_bank(cohort)
            most = max(most, len(session.object_ids))
            assert len(session.results.history.records) <= HISTORY
            assert len(session.results.buffer.waiting) <= session.delay
            assert len(session.cache.held) <= CACHED_FRAMES
            if frame in (SETTLED, NUM_FRAMES - 1):
                sizes[frame] = resident()
        visitors = 1 + (NUM_FRAMES - 1 - FIRST_VISIT) // VISIT_EVERY
        assert script.num_births == len(STAYING) + visitors
        assert most == len(STAYING) + 1
        oldest = session.state.cohorts[0]
        assert len(oldest.bank.conditioning) == CONDITIONING  # re-prompting went on all the time
        assert set(oldest.object_ids) == set(range(len(STAYING)))
        assert len(session.results.history.records) == HISTORY
    assert sizes[NUM_FRAMES - 1] - sizes[SETTLED] < GROWTH


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_memories_are_made_and_read_in_either_precision(dtype: torch.dtype) -> None:
    with scripted(random_model(dtype)) as script:
        for _ in script.run(12):
            pass
        memories = script.session.state.cohorts[0].bank.tracked.values()
        maps = [memory.maps for memory in memories if memory.maps is not None]
    assert len(maps) == KEPT
    assert all(one.dtype == torch.bfloat16 and one.isfinite().all() for one in maps)
