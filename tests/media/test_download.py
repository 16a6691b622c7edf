"""What may be fetched: https from public addresses, no more than allowed. Nothing here leaves the machine."""

import io
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest

import masklet
from masklet.errors import InputError
from masklet.media import download


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.jpg",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "example.com/a.jpg",
        "https://",
        "https://[x",
        "",
    ],
)
def test_only_https_is_spoken(url: str) -> None:
    with pytest.raises(InputError, match="address"):
        masklet.fetch(url)


def test_names_and_passwords_in_addresses_are_refused() -> None:
    with pytest.raises(InputError, match="user name"):
        masklet.fetch("https://me:secret@example.com/a.jpg")


PRIVATE = ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1%eth0"]


@pytest.mark.parametrize("address", [*PRIVATE, "fd00::1", "::ffff:127.0.0.1", "100.64.0.1", "224.0.0.1"])
def test_private_addresses_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="not a public address"):
        download.check_public(address)


def test_public_addresses_pass() -> None:
    download.check_public("93.184.216.34")
    download.check_public("2606:2800:220:1:248:1893:25c8:1946")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server


def test_a_private_machine_hears_not_one_byte(listener: socket.socket) -> None:
    heard: list[bytes] = []

    def listen() -> None:
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(1))

    thread = threading.Thread(target=listen)
    thread.start()
    with pytest.raises(InputError, match="not a public address"):
        masklet.fetch(f"https://localhost:{listener.getsockname()[1]}/photo.jpg")
    thread.join()
    assert heard == [b""]


def test_what_is_larger_than_allowed_is_refused_and_the_rest_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request.OpenerDirector, "open", lambda *_, **__: io.BytesIO(b"x" * 100))
    assert masklet.fetch("https://example.com/a.jpg", max_bytes=100) == b"x" * 100
    with pytest.raises(InputError, match="larger than 99 bytes"):
        masklet.fetch("https://example.com/a.jpg", max_bytes=99)


def test_redirects_stay_with_https() -> None:
    request = urllib.request.Request("https://example.com/a.jpg")
    follow = download._HttpsRedirects().redirect_request
    with pytest.raises(InputError, match="not an https address"):
        follow(request, None, 302, "", {}, "http://example.com/b.jpg")
    assert follow(request, None, 302, "", {}, "https://example.com/b.jpg").full_url == "https://example.com/b.jpg"


def test_a_server_that_cannot_be_reached_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> socket.socket:
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(InputError, match=r"cannot fetch .*no route to host"):
        masklet.fetch("https://example.com/a.jpg")
