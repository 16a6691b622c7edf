"""Who watches a run: lines of a log, TensorBoard, and what happens where they cannot be written."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colored_squares import make_recipe, make_trainer
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from masklet.errors import InputError
from masklet.train.run.observers import (
    JsonLog,
    Observer,
    TensorBoard,
    Validated,
    append_line,
    boards,
    duration,
)

LINE = {"step": 2, "lr": 2.5e-05, "loss": 12.5, "loss_mask": 0.25, "loss_class_one_to_many": 3.0, "gradient_norm": 7.0}
METRICS = {"cgF1": 0.412, "IL_MCC": 0.71, "pmF1": 0.58, "macro_F1": None}


def validated(step: int, *, best: bool = True, pictures: tuple[Path, ...] = ()) -> Validated:
    return Validated(line={"step": step, "metrics": METRICS, "best": best, "phrases": []}, images=pictures)


DURATIONS = {
    0.2: "0 seconds",
    1: "1 second",
    40: "40 seconds",
    2100: "35 minutes",
    5400: "1.5 hours",
    7560: "2.1 hours",
    302400: "3.5 days",
}


@pytest.mark.parametrize("seconds", DURATIONS)
def test_durations_as_people_say_them(seconds) -> None:
    assert duration(seconds) == DURATIONS[seconds]


def test_a_run_is_told_from_start_to_end(tmp_path) -> None:
    told: list[tuple[str, Any]] = []

    class Listener(Observer):
        def started(self, recipe, step) -> None:
            assert recipe.total_steps == 3
            told.append(("started", step))

        def stepped(self, step) -> None:
            told.append(("stepped", step))

        def logged(self, line) -> None:
            told.append(("logged", line["step"]))

        def ended(self) -> None:
            told.append(("ended", None))

    make_trainer(make_recipe((2, 1), log_every=2), tmp_path, [Listener()]).train()
    steps = [("stepped", 1), ("stepped", 2), ("logged", 2), ("stepped", 3), ("logged", 3)]
    assert told == [("started", 0), *steps, ("ended", None)]


def test_an_observer_is_told_of_the_end_of_a_run_that_fails(tmp_path) -> None:
    ended = []

    class Failing(Observer):
        def stepped(self, step) -> None:
            raise InputError(f"no more after {step}")

        def ended(self) -> None:
            ended.append(True)

    with pytest.raises(InputError, match="no more after 1"):
        make_trainer(make_recipe((2,)), tmp_path, [Failing()]).train()
    assert ended == [True]


def test_tensorboard_shows_scalars_and_pictures_and_forgets_what_is_repeated(tmp_path, monkeypatch) -> None:
    # Files of one second are read in the order of their names, which end in a number: 10 would come before 9
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(0))
    picture = tmp_path / "00-cup.png"
    Image.fromarray(np.full((700, 1400, 3), (10, 200, 30), np.uint8)).save(picture)
    recipe = make_recipe((4,))
    for first, last in ((0, 3), (1, 4)):  # killed after three updates, continued from the first
        (board,) = boards(tmp_path)
        assert isinstance(board, TensorBoard)
        board.started(recipe, first)
        for step in range(first + 1, last + 1):
            board.logged({**LINE, "step": step, "loss": 10.0 * first + step})
        board.validated(validated(last, pictures=(picture,)))
        board.ended()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("loss/total")]
    assert losses == [(1, 1.0), (2, 12.0), (3, 13.0), (4, 14.0)]
    assert {"loss/mask", "loss/class_one_to_many", "run/lr", "validation/cgF1"} <= set(events.Tags()["scalars"])
    assert "validation/macro_F1" not in events.Tags()["scalars"]
    image = events.Images("00-cup")[-1]
    assert (image.width, image.height, image.step) == (640, 320, 4)


def test_without_tensorboard_nobody_writes_for_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("masklet.train.run.observers.find_spec", lambda name: None)  # noqa: ARG005
    assert boards(tmp_path) == []


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch) -> None:
    def fail(*_, **__) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(InputError, match=r"cannot write .*log\.jsonl: the disk is full"):
        append_line(tmp_path / "log.jsonl", LINE)


def test_the_log_is_a_line_each_in_a_folder_that_is_made(tmp_path) -> None:
    log = JsonLog(tmp_path / "new" / "run")
    log.logged(LINE)
    log.logged({**LINE, "step": 4})
    lines = (tmp_path / "new/run/log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [LINE, {**LINE, "step": 4}]


def test_the_log_of_a_run_that_was_killed_repeats_nothing(tmp_path) -> None:
    log = JsonLog(tmp_path)
    for step in (2, 4, 6):
        log.logged({**LINE, "step": step})
    with log.path.open("a") as file:
        file.write('{"step": 8, "lo')
    log.started(make_recipe((9,)), 4)
    log.logged({**LINE, "step": 6, "loss": 1.0})
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(2, 12.5), (4, 12.5), (6, 1.0)]
