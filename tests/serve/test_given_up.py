"""Requests whose client has gone: what they asked for is not computed, and nobody waits behind it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from serving import free_port, photo_bytes

from masklet.client import Client
from masklet.serve.app import create_app
from masklet.serve.lane import Caller
from masklet.serve.launch import listen
from masklet.serve.schemas import FindBody
from masklet.serve.settings import ServeSettings
from masklet.serve.state import ServerState
from masklet.serve.stopping import StoppableServer, config_of
from masklet.workflows.model_choice import ModelChoice


@contextmanager
def serving(folder: Path, model: Path) -> Iterator[tuple[ServerState, int]]:
    """A server that listens, in a thread of this process, so that its lanes can be held."""
    port = free_port()
    app = create_app(ServeSettings(folder=folder, model=ModelChoice(name=str(model), device="cpu"), port=port))
    state: ServerState = app.state.server
    server = StoppableServer(config_of(app), state.stop)
    thread = threading.Thread(target=server.run, args=(listen("127.0.0.1", port),))
    thread.start()
    try:
        yield state, port
    finally:
        server.should_exit = True
        thread.join(60)


def until(what: str, is_so: Callable[[], bool]) -> None:
    """Waits until something is so; fails after half a minute."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end, f"not within half a minute: {what}"
        time.sleep(0.01)


def asked(port: int, key: str, phrase: str) -> socket.socket:
    """A question that was sent, whose answer nobody has read yet."""
    body = FindBody(phrases=[phrase]).model_dump_json().encode()
    head = f"POST /v1/images/{key}/find HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
    sent = socket.create_connection(("127.0.0.1", port))
    sent.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    return sent


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> list[Caller]:
    """Everybody who has asked something."""
    found = list[Caller]()

    class Known(Caller):
        def __init__(self) -> None:
            super().__init__()
            found.append(self)

    monkeypatch.setattr("masklet.serve.guard.Caller", Known)
    return found


def test_a_question_whose_client_has_gone_is_not_answered_and_the_next_one_is(
    base: Path, tmp_path: Path, callers: list[Caller]
) -> None:
    with serving(tmp_path, base) as (state, port):
        client = Client(f"http://127.0.0.1:{port}")
        given_up, stays = (client.open_image(photo_bytes()).id for _ in range(2))
        client.find(given_up, FindBody(phrases=["square"]))
        client.find(stays, FindBody(phrases=["square"]))  # both are encoded
        host = state.host
        with host.lane.turn():
            hasty, patient = asked(port, given_up, "a red square"), asked(port, stays, "a red square")
            until("both wait", lambda: host.num_waiting == 2)
            hasty.close()
            until("the server knows", lambda: any(each.is_gone for each in callers))
            assert host.num_waiting == 1
        with patient, patient.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"200"
        until("nobody waits", lambda: host.num_waiting == 0)
        assert [each.phrase for each in client.image(given_up).concepts] == ["square"]
        assert [each.phrase for each in client.image(stays).concepts] == ["square", "a red square"]
        counted = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'masklet_requests_total{method="POST",route="/v1/images/{key}/find",status="499"} 1.0' in counted


def test_the_client_of_a_request_without_a_body_is_watched_as_well(
    base: Path, tmp_path: Path, callers: list[Caller]
) -> None:
    with serving(tmp_path, base) as (state, port):
        key = Client(f"http://127.0.0.1:{port}").open_image(photo_bytes()).id
        with state.host.lane.turn(), socket.create_connection(("127.0.0.1", port)) as hasty:
            hasty.sendall(f"POST /v1/images/{key}/encode HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())
            until("it waits", lambda: state.host.num_waiting == 1)
            hasty.close()
            until("the server knows", lambda: any(each.is_gone for each in callers))
        until("nobody waits", lambda: state.host.num_waiting == 0)
        assert state.store._works[key].num_bytes < 100_000  # its pixels: it was not encoded
