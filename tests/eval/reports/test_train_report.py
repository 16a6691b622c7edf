"""The page of a training run: from whatever the run has left so far."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masklet.data.doctor import SourceTally
from masklet.errors import InputError
from masklet.eval.analysis.forgetting import Change, Forgetting, Standing
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.reports.page import Gallery, Report, Table, render_report
from masklet.eval.reports.train_log import MOST_POINTS, curve, read_log
from masklet.eval.reports.train_report import FIGURES, Remedy, TrainRun, build_train_report
from masklet.ops.masks import rle_encode

SIDE = 32
HOSTILE = "<script>alert(1)</script>"


def line(step: int, **parts: float) -> dict[str, float]:
    return {"step": step, "lr": 1e-4, "seconds_per_step": 0.5, "loss": 100 - step, "gradient_norm": 2.0, **parts}


def validated(step: int, cg_f1: float, phrases: dict[str, float | None]) -> dict[str, Any]:
    rows = [
        {"phrase": phrase, "cgF1": cg_f1, "pmF1": pm_f1, "IL_MCC": None, "positives": 3, "negatives": 2}
        for phrase, pm_f1 in phrases.items()
    ]
    metrics = {"cgF1": cg_f1, "IL_MCC": cg_f1 + 0.1, "pmF1": 0.5, "macro_F1": None}
    return {"step": step, "epoch": None, "seconds": 1.0, "metrics": metrics, "phrases": rows}


def standing(rejected: int, pm_f1: float, **alarms: int) -> Standing:
    return Standing(
        pairs=200,
        absent=100,
        rejected=rejected,
        rejections=float(rejected),
        low=rejected - 3.0,
        high=min(100.0, rejected + 3.0),
        cgF1=pm_f1 / 2,
        IL_MCC=0.5,
        pmF1=pm_f1,
        false_alarms=alarms,
    )


def forgot(after: int) -> Forgetting:
    change = Change(
        name="everyday",
        title="Your images, asked for everyday things",
        images=10,
        sure=False,
        before=standing(95, 60.0, kite=1),
        after=standing(after, 60.0, giraffe=7),
    )
    return Forgetting(changes=(change,))


def outcome(image: str, phrase: str, *, shift: int, truths: int = 1) -> PairOutcome:
    """One square of 16 pixels, predicted `shift` pixels aside."""
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[0, 4:20, 4:20] = True
    masks[1, 4:20, 4 + shift : 20 + shift] = True
    iou = (16 - shift) / (16 + shift)
    boxes = np.array([[4.0, 4, 20, 20], [4.0 + shift, 4, 20 + shift, 20]])
    return PairOutcome(
        pair_id=0,
        phrase=phrase,
        image=image,
        subset="validation",
        height=SIDE,
        width=SIDE,
        scores=np.array([0.9]),
        iou=np.array([[iou]])[:truths],
        truth_areas=np.array([256])[:truths],
        predicted_areas=np.array([256]),
        truth_boxes_xyxy=boxes[:truths],
        predicted_boxes_xyxy=boxes[1:],
        truth_counts=(rle_encode(masks[0]),)[:truths],
        predicted_counts=(rle_encode(masks[1]),),
        presence=0.8,
    )


def whole_run() -> TrainRun:
    lines = [
        validated(0, 0.2, {HOSTILE: 0.4, "mug": 0.6}),
        validated(10, 0.3, {HOSTILE: 0.5, "mug": 0.55}),
        validated(20, 0.25, {HOSTILE: 0.5, "mug": 0.5}),
    ]
    outcomes = [
        outcome("a.png", "mug", shift=0),
        outcome("a.png", "cup", shift=4),
        outcome("b.png", "mug", shift=2),
        outcome("c.png", "dog", shift=0, truths=0),
    ]
    return TrainRun(
        name=HOSTILE,
        log=[line(step, loss_mask=0.5, loss_dice=1.0) for step in range(1, 21)],
        validations=lines,
        best=lines[1],
        recipe={"initial_weights": "tiny", "phases": [{"steps": 20, "weights": {"mine": 1.0}}], "lora": None},
        tallies={"mine": SourceTally(pictures=9, examined=5, phrases=2, objects=7, masks=7, positives=5, negatives=4)},
        outcomes=outcomes,
        pixels=lambda name: np.full((SIDE, SIDE, 3), 90, np.uint8),  # noqa: ARG005
        forgetting=forgot(after=40),
        remedies=[Remedy(what="learns to say no", command="masklet train presence-only initial_weights='a b'")],
    )


def table(report: Report, title: str) -> Table:
    (found,) = (section for section in report.sections if section.title == title)
    assert isinstance(found, Table)
    return found


def test_a_page_says_what_changed_and_what_it_cost():
    report = build_train_report(whole_run())
    figures = {figure.name: figure for figure in report.figures}
    assert figures["cgF1"].value == pytest.approx(30)
    assert figures["cgF1"].note == "20.0 before training"
    assert figures["IL_MCC"].value == pytest.approx(0.4)
    assert figures["IL_MCC"].note == "0.300 before training"
    rejected = figures["Absent things rejected: your images, asked for everyday things"]
    assert (rejected.value, rejected.low, rejected.high, rejected.note) == (40, 37, 43, "95.0 before training")
    assert report.subtitle == "20 updates, from tiny, best after 10"
    cost = table(report, "What it cost elsewhere")
    assert "It unlearnt to say no: 95.0 %" in cost.note
    assert "assumed, not verified" in cost.note
    assert [row[1] for row in cost.rows] == ["before", "after"]
    assert table(report, "What may help").rows[0][1] == "masklet train presence-only initial_weights='a b'"
    assert table(report, "Absent phrases that were predicted").rows[0] == [
        "giraffe",
        0,
        7,
        "Your images, asked for everyday things",
    ]


def test_phrases_that_gained_least_stand_first():
    rows = table(build_train_report(whole_run()), "By phrase").rows
    assert [row[0] for row in rows] == ["mug", HOSTILE]
    assert [row[5] for row in rows] == [pytest.approx(-5), pytest.approx(10)]
    assert rows[0][1:3] == [3, 2]


def test_without_absent_phrases_only_what_is_found_is_told():
    run = whole_run()
    for each in run.validations:
        for row in each["phrases"]:
            row["negatives"] = 0
    report = build_train_report(run)
    assert [figure.name for figure in report.figures if figure.name in FIGURES] == ["pmF1"]
    (chart,) = (section for section in report.sections if section.title == "On the validation images")
    assert "rejection of absent phrases is not measured" in chart.note


def test_the_worst_pictures_come_first_and_each_once():
    (gallery,) = (each for each in build_train_report(whole_run()).sections if isinstance(each, Gallery))
    captions = [(card.tags[0], card.caption) for card in gallery.cards]
    assert captions == [("worst", "dog"), ("worst", "cup"), ("best", "mug"), ("best", "mug")]


def test_the_recipe_is_there_as_overrides_name_it():
    rows = table(build_train_report(whole_run()), "Recipe").rows
    assert rows == [["initial_weights", "tiny"], ["phases.0.steps", "20"], ["phases.0.weights.mine", "1.0"]]


def test_nothing_on_the_page_is_run():
    page = render_report(build_train_report(whole_run()))
    assert HOSTILE not in page
    assert HOSTILE in unescape(page)
    assert len(re.findall("<script>", page)) == 1


@pytest.mark.parametrize(
    ("run", "titles"),
    [
        (TrainRun(name="new"), []),
        (
            TrainRun(name="tracking", log=[{"step": 5, "loss": 3.0, "lr": 0.1}], recipe={"phases": [{"steps": 50}]}),
            ["Loss", "Learning rate", "Recipe"],
        ),
        (
            TrainRun(name="begun", log=[line(2)], validations=[validated(0, 0.2, {"mug": 0.4})]),
            ["Loss", "Gradient norm", "Learning rate", "Time"],
        ),
    ],
)
def test_what_a_run_has_not_left_is_left_out(run, titles):
    report = build_train_report(run)
    assert [section.title for section in report.sections] == titles
    assert run.name in render_report(report)


def test_an_unfinished_run_says_so():
    run = TrainRun(name="begun", log=[line(7)], recipe={"phases": [{"steps": 20}, {"steps": 30}]})
    assert build_train_report(run).subtitle == "7 of 50 updates"


def test_a_log_is_read_as_far_as_it_is_whole(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    path.write_text(json.dumps({**line(1), "note": "text", "evaluation": {}}) + "\n" + '{"step": 2, "lo')
    assert read_log(path) == [line(1)]
    path.write_text('{"step": 1}\n{"loss": 3}\n')
    with pytest.raises(InputError, match="line 2 is not of a training log"):
        read_log(path)


def test_long_logs_become_means_of_neighbours():
    log = [line(step) for step in range(1, 3 * MOST_POINTS + 1)]
    log[4]["loss"] = float("nan")
    drawn = curve(log, "loss")
    assert len(drawn.x) == MOST_POINTS
    assert (drawn.x[0], drawn.y[0]) == (3, pytest.approx(98))
    assert np.isnan(drawn.y[1])
    assert (drawn.x[-1], drawn.y[-1]) == (600, pytest.approx(100 - 599))
