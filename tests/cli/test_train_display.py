"""What a person sees of a training run: a bar on a terminal, plain lines elsewhere."""

import io
import sys

from masklet.cli.train_display import TrainDisplay, describe
from masklet.train.recipes.schema import Recipe, load_recipe
from masklet.train.run.observers import Validated

LINE = {
    "step": 2,
    "image_size": 112,
    "lr": 2.5e-05,
    "seconds_per_step": 2.0,
    "images_per_second": 1.0,
    "loss": 12.345678,
    "loss_mask": 0.25,
    "loss_class_one_to_many": 3.0,
    "loss_presence": 0.5,
    "loss_dice": 1.0,
    "gradient_norm": 7.0,
}
METRICS = {"cgF1": 0.412, "IL_MCC": 0.71, "pmF1": 0.58, "macro_F1": None}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def recipe_of(*steps: int) -> Recipe:
    phases = [f"{{steps: {count}, image_size: 112, batch_size: 1, weights: {{scenes: 1}}}}" for count in steps]
    return load_recipe("builtin", [f"phases=[{', '.join(phases)}]"])


def validated(step: int, *, best: bool = True) -> Validated:
    return Validated(line={"step": step, "metrics": METRICS, "best": best, "phrases": []})


def test_a_line_says_the_largest_parts_the_rate_and_the_speed() -> None:
    assert describe(LINE) == "loss 12.35 (class one to many 3, dice 1, presence 0.5), lr 2.5e-05, 1 images/s"
    assert describe({"step": 1, "loss": 2.0, "lr": 1e-3}) == "loss 2, lr 0.001"


def test_without_a_terminal_each_log_and_validation_is_a_plain_line(capsys) -> None:
    display = TrainDisplay()
    display.started(recipe_of(3, 2), 0)
    for step in (1, 2):
        display.stepped(step)
    display.logged(LINE)
    display.validated(validated(0, best=False))
    display.validated(validated(2))
    display.ended()
    first, base, second = capsys.readouterr().err.splitlines()
    assert first.startswith("update 2 of 5 (phase 1 of 2, 112 px): loss 12.35 (")
    assert first.endswith("0 seconds left")
    assert base == "validation of the base: cgF1 41.2, IL_MCC 0.71, pmF1 58.0"
    assert second == "validation after 2 updates: cgF1 41.2, IL_MCC 0.71, pmF1 58.0, the best of this run so far"


def test_on_a_terminal_a_bar_moves_and_validations_stay_above_it(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    display = TrainDisplay()
    display.started(recipe_of(3, 2), 1)
    for step in (2, 3, 4):
        display.stepped(step)
    display.logged(LINE)
    display.validating(7)
    display.validated(validated(2))
    display.ended()
    shown = stream.getvalue()
    assert "4/5" in shown
    assert "phase 2 of 2" in shown
    assert "loss 12.35" in shown
    assert "validation after 2 updates" in shown
    assert "validating on 7 images" in shown
