"""People answer on sheets and correct in files; what they said is never overwritten, and lapses when masks change."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos

from masklet.engine.records import Author
from masklet.engine.review.corrections import correct, export_for_correction, import_corrections, is_rechecked, to_row
from masklet.engine.review.intake import take_in
from masklet.engine.review.queues import is_audited, queue, strangeness
from masklet.engine.review.sheet import render_sheet, write_sheet
from masklet.engine.review.verdict_file import MOST_BYTES, Decision, read_verdicts, to_text
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL, State
from masklet.errors import InputError
from masklet.formats.coco import read_coco
from masklet.media.images import read_image

DOUBTFUL = ColourSegmenter(score=0.5)


@pytest.fixture
def doubtful(tmp_path: Path) -> Project:
    """A project all of whose masks are asked of people."""
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 4))
    run_world(project, DOUBTFUL)
    return project


def answers(project: Project, task: str, label: str | Callable[[int], str]) -> list[Decision]:
    return [
        Decision(
            pair=item.pair_id,
            maskset=item.maskset_id,
            number=item.number,
            label=label if isinstance(label, str) else label(place),
            seconds=1.5,
        )
        for place, item in enumerate(queue(project, task))
    ]


def give(project: Project, folder: Path, task: str, said: list[Decision], name: str = "Ada") -> dict[str, int]:
    path = folder / "answers.json"
    path.write_text(to_text(task, said))
    return {what: count for what, count in take_in(project, read_verdicts(path), name).items() if count}


def test_answers_to_all_masks_let_pairs_go_on_to_their_end(doubtful: Project, tmp_path: Path) -> None:
    waiting = doubtful.view.counts()[State.HUMAN_MASKS]
    assert waiting > 0
    given = answers(doubtful, "masks", "accept")
    assert give(doubtful, tmp_path, "masks", given) == {"taken": len(given)}
    assert State.HUMAN_MASKS not in doubtful.view.counts()
    run_world(doubtful, DOUBTFUL, run_id="second")
    assert set(doubtful.view.counts()) == FINAL


def test_a_pair_waits_until_its_last_mask_is_answered(doubtful: Project, tmp_path: Path) -> None:
    several = next(pair for pair in doubtful.view.pairs(State.HUMAN_MASKS) if masks_of(doubtful, pair) > 1)
    mine = [each for each in answers(doubtful, "masks", "accept") if each.pair == several["pair_id"]]
    give(doubtful, tmp_path, "masks", mine[:1])
    assert doubtful.view.one_pair(several["pair_id"])["state"] == State.HUMAN_MASKS
    assert len([each for each in queue(doubtful, "masks") if each.pair_id == several["pair_id"]]) == len(mine) - 1
    give(doubtful, tmp_path, "masks", mine[1:], name="Grace")
    assert doubtful.view.one_pair(several["pair_id"])["state"] == State.MASKS_VERIFIED


def masks_of(project: Project, pair: dict) -> int:
    maskset = project.view.maskset(pair["pair_id"])
    return maskset["num_masks"] if maskset else 0


def test_unsure_leaves_the_question_open(doubtful: Project, tmp_path: Path) -> None:
    given = answers(doubtful, "masks", "unsure")
    assert give(doubtful, tmp_path, "masks", given) == {"unsure": len(given)}
    assert len(queue(doubtful, "masks")) == len(given)


def test_the_second_answer_changes_nothing(doubtful: Project, tmp_path: Path) -> None:
    given = answers(doubtful, "masks", "reject")
    give(doubtful, tmp_path, "masks", given)
    before = doubtful.view.ledger.count("verdict"), doubtful.view.counts()
    counts = give(doubtful, tmp_path, "masks", answers_like(given, "accept"), name="Grace")
    assert counts.keys() <= {"decided before", "known before"}  # some masks serve as known questions
    assert sum(counts.values()) == len(given)
    assert (doubtful.view.ledger.count("verdict"), doubtful.view.counts()) == before


def answers_like(given: list[Decision], label: str) -> list[Decision]:
    return [Decision(pair=each.pair, maskset=each.maskset, number=each.number, label=label) for each in given]


def test_an_answer_about_masks_that_changed_since_has_lapsed(doubtful: Project, tmp_path: Path) -> None:
    given = answers(doubtful, "masks", "accept")[:1]
    old = [Decision(pair=given[0].pair, maskset="0" * 64, number=0, label="accept")]
    assert give(doubtful, tmp_path, "masks", old) == {"lapsed": 1}
    unknown = [Decision(pair="0" * 64, maskset=given[0].maskset, number=0, label="accept")]
    assert give(doubtful, tmp_path, "masks", unknown) == {"unknown": 1}


def test_no_answer_can_name_a_mask_that_is_not_there(doubtful: Project, tmp_path: Path) -> None:
    one = answers(doubtful, "masks", "accept")[0]
    give(doubtful, tmp_path, "masks", [Decision(pair=one.pair, maskset=one.maskset, number=9999, label="accept")])
    assert doubtful.view.verdicts(one.pair, "mask") == []


GOOD = {"format": "masklet-verdicts", "version": 1, "task": "masks", "answers": []}
ANSWER = {"pair": "0" * 64, "maskset": "0" * 64, "number": 0, "label": "accept", "seconds": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no file of verdicts"),
        ("[" * 100_000, "no file of verdicts"),
        (json.dumps(GOOD | {"format": "other"}), "format"),
        (json.dumps(GOOD | {"task": "rm -rf"}), "task"),
        (json.dumps(GOOD | {"answers": [ANSWER | {"pair": "../../x"}]}), "answers.0.pair"),
        (json.dumps(GOOD | {"answers": [ANSWER | {"label": "maybe"}]}), "maybe"),
        (json.dumps(GOOD | {"answers": [ANSWER | {"label": "not separated"}]}), "not separated"),
        (json.dumps(GOOD | {"answers": [ANSWER | {"seconds": -1}]}), "seconds"),
        (json.dumps(GOOD | {"answers": [ANSWER | {"seconds": 1e300}]}), "seconds"),
        (json.dumps(GOOD | {"answers": [{**ANSWER, "number": None}]}), "number"),
        (json.dumps(GOOD | {"task": "audit", "answers": [ANSWER]}), "number"),
    ],
)
def test_hostile_files_get_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "verdicts.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        read_verdicts(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(InputError, match="too many"):
        read_verdicts(path)


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_answers_belong_to_somebody(doubtful: Project, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        give(doubtful, tmp_path, "masks", answers(doubtful, "masks", "accept"), name=name)


def test_a_sheet_is_one_file_that_loads_nothing_and_trusts_no_text(doubtful: Project, tmp_path: Path) -> None:
    items = queue(doubtful, "masks", limit=3)
    page = write_sheet(doubtful, items, tmp_path / "sheet.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")
    assert render_sheet(doubtful, items) == page
    with pytest.raises(InputError, match="nothing is open"):
        write_sheet(doubtful, [], tmp_path / "empty.html")


def test_the_strange_come_first() -> None:
    square = np.zeros((100, 100), bool)
    square[10:30, 10:30] = True
    sliver = np.zeros((100, 100), bool)
    sliver[50, 2:98] = True
    masks = [to_row(square, score=0.9)] * 9 + [to_row(sliver, score=0.9), to_row(square, score=0.5)]
    values = strangeness(["coin"] * len(masks), masks)
    assert values[9] == max(values)
    assert values[10] > values[0]


def test_an_audit_that_fails_reopens_the_pair_and_the_label_is_gone(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 40))
    run_world(project)
    audited = queue(project, "audit")
    assert {item.pair_id for item in audited} == {
        p["pair_id"] for p in project.view.pairs() if is_audited(p["pair_id"])
    }
    assert audited
    labels = len(project.view.annotations())
    give(project, tmp_path, "audit", answers(project, "audit", "reject"))
    assert project.view.counts()[State.TO_CORRECT] == len(audited)
    assert len(project.view.annotations()) == labels - len(audited)


@pytest.fixture
def to_correct(tmp_path: Path) -> Project:
    """A project whose people said of every pair with masks that some are missing."""
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 6))
    segmenter = ColourSegmenter(score=0.5, drop=0.4)
    run_world(project, segmenter)
    give(project, tmp_path, "masks", answers(project, "masks", "accept"))
    for item in queue(project, "masks"):
        raise AssertionError(item)
    for pair in project.view.pairs(State.MASKS_VERIFIED):
        from masklet.engine.ledger.ledger import RULES
        from masklet.engine.records import Move, Outcome
        from masklet.engine.states import Cause

        causes = (Cause.ASK_EXHAUSTIVITY, Cause.SOME_MISSING)
        moves = [Move(pair_id=pair["pair_id"], cause=cause) for cause in causes]
        project.view.ledger.act(Outcome(moves=moves), RULES)
    return project


def corrected_file(project: Project, path: Path) -> int:
    """What waits, with every square in it, as a person would leave it."""
    export_for_correction(project, path.parent / "out")
    document = read_coco(path.parent / "out" / "coco.json")
    found = []
    for image in document.images.values():
        pixels = read_image(project.originals / (image.file_name or ""))
        for category in document.categories.values():
            for mask in true_masks(pixels, category.name):
                row = to_row(mask)
                size = {"size": list(row.size), "counts": row.counts}
                found.append({"id": len(found), "image_id": image.id, "category_id": category.id, "segmentation": size})
    path.write_text(json.dumps(document.to_json() | {"annotations": found}))
    return len(found)


def test_corrections_come_back_and_are_peoples_labels(to_correct: Project, tmp_path: Path) -> None:
    waiting = to_correct.view.pairs(State.TO_CORRECT)
    corrected_file(to_correct, tmp_path / "done.json")
    counts = import_corrections(to_correct, tmp_path / "done.json", "Ada", all_done=True)
    assert counts["corrected"] == len(waiting)
    run_world(to_correct, ColourSegmenter(score=0.5, drop=0.4), run_id="second")
    rows = {row["pair_id"]: row for row in to_correct.view.annotations()}
    for pair in waiting:
        if is_rechecked(pair["pair_id"]):
            assert to_correct.view.one_pair(pair["pair_id"])["state"] == State.RECHECK
            continue
        row = rows[pair["pair_id"]]
        image = read_image(to_correct.originals / to_correct.view.one_media(pair["media_id"])["uri"])
        assert row["tier"] == "HQ-human"
        assert len(json.loads(row["masks"])) == len(true_masks(image, pair["text"]))


def test_what_comes_back_unchanged_was_not_worked_on(to_correct: Project, tmp_path: Path) -> None:
    number = export_for_correction(to_correct, tmp_path / "out")
    counts = import_corrections(to_correct, tmp_path / "out" / "coco.json", "Ada")
    assert counts["unchanged"] == number == len(to_correct.view.pairs(State.TO_CORRECT))
    assert counts["corrected"] == 0


def test_a_correction_lapses_what_was_said_of_the_masks_before(to_correct: Project) -> None:
    pair = next(each for each in to_correct.view.pairs(State.TO_CORRECT) if masks_of(to_correct, each))
    before = to_correct.view.verdicts(pair["pair_id"])
    assert before
    ada = Author(kind="person", name="Ada")
    to_correct.view.ledger.act(correct(to_correct, pair, [], ada), ada)
    lapsed = {row["verdict_id"]: row["lapsed"] for row in to_correct.view.verdicts(pair["pair_id"], lapsed=True)}
    assert all(lapsed[row["verdict_id"]] for row in before)


def test_nobody_checks_their_own_correction(to_correct: Project, tmp_path: Path) -> None:
    from masklet.engine.records import Move, Outcome
    from masklet.engine.states import Cause

    pair, ada = to_correct.view.pairs(State.TO_CORRECT)[0], Author(kind="person", name="Ada")
    outcome = correct(to_correct, pair, [], ada)
    moves = [Move(pair_id=pair["pair_id"], cause=cause) for cause in (Cause.CORRECTION_DONE, Cause.CHECK_AGAIN)]
    to_correct.view.ledger.act(Outcome(facts=outcome.facts, lapsed=outcome.lapsed, moves=moves), ada)
    assert [item.pair_id for item in queue(to_correct, "recheck")] == [pair["pair_id"]]
    assert queue(to_correct, "negatives") == []
    mine = [each for each in answers(to_correct, "exhaustivity", "accept") if each.pair == pair["pair_id"]]
    assert give(to_correct, tmp_path, "exhaustivity", mine, name="Ada") == {"decided before": 1}
    assert give(to_correct, tmp_path, "exhaustivity", mine, name="Grace") == {"taken": 1}
    assert to_correct.view.one_pair(pair["pair_id"])["state"] == State.FINAL_NEGATIVE


@pytest.mark.parametrize(
    "segmentation",
    [{"size": [5, 5], "counts": "abc"}, {"size": [96, 96], "counts": "~~~"}, [[0, 0, 1]], [[1, 1, 1, 1, 1, 1]]],
)
def test_hostile_corrections_leave_everything_as_it_was(
    to_correct: Project, tmp_path: Path, segmentation: object
) -> None:
    corrected_file(to_correct, tmp_path / "done.json")
    document = json.loads((tmp_path / "done.json").read_text())
    document["annotations"][-1]["segmentation"] = segmentation
    (tmp_path / "done.json").write_text(json.dumps(document))
    before = to_correct.view.counts()
    with pytest.raises(InputError, match="segmentation"):
        import_corrections(to_correct, tmp_path / "done.json", "Ada", all_done=True)
    assert to_correct.view.counts() == before
