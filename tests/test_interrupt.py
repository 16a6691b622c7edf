"""Ctrl-C: the first lets the update end and leaves a checkpoint, the second ends at once."""

import os
import signal

import pytest
import torch
from colored_squares import make_recipe, make_trainer

from masklet.interrupt import Interrupt
from masklet.train.run.observers import Observer


def press(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


class Pressing(Observer):
    """Asks the process to end after the first update."""

    def __init__(self, number: int) -> None:
        self.number = number

    def stepped(self, step: int) -> None:
        if step == 1:
            press(self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_by_hand_goes_on_as_if_it_had_not_been(tmp_path, caplog, number) -> None:
    stopped = make_trainer(make_recipe((3,)), tmp_path / "parts", [Pressing(number)])
    assert not stopped.train()
    assert stopped.step == 1
    assert "stopping after this update" in caplog.text
    assert [path.name for path in (tmp_path / "parts/checkpoints").iterdir()] == ["step-00000001"]
    rest, whole = (make_trainer(make_recipe((3,)), tmp_path / name) for name in ("parts", "whole"))
    rest.resume()
    assert rest.train()
    whole.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name


def test_the_second_time_it_ends_at_once_and_handlers_are_as_before(caplog) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt("stopping soon") as interrupt:
        press()
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            press()
    assert signal.getsignal(signal.SIGINT) is before
    assert caplog.text.count("stopping") == 1


def test_the_end_asked_for_twice_by_a_launcher_is_no_second_wish(caplog) -> None:
    with Interrupt("stopping soon") as interrupt:
        press()
        press(signal.SIGTERM)
    assert interrupt.requested
    assert "stopping" in caplog.text


def test_what_keeps_nothing_is_left_immediate() -> None:
    reached = []
    with Interrupt("stopping soon") as interrupt:
        with interrupt.immediate():
            press()
            reached.append("after")
        assert interrupt.requested
    assert not reached
