"""Requests by people who mean no good, or by programs gone wrong: each gets a sentence, none is a fault of ours."""

import base64
import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import photo_bytes, write_clip
from starlette.websockets import WebSocketDisconnect

from masklet.client import Client, ServerError
from masklet.serve.app import create_app
from masklet.serve.bridges.label_studio_events import EVENTS
from masklet.serve.problems import HttpProblem
from masklet.serve.settings import Limits, ServeSettings

CONFIG = """<View><Image name="i" value="$i"/><KeyPointLabels name="k" toName="i"><Label value="Cup"/></KeyPointLabels>
<BrushLabels name="b" toName="i"><Label value="Cup"/></BrushLabels></View>"""
VIDEO_CONFIG = """<View><Labels name="l" toName="v"><Label value="Cup"/></Labels><Video name="v" value="$i"/>
<VideoRectangle name="b" toName="v"/></View>"""
HALF = "\ud800"  # of a letter: JSON can say it, UTF-8 cannot


@pytest.fixture(scope="module")
def open_http(settings: ServeSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """As a real server: a fault is an answer 500, and raises nothing here."""
    own = replace(settings, folder=tmp_path_factory.mktemp("hostile"), labels=("cup",))
    with TestClient(create_app(own), base_url="http://127.0.0.1", raise_server_exceptions=False) as http:
        yield http


def sentence(answer: Any, *statuses: int) -> str:
    """The one sentence of an answer that is an error."""
    assert answer.status_code in statuses, answer.text
    told = answer.json()
    assert set(told) == {"error", "request_id"}
    assert len(told["error"]) > 10
    assert "\n" not in told["error"]
    assert "Traceback" not in told["error"]
    return told["error"]


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()


# --- bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"garbage"),
        ("multipart/form-data; boundary=x", b"--x\r\nno header\r\n\r\n--x--"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n1\r\n--x--\r\n',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a" * 70_000),
        ("multipart/form-data; boundary=" + "x" * 300, b"--"),
        (
            "multipart/form-data; boundary=x; charset=hex",
            b'--x\r\nContent-Disposition: form-data; name="i"\r\n\r\n\xff\r\n--x--\r\n',
        ),
        (
            "multipart/form-data; boundary=x; charset=undefined",
            b'--x\r\nContent-Disposition: form-data; name="i"\r\n\r\n\xff\r\n--x--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"image=%ff"),
        ("application/json", b""),
        ("application/json", b"\xff\xfe\x00"),
        ("application/json", b"[" * 200_000),
        ("application/json", b"1" * 10_000),
        ("application/json; charset=utf-7", b"+AH0-"),
        ("text/plain", b"{}"),
        ("", b"{}"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/segment", "/v1/images", "/v1/videos", "/v1/concepts", "/predict", "/sam3/concept_segment"]
)
def test_bodies_that_are_none(open_http: TestClient, path: str, kind: str, body: bytes) -> None:
    sentence(open_http.post(path, content=body, headers={"content-type": kind}), 400, 413, 415, 422)


@pytest.mark.parametrize(
    "image", ["", "!!!", "AAAA", "data:image/png;base64,%%", "data:text/html;base64,AAAA", "ü", "A" * 9]
)
def test_images_that_are_none_in_base64(open_http: TestClient, image: str) -> None:
    prompts = [{"type": "phrase", "text": "cup"}]
    sentence(open_http.post("/v1/segment", json={"image": image, "prompts": prompts}), 400, 422)
    text = [{"type": "text", "text": "cup"}]
    roboflow = {"image": {"type": "base64", "value": image}, "prompts": text}
    sentence(open_http.post("/sam3/concept_segment", json=roboflow), 400, 422)


def test_a_body_longer_than_it_may_be_is_told_so_on_every_path(settings: ServeSettings, tmp_path: Path) -> None:
    own = replace(settings, folder=tmp_path, limits=Limits(image_bytes=2000, json_bytes=2000))
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        for path in ("/v1/concepts", "/predict", "/v1/segment"):
            chunks = (b" " * 1000 for _ in range(5))  # without a length
            answer = http.post(path, content=chunks, headers={"content-type": "application/json"})
            assert "longer than the 2000 bytes" in sentence(answer, 413)
            assert answer.headers["connection"] == "close"
        told = sentence(http.post("/v1/concepts", content=b"", headers={"content-length": "99999999999999"}), 413)
        assert told == "the body has 99999999999999 bytes, at most 2000 are taken here"


# --- images and videos --------------------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """A small file that says it is large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def gif_of(width: int, height: int) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("P", (8, 8), colour) for colour in (1, 2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    data = bytearray(file.getvalue())
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


@pytest.mark.parametrize(
    "data", [png_of(60_000, 60_000), png_of(2**31 - 1, 2**31 - 1), png_of(0, 9), gif_of(65_535, 65_535)]
)
def test_a_small_file_that_says_it_is_large_is_not_decoded(open_http: TestClient, data: bytes) -> None:
    sentence(open_http.post("/v1/images", files={"image": ("a.png", data)}), 400, 413)
    sentence(open_http.post("/v1/videos", files={"video": ("a.gif", data)}), 400, 413)
    body = {"image": base64.b64encode(data).decode(), "params": {"text_prompt": "cup"}}
    assert open_http.post("/anylabeling/v1/predict", json=body).json()["success"] is False


def test_a_video_of_too_large_frames_is_refused_by_every_way_in(settings: ServeSettings, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4").read_bytes()
    own = replace(settings, folder=tmp_path, limits=Limits(frame_pixels=1000))
    with TestClient(create_app(own), base_url="http://127.0.0.1") as http:
        told = "the video is 96 x 64, at most 1000 pixels are followed"
        assert sentence(http.post("/v1/videos", files={"video": ("a.mp4", clip)}), 413) == told
        assert not list((tmp_path / "sessions").iterdir())
        tasks = [{"id": 1, "data": {"i": data_url(clip, "video/mp4")}}]
        for context in (None, {"event": "prewarm"}):
            body = {"tasks": tasks, "label_config": VIDEO_CONFIG, "params": {"context": context}}
            (result,) = http.post("/predict", json=body).json()["results"]
            assert (result["error"], result.get("result", [])) == (told, [])
        frames = [base64.b64encode(photo_bytes()).decode()]
        begun = http.post("/anylabeling/v1/video/init", json={"frames": frames}).json()
        assert begun["error"]["message"] == told


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ([10**6, 10**6], "0" * 50),
        ([2**30, 2**30], "PPPPPPPPPPPPPPPPP0"),
        ([64, 96], "~~~"),
        ([64, 96], "PPYo1"),
        ([63, 96], "`h6"),
        ([-1, 5], "0"),
        ([10**30, 1], "0"),
        ([64, 96], ""),
    ],
)
def test_masks_that_are_none(open_http: TestClient, tmp_path: Path, size: list[int], counts: str) -> None:
    client = Client(http=open_http)
    photo, video = client.open_image(photo_bytes()).id, client.open_video(write_clip(tmp_path / "clip.mp4")).id
    mask = {"size": size, "counts": counts}
    sentence(open_http.post(f"/v1/images/{photo}/draw", json={"mask": mask}), 400, 422)
    sentence(open_http.post(f"/v1/videos/{video}/mask", json={"mask": mask}), 400, 422)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.mp4",
        "/etc/cron.d/x.mp4",
        "..\\..\\x.mp4",
        "a\x00b.mp4",
        "." * 300 + ".mp4",
        "x" * 5000 + ".mp4",
    ],
)
def test_no_name_of_a_file_leads_anywhere(open_http: TestClient, tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / "clip.mp4").read_bytes()
    head = f'--b\r\nContent-Disposition: form-data; name="video"; filename="{name}"\r\n\r\n'.encode()
    content = head + clip + b"\r\n--b--\r\n"
    answer = open_http.post("/v1/videos", content=content, headers={"content-type": "multipart/form-data; boundary=b"})
    if answer.status_code != 201:
        sentence(answer, 400, 422)
        return
    shown = answer.json()["name"]
    assert not {"/", "\\", "\x00"} & set(shown)
    assert not shown.startswith(".")
    assert len(shown) <= 100


