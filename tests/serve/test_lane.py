"""Whose turn the model is: the urgent first, images of several requests together, and no more waiting than allowed."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

import masklet
from masklet.client import Client
from masklet.inference.concepts import Concept
from masklet.serve.lane import CALLER, LATER, NOW, Batcher, Caller, Lane, LanedModel, Question, _Order
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import FindBody, PhotoClickBody
from masklet.types import Detections


def wait_for(lane: Lane, count: int) -> None:
    while lane.num_waiting < count:
        time.sleep(0.001)


def test_the_urgent_come_first_and_then_those_who_came_first() -> None:
    lane, order, threads = Lane(10), list[str](), list[threading.Thread]()

    def take(name: str, urgency: int) -> None:
        with lane.turn(urgency):
            order.append(name)

    with lane.turn():
        for count, (name, urgency) in enumerate([("job", LATER), ("first", NOW), ("second", NOW)], start=1):
            threads.append(threading.Thread(target=take, args=(name, urgency)))
            threads[-1].start()
            wait_for(lane, count)
    for thread in threads:
        thread.join()
    assert order == ["first", "second", "job"]


def test_those_who_would_wait_too_long_are_told_so() -> None:
    lane = Lane(1)
    with lane.turn():
        waiting = threading.Thread(target=lambda: lane.turn().__enter__())
        waiting.start()
        wait_for(lane, 1)
        with pytest.raises(HttpProblem) as caught, lane.turn():
            pass
        assert (caught.value.status, caught.value.retry_after) == (503, 2)
    waiting.join()


def test_what_came_meanwhile_is_one_batch() -> None:
    lane, batches, made = Lane(20), list[list[int]](), dict[int, int]()

    def compute(given: list[int]) -> list[int]:
        batches.append(sorted(given))
        return [value * 10 for value in given]

    batcher: Batcher[int, int] = Batcher(lane, compute, 3)

    def ask(value: int) -> None:
        made[value] = batcher(value)

    threads = [threading.Thread(target=ask, args=(value,)) for value in range(1, 6)]
    with lane.turn():
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_for(lane, count)
    for thread in threads:
        thread.join()
    assert made == {value: value * 10 for value in range(1, 6)}
    assert [len(batch) for batch in batches] == [3, 2]


def test_a_fault_reaches_everybody_of_its_batch_and_nobody_after() -> None:
    lane = Lane(20)

    def compute(given: list[int]) -> list[int]:
        if 0 in given:
            raise ValueError("no zeros")
        return given

    batcher: Batcher[int, int] = Batcher(lane, compute, 8)
    with pytest.raises(ValueError, match="no zeros"):
        batcher(0)
    assert batcher(4) == 4


def run_for(caller: Caller, run: Callable[[], object]) -> threading.Thread:
    """Something that a thread computes for somebody."""

    def in_context() -> None:
        CALLER.set(caller)
        run()

    thread = threading.Thread(target=in_context)
    thread.start()
    return thread


def test_what_nobody_waits_for_is_passed_over_and_whoever_came_after_is_next() -> None:
    lane, caller, order = Lane(9), Caller(), list[str]()

    def take(name: str) -> None:
        try:
            with lane.turn():
                order.append(name)
        except HttpProblem as problem:
            order.append(f"{name}: {problem.status}")

    with lane.turn():
        gone = run_for(caller, lambda: take("gone"))
        wait_for(lane, 1)
        stays = run_for(Caller(), lambda: take("stays"))
        wait_for(lane, 2)
        caller.is_gone = True
    gone.join()
    stays.join()
    assert sorted(order) == ["gone: 499", "stays"]
    assert lane.num_waiting == 0


def test_what_nobody_waits_for_is_in_no_batch() -> None:
    caller, batches = Caller(), list[list[int]]()

    def compute(given: list[int]) -> list[int]:
        batches.append(given)
        return given

    batcher: Batcher[int, int] = Batcher(Lane(9), compute, 8)
    batcher._orders = [_Order(1, caller), _Order(2, Caller())]  # both wait
    caller.is_gone = True
    assert batcher(3) == 3
    assert batches == [[3, 2]]


def test_images_encoded_together_are_as_those_encoded_alone(base: Path) -> None:
    model = masklet.load(base, device="cpu")
    laned = LanedModel.of(model, Lane(4), Lane(4))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (40, 60, 3), dtype=np.uint8) for _ in range(3)]
    for image, features in zip(images, laned.encode_batch(images), strict=True):
        alone = model.encode(image)
        torch.testing.assert_close(features.pixel_terms.fine, alone.pixel_terms.fine, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(features.begun, alone.begun, rtol=1e-4, atol=1e-4)
    assert laned.identity == model.identity


def test_concepts_of_several_requests_are_asked_in_one_pass_and_answered_as_alone(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = masklet.load(base, device="cpu", dtype="float32")
    laned, rng = LanedModel.of(model, Lane(9), Lane(9)), np.random.default_rng(1)
    wide, tall = (model.encode(rng.integers(0, 255, size, dtype=np.uint8)) for size in ((40, 60, 3), (50, 30, 3)))
    coin, cup = Concept(phrase="coin"), Concept(phrase="a large cup", boxes=((3, 4, 20, 30),), labels=(1,))
    least = 0.0  # an untrained model is sure of nothing
    questions = [
        Question(wide, [coin, cup], (40, 60), least, None, assume_present=False),
        Question(tall, [cup], (50, 30), least, None, assume_present=False),
        Question(wide, [Concept(phrase="cat")], (40, 60), 0.5, None, assume_present=True),
        Question(tall, [coin], (50, 30), 0.02, None, assume_present=False),
    ]
    passes: list[int] = []
    ground = model.detector.ground
    monkeypatch.setattr(
        model.detector, "ground", lambda *given: passes.append(len(given[2].phrase_index)) or ground(*given)
    )
    together: dict[int, Detections] = {}

    def ask(place: int) -> None:
        q = questions[place]
        together[place] = laned.detect(
            q.features, q.concepts, q.size, q.threshold, q.calibration, assume_present=q.assume_present
        )

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(4)]
    with laned.lane.turn():
        for count, thread in enumerate(threads, start=1):
            thread.start()
            wait_for(laned.lane, count)
    for thread in threads:
        thread.join()
    assert passes == [4, 1]  # what takes presence for granted has a pass of its own
    for place, q in enumerate(questions):
        alone = model.detect(q.features, q.concepts, q.size, q.threshold, assume_present=q.assume_present)
        assert len(alone.scores) or q.threshold
        same(together[place], alone)


def same(one: Detections, other: Detections) -> None:
    """The same detections but for the last bits, by which two that score alike may change places."""
    assert one.scores.shape == other.scores.shape
    torch.testing.assert_close(one.presence, other.presence, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.prompt_index, other.prompt_index)
    torch.testing.assert_close(one.boxes_xyxy, other.boxes_xyxy, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(one.mask_logits, other.mask_logits, rtol=1e-3, atol=1e-3)


def test_clicks_are_answered_while_more_wait_for_the_model_than_there_were_threads(
    http: TestClient, client: Client, photo: bytes
) -> None:
    """A pool of threads that those who wait fill up would hold up everybody."""
    host, key = http.app.state.server.host, client.open_image(photo).id  # type: ignore[attr-defined]
    click = PhotoClickBody(points=[(20.0, 20.0)], labels=[1])
    client.click(key, click)  # encoded
    others = [client.open_image(photo).id for _ in range(45)]
    asking = [threading.Thread(target=client.find, args=(each, FindBody(phrases=["cup"]))) for each in others]
    with host.lane.turn():
        for thread in asking:
            thread.start()
        wait_for(host.lane, len(asking))
        assert client.click(key, click).objects
    for thread in asking:
        thread.join()


def test_one_click_is_computed_at_a_time_beside_whatever_else_is(
    http: TestClient, client: Client, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dozens of clicks at once would take the processor from the one phrase whose turn it is."""
    host = http.app.state.server.host  # type: ignore[attr-defined]
    keys = [client.open_image(photo).id for _ in range(12)]
    body, now, most = PhotoClickBody(points=[(20.0, 20.0)], labels=[1]), 0, 0
    for key in keys:
        client.click(key, body)  # encoded
    click = host.get().detector.click.forward

    def watched(*given: object, **options: object) -> object:
        nonlocal now, most
        now += 1
        most = max(most, now)
        time.sleep(0.01)
        try:
            return click(*given, **options)
        finally:
            now -= 1

    monkeypatch.setattr(host.get().detector.click, "forward", watched)
    clicking = [threading.Thread(target=client.click, args=(key, body)) for key in keys]
    with host.lane.turn():  # beside the computation of something else
        for thread in clicking:
            thread.start()
        for thread in clicking:
            thread.join(60)
    assert not any(thread.is_alive() for thread in clicking)
    assert most == 1
    assert all(len(client.image(key).objects) == 2 for key in keys)
