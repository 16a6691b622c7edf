"""Weights by name: what is here is taken without a network, and its absence is said at once."""

import socket
import threading
import time

import pytest

from masklet.checkpoints import hub
from masklet.errors import InputError


@pytest.fixture
def no_cache(monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("urllib.request.getproxies", dict)


@pytest.mark.usefixtures("no_cache")
def test_without_a_network_fetching_says_so(monkeypatch) -> None:
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(hub, "WAIT_SECONDS", 0.2)
    with pytest.raises(InputError, match=r"cannot reach https://.* within 0\.2 s: without a network, copy the file"):
        hub.fetch("sam3")


@pytest.mark.usefixtures("no_cache")
def test_a_network_that_swallows_everything_is_waited_for_no_longer_than_that(monkeypatch) -> None:
    released = threading.Event()

    def swallow(*_, **__):
        released.wait(60)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", swallow)
    monkeypatch.setattr(hub, "WAIT_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(InputError, match="cannot reach"):
        hub.fetch("sam3")
    assert time.monotonic() - began < 10
    released.set()


def test_the_wait_is_one_that_people_wait() -> None:
    assert hub.WAIT_SECONDS < 5


def test_weights_that_are_here_need_no_network(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(tmp_path / "model.safetensors"))
    monkeypatch.setattr(socket, "create_connection", None)
    assert hub.fetch("sam3") == tmp_path / "model.safetensors"