# --- what other programs' protocols leave open --------------------------------------------------------------------

POINT = {"type": "keypointlabels", "value": {"x": 10, "y": 10, "keypointlabels": ["Cup"]}}


def changed(**value: Any) -> list[dict[str, Any]]:
    return [{**POINT, "value": {**POINT["value"], **value}}]  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "result",
    [
        5,
        {"a": 1},
        "text",
        [5, None],
        [{"value": 5}],
        [{"type": 5, "value": {}}],
        changed(x="a"),
        changed(x=None),
        changed(x=True),
        changed(x=1e9),
        changed(x=-50),
        changed(keypointlabels=5),
        changed(keypointlabels={"a": 1}),
        changed(keypointlabels=[]),
        changed(keypointlabels=[{"deep": [1]}]),
        [{"type": "textarea", "value": {"text": 5}}],
        [{"type": "textarea", "value": {"text": {"a": 1}}}],
        [{"type": "textarea", "value": {"text": ["x" * 5000]}}],
        [{"type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": -5, "height": "q"}}],
    ],
)
def test_what_label_studio_never_draws(open_http: TestClient, tmp_path: Path, result: Any) -> None:
    clip = data_url(write_clip(tmp_path / "clip.mp4", 2).read_bytes(), "video/mp4")
    for config, address, event in ((CONFIG, data_url(photo_bytes()), None), (VIDEO_CONFIG, clip, "predict")):
        assert len(ls_results(open_http, config, address, {"result": result, "event": event})) == 1


