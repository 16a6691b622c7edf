"""Ctrl-C and SIGTERM: the server ends within seconds whatever is under way, and loses nothing that it acknowledged."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from serving import Running, free_port, photo_bytes, running_server, write_clip

from masklet.client import Client
from masklet.errors import InputError
from masklet.inference.model import Model
from masklet.serve.lane import Lane
from masklet.serve.launch import listen
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import FindBody, VideoClickBody
from masklet.workflows.model_choice import ModelChoice

SOON = 9.0  # seconds, a shared machine included; Docker kills after ten, and before this was mended it took 30 and more


def test_a_server_with_a_job_a_stream_and_an_upload_under_way_ends_soon(base: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=1000)  # far more than are tracked here
    with running_server(tmp_path / "kept", str(base)) as server:
        client = Client(server.address)
        photo = client.open_image(photo_bytes()).id
        found = client.find(photo, FindBody(phrases=["square"]))
        video = client.open_video(clip).id
        client.click_video(video, VideoClickBody(frame=0, box=(8.0, 20.0, 28.0, 40.0)))
        stream = client.frames(client.track(video).id)
        rows = [next(stream) for _ in range(3)]
        reading = threading.Thread(target=lambda: rows.extend(stream))
        reading.start()
        half = socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])))
        head = "POST /v1/images HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        half.sendall(f"{head}content-length: 9999\r\n\r\n--b".encode())  # and no more: somebody's network is slow
        time.sleep(0.3)
        assert ended(server, signal.SIGINT) == 130
        reading.join(10)
        half.close()
    assert not reading.is_alive()
    assert rows[-1].job is not None  # the stream was not cut, it has ended
    assert rows[-1].job.state == "cancelled"
    assert 3 <= rows[-1].job.done < 1000
    with running_server(tmp_path / "kept", str(base)) as server:
        client = Client(server.address)
        assert client.image(photo) == found
        kept = {each.index: each for each in client.results(video, count=1000)}
        assert [kept[row.frame.index] for row in rows if row.frame] == [row.frame for row in rows if row.frame]
        assert client.video(video).marks[0].kind == "click"
        assert ended(server, signal.SIGTERM) == -signal.SIGTERM


def ended(server: Running, number: signal.Signals) -> int:
    """The exit status of a server that is asked to end, and does so soon."""
    began = time.monotonic()
    server.process.send_signal(number)
    status = server.process.wait(60)
    assert time.monotonic() - began < SOON
    return status


def test_who_waits_for_a_turn_is_told_at_once_that_none_comes() -> None:
    lane, told = Lane(9), list[HttpProblem]()

    def wait() -> None:
        with pytest.raises(HttpProblem) as caught, lane.turn():
            pass
        told.append(caught.value)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    with lane.turn():  # one is computing
        for count, thread in enumerate(threads, start=1):
            thread.start()
            while lane.num_waiting < count:
                time.sleep(0.001)
        lane.close()
        for thread in threads:
            thread.join(20)
        assert [each.status for each in told] == [503] * 3
    assert lane.num_waiting == 0
    with pytest.raises(HttpProblem, match="being stopped"), lane.turn():
        pass


def test_who_waits_for_the_weights_is_told_at_once_that_none_come() -> None:
    host = ModelHost(ModelChoice(), 9)  # not started: its weights never come
    told = list[HttpProblem]()

    def wait() -> None:
        with pytest.raises(HttpProblem) as caught:
            host.get(600)
        told.append(caught.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    host.close()
    waiting.join(20)
    assert [each.status for each in told] == [503]


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def test_a_port_that_is_taken_is_named_before_an_address_is_told(base: Path, tmp_path: Path, taken: int) -> None:
    command = [sys.executable, "-m", "masklet", "serve", "--port", str(taken), "--folder", str(tmp_path)]
    ended = subprocess.run([*command, "--model", str(base)], capture_output=True, text=True, timeout=120, check=False)
    told = f"masklet: cannot listen on port {taken} of 127.0.0.1: another program listens there; choose another"
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"{told} --port or --host\n"


@pytest.mark.parametrize(
    ("host", "reason"), [("no.such.host.invalid", "no host of that name"), ("192.0.2.7", "cannot listen on port")]
)
def test_a_host_that_is_not_this_machine_is_named(host: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        listen(host, free_port())


def test_every_address_of_a_name_is_listened_on() -> None:
    port = free_port()
    sockets = listen("localhost", port)
    try:
        assert {each.getsockname()[1] for each in sockets} == {port}
        assert "127.0.0.1" in {each.getsockname()[0] for each in sockets}
    finally:
        for each in sockets:
            each.close()


def test_a_request_that_begins_while_it_stops_is_told_so(base: Path, tmp_path: Path) -> None:
    from fastapi.testclient import TestClient

    from masklet.serve.app import create_app
    from masklet.serve.settings import ServeSettings

    settings = ServeSettings(folder=tmp_path, model=ModelChoice(name=str(base), device="cpu"))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        key = client.open_image(photo_bytes()).id
        http.app.state.server.stop()  # type: ignore[attr-defined]
        answer: httpx2.Response = http.post(f"/v1/images/{key}/find", json={"phrases": ["square"]})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "being stopped" in answer.json()["error"]
        assert client.image(key).width == 96  # what needs no model goes on to the end


def test_a_process_that_ends_waits_for_the_thread_that_loads() -> None:
    class Slow(ModelChoice):
        def load(self) -> Model:
            time.sleep(0.5)
            raise InputError("none here")

    host = ModelHost(Slow(), 9)
    host.join(9)  # not begun: nothing to wait for
    host.start()
    host.close()
    host.join(9)
    assert host.problem is not None


def test_small_answers_are_sent_at_once() -> None:
    """Every request once took 40 ms longer: the second packet of an answer waited for the first to be acknowledged."""

    async def delays() -> int:
        accepted: asyncio.Future[asyncio.BaseTransport] = asyncio.get_running_loop().create_future()

        class Taking(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.set_result(transport)

        port = free_port()
        server = await asyncio.get_running_loop().create_server(Taking, sock=listen("127.0.0.1", port)[0])
        with socket.create_connection(("127.0.0.1", port)):
            transport = await accepted
        delays = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        server.close()
        return delays

    assert asyncio.run(delays()) != 0
