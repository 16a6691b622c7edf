"""A server gets more requests at once for as long as it keeps up, and fewer when it does not."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fault_server import chat_server, refused, said

from masklet.llm.pace import MOST_AT_ONCE, Pace
from masklet.llm.server import ChatServer, ServerProblem


def test_the_limit_rises_by_one_a_round_and_halves() -> None:
    pace = Pace()
    for _ in range(3):
        pace.went_well()
    assert 2 < pace.limit < 3  # 1, 2, 2.5, 2.9
    for _ in range(200):
        pace.went_well()
    assert pace.limit == MOST_AT_ONCE
    pace.was_too_much()
    assert pace.limit == MOST_AT_ONCE / 2
    for _ in range(9):
        pace.was_too_much()
    assert pace.limit == 1


class Busy:
    """Answers at most so many at once, and says 429 to more."""

    def __init__(self, most: int) -> None:
        self.most, self.now, self.peak, self.refused = most, 0, 0, 0
        self.lock = threading.Lock()

    def __call__(self, body: dict):
        with self.lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
            is_full = self.now > self.most
            self.refused += is_full
        time.sleep(0.01)
        with self.lock:
            self.now -= 1
        return refused(429) if is_full else said({"content": body["messages"][0]["content"]})


def ask(server: ChatServer, word: str) -> str:
    return server.complete({"messages": [{"role": "user", "content": word}]})["choices"][0]["message"]["content"]


@pytest.mark.parametrize("most", [2, 100])
def test_threads_get_every_answer_and_a_busy_server_is_asked_less(most: int) -> None:
    busy, words = Busy(most), [str(number) for number in range(60)]
    with chat_server(busy) as (url, _):
        server = ChatServer(url=url, model="m", timeout=5.0, retries=8, wait=lambda _: None)
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(lambda word: ask(server, word), words)) == words
    assert 1 < busy.peak <= MOST_AT_ONCE
    assert busy.refused < 30
    assert bool(busy.refused) == (most == 2)
    assert server.pace.at_once == 0


def test_a_server_that_is_gone_lets_nobody_wait() -> None:
    server = ChatServer(url="http://127.0.0.1:9/v1", model="m", timeout=1.0, retries=1, wait=lambda _: None)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, server, "hello") for _ in range(4)]
        for each in asked:
            with pytest.raises(ServerProblem, match="cannot be reached"):
                each.result(timeout=20)