@pytest.mark.parametrize("event", [*EVENTS, "nonsense", ["predict"], 5])
@pytest.mark.parametrize("frame", ["x", True, -5, 10**12, None, [1]])
def test_events_of_frames_that_are_nowhere(open_http: TestClient, clip: Path, event: Any, frame: Any) -> None:
    address = data_url(clip.read_bytes(), "video/mp4")
    context = {
        "event": event,
        "frame": frame,
        "result": [],
        "max_frames": frame,
        "session_id": frame,
        "direction": frame,
    }
    assert len(ls_results(open_http, VIDEO_CONFIG, address, context)) == 1


def ls_results(http: TestClient, config: str, address: str, context: dict[str, Any]) -> list[Any]:
    body = {"tasks": [{"id": 1, "data": {"i": address}}], "label_config": config, "params": {"context": context}}
    answer = http.post("/predict", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.parametrize(
    "text",
    [
        '{"tasks": [{"data": {"i": "\\ud800"}}], "label_config": CONFIG}',
        '{"tasks": [{"data": {"i": 1e999}}], "label_config": CONFIG}',
        '{"tasks": [{"data": [1]}], "label_config": CONFIG}',
        '{"tasks": [5], "label_config": CONFIG}',
        '{"tasks": [], "label_config": "\\ud800"}',
        '{"tasks": [], "label_config": "<a"}',
        '{"tasks": [], "label_config": CONFIG, "params": {"context": {"frame": NaN}}}',
        '{"tasks": [], "label_config": CONFIG, "params": {"context": {"frame": 1' + "0" * 400 + "}}}",
        '{"tasks": {"a": 1}}',
        '{"\\ud800": 1}',
    ],
)
def test_json_that_is_hardly_json(open_http: TestClient, text: str) -> None:
    content = text.replace("CONFIG", json.dumps(CONFIG)).encode()
    sentence(open_http.post("/predict", content=content, headers={"content-type": "application/json"}), 400, 422)


@pytest.mark.parametrize(
    "host", ["http://[", "", "//x", "http://user:pass@localhost", "javascript:1", "http://localhost:99999"]
)
def test_a_label_studio_that_is_nowhere(open_http: TestClient, host: str) -> None:
    told = open_http.post("/setup", json={"project": "7.1", "hostname": host, "access_token": "t"})
    assert told.status_code == 200
    body = {"tasks": [{"id": 1, "data": {"i": "/data/upload/1/a.png"}}], "project": "7.1", "label_config": CONFIG}
    (result,) = open_http.post("/predict", json=body).json()["results"]
    assert "result" not in result
    assert result["error"]


def test_halves_of_letters_in_any_field_are_refused(open_http: TestClient) -> None:
    key = Client(http=open_http).open_image(photo_bytes()).id
    for path, body in (
        (f"/v1/images/{key}/find", {"phrases": [HALF]}),
        (f"/v1/images/{key}/find", {HALF: 1}),
        (f"/v1/images/{key}/ask", {"text": HALF}),
        ("/webhook", {"action": HALF}),
        ("/sam3/concept_segment", {"image": {"value": HALF}, "prompts": [{"text": "cup"}]}),
    ):
        content = json.dumps(body).encode()
        sentence(open_http.post(path, content=content, headers={"content-type": "application/json"}), 400, 422)


@pytest.mark.parametrize("body", [{"image": HALF}, {"params": {"text_prompt": HALF}}])
def test_halves_of_letters_are_no_image_and_no_phrase(open_http: TestClient, body: dict[str, Any]) -> None:
    content = json.dumps({"image": data_url(photo_bytes())} | body).encode()
    answer = open_http.post("/anylabeling/v1/predict", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422 or answer.json()["success"] is False


@pytest.mark.parametrize("data", [[], [1], [1, 2, 3], [1e300, 1e300], [-5, 5]])
@pytest.mark.parametrize("kind", ["point", "rectangle"])
def test_marks_of_no_place(open_http: TestClient, kind: str, data: list[float]) -> None:
    marks = [{"type": kind, "data": data}]
    body = {"image": data_url(photo_bytes()), "params": {"marks": marks}}
    answer = open_http.post("/anylabeling/v1/predict", json=body)
    assert (answer.status_code, answer.json()["success"]) == (200, False)
    call = {"image": base64.b64encode(photo_bytes()).decode()}
    call |= {"pos_points": [data]} if kind == "point" else {"obj_bbox": [data, data]}
    headers = {"x-nuclio-function-name": "masklet-interactor"}
    sentence(open_http.post("/api/function_invocations", json=call, headers=headers), 400, 422)


def test_labels_of_boxes_that_do_not_fit(open_http: TestClient) -> None:
    image = {"type": "base64", "value": base64.b64encode(photo_bytes()).decode()}
    prompts = [{"type": "visual", "boxes": [{"x": 1, "y": 1, "width": 9, "height": 9}] * 2, "box_labels": [1]}]
    found = open_http.post("/sam3/concept_segment", json={"image": image, "prompts": prompts}).json()["prompt_results"]
    assert found[0]["error"] == "2 boxes have 1 labels: each needs one, or none has any"


# --- more phrases than one request may ask ------------------------------------------------------------------------

MANY = [f"cup {number}" for number in range(101)]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ([[each] for each in MANY[:33]], "33 phrases are asked, at most 32 at a time: ask for fewer"),
        ([[each] for each in MANY] * 2, "202 regions are drawn, at most 200 are read: finish this object first"),
        ([["x" * 100_000]], "a phrase has 100000 letters, at most 300 are read: say it shorter"),
    ],
)
def test_text_areas_with_too_many_phrases(open_http: TestClient, written: list[list[str]], told: str) -> None:
    drawn = [{"type": "textarea", "value": {"text": each}} for each in written]
    (result,) = ls_results(open_http, CONFIG, data_url(photo_bytes()), {"result": drawn})
    assert (result["error"], result["result"]) == (told, [])


