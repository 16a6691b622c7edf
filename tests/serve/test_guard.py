"""The gate: tokens, hosts, origins, sizes, rates; and images from addresses, which are refused unless allowed."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import photo_bytes

from masklet.client import Client, ServerError
from masklet.errors import InputError
from masklet.serve.app import create_app
from masklet.serve.fetch import fetch
from masklet.serve.launch import address_of, read_people, with_token
from masklet.serve.schemas import FindBody, PhrasePrompt
from masklet.serve.settings import Limits, Person, ServeSettings

TOKEN, OTHER, LEAD = "ann-0123456789abcdef", "bob-0123456789abcdef", "lea-0123456789abcdef"
PEOPLE = {
    TOKEN: Person(name="ann", role="annotator"),
    OTHER: Person(name="bob", role="annotator"),
    LEAD: Person(name="lea", role="lead"),
}


@pytest.fixture(scope="module")
def guarded(settings: ServeSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    own = replace(settings, folder=tmp_path_factory.mktemp("guarded"), host="0.0.0.0", people=PEOPLE)
    with TestClient(create_app(own), base_url="http://example.test") as http:
        yield http


def test_a_token_is_needed_by_whatever_way_it_comes(guarded: TestClient) -> None:
    basic = base64.b64encode(f"user:{TOKEN}".encode()).decode()
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/").status_code == 200
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic %%%"}, {"token": TOKEN[:-1]}):
        answer = guarded.get("/v1/server", headers=headers)
        assert (answer.status_code, answer.json()["error"][:7]) == (401, "a token")
    for headers in ({"authorization": f"Bearer {TOKEN}"}, {"authorization": f"Basic {basic}"}, {"token": TOKEN}):
        assert guarded.get("/v1/server", headers=headers).json()["person"] == "ann"


def test_a_session_is_its_owners_and_the_leads(guarded: TestClient, photo: bytes) -> None:
    ann, bob, lead = (Client(http=guarded, token=token) for token in (TOKEN, OTHER, LEAD))
    key = ann.open_image(photo).id
    with pytest.raises(ServerError) as caught:
        bob.image(key)
    assert caught.value.status == 404
    assert lead.image(key) == ann.image(key)
    assert key not in [row.id for row in bob.sessions()]
    assert key in [row.id for row in lead.sessions()]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "user@127.0.0.1", "", "[::2]"])
def test_another_name_for_this_machine_is_refused(http: TestClient, host: str) -> None:
    assert http.get("/v1/server", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "file://"])
def test_pages_of_other_sites_are_refused(http: TestClient, origin: str) -> None:
    assert http.get("/v1/server", headers={"origin": origin}).status_code == 403


def test_the_own_page_is_let_in_and_told_what_it_may_do(http: TestClient) -> None:
    answer = http.get("/v1/server", headers={"origin": "http://127.0.0.1:8765"})
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.headers["x-request-id"]) == 16


def test_bodies_images_and_rates_have_limits(settings: ServeSettings, tmp_path: Path, photo: bytes) -> None:
    limits = Limits(image_bytes=4000, json_bytes=6000, pixels=10_000, rate=0.001, burst=8)
    own = replace(settings, folder=tmp_path, limits=limits)
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        client = Client(http=http)
        assert client.open_image(photo).width == 96
        for data in (photo_bytes(200, 100), b"\x89PNG" + bytes(5000)):
            with pytest.raises(ServerError) as caught:
                client.open_image(data)
            assert caught.value.status == 413
        assert http.post("/v1/segment", content=bytes(7000)).status_code == 413
        chunks = (bytes(1000) for _ in range(9))  # without a length
        assert http.post("/v1/segment", content=chunks, headers={"content-type": "application/json"}).status_code == 413
        codes = [http.get("/v1/server").status_code for _ in range(6)]
        assert 429 in codes
        assert not list(tmp_path.glob("sessions/*/image.part"))


@pytest.mark.parametrize("data", [b"", b"no image", photo_bytes()[:120], b"GIF89a" + bytes(40)])
def test_files_that_are_no_images_are_named_so(client: Client, data: bytes) -> None:
    with pytest.raises(ServerError) as caught:
        client.open_image(data)
    assert caught.value.status in (400, 422)
    assert str(Path.home()) not in caught.value.message


@pytest.mark.parametrize("key", ["..", "%2e%2e%2f%2e%2e", "a" * 22, "a" * 500, "../../etc/passwd", "%00"])
def test_no_id_becomes_a_path(http: TestClient, key: str) -> None:
    assert http.get(f"/v1/images/{key}").status_code in (404, 405)


def test_nonsense_in_a_body_is_refused_with_the_place(http: TestClient, client: Client, photo: bytes) -> None:
    key = client.open_image(photo).id
    for body in ({"phrases": ["x"], "surprise": 1}, {"boxes": [[0, 0, "NaN", 1]]}, {"phrases": [""]}):
        answer = http.post(f"/v1/images/{key}/find", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["error"].startswith("body.")
    with pytest.raises(ServerError, match="nothing to look for"):
        client.find(key, FindBody())


def test_figures_are_counted(http: TestClient) -> None:
    http.get("/v1/server")
    text = http.get("/metrics").text
    assert 'masklet_requests_total{method="GET",route="/v1/server",status="200"}' in text
    assert "masklet_session_bytes" in text


def test_health_answers_before_the_weights_are_there(settings: ServeSettings, tmp_path: Path) -> None:
    from masklet.workflows.model_choice import ModelChoice

    own = replace(settings, folder=tmp_path, model=ModelChoice(name=str(tmp_path / "missing.safetensors")))
    app = create_app(own)
    http = TestClient(app, base_url="http://127.0.0.1")  # not entered: nothing is loaded
    assert http.get("/health").json()["state"] == "loading"
    with http:
        assert http.get("/health").json()["status"] == "UP"
        with pytest.raises(ServerError) as caught:
            Client(http=http).segment(photo_bytes(), [PhrasePrompt(text="x")])
        assert caught.value.status == 503


def test_people_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text(json.dumps({TOKEN: {"name": "ann", "role": "reviewer"}}))
    assert read_people(path)[TOKEN].may_review
    path.write_text('{"short": {"name": "ann"}}')
    with pytest.raises(InputError, match="at least 16"):
        read_people(path)


def test_others_need_a_token_that_is_printed(tmp_path: Path) -> None:
    local = ServeSettings(folder=tmp_path)
    assert with_token(local) == local
    assert address_of(local) == "http://127.0.0.1:8765/"
    public = with_token(replace(local, host="0.0.0.0"))
    (token,) = public.people
    assert address_of(public) == f"http://localhost:8765/#token={token}"
    assert len(token) >= 32


# --- images from addresses ----------------------------------------------------------------------------------------


class _Pictures(BaseHTTPRequestHandler):
    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/photo.png")
            self.end_headers()
            return
        if self.path == "/as-label-studio" and self.headers.get("Accept") != "*/*":
            self.send_error(406)  # its files are answers of an interface that has no other kinds
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(photo_bytes())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def pictures() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Pictures)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def test_a_named_host_is_read_and_redirects_are_not_followed(settings: ServeSettings, pictures: int) -> None:
    own = replace(settings, hosts=("127.0.0.1",), private_hosts=("127.0.0.1",))
    assert fetch(f"http://127.0.0.1:{pictures}/photo.png", own) == photo_bytes()
    assert fetch(f"http://127.0.0.1:{pictures}/as-label-studio", own) == photo_bytes()
    with pytest.raises(InputError, match="answers 302"):
        fetch(f"http://127.0.0.1:{pictures}/away", own)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://017700000001:{port}/",
        "http://allowed.example@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#allowed.example",
        "http://127.0.0.1:{port}\\@allowed.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://",
        "http://[",
    ],
)
def test_no_spelling_of_this_machine_is_reached(settings: ServeSettings, pictures: int, address: str) -> None:
    own = replace(settings, hosts=("allowed.example",))
    _Pictures.seen.clear()
    with pytest.raises(InputError):
        fetch(address.format(port=pictures), own)
    assert not _Pictures.seen


def test_a_public_name_that_leads_here_is_refused(
    settings: ServeSettings, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", pictures))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    with pytest.raises(InputError, match="private address"):
        fetch(f"http://allowed.example:{pictures}/", replace(settings, hosts=("allowed.example",)))


def test_odd_images_are_read_or_refused_but_never_break_the_server(client: Client) -> None:
    import io

    for mode in ("CMYK", "I;16", "LA", "1", "P", "F"):
        file = io.BytesIO()
        Image.new("L", (40, 30), 80).convert("L" if mode in ("I;16", "F") else mode).save(file, "TIFF")
        assert client.open_image(file.getvalue()).width == 40
    file = io.BytesIO()
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert client.open_image(file.getvalue()).height == 30


def test_the_doctor_tells_of_the_machine_and_no_paths(client: Client) -> None:
    found = client.doctor()
    assert found["packages"]["torch"]
    assert found["devices"]
    assert found["model"] == client.server().model.rsplit("/", 1)[-1]
    assert not [value for value in json.dumps(found).split('"') if value.startswith("/")]
