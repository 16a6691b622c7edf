"""What is labelled often enough, or solved, is asked no more; everything else is."""

from pathlib import Path

import pytest
from engine_world import PHRASES, ColourSegmenter, open_world, stages, write_photos

from masklet.engine.records import Fact
from masklet.engine.review.intake import take_in
from masklet.engine.review.queues import unseen
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.runner import Runner
from masklet.engine.stages.balance import LEAST_LOOKS, Balance
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.verify.by_score import ByScore


def run_capped(project: Project, cap: int, run_id: str) -> ColourSegmenter:
    segmenter = ColourSegmenter()
    made = stages(project, segmenter)
    made.insert(3, Balance(cap=cap, judge=ByScore().actor))
    project.view.ledger.add([Fact(table="run", values={"run_id": run_id, "started_at": 0, "code": "", "config": ""})])
    Runner(project, made, run_id).run()
    return segmenter


def positives(project: Project) -> dict[str, int]:
    return project.view.counts_of_phrases(State.FINAL_POSITIVE)


def test_phrases_with_enough_positives_are_asked_of_no_more_photos(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 5))
    run_capped(project, 4, "first")
    before = positives(project)
    full = {text for text, count in before.items() if count >= 4}
    assert set() < full < set(PHRASES)
    write_photos(tmp_path / "photos", 7)
    segmenter = run_capped(project, 4, "second")
    assert {text for call in segmenter.calls for text in call} == set(PHRASES) - full
    skipped = project.view.pairs(State.SKIPPED_BALANCE)
    assert [row["text"] for row in skipped].count(next(iter(full))) == 2
    assert {row["text"] for row in skipped} == full
    assert all(positives(project)[text] == before[text] for text in full)
    assert run_capped(project, 4, "third").calls == []


@pytest.mark.parametrize(("wrong", "is_solved"), [(0, True), (1, True), (4, False)])
def test_a_phrase_is_solved_when_people_find_its_labels_right(tmp_path: Path, wrong: int, is_solved: bool) -> None:  # noqa: FBT001
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", LEAST_LOOKS + 6))
    run_capped(project, 1000, "first")
    seen = [item for item in unseen(project) if item.phrase == PHRASES[0]][:LEAST_LOOKS]
    said = [
        Decision(pair=item.pair_id, maskset=item.maskset_id, label="reject" if place < wrong else "accept")
        for place, item in enumerate(seen)
    ]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task="audit", answers=said), "Ada")
    write_photos(tmp_path / "photos", LEAST_LOOKS + 8)
    segmenter = run_capped(project, 1000, "second")
    assert ({PHRASES[0]} <= {text for call in segmenter.calls for text in call}) != is_solved
    assert len(project.view.pairs(State.SKIPPED_EASY)) == 2 * is_solved