def test_a_text_area_with_ten_thousand_phrases_asks_for_the_last(open_http: TestClient) -> None:
    drawn = [{"type": "textarea", "value": {"text": [*MANY * 100, "cup"]}}]
    (result,) = ls_results(open_http, CONFIG, data_url(photo_bytes()), {"result": drawn})
    assert "error" not in result


def test_an_interface_of_too_many_phrases(open_http: TestClient, clip: Path) -> None:
    names, told = ",".join(MANY), "101 phrases are asked, at most 100 at a time: ask for fewer"
    addresses = (data_url(photo_bytes()), data_url(clip.read_bytes(), "video/mp4"))
    for config, address in zip((CONFIG, VIDEO_CONFIG), addresses, strict=True):
        many = config.replace('"Cup"/', f'"Cup" predicted_values="{names}"/')
        (result,) = ls_results(open_http, many, address, {})
        assert result["error"] == told


def test_too_many_phrases_of_x_anylabeling(open_http: TestClient) -> None:
    words, image = ",".join(MANY[:33]), data_url(photo_bytes())
    frames = {"frames": [base64.b64encode(photo_bytes()).decode()]}
    key = open_http.post("/anylabeling/v1/video/init", json=frames).json()["data"]["session_id"]
    for path, body in (
        ("/anylabeling/v1/predict", {"image": image, "params": {"text_prompt": words}}),
        ("/anylabeling/v1/video/prompt", {"session_id": key, "text_prompt": words}),
    ):
        told = open_http.post(path, json=body).json()["error"]["message"]
        assert told == "33 phrases are asked, at most 32 at a time: ask for fewer"


# --- other ways in ------------------------------------------------------------------------------------------------


def test_addresses_that_lead_nowhere_are_named(open_http: TestClient) -> None:
    for path in (
        "/nothing",
        "/v1/nothing",
        "/assets/../../pyproject.toml",
        "/assets/%2e%2e/%2e%2e/launch.py",
        "//etc/passwd",
    ):
        assert sentence(open_http.get(path), 404) == "there is nothing at this address"
    assert sentence(open_http.put("/v1/segment"), 405) == "PUT is not what this address takes"


def test_nobody_speaks_by_websocket(open_http: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, open_http.websocket_connect("/v1/server"):
        pass
    assert caught.value.code == 1008


def test_a_fault_of_ours_is_counted_and_told_without_its_inside(
    open_http: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("the inside")

    monkeypatch.setattr(open_http.app.state.server.store, "rows", broken)  # type: ignore[attr-defined]
    answer = open_http.get("/v1/sessions")
    assert "inside" not in sentence(answer, 500)
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert 'route="/v1/sessions",status="500"' in open_http.get("/metrics").text


def test_a_server_that_is_full_says_when_to_come_again(open_http: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise HttpProblem(503, "no room for more at the moment", retry_after=3)

    monkeypatch.setattr(open_http.app.state.server.store, "rows", full)  # type: ignore[attr-defined]
    answer = open_http.get("/v1/sessions")
    sentence(answer, 503)
    assert answer.headers["retry-after"] == "3"


def test_a_client_says_the_servers_sentence(open_http: TestClient) -> None:
    with pytest.raises(ServerError, match="there is no session of that id"):
        Client(http=open_http).image("a" * 22)
